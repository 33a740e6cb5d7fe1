"""Segmentation's figures against plain NumPy, GluonCV and scikit-learn."""

import time

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.segmentation import scores
from gluon_aff.segmentation.scores import (
    ClassScore,
    SegmentationScore,
    size_groups,
    true_objects,
    vanished_objects,
    vanished_text,
)


def random_batch(seed, images=3, height=20, width=24):
    """Blobs that are found more or less; a whole number of threshold steps off the thresholds by half a step."""
    random = np.random.RandomState(seed)
    truth = random.rand(images, 1, height, width) < 0.1
    logits = 4.0 * truth - 3.0 + 2.0 * random.randn(images, 1, height, width)
    return (np.round(logits * 8) / 8 - 1 / 16).astype(np.float32), truth.astype(np.float32)


@pytest.fixture(scope="module")
def scored():
    batches = [random_batch(seed) for seed in range(4)]
    score = SegmentationScore()
    for number, (logits, truth) in enumerate(batches):
        score.add(logits, truth, [f"{number}-{index}" for index in range(len(logits))])
    logits, truth = (np.concatenate(column) for column in zip(*batches))
    return score, logits, truth > 0


def from_masks(found, truth):
    """The score of one image, given as strings: # is foreground."""
    masks = [np.array([[c == "#" for c in row] for row in rows]) for rows in (found, truth)]
    score = SegmentationScore()
    score.add(np.where(masks[0], 1.0, -1.0)[None, None], masks[1][None, None], ["a"])
    return score


def test_figures_are_their_definitions(scored):
    score, logits, truth = scored
    found = logits > 0
    both, either = (found & truth).sum(axis=(1, 2, 3)), (found | truth).sum(axis=(1, 2, 3))
    assert score.counts.tolist() == [
        [(~found & ~truth).sum(), (found & ~truth).sum()],
        [(~found & truth).sum(), both.sum()],
    ]
    assert score.iou == pytest.approx(both.sum() / either.sum())
    assert score.niou == pytest.approx((both / either).mean())
    assert score.pixel_accuracy == pytest.approx((found == truth).mean())
    assert [image.name for image in score.images][:4] == ["0-0", "0-1", "0-2", "1-0"]
    assert [image.iou for image in score.images] == pytest.approx(list(both / either))
    assert [image.predicted for image in score.images] == found.sum(axis=(1, 2, 3)).tolist()
    expected = {"iou": score.iou, "niou": score.niou, "pixel_accuracy": score.pixel_accuracy, "miou": score.miou}
    assert score.result() == {**expected, "images": 12}


@pytest.mark.parametrize("case", ["random", "no truth", "no prediction", "neither", "all"])
def test_miou_and_accuracy_are_gluoncvs(case):
    metrics = pytest.importorskip("gluoncv.utils.metrics.segmentation")
    theirs, ours = metrics.SegmentationMetric(2), SegmentationScore()
    for seed in range(3):
        logits, truth = random_batch(seed)
        if case in ("no truth", "neither"):
            truth[:] = 0
        if case in ("no prediction", "neither"):
            logits[:] = -1
        if case == "all":
            truth[:], logits[:] = 1, 1
        two_classes = np.concatenate([np.zeros_like(logits), logits], axis=1)
        theirs.update(mx.nd.array(truth[:, 0]), mx.nd.array(two_classes))
        ours.add(logits, truth, ["a", "b", "c"])
    assert [ours.pixel_accuracy, ours.miou] == pytest.approx(list(theirs.get()))


def test_areas_are_scikit_learns(scored):
    metrics = pytest.importorskip("sklearn.metrics")
    score, logits, truth = scored
    assert score.curves.average_precision == pytest.approx(
        metrics.average_precision_score(truth.ravel(), logits.ravel())
    )
    assert score.curves.roc_area == pytest.approx(metrics.roc_auc_score(truth.ravel(), logits.ravel()))


def test_curves_are_counts_at_their_thresholds(scored):
    score, logits, truth = scored
    curves = score.curves
    for index in range(0, len(curves.logits), 7):
        found = logits > curves.logits[index]
        assert curves.hits[index] == (found & truth).sum()
        assert curves.false_alarms[index] == (found & ~truth).sum()
        assert curves.iou[index] == pytest.approx((found & truth).sum() / (found | truth).sum())
    middle = int(np.flatnonzero(curves.logits == 0)[0])
    assert curves.thresholds[middle] == 0.5 and curves.iou[middle] == pytest.approx(score.iou)


def test_a_logit_of_zero_is_background_and_the_least_above_is_not():
    score = SegmentationScore()
    score.add(np.array([0, 1e-12, -1e-12, 1e30, -1e30]).reshape(1, 1, 1, 5), np.ones((1, 1, 1, 5)), ["a"])
    assert score.images[0].intersection == 2
    assert score.curves.hits[score.curves.logits == 0] == 2
    assert score.curves.hits[[0, -1]].tolist() == [1, 4]


def test_nothing_to_find_and_nothing_found_is_right():
    score = from_masks(["..", ".."], ["..", ".."])
    assert (score.iou, score.niou, score.pixel_accuracy) == (1, 1, 1)
    assert score.curves.average_precision is score.curves.roc_area is None
    score = from_masks(["#.", ".."], ["..", ".."])
    assert (score.iou, score.niou, score.stray_pixels) == (0, 0, 1)


# Objects -------------------------------------------------------------------------------------------------------------


def test_pixels_that_do_not_count_are_in_no_figure():
    logits, truth = random_batch(1)
    part, whole = SegmentationScore(), SegmentationScore()
    names = ["a", "b", "c"]
    whole.add(
        np.concatenate([logits, np.full_like(logits, 5)], axis=2),
        np.pad(truth, [(0, 0), (0, 0), (0, 20), (0, 0)], constant_values=255),
        names,
    )
    part.add(logits, truth, names)
    assert whole.result() == part.result() and whole.counts.tolist() == part.counts.tolist()
    assert (whole.curves.average_precision, whole.curves.roc_area) == (
        part.curves.average_precision,
        part.curves.roc_area,
    )
    assert [each[1:] for each in whole.objects] == [each[1:] for each in part.objects]


def test_objects_touch_at_corners_and_take_the_nearest_false_alarms():
    found = ["##......", "........", "......##", "#......."]
    truth = ["#.......", ".#......", ".......#", "........"]
    score = from_masks(found, truth)
    first, second = score.objects
    assert (first.area, first.intersection, first.union) == (2, 1, 4)  # the alarms beside and below it
    assert (second.area, second.intersection, second.union) == (1, 1, 2)


def test_objects_of_random_images_add_up_to_them(scored):
    score = scored[0]
    assert sum(image.objects for image in score.images) == len(score.objects) > 50
    assert sum(o.intersection for o in score.objects) == sum(image.intersection for image in score.images)
    assert sum(o.union for o in score.objects) == sum(image.union for image in score.images)


def test_sizes_are_grouped_by_original_area():
    """An 8x8 mask of a 16x32 image: each pixel is eight of the original."""
    truth = np.zeros((1, 1, 8, 8))
    truth[0, 0, 0, 0], truth[0, 0, 0, 4:6], truth[0, 0, 4:8, 0:8] = 1, 1, 1
    logits = np.full_like(truth, -1)
    logits[0, 0, 0, 4], logits[0, 0, 4:8, 0:4] = 1, 1
    score = SegmentationScore(size_limits=(16, 256))
    score.add(logits, truth, ["a"], [(16, 32)])
    small, medium, large = score.sizes
    assert [group.objects for group in score.sizes] == [1, 1, 1]
    assert (small.iou, small.recall, small.detected) == (0, 0, 0)
    assert (medium.iou, medium.recall, medium.detected) == (0.5, 0.5, 1)
    assert (large.smallest, large.limit, large.iou) == (256, None, 0.5)
    assert (score.images[0].original_height, score.images[0].scored_height) == (16, 8)


def test_objects_between_the_pixels_of_a_smaller_mask_have_vanished():
    mask = np.zeros((8, 12), np.uint8)
    mask[0, 0] = mask[3, 3] = mask[4:8, 6:10] = 1  # rows and columns 1, 3, 5, ... are kept
    mask[0, 11] = 255  # counts nowhere
    assert vanished_objects(mask, 4, 6) == (1, 3) and vanished_objects(mask, 16, 24) == (0, 3)
    assert vanished_text([(1, 3), (0, 2)], 4, 6).startswith("1 of 5 targets have no pixel at 6x4")
    assert vanished_text([(0, 3)], 4, 6) == vanished_text([], 4, 6) == ""


def test_groups_weigh_pixels_and_objects():
    truth = np.zeros((4, 9), dtype=bool)
    truth[:, :3], truth[0, 8] = True, True
    found = truth.copy()
    found[0, 8] = False
    small = size_groups(true_objects(truth, found))[0]
    assert (small.iou, small.object_iou, small.objects, small.detected) == (12 / 13, 0.5, 2, 1)
    assert (size_groups([])[2].iou, size_groups([])[2].objects) == (None, 0)


def test_intervals_are_over_images(monkeypatch):
    """Of a range of sizes over the images that have such objects; an object more in an image makes no image more."""
    asked = []
    monkeypatch.setattr(scores, "quotient_interval", lambda *given: asked.append(given))
    score = SegmentationScore((5, 100))
    truth = np.zeros((3, 1, 16, 16))
    truth[0, 0, 1:3, 1:3] = truth[0, 0, 8:10, 8:10] = truth[1, 0, 4:6, 4:6] = 1  # two small objects, and one
    truth[2, 0, 2:6, 2:6] = 1  # a medium one
    logits = np.where(truth > 0, 1.0, -1.0)
    logits[0, 0, 8, 8] = -1.0
    score.add(logits, truth, ["a", "b", "c"])
    assert [group.objects for group in score.sizes] == [3, 1, 0]
    assert [tuple(map(tuple, each)) for each in asked] == [((7, 4), (8, 4)), ((16,), (16,)), ((), ())]


def test_a_test_set_is_scored_in_seconds():
    """86 images of 256x256 with three objects each: about half a second of one core, so that each epoch can."""
    logits = np.full((86, 1, 256, 256), -5, np.float32)
    truth = np.zeros_like(logits)
    for place in (20, 90, 200):
        truth[:, 0, place : place + 5, place : place + 4] = 1
        logits[:, 0, place + 1 : place + 7, place : place + 4] = 3
    score, began = SegmentationScore(), time.process_time()
    score.add(logits, truth, list(range(86)))
    assert time.process_time() - began < 3
    assert len(score.objects) == 258


# Several classes -----------------------------------------------------------------------------------------------------


def test_figures_of_classes_are_gluoncvs():
    """Every class counts, the background included, absent ones as 0; ignored pixels nowhere."""
    random = np.random.RandomState(0)
    logits, truth = random.randn(3, 5, 5, 6), random.randint(0, 3, (3, 1, 5, 6))
    logits[:, 4] = -99
    truth[0, 0, :2] = truth[2] = 255
    score = ClassScore(5, ["ground", "a", "b", "c", "d"])
    for part in (slice(0, 1), slice(1, 3)):
        score.add(logits[part], truth[part].astype(np.float32), [])
    counts = truth[:, 0] != 255
    found, true = logits.argmax(axis=1)[counts], truth[:, 0][counts]
    both = np.array([((true == k) & (found == k)).sum() for k in range(5)])
    union = np.array([((true == k) | (found == k)).sum() for k in range(5)])
    assert union[4] == 0 and score.absent == ["c", "d"]
    np.testing.assert_allclose(score.class_iou, both / np.maximum(union, 1))
    assert score.miou == pytest.approx(sum(both / np.maximum(union, 1)) / 5)
    assert score.result()["present_miou"] == pytest.approx(sum(both / np.maximum(union, 1)) / 3)
    assert score.pixel_accuracy == pytest.approx((true == found).mean())
    assert score.result()["images"] == 3 and score.counts.sum() == len(true)


@pytest.mark.parametrize("score, channels", [(SegmentationScore(), 1), (ClassScore(4), 4)])
def test_wrong_input_is_refused(score, channels):
    ones, truth = np.ones((2, channels, 4, 4)), np.ones((2, 1, 4, 4))
    with pytest.raises(GluonAFFError, match="not a single image"):
        score.result()
    with pytest.raises(ValueError, match=rf"expected .B, {channels}, h, w. and .B, 1, h, w."):
        score.add(ones, truth[:, 0], ["a", "b"])
    with pytest.raises(GluonAFFError, match="not finite"):
        score.add(ones * np.nan, truth, ["a", "b"])
    if channels == 1:
        with pytest.raises(ValueError, match="2 images, 1 names"):
            score.add(ones, truth, ["a"])
        with pytest.raises(UsageError, match="two increasing areas"):
            SegmentationScore(size_limits=(100, 50))
