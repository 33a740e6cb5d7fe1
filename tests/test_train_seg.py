"""train_seg.py from the command line to the files it leaves, on a few drawn stop signs."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from PIL import Image
from script_runs import ROOT, assert_equal, epochs, finished_fixtures, load_script, newest_checkpoint, script_fixture

from gluon_aff.cli import main as cli
from gluon_aff.data import PairSet
from gluon_aff.tasks import get_task, seg_scoring, seg_validation
from gluon_aff.training.checkpoint import read_state, write_document
from gluon_aff.utils import console
from gluon_aff.zoo import create_model

SCRIPT = ROOT / "train_seg.py"
TINY = ["--dataset", "shapes", "--no-cuda", "--batch-size", "4", "--train-images", "8", "--test-images", "4"]
TINY += ["--base-size", "32", "--crop-size", "32"]


train = script_fixture("train_seg")
finished_run, finished = finished_fixtures("train_seg", *TINY, "--epochs", "2", "--workers", "2")


def test_a_run_and_what_it_leaves(finished_run):
    record = epochs(finished_run)[-1]
    assert record["val_images"] == 4 and record["images"] == 8 and record["train_metric"] == "iou"
    assert 0 <= record["val"] <= 1 and {"niou", "pixel_accuracy", "miou"} <= record.keys()
    log = (finished_run / "train.log").read_text()
    assert "model: aff_fpn_resnet8, std stem, reduce decoder, fusion aff, width x1; 95,533 parameters" in log
    assert f"validation pixAcc: {record['pixel_accuracy']:.3f}, mIoU: {record['miou']:.3f}" in log
    assert f"best IoU {max(r['val'] for r in epochs(finished_run)):.4f}, nIoU" in log
    assert (finished_run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {"config.yaml", "history.jsonl", "best", "checkpoints"} <= set(os.listdir(finished_run))


def test_poly_is_really_applied_to_adagrad(train):
    options = get_task("seg").options([*TINY, "--epochs", "4", "--lr", "0.04", "--optimizer", "adagrad"])
    schedule = get_task("seg").schedule(options)
    rates = [schedule(update) for update in range(1, 9)]
    assert options.lr_mode == "poly" and rates == sorted(rates, reverse=True)
    np.testing.assert_allclose(rates[3], 0.04 * (1 - 4 / 7) ** 0.9, rtol=1e-5)  # GluonCV divides by N - 1
    assert train(*TINY, "--epochs", "2", "--lr", "0.04", "--save-dir", "run")[0] == 0
    state = newest_checkpoint("run").state
    assert state["trainer"]["optimizer"] == "adagrad"
    assert [record["lr"] for record in epochs("run")] == pytest.approx([0.04 * (1 - 2 / 3) ** 0.9, 0.0])


def test_the_paper_is_the_default():
    options = get_task("seg").options([])
    assert (options.dataset, options.category, options.num_epochs, options.batch_size) == ("coco", "stop sign", 300, 32)
    assert (options.optimizer, options.lr, options.lr_mode, options.poly_power) == ("adagrad", 0.01, "poly", 0.9)
    assert (options.init, options.loss, options.blocks, options.stem) == ("kaiming", "softiou", 3, "std")
    assert (options.base_size, options.crop_size) == (512, 480)


def test_the_siblings_flags():
    argv = (
        "--dataset StopSign --fuse-mode ASKCFuse --tiny --workers 2 --epochs 7 --weight-decay 1e-3 --syncbn --no-cuda"
    )
    options = get_task("seg").options([*argv.split(), "--train-split", "trainval", "--checkname", "here"])
    assert (options.dataset, options.fusion, options.stem, options.num_data_workers) == ("coco", "aff", "tiny", 2)
    assert (options.num_epochs, options.wd, options.sync_bn, options.gpus) == (7, 1e-3, True, "")
    assert (options.train_split, options.val_split, options.save_dir) == ("trainval", "val", "here")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--aux"], "--aux: the network has no auxiliary head"),
        (["--start_epoch", "3"], "--start_epoch: a run continues from its own checkpoint, see --resume"),
        (["--crop-size", "40"], "--crop-size 40: the std stem needs a multiple of 16, as 32 is"),
        (["--loss", "focal"], "invalid choice: 'focal' (choose from "),
        (["--model", "unnet"], "invalid choice: 'unnet' (did you mean unet?)"),
        (["--dataset", "voc"], "invalid choice: 'voc'"),
        (["--eval"], "--eval and --predict need a trained network"),
        (["--images", "x.png"], "--images needs --predict DIR"),
        (["--sync-bn"], "--sync-bn joins the batches of several devices"),
        (["--eval", "--resume", "nowhere"], "nowhere"),
        (["--val-split", "test"], "shapes has no split 'test': choose one of train, val"),
    ],
)
def test_wrong_usage_is_one_line(train, argv, message):
    code, _, err = train(*TINY, *argv)
    assert code == 2 and message in err and "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("error")]) == 1


@pytest.mark.parametrize("loss", ["bce", "dice", "softiou_per_image"])
def test_losses(train, loss):
    assert train(*TINY, "--epochs", "1", "--loss", loss, "--save-dir", "run")[0] == 0
    assert np.isfinite(epochs("run")[0]["loss"])


def test_workers_change_nothing(train, finished_run):
    assert train(*TINY, "--epochs", "2", "--workers", "0", "--save-dir", "none")[0] == 0
    assert_equal("none", finished_run)


def test_eval_scores_as_training_did(train, finished):
    run = finished("run")
    best = max(epochs(run), key=lambda record: record["val"])
    code, out, _ = train("--no-cuda", "--eval", "--resume", run)
    assert code == 0 and f"IoU            {best['val']:.4f}" in out
    report = json.loads((run / "best/eval-shapes-val/report.json").read_text())
    assert report["iou"] == best["val"] and report["niou"] == best["niou"] and report["images"] == 4
    assert report["facts"]["weights"].endswith("best/model.params")
    assert report["facts"]["run"]["commits"] == [report["facts"]["commit"] or "None"]
    assert train("--no-cuda", "--eval", "--resume", run)[0] == 0
    (run / "best/eval-shapes-val/report.md").write_text("notes of my own")
    code, _, err = train("--no-cuda", "--eval", "--resume", run)
    assert code == 2 and "report.md is there and is no table that this kind of output wrote" in err


def test_a_run_of_several_devices_is_scored_on_one(train, finished):
    run = finished("run")
    state = read_state(run / "best")
    state["options"]["sync_bn"] = True
    write_document(run / "best" / "state.json", state)
    assert train("--no-cuda", "--eval", "--resume", run)[0] == 0


def test_predictions_of_a_run_of_a_file_and_of_own_images(train, finished, tmp_path, monkeypatch):
    run, read = finished("run"), []

    def counted(*args):
        pairs = seg_validation.load_split(*args)
        return PairSet("", "", pairs.names, lambda name: read.append(name) or pairs.read(name), "", cache_bytes=0)

    with monkeypatch.context() as patched:
        patched.setattr(seg_scoring, "load_split", counted)
        assert train("--no-cuda", "--resume", run, "--predict", "of-run")[0] == 0
    assert len(read) == len(set(read)) == 4  # every pair is decoded once
    shutil.copy(run / "best/model.params", "w.params")
    assert train(*TINY, "--resume-from", "w.params", "--predict", "of-file")[0] == 0
    names = sorted(os.listdir("of-run/masks"))
    assert len(names) == 4 and sorted(os.listdir("of-file/masks")) == names
    for name in names:
        mask = np.asarray(Image.open(f"of-run/masks/{name}"))
        assert mask.shape == (96, 96) and set(np.unique(mask)) <= {0, 255}
        np.testing.assert_array_equal(mask, np.asarray(Image.open(f"of-file/masks/{name}")))
    assert Path("of-run/sheet-01.png").is_file() and Path("of-run/report.md").is_file()
    Image.new("L", (50, 30)).save("mine.png")
    write, sizes = seg_scoring.write_predicted, []
    monkeypatch.setattr(
        seg_scoring, "write_predicted", lambda net, *more: sizes.append(net.input.size) or write(net, *more)
    )
    assert train(*TINY, "--resume-from", "w.params", "--predict", "own", "--images", "mine.png")[0] == 0
    assert np.asarray(
        Image.open("own/masks/mine.png.png" if Path("own/masks/mine.png.png").exists() else "own/masks/mine.png")
    ).shape == (30, 50)
    assert not Path("own/report.json").exists() and sizes == [32]


def test_eval_of_what_is_no_segmentation(train, finished):
    run = finished("run")
    assert "the run's network has --fusion aff, not add" in train("--eval", "--resume", run, "--fusion", "add")[2]
    few = ["--train-images", "32", "--test-images", "16", "--batch-size", "16", "--num-epochs", "1"]
    assert console.run(load_script("train_cifar").main, ["--dataset", "digits", *few, "--save-dir", "digits"]) == 0
    assert "is not a checkpoint of train_seg.py" in train("--eval", "--resume", "digits")[2]
    net = create_model("cifar_resnet8", channel_times=1, classes=10)
    net(mx.nd.zeros((2, 3, 32, 32)))
    net.save_parameters("cifar.params")
    code, _, err = train(*TINY, "--eval", "--resume-from", "cifar.params")
    assert code == 2 and "a CIFARResNet, which is not a segmentation network" in err


def test_evaluate_scores_segmentation_as_eval_does(finished, train, capsys):
    run = str(finished("run"))
    file = f"{run}/best/model.params"

    def evaluated(*argv):
        assert console.run(cli.main, ["evaluate", *map(str, argv), "--gpus", "", "--json", "-"]) == 0
        return json.loads(capsys.readouterr().out)

    assert train("--no-cuda", "--eval", "--resume", run)[0] == 0
    (written,) = Path(run).rglob("eval-shapes-val/report.json")
    theirs, ours = json.loads(written.read_text()), evaluated("--weights", run)
    theirs.pop("facts"), ours.pop("facts")
    assert ours == theirs and ours["images"] == 4
    of_file = evaluated("--weights", file, "--dataset", "shapes", "--input-size", "32")
    assert of_file["images"] == 100


def test_a_split_is_part_of_a_run_and_of_its_figures(train, tmp_path, capsys):
    random = np.random.default_rng(0)
    for folder in ("images", "masks", "idx_320", "lists"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    for name in "abcdef":
        Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(f"{tmp_path}/data/images/{name}.png")
        Image.fromarray(random.integers(0, 2, (32, 32), np.uint8)).save(f"{tmp_path}/data/masks/{name}.png")
    lists = {"idx_320/train": "a b c d", "idx_320/test": "e f", "lists/mine": "f"}
    for name, ids in lists.items():
        (tmp_path / "data" / f"{name}.txt").write_text("\r\n".join(ids.split()))
    own, run = tmp_path / "data/lists/mine.txt", tmp_path / "run"
    argv = [
        "--dataset",
        "folder",
        "--data-dir",
        tmp_path / "data",
        "--no-cuda",
        "--base-size",
        "32",
        "--crop-size",
        "32",
    ]
    argv += ["--batch-size", "4", "--blocks", "1", "--save-dir", run, "--train-split", "idx_320/train"]
    assert train(*argv, "--epochs", "1", "--lr-mode", "constant", "--val-split", own.relative_to(tmp_path))[0] == 0
    assert epochs(run)[0]["images"] == 4 and epochs(run)[0]["val_images"] == 1
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    header = json.loads((run / "history.jsonl").read_text().splitlines()[0])
    assert header["options"]["val_split"] == str(own) and header["data"]["lists"] == {"test": digest}

    code, out, _ = train("--no-cuda", "--eval", "--resume", run)
    folder = next(run.rglob("eval-folder-*"))
    assert code == 0 and folder.name.endswith("-data-lists-mine")
    facts = json.loads((folder / "report.json").read_text())["facts"]
    assert facts["split"] == str(own) and facts["split_list"] == {"path": str(own), "sha256": digest}
    assert console.run(cli.main, ["evaluate", "--weights", str(run), "--split", "idx_320/test", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 2 and found["facts"]["split"] == "idx_320/test" and "split_list" not in found["facts"]
    assert console.run(cli.main, ["evaluate", "--weights", str(run), "--split", "val"]) == 2
    assert "choose one of idx_320/test, idx_320/train, lists/mine, or" in capsys.readouterr().err

    more = [*argv, "--epochs", "2", "--lr-mode", "constant", "--resume"]
    code, _, err = train(*more, "--val-split", "idx_320/test")
    assert code == 2 and f"cannot be resumed with other options: --val-split was {own}, is idx_320/test" in err
    own.write_text("e")
    code, _, err = train(*more)
    assert code == 2 and "cannot be resumed, its data have changed: lists was" in err and digest in err
    own.write_bytes(b"f")
    assert train(*more)[0] == 0 and len(epochs(run)) == 2


def test_tools_for_classification_refuse_a_segmentation(finished, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(finished("run"))
    for folder in ("classes/test/cat", "classes/test/dog", "pairs/images", "pairs/masks"):
        Path(folder).mkdir(parents=True)
        Image.new("L", (32, 32)).save(f"{folder}/a.png")
    shutil.make_archive("pairs", "zip", ".", "pairs")
    net = create_model("cifar_resnet8", channel_times=1, classes=2)
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.save_parameters("c.params")
    file = shutil.copy(f"{run}/best/model.params", f"{run}/lone.params")
    for argv, message in [
        (
            ["evaluate", "--weights", run, "--dataset", "digits"],
            "run is a segmentation network, and digits has images in",
        ),
        (
            ["evaluate", "--weights", run, "--dataset", "folder", "--data", "classes"],
            "and classes has images in classes",
        ),
        (["evaluate", "--weights", run, "--dataset", "diigts"], "no segmentation data set 'diigts'"),
        (
            ["evaluate", "--weights", "c.params", "--dataset", "sirst"],
            "c.params is a classifier, and sirst has images wi",
        ),
        (
            ["evaluate", "--weights", "c.params", "--dataset", "folder", "--data", "pairs.zip"],
            "and pairs.zip has images wi",
        ),
        (["evaluate", "--weights", run, "--labels", "coarse"], "--labels is not for segmentation: leave it out"),
        (
            ["evaluate", "--weights", file],
            "no data set is known for these weights: give --dataset sirst|coco|folder|shapes",
        ),
        (["compare", run, "--with", "table4/aff/resnet_b1"], "is measured by IoU, the other by accuracy"),
    ]:
        assert console.run(cli.main, argv) == 2
        assert message in capsys.readouterr().err
    assert console.run(cli.main, ["plot", "history", run, "--out", f"{run}/h.png"]) == 0


def test_summary_and_dry_run(train):
    code, out, _ = train("--summary", "--crop-size", "64", "--fusion", "iaff", "--tiny")
    assert code == 0 and "290,0" in out  # b = 3, tiny: 290,067 with the input norm's frozen pair
    code, out, _ = train(*TINY, "--epochs", "3", "--dry-run", "--save-dir", "plan")
    assert code == 0 and out.splitlines()[-3].startswith("    2  ") and Path("schedule.png").is_file()
    assert not Path("plan").exists()


def start(cwd):
    command = [sys.executable, str(SCRIPT), *TINY, "--epochs", "6", "--train-images", "64", "--save-dir", "run"]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_goes_on_to_the_bit(train, tmp_path, number, code):
    process = start(tmp_path)
    deadline = time.monotonic() + 120
    while not (Path("run/history.jsonl").exists() and epochs("run")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    more = ["--epochs", "6", "--train-images", "64"]
    assert train(*TINY, *more, "--save-dir", "run", "--resume")[0] == 0
    assert train(*TINY, *more, "--save-dir", "straight")[0] == 0
    assert_equal("run", "straight")
