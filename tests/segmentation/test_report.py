"""Files of a segmentation's report say what the score says."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.segmentation.report import segmentation_report
from gluon_aff.segmentation.scores import ClassScore, SegmentationScore


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A score of twelve images, and where its report is."""
    random, score, directory = np.random.RandomState(0), SegmentationScore(), tmp_path_factory.mktemp("report")
    for number in range(12):
        truth = np.zeros((1, 1, 32, 40))
        truth[0, 0, 4 : 8 + number, 5 : 9 + number] = 1.0
        logits = 4 * np.roll(truth, 1, axis=2) - 2 + random.randn(*truth.shape)
        score.add(logits, truth, [f"set|{number}"], [(64, 80)])
    paths = segmentation_report(score, {"command": "train_seg.py --eval", "seed": 3}).write(directory)
    assert [path.name for path in paths] == ["report.json", "images.csv", "report.md", "curves.png", "sizes.png"]
    assert sorted(paths) == sorted(directory.iterdir())
    return score, directory


def test_json_holds_figures_curves_and_facts(report):
    score, directory = report
    found = json.loads((directory / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert {name: found[name] for name in score.result()} == score.result()
    assert found["facts"] == {"command": "train_seg.py --eval", "seed": 3}
    assert found["iou_interval"] == list(score.iou_interval)
    assert found["roc_area"] == score.curves.roc_area
    assert [group["objects"] for group in found["sizes"]] == [group.objects for group in score.sizes]
    assert {len(curve) for curve in found["curves"].values()} == {len(score.curves.logits)}


def test_a_row_for_each_image(report):
    score, directory = report
    with open(directory / "images.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["name"] for row in rows] == [image.name for image in score.images]
    for row, image in zip(rows, score.images):
        assert (row["original_height"], row["scored_width"]) == ("64", "40")
        assert int(row["intersection"]) / int(row["union"]) == pytest.approx(image.iou)
        assert float(row["iou"]) == pytest.approx(image.iou, abs=1e-6)


def test_markdown_has_the_figures_and_the_worst_images(report):
    score, directory = report
    text = (directory / "report.md").read_text()
    for name, figure, span in (("IoU", score.iou, score.iou_interval), ("nIoU", score.niou, score.niou_interval)):
        assert f"| {name} | {figure:.4f} (95 %: {span[0]:.4f} to {span[1]:.4f}) |" in text
    assert "command: train_seg.py --eval  " in text
    assert "The 10 images of lowest IoU (images.csv has all 12)" in text
    worst = min(score.images, key=lambda image: image.iou)
    name = worst.name.replace("|", r"\|")
    assert f"| {name} | 80x64 |" in text
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("| set")}
    assert widths == {7}


def test_plots_are_pictures(report):
    for name in ("curves.png", "sizes.png"):
        with Image.open(report[1] / name) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 200 and pixels.std() > 10


def test_lines_for_a_terminal(report):
    found = segmentation_report(report[0], {"data": "12 images"}).lines()
    assert found[0] == "data           12 images"
    assert found[1] == "counted at     40x32, p > 0.5" and found[2].split()[:3] == [
        "IoU",
        f"{report[0].iou:.4f}",
        "(95",
    ]
    assert any(line.startswith("small    under 32² px ") for line in found)


def test_the_best_threshold_is_the_one_that_scores_so():
    random, truth = np.random.RandomState(0), np.zeros((2, 1, 24, 24))
    truth[:, :, 8:16, 8:14] = 1
    logits = (6 * truth - 5 + 1.5 * random.randn(*truth.shape)).astype(np.float32)
    score = SegmentationScore()
    score.add(logits, truth, ["a", "b"])
    p, iou = score.curves.best
    assert p < 0.5 and iou > score.iou
    (line,) = [line for line in segmentation_report(score, {}).lines() if line.startswith("best threshold")]
    stated = line.split("p > ")[1].split(":")[0]
    again = SegmentationScore(threshold=float(stated))
    again.add(logits, truth, ["a", "b"])
    assert again.iou == pytest.approx(iou, abs=1e-3) and f"IoU {iou:.4f}, chosen on these images" in line
    assert f"counted at     24x24, p > {stated}" in segmentation_report(again, {}).lines()
    with pytest.raises(UsageError, match="`threshold` 1"):
        SegmentationScore(threshold=1)


def test_sets_without_foreground_or_background_and_perfect_ones_are_reported(tmp_path):
    for value in (0.0, 1.0):
        score = SegmentationScore()
        score.add(np.full((1, 1, 8, 8), -1.0), np.full((1, 1, 8, 8), value), ["a"])
        segmentation_report(score, {}).write(tmp_path / str(value))
        found = json.loads((tmp_path / str(value) / "report.json").read_text())
        assert found["roc_area"] is None and found["iou"] == 1 - value
    truth, score = np.eye(8)[None, None], SegmentationScore()
    score.add(40 * truth - 20, truth, ["a"])
    found = segmentation_report(score, {}).to_json()
    assert (found["iou"], found["average_precision"], found["roc_area"]) == (1, 1, 1)


@pytest.mark.parametrize("score", [SegmentationScore(), ClassScore(2)])
def test_without_images_nothing_is_written(tmp_path, score):
    with pytest.raises(GluonAFFError, match="not a single image"):
        segmentation_report(score, {}).write(tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_a_report_of_several_classes(tmp_path):
    score, random = ClassScore(4, ["ground", "cat", "dog|wolf", "eel"]), np.random.RandomState(0)
    score.add(random.randn(3, 4, 5, 6), random.randint(0, 3, (3, 1, 5, 6)), [])
    report = segmentation_report(score, {"weights": "w.params", "data": "3 images"})
    assert f"mIoU           {score.miou:.4f}" in report.lines() and "absent         eel" in report.lines()
    assert f"mIoU, present  {score.miou * 4 / 3:.4f}" in report.lines()
    paths = report.write(tmp_path)
    assert [path.name for path in paths] == ["report.json", "classes.csv", "confusion.csv", "report.md", "classes.png"]
    found = json.loads(paths[0].read_text())
    assert found["confusion"] == score.counts.tolist() and found["miou"] == score.miou
    assert paths[2].read_text().splitlines()[0] == "truth,ground,cat,dog|wolf,eel"
    assert "dog\\|wolf" in paths[3].read_text()
