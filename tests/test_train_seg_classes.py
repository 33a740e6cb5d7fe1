"""train_seg.py on masks of several classes: it learns, is scored, predicted, explained and opened."""

import csv
import json
import os
import shutil
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from PIL import Image
from script_runs import epochs, load_script, script_fixture

import gluon_aff
from gluon_aff.cli import main as cli
from gluon_aff.segmentation.scores import ClassScore
from gluon_aff.tasks import get_task, predicting
from gluon_aff.utils import console

NAMES = ("ground", "brick", "leaf")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Red squares and green discs on grey, and a strip that does not count; classes.txt, no lists."""
    place, random = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    (place / "images").mkdir()
    (place / "masks").mkdir()
    rows, columns = np.mgrid[:48, :48]
    for number in range(15):
        mask = np.zeros((48, 48), np.uint8)
        top, left, y, x = random.integers(2, 28, size=4)
        mask[top : top + 16, left : left + 16] = 1
        mask[(rows - y - 8) ** 2 + (columns - x - 8) ** 2 < 64] = 2
        pixels = np.array([[120, 120, 120], [220, 40, 30], [40, 200, 60]])[mask] + random.normal(0, 12, (48, 48, 3))
        mask[:, :2] = 255
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(place / "masks" / f"{number:02}.png")
    (place / "classes.txt").write_text("\n".join(NAMES))
    return place


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    directory = tmp_path_factory.mktemp("finished") / "run"
    argv = ["--dataset", "folder", "--data-dir", folder, "--classes", 3, "--val-fraction", 0.2, "--no-cuda"]
    argv += ["--tiny", "--blocks", 1, "--base-size", 48, "--crop-size", 48, "--batch-size", 4, "--epochs", 12]
    argv += ["--lr", 0.05, "--save-dir", directory]
    assert console.run(load_script("train_seg").main, [str(word) for word in argv]) == 0
    return directory


train = script_fixture("train_seg")


def test_it_learns_what_the_masks_say(run):
    records = epochs(run)
    assert records[-1]["val"] == records[-1]["miou"] == pytest.approx(np.mean(records[-1]["class_iou"]))
    assert max(record["val"] for record in records) > 0.7 and records[-1]["train_metric"] == "miou"
    log = (run / "train.log").read_text()
    assert "loss ce" in log and f"best mIoU {max(r['val'] for r in records):.4f}, pixAcc" in log


def test_it_is_opened_scored_and_explained(run, folder, tmp_path, capsys):
    trained = gluon_aff.load_run(run)
    assert trained.classes == NAMES and trained.outputs == 3 and trained.figure.startswith("mIoU 0.")
    assert trained.net(trained.prepare(folder / "images/00.png")).shape == (1, 3, 48, 48)
    words = ["evaluate", "--weights", str(run), "--gpus", "", "--json", "-", "--out", str(tmp_path / "eval")]
    assert console.run(cli.main, words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["miou"] == pytest.approx(trained.claim.value, abs=1e-6) and found["classes"] == list(NAMES)
    words = ["gradcam", "--weights", str(run), "--images", str(folder / "images"), "--gpus", "", "--count", "2"]
    assert console.run(cli.main, [*words, "--out", str(tmp_path / "cam")]) == 2
    assert "segments 3 classes: choose the --class to show" in capsys.readouterr().err
    assert console.run(cli.main, [*words, "--out", str(tmp_path / "cam"), "--class", "leaf"]) == 0
    assert "% leaf" in (tmp_path / "cam/predictions.csv").read_text()


def test_a_lone_file_is_scored_as_its_run(run, folder, tmp_path, capsys):
    for ending in (".params", ".json"):
        shutil.copy((run / "best/model.params").with_suffix(ending), tmp_path / f"mine{ending}")
    words = ["evaluate", "--weights", str(tmp_path / "mine.params"), "--gpus", "", "--json", "-"]
    assert console.run(cli.main, [*words, "--data", str(folder), "--val-fraction", "0.2"]) == 0
    assert json.loads(capsys.readouterr().out)["miou"] == pytest.approx(gluon_aff.load_run(run).claim.value, abs=1e-6)


def test_all_images_are_scored_but_of_the_own_folder_the_share_held_out(run, folder, tmp_path, capsys):
    def scored(place, *more):
        argv = ["evaluate", "--weights", run, "--data", place, "--gpus", "", "--json", "-", *more]
        assert console.run(cli.main, list(map(str, argv))) == 0
        printed = capsys.readouterr()
        return json.loads(printed.out)["images"], "no lists of splits" in printed.err, printed.err

    held_out = epochs(run)[-1]["val_images"]
    assert scored(folder / ".." / folder.name)[:2] == (held_out, False)
    copy = shutil.copytree(folder, tmp_path / "copy")
    count = len(list((copy / "images").iterdir()))
    images, told, err = scored(copy)
    assert (images, told) == (count, True) and "--val-fraction 0.2 scores what was held out" in err
    assert scored(folder, "--split", "all")[:2] == (count, False)
    (copy / "val.txt").write_text("00")
    assert scored(copy)[:2] == (1, False)


def test_a_file_of_weights_tells_its_classes(train, run, folder):
    weights = next((run / "best").glob("model.params"))
    Path("theirs").mkdir()
    shutil.copy(weights, "theirs/w.params")
    argv = ["--resume-from", "theirs/w.params", "--dataset", "folder", "--data-dir", folder, "--val-fraction", "0.2"]
    code, out, _ = train("--eval", *argv, "--base-size", "48", "--no-cuda")
    assert code == 0 and "mIoU " in out and "brick" in out
    assert os.listdir("theirs") == ["w.params"] and "in runs/w-eval-folder-val" in out
    assert Path("runs/w-eval-folder-val/report.json").is_file()
    assert mx.nd.load("theirs/w.params")["head.block.4.weight"].shape[0] == 3


def test_predictions_leave_out_what_cannot_be_read(train, run, folder):
    shutil.copytree(folder / "images", "mine")
    content = (folder / "images/03.png").read_bytes()
    Path("mine/03.png").write_bytes(content[: len(content) // 2])
    code, out, err = train("--predict", "out", "--images", "mine", "--resume", run, "--no-cuda")
    assert code == 0 and "14 images of mine" in out
    assert err.count("skipped: ") == 1 and "mine/03.png cannot be read as an image" in err
    mask = np.asarray(Image.open("out/masks/04.png"))
    truth = np.asarray(Image.open(folder / "masks/04.png"))
    assert (mask == truth)[truth != 255].mean() > 0.9
    for path in Path("mine").iterdir():
        path.write_bytes(b"no picture")
    code, _, err = train("--predict", "out", "--images", "mine", "--resume", run, "--no-cuda")
    assert code == 1 and "none of the 15 images of mine can be read" in err


def test_predict_writes_the_files_that_the_script_writes(train, run, folder, tmp_path, capsys):
    assert train("--predict", "script", "--images", folder / "images", "--resume", run, "--no-cuda")[0] == 0
    words = ["predict", str(run), str(folder / "images"), "--gpus", "", "--out", "command", "--format"]
    for form in ("csv", "jsonl", "table"):
        assert console.run(cli.main, [*words, form]) == 0
    seen = set()
    for kind in ("masks", "overlays"):
        names = sorted(path.name for path in Path("script", kind).iterdir())
        assert len(names) == 15 and names == sorted(path.name for path in Path("command", kind).iterdir())
        for name in names:
            one, other = (Image.open(Path(place, kind, name)) for place in ("script", "command"))
            assert one.mode == other.mode == ("P" if kind == "masks" else "RGB")
            np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
            seen.update(np.unique(one) if kind == "masks" else ())
    assert seen == {0, 1, 2}
    header, first, *others = Path("command/predictions.csv").read_text().splitlines()
    assert header == "image,ground,brick,leaf" and len(others) == 14
    mask = np.asarray(Image.open("command/masks/00.png"))
    shares = [(mask == number).mean() for number in range(3)]
    np.testing.assert_allclose([float(cell) for cell in first.split(",")[1:]], shares, atol=1e-6)
    entry = json.loads(Path("command/predictions.jsonl").read_text().splitlines()[0])
    assert entry["shares"] == pytest.approx(dict(zip(NAMES, shares)))
    assert f"{shares[2]:.6f} leaf" in Path("command/predictions.txt").read_text().splitlines()[0]
    words[2] = str(folder / "images/01.png")  # a second table takes the place of the first
    assert console.run(cli.main, [*words, "table"]) == 0
    assert Path("command/predictions.txt").read_text().count("\n") == 1


def test_an_export_is_measured_by_miou(run, folder, tmp_path):
    words = ["export", str(run), "--to", "symbol", "--gpus", "", "--out", str(tmp_path / "out"), "--images"]
    assert console.run(cli.main, [*words, str(folder)]) == 0
    figures = json.loads((tmp_path / "out/manifest.json").read_text())["check"]["figures"]
    score = ClassScore(3)
    for found in gluon_aff.predict(run, sorted((folder / "images").iterdir())):
        mask = np.asarray(Image.open(folder / "masks" / Path(found.name).name))
        score.add(found.logits[None], mask[None, None], [found.name])
    assert figures["metric"] == "mIoU" and figures["images"] == 15
    assert figures["before"] == pytest.approx(score.miou, abs=1e-4) and 0.5 < score.miou < 1
    assert figures["after"] == pytest.approx(figures["before"], abs=1e-3)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--classes", "3", "--loss", "dice"], "--loss dice is not for --classes 3: leave it out"),
        (["--loss", "ce"], "--loss ce is not for foreground and background: leave it out"),
        (["--dataset", "shapes", "--classes", "3"], "shapes marks foreground and background, leave it out"),
        (["--classes", "2"], "has the values 0, 1, 2, 255: expected class numbers, 0 to 1, and 255"),
        ([], "for class numbers give --classes 3"),
    ],
)
def test_what_does_not_go_together(train, folder, argv, message):
    dataset = [] if "--dataset" in argv else ["--dataset", "folder", "--data-dir", folder, "--val-fraction", "0.2"]
    code, _, err = train(*dataset, *argv, "--no-cuda", "--save-dir", "run")
    assert code in (1, 2) and message in err


def test_a_recipe_leaves_the_loss_to_the_classes():
    options = get_task("seg").options(["--recipe", "acm", "--dataset", "folder", "--data-dir", "x", "--classes", "4"])
    assert (options.loss, options.stem) == ("ce", "tiny")
    assert get_task("seg").options(["--recipe", "acm"]).loss == "softiou"


def test_small_targets_are_told_the_better_recipe_which_works(train, tmp_path, capsys, monkeypatch):
    for name in ("images", "masks"):
        (tmp_path / "tiny" / name).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((64, 64), np.uint8)
        mask[8 + 2 * number, 20:22] = mask[41, 41] = 255
        Image.fromarray(mask // 2 + number).save(tmp_path / "tiny/images" / f"{number}.png")
        Image.fromarray(mask).save(tmp_path / "tiny/masks" / f"{number}.png")
    argv = ["--dataset", "folder", "--data-dir", "tiny", "--val-fraction", "0.3", "--no-cuda", "--epochs", "1"]
    argv += ["--base-size", "64", "--crop-size", "64", "--batch-size", "2", "--blocks", "1", "--save-dir"]
    code, out, _ = train(*argv, "run")
    assert code == 0 and "note: the targets are small" in out and "--recipe acm" in out
    assert "have no pixel" not in out
    argv[argv.index("64")] = "32"  # odd rows and columns are left
    code, out, _ = train(*argv, "other", "--recipe", "acm")
    assert code == 0 and "targets are small" not in out and "note: in validation 2 of 4 targets have no pixel" in out
    capsys.readouterr()
    assert cli.main(["evaluate", "--weights", "other", "--split", "all", "--threshold", "0.4", "--out", "e"]) == 0
    out = capsys.readouterr().out
    assert "vanished       6 of 12 targets" in out
    total = out.partition("\nIoU ")[2].split()[0]
    drawn = []
    monkeypatch.setattr(predicting, "write_predictions", lambda out, items, classes: drawn.extend(items) or [])
    assert cli.main(["predict", "other", "tiny/images", "--threshold", "0.4", "--out", "p", "--format", "csv"]) == 0
    assert f"IoU {total} (6 images that have masks" in capsys.readouterr().err
    with open("p/predictions.csv", newline="") as handle:
        ious = {Path(row["image"]).stem: row["iou"] for row in csv.DictReader(handle)}
    told = {item.name: item.figure for item in drawn}
    with open("e/images.csv", newline="") as handle:
        for row in csv.DictReader(handle):
            assert told[row["name"]] == f"IoU {float(row['iou']):.3f} at 32x32, p > 0.4"
            assert float(ious[row["name"]]) == pytest.approx(float(row["iou"]), abs=1e-6)
    assert all((item.truth > 0).sum() == 3 for item in drawn)
