"""Pd and Fa of hand-made masks."""

import csv
import json
import sys

import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.segmentation import report
from gluon_aff.segmentation.report import segmentation_report
from gluon_aff.segmentation.scores import SegmentationScore
from gluon_aff.segmentation.targets import TargetScore

SIDE = 40


def mask(*squares):
    """Squares of (row, column, side)."""
    made = np.zeros((SIDE, SIDE), dtype=bool)
    for row, column, side in squares:
        made[row : row + side, column : column + side] = True
    return made


def scored(*pairs, hit=4.0, miss=-4.0):
    score = SegmentationScore(targets=TargetScore())
    for number, (truth, found) in enumerate(pairs):
        logits = np.where(found, hit, miss)[None, None].astype(np.float32)
        score.add(logits, truth[None, None].astype(np.float32), [f"image {number}"])
    return score


@pytest.fixture(scope="module", autouse=True)
def package():
    pytest.importorskip("py_irstd_metrics")


def test_two_targets_one_missed_and_a_false_component():
    """The second image's component is too far from its target (4 pixels), so its pixels are a false alarm."""
    first = mask((5, 5, 4), (20, 20, 3)), mask((6, 6, 4), (30, 4, 5))
    second = mask((10, 10, 3)), mask((10, 14, 3))
    targets = scored(first, second).targets
    assert (targets.targets, targets.found, targets.false_alarms) == (3, 1, 2)
    assert targets.pd == pytest.approx(1 / 3) and targets.fa == pytest.approx((25 + 9) / (2 * SIDE**2))
    assert targets.images == [("image 0", 2, 1, 1, 25), ("image 1", 1, 0, 1, 9)]


@pytest.mark.parametrize(("away", "found"), [(2, 1), (3, 0)])
def test_a_centroid_is_near_within_less_than_three_pixels(away, found):
    assert scored((mask((10, 10, 3)), mask((10, 10 + away, 3)))).targets.found == found


def test_pixels_that_touch_at_a_corner_are_one_target_and_a_component_finds_one_only():
    corner = mask((10, 10, 1), (11, 11, 1))
    assert scored((corner, corner)).targets.targets == 1
    close = mask((10, 10, 1), (10, 12, 1))
    targets = scored((close, mask((10, 11, 1)))).targets
    assert (targets.targets, targets.found, targets.fa) == (2, 1, 0)


def test_the_curve_goes_over_whole_logits():
    found = scored((mask((5, 5, 4)), mask((5, 5, 4), (30, 30, 2))), hit=2.5).targets
    at = {int(logit): (pd, fa) for logit, pd, fa in zip(found.logits, found.pd_curve, found.fa_curve)}
    assert at[3] == at[15] == (0, 0) and at[2] == at[0] == at[-4] == (1, pytest.approx(4 / SIDE**2))
    assert at[-5] == (0, 1)  # all of the image is one component, its centroid far from the target's


def test_the_threshold_is_logit_zero_to_the_bit():
    tiny = np.float32(1e-30)
    assert scored((mask((5, 5, 4)), mask((5, 5, 4))), hit=tiny, miss=-tiny).targets.found == 1
    nothing = scored((mask((5, 5, 4)), mask((5, 5, 4))), hit=0.0).targets
    assert (nothing.pd, nothing.fa) == (0, 0)


def test_the_report_has_them(tmp_path):
    score = scored((mask((5, 5, 4), (20, 20, 3)), mask((6, 6, 4), (30, 4, 5))))
    made = segmentation_report(score, {})
    lines = "\n".join(made.lines())
    assert "Pd             0.5000 (1 of 2 targets)" in lines and "Fa             0.01562 (false components: 1)" in lines
    paths = made.write(tmp_path)
    assert [path.name for path in paths][3:] == ["curves.png", "sizes.png", "targets.csv"]
    found = json.loads(paths[0].read_text())
    assert (found["pd"], found["fa"]) == (0.5, 25 / SIDE**2)
    assert (found["targets"]["targets"], found["targets"]["found"], found["targets"]["false_alarms"]) == (2, 1, 1)
    curve = found["targets"]["curve"]
    assert curve["pd"][curve["logit"].index(0)] == 0.5 and len(curve["fa"]) == len(curve["logit"])
    with open(tmp_path / "targets.csv", newline="") as handle:
        assert list(csv.reader(handle))[1] == ["image 0", "2", "1", "1", "25"]
    assert "| Pd | 0.5000 (1 of 2 targets) |" in (tmp_path / "report.md").read_text()


def test_the_curve_shows_where_there_is_no_false_alarm(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "write_figure", lambda figure, path: drawn.append(figure))
    report.plot_curves(scored((mask((5, 5, 4)), mask((5, 5, 4)))), "", tmp_path / "curves.png")
    axes = drawn[0].axes[3]
    assert axes.lines[1].get_xydata().tolist() == [[0, 1]] and axes.get_xlim()[0] < 0
    assert axes.get_legend_handles_labels()[1] == ["p > 0.5: Pd 1.0000, Fa 0"]


def test_sets_without_targets_are_reported(tmp_path):
    made = segmentation_report(scored((mask(), mask((5, 5, 4)))), {})
    assert any(line.startswith("Pd             - (0 of 0 targets)") for line in made.lines())
    assert json.loads(made.write(tmp_path)[0].read_text())["pd"] is None


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py_irstd_metrics", None)
    with pytest.raises(GluonAFFError, match=r"pip install 'gluon_aff\[irst\]'"):
        TargetScore()
