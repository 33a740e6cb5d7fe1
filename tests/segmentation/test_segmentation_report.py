"""Files of a segmentation's report say what the score says."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError
from gluon_aff.segmentation.report import SegmentationReport
from gluon_aff.segmentation.scores import SegmentationScore


def scored(images=12, truth_value=1.0):
    random = np.random.RandomState(0)
    score = SegmentationScore()
    for number in range(images):
        truth = np.zeros((1, 1, 32, 40))
        truth[0, 0, 4 : 8 + number, 5 : 9 + number] = truth_value
        logits = 4 * np.roll(truth, 1, axis=2) - 2 + random.randn(*truth.shape)
        score.add(logits, truth, [f"set|{number}"], [(64, 80)])
    return score


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    score, directory = scored(), tmp_path_factory.mktemp("report")
    paths = SegmentationReport(score, {"command": "train_seg.py --eval", "seed": 3}).write(directory)
    return score, directory, paths


def test_five_files_and_no_others(report):
    _, directory, paths = report
    assert [path.name for path in paths] == ["report.json", "images.csv", "report.md", "curves.png", "sizes.png"]
    assert sorted(paths) == sorted(directory.iterdir())


def test_json_holds_figures_curves_and_facts(report):
    score, directory, _ = report
    found = json.loads((directory / "report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert {name: found[name] for name in score.result()} == score.result()
    assert found["facts"] == {"command": "train_seg.py --eval", "seed": 3}
    assert found["iou_interval"] == list(score.iou_interval)
    assert found["roc_area"] == score.curves.roc_area
    assert [group["objects"] for group in found["sizes"]] == [group.objects for group in score.sizes]
    assert {len(curve) for curve in found["curves"].values()} == {len(score.curves.logits)}


def test_a_row_for_each_image(report):
    score, directory, _ = report
    with open(directory / "images.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["name"] for row in rows] == [image.name for image in score.images]
    for row, image in zip(rows, score.images):
        assert (row["height"], row["scored_width"]) == ("64", "40")
        assert int(row["intersection"]) / int(row["union"]) == pytest.approx(image.iou)
        assert float(row["iou"]) == pytest.approx(image.iou, abs=1e-6)


def test_markdown_has_the_figures_and_the_worst_images(report):
    score, directory, _ = report
    text = (directory / "report.md").read_text()
    for name, figure, span in (("IoU", score.iou, score.iou_interval), ("nIoU", score.niou, score.niou_interval)):
        assert f"| {name} | {figure:.4f} (95 %: {span[0]:.4f} to {span[1]:.4f}) |" in text
    assert "command: train_seg.py --eval  " in text
    assert "The 10 images of lowest IoU (images.csv has all 12)" in text
    worst = min(score.images, key=lambda image: image.iou)
    name = worst.name.replace("|", r"\|")
    assert f"| {name} | 80 x 64 |" in text
    widths = {line.replace(r"\|", "").count("|") for line in text.splitlines() if line.startswith("| set")}
    assert widths == {7}


def test_plots_are_pictures(report):
    for path in report[2][3:]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert min(pixels.shape) > 200
        assert pixels.std() > 10


def test_lines_for_a_terminal():
    score = scored(3)
    found = SegmentationReport(score, {}).lines()
    assert found[0].split()[:3] == ["IoU", f"{score.iou:.4f}", "(95"]
    assert any(line.startswith("small    under 32² px ") for line in found)


def test_sets_without_foreground_or_background_are_reported(tmp_path):
    for number, value in enumerate((0.0, 1.0)):
        score = SegmentationScore()
        score.add(np.full((1, 1, 8, 8), -1.0), np.full((1, 1, 8, 8), value), ["a"])
        SegmentationReport(score, {}).write(tmp_path / str(number))
        found = json.loads((tmp_path / str(number) / "report.json").read_text())
        assert found["roc_area"] is None
        assert found["iou"] == 1 - value


def test_a_perfect_score_is_reported(tmp_path):
    truth = np.eye(8)[None, None]
    score = SegmentationScore()
    score.add(40 * truth - 20, truth, ["a"])
    SegmentationReport(score, {}).write(tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["iou"], found["average_precision"], found["roc_area"]) == (1, 1, 1)


def test_without_images_nothing_is_written(tmp_path):
    with pytest.raises(GluonAFFError, match="not a single image"):
        SegmentationReport(SegmentationScore(), {}).write(tmp_path)
    assert not list(tmp_path.iterdir())
