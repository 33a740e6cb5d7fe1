"""--hold-out: epochs are chosen on training images, the test images are scored once, at the end, and kept."""

import csv
import json

import numpy as np
import pytest
from script_runs import assert_equal, finished_fixtures, load_script, runner, script_fixture

from gluon_aff import load_run
from gluon_aff.data import load_image_set, load_pair_set
from gluon_aff.errors import UsageError
from gluon_aff.tasks import final_score
from gluon_aff.training.history import History
from gluon_aff.training.run import FINAL_TEST

CIFAR = ["--dataset", "digits", "--gpus", "", "--batch-size", "16", "--train-images", "32", "--num-epochs", "2"]
SEG = ["--dataset", "shapes", "--gpus", "", "--train-images", "8", "--num-epochs", "2", "--blocks", "1"]
SEG += ["--base-size", "64", "--crop-size", "32", "--batch-size", "4"]


HELD_OUT = [*CIFAR, "--hold-out", "50", "--test-images", "40"]

cifar = script_fixture("train_cifar")
finished_run, finished = finished_fixtures("train_cifar", *HELD_OUT)


def read(run):
    with open(run / "final-test.csv", newline="") as handle:
        return json.loads((run / "final-test.json").read_text()), list(csv.DictReader(handle))


def test_held_out_images_are_no_training_images_and_the_same_for_every_seed():
    digits = load_image_set("digits", "train")
    rest, held_out = digits.hold_out(100)
    assert len(rest) + len(held_out) == len(digits)
    assert np.bincount(held_out.labels).tolist() == [10] * 10
    pixels = [{image.tobytes() for image in part.images} for part in (rest, held_out, digits)]
    assert len(pixels[2]) == len(digits)  # no two digits are equal, so the sets tell
    assert not pixels[0] & pixels[1] and pixels[0] | pixels[1] == pixels[2]
    shapes = load_pair_set("shapes", "train")
    rest, held_out = shapes.hold_out(10)
    assert len(held_out) == 10 and not set(rest.names) & set(held_out.names)
    assert sorted(rest.names + held_out.names) == sorted(shapes.names)
    with pytest.raises(UsageError, match="`hold_out` 2000: digits has 1438 training images, hold out 1 to 1437"):
        digits.hold_out(2000)


def test_a_run_scores_its_test_images_once(cifar, finished):
    run = finished("run")
    out = (run / "train.log").read_text()
    assert "32 training, 50 held-out and 40 test images" in out
    assert "(1 of 50 held-out images)" in out or "of 50 held-out images" in out
    assert out.count("test images, scored once") == 1 and "of 40 test images" in out
    epochs = History(run / "history.jsonl").epochs()
    assert [epoch["val_images"] for epoch in epochs] == [50, 50]
    figures, rows = read(run)
    assert figures["val_images"] == len(rows) == 40
    best = max(epochs, key=lambda epoch: epoch["val"])
    assert (figures["epoch"], figures["validation"]) == (best["epoch"], best["val"])
    # the figure is that of the best weights on the test images, counted anew
    test = load_image_set("digits", "test").subset(40, 0)
    loaded = load_run(run)
    found = [int(loaded.net(loaded.prepare(image)).argmax(axis=1).asscalar()) for image in test.images]
    assert [int(row["predicted"]) for row in rows] == found
    assert figures["val"] == np.mean(np.array(found) == test.labels) == sum(int(row["part"]) for row in rows) / 40
    before = (run / "final-test.json").read_bytes()
    code, out, _ = cifar("--resume", "run")
    assert code == 0 and "scored once" not in out and (run / "final-test.json").read_bytes() == before
    assert cifar(*CIFAR, "--hold-out", "50", "--save-dir", "run", "--overwrite", "--no-final-test")[0] == 0
    assert not final_score.scored(run)


def test_a_run_that_ended_before_its_test_makes_up_for_it(cifar, finished, finished_run):
    run = finished("run")
    for name in FINAL_TEST:
        (run / name).unlink()
    assert cifar("--resume", "run")[0] == 0
    assert read(run) == read(finished_run)


def test_by_name_and_held_out_a_resumed_run_is_the_same(cifar, tmp_path):
    more = ["--hold-out", "50", "--init-by-name", "--ema", "0.9"]
    assert cifar(*CIFAR, *more, "--save-dir", "run", "--num-epochs", "1", "--lr-mode", "constant")[0] == 0
    code, _, err = cifar("--resume", "run", "--no-init-by-name")
    assert code == 2 and "--init-by-name was True, is False" in err
    assert cifar(*CIFAR, *more, "--save-dir", "steady", "--lr-mode", "constant")[0] == 0
    assert cifar("--resume", "run", "--num-epochs", "2")[0] == 0
    assert_equal(tmp_path / "run", tmp_path / "steady")
    assert read(tmp_path / "run") == read(tmp_path / "steady")  # the longer run's best is scored, too


def test_without_hold_out_there_is_no_final_test(cifar, tmp_path):
    assert cifar(*CIFAR, "--test-images", "20", "--save-dir", "run")[0] == 0
    assert not final_score.scored(tmp_path / "run")
    code, _, err = cifar(*CIFAR, "--no-final-test", "--save-dir", "other")
    assert code == 2 and "--final-test has no effect without --hold-out" in err


def test_segmentation_keeps_every_image(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = runner(load_script("train_seg"), capsys)
    code, out, err = train(*SEG, "--hold-out", "6", "--test-images", "5", "--save-dir", "run")
    assert code == 0, err
    figures, rows = read(tmp_path / "run")
    assert figures["val_images"] == len(rows) == 5 and figures["validation_images"] == 6
    shares = np.array([[int(row["part"]), int(row["whole"])] for row in rows]).sum(axis=0)
    assert figures["val"] == shares[0] / shares[1]
    assert {row["image"] for row in rows} <= set(load_pair_set("shapes", "val").names)
