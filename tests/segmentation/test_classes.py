"""Segmentation into several classes: loss, training metric and figures against NumPy's formulas; files written."""

import json

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from gluon_aff.errors import GluonAFFError
from gluon_aff.segmentation.losses import batch_miou, softmax_cross_entropy
from gluon_aff.segmentation.pictures import class_colours, class_overlay, write_class_predictions
from gluon_aff.segmentation.report import ClassReport
from gluon_aff.segmentation.scores import ClassScore

RANDOM = np.random.RandomState(0)
LOGITS = 2 * RANDOM.randn(3, 4, 5, 6)
TRUTH = RANDOM.randint(0, 3, (3, 1, 5, 6))  # no pixel is of class 3
TRUTH[0, 0, :2] = 255
TRUTH[2] = 255  # an image that does not count at all


def pixels():
    """(softmax scores, truth, image) of every pixel that counts."""
    powers = np.exp(LOGITS)
    scores = (powers / powers.sum(axis=1, keepdims=True)).transpose(0, 2, 3, 1)
    counts = TRUTH[:, 0] != 255
    return scores[counts], TRUTH[:, 0][counts], np.nonzero(counts)[0]


def test_loss_is_its_formula():
    scores, truth, image = pixels()
    losses = -np.log(scores[np.arange(len(truth)), truth])
    expected = [losses[image == number].mean() if (image == number).any() else 0 for number in range(3)]
    found = softmax_cross_entropy(mx.nd.array(LOGITS), mx.nd.array(TRUTH))
    np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-5)


def test_gradient_is_softmax_minus_truth():
    x = mx.nd.array(LOGITS)
    x.attach_grad()
    with mx.autograd.record():
        loss = softmax_cross_entropy(x, mx.nd.array(TRUTH)).sum()
    loss.backward()
    powers = np.exp(LOGITS)
    expected = powers / powers.sum(axis=1, keepdims=True)
    for number in range(4):
        expected[:, number] -= TRUTH[:, 0] == number
    counts = TRUTH != 255
    expected = expected * counts / np.maximum(counts.sum(axis=(1, 2, 3), keepdims=True), 1)
    np.testing.assert_allclose(x.grad.asnumpy(), expected, atol=1e-6)


def ious(truth, found, classes):
    both = [np.count_nonzero((truth == k) & (found == k)) for k in range(classes)]
    union = [np.count_nonzero((truth == k) | (found == k)) for k in range(classes)]
    return both, union


def test_training_metric_is_the_mean_over_classes_there():
    scores, truth, _ = pixels()
    both, union = ious(truth, scores.argmax(axis=1), 4)
    expected = np.mean([b / u for b, u in zip(both, union) if u])
    value, images = batch_miou(mx.nd.array(LOGITS), mx.nd.array(TRUTH))
    assert images == 3 and value.asscalar() == pytest.approx(3 * expected, rel=1e-6)


def test_figures_are_gluoncvs():
    """Every class counts, the background included, absent ones as 0; ignored pixels nowhere."""
    score = ClassScore(5, ["ground", "a", "b", "c", "d"])
    logits = np.concatenate([LOGITS, np.full((3, 1, 5, 6), -99.0)], axis=1)
    for part in (slice(0, 1), slice(1, 3)):
        score.add(logits[part], TRUTH[part].astype(np.float32), [])
    scores, truth, _ = pixels()
    found = scores.argmax(axis=1)
    both, union = ious(truth, found, 5)
    assert union[4] == 0 and score.absent == ["c", "d"]
    np.testing.assert_allclose(score.class_iou, np.array(both) / np.maximum(union, 1))
    assert score.miou == pytest.approx(sum(b / max(u, 1) for b, u in zip(both, union)) / 5)
    assert score.pixel_accuracy == pytest.approx((truth == found).mean())
    assert score.result()["images"] == 3 and score.counts.sum() == len(truth)


def test_what_is_no_batch():
    score = ClassScore(4)
    with pytest.raises(ValueError, match="expected .B, 4, h, w"):
        score.add(LOGITS[:, :3], TRUTH, [])
    with pytest.raises(GluonAFFError, match="not finite"):
        score.add(np.full_like(LOGITS, np.nan), TRUTH, [])
    with pytest.raises(GluonAFFError, match="not a single image"):
        ClassScore(4).result()


def test_a_report_and_its_files(tmp_path):
    score = ClassScore(4, ["ground", "cat", "dog|wolf", "eel"])
    score.add(LOGITS, TRUTH, [])
    report = ClassReport(score, {"weights": "w.params", "data": "3 images"})
    assert f"mIoU           {score.miou:.4f}" in report.lines() and "absent         eel" in report.lines()
    paths = report.write(tmp_path)
    assert [path.name for path in paths] == ["report.json", "classes.csv", "confusion.csv", "report.md", "classes.png"]
    found = json.loads(paths[0].read_text())
    assert found["confusion"] == score.counts.tolist() and found["miou"] == score.miou
    assert paths[2].read_text().splitlines()[0] == "truth,ground,cat,dog|wolf,eel"
    assert "dog\\|wolf" in paths[3].read_text()


def test_predictions_are_files_that_are_masks_again(tmp_path):
    found = np.arange(42, dtype=np.uint8).reshape(6, 7) % 4
    image = np.full((6, 7, 3), 90, np.uint8)
    items = [("a/b", image, None, found)] + [("c", image, found, found)] * 6
    sheets = write_class_predictions(tmp_path, items, ["ground", "cat", "dog", "eel"])
    assert [sheet.name for sheet in sheets] == ["sheet-01.png", "sheet-02.png"]
    assert len(list((tmp_path / "masks").iterdir())) == len(list((tmp_path / "overlays").iterdir())) == 7
    mask = Image.open(tmp_path / "masks/a_b.png")
    assert mask.mode == "P"
    np.testing.assert_array_equal(np.asarray(mask), found)
    np.testing.assert_array_equal(np.asarray(mask.convert("RGB")), class_colours()[found])
    over = class_overlay(image, found)
    np.testing.assert_array_equal(over[found == 0], image[found == 0])
    np.testing.assert_array_equal(over[found == 1], (image[found == 1].astype(int) + (128, 0, 0) + 1) // 2)


def test_colours_are_vocs_and_told_apart():
    colours = class_colours()
    assert colours[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert colours[15].tolist() == [192, 128, 128] and len(np.unique(colours, axis=0)) == 256
