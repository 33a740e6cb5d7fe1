"""Segmentation's losses and training metrics against NumPy's formulas and finite differences."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.segmentation.losses import LOSSES, batch_iou, batch_miou, softmax_cross_entropy

RANDOM = np.random.RandomState(0)
LOGITS = 3 * RANDOM.randn(3, 1, 4, 5)
TARGET = (RANDOM.rand(3, 1, 4, 5) < 0.3).astype(np.float64)
CLASS_LOGITS = 2 * RANDOM.randn(3, 4, 5, 6)
CLASS_TARGET = RANDOM.randint(0, 3, (3, 1, 5, 6))  # no pixel is of class 3
CLASS_TARGET[0, 0, :2] = 255
CLASS_TARGET[2] = 255  # an image that does not count at all


def soft_iou(p, t, smooth):
    return 1 - ((p * t).sum() + smooth) / (p.sum() + t.sum() - (p * t).sum() + smooth)


def cross_entropy(logits, t):
    powers = np.exp(logits)
    p = (powers / powers.sum(axis=1, keepdims=True)).transpose(0, 2, 3, 1)
    chosen = [-np.log(p[i][t[i, 0] != 255, t[i, 0][t[i, 0] != 255]]) for i in range(len(p))]
    return np.array([each.mean() if len(each) else 0 for each in chosen])


def expected(name, logits, t):
    p = 1 / (1 + np.exp(-logits))
    if name == "ce":
        return cross_entropy(logits, t)
    if name == "softiou":
        return np.repeat(soft_iou(p, t, 1), len(p))
    if name == "softiou_per_image":
        return np.array([soft_iou(p[i], t[i], 0.1) for i in range(len(p))])
    if name == "dice":
        return np.repeat(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1), len(p))
    return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=(1, 2, 3))


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_do_not_count_change_nothing(name):
    """Two rows of each image; the mean of `bce` is over the others."""
    found, gradients = [], []
    for values in (LOGITS, np.where(np.arange(4)[:, None] < 2, LOGITS, 9.0)):
        logits = mx.nd.array(values)
        logits.attach_grad()
        with mx.autograd.record():
            loss = LOSSES[name](logits, mx.nd.array(np.where(np.arange(4)[:, None] < 2, TARGET, 255)))
        loss.backward()
        found.append(loss.asnumpy())
        gradients.append(logits.grad.asnumpy())
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(*gradients)
    assert not gradients[0][:, :, 2:].any() and gradients[0][:, :, :2].all()
    np.testing.assert_allclose(found[0], expected(name, LOGITS[:, :, :2], TARGET[:, :, :2]), rtol=1e-5)
    whole, images = batch_iou(mx.nd.array(LOGITS), mx.nd.array(np.where(np.arange(4)[:, None] < 2, TARGET, 255)))
    part, _ = batch_iou(mx.nd.array(LOGITS[:, :, :2]), mx.nd.array(TARGET[:, :, :2]))
    assert whole.asscalar() == part.asscalar() and images == 3


@pytest.mark.parametrize("name", [*LOSSES, "ce"])
def test_loss_and_gradient_are_the_formulas(name):
    """As the loop takes it: backward from the values per image, divided by the images afterwards."""
    loss, values, target = LOSSES[name] if name != "ce" else softmax_cross_entropy, LOGITS, TARGET
    if name == "ce":
        values, target = CLASS_LOGITS[:, :, :3, :3], CLASS_TARGET[:, :, :3, :3]
    logits = mx.nd.array(values, dtype="float64")
    logits.attach_grad()
    with mx.autograd.record():
        found = loss(logits, mx.nd.array(target, dtype="float64"))
    found.backward()
    assert found.shape == (3,)
    np.testing.assert_allclose(found.asnumpy(), expected(name, values, target), rtol=1e-5)
    step, gradient = 1e-6, logits.grad.asnumpy()
    for place in np.ndindex(*values.shape):
        moved = np.zeros_like(values)
        moved[place] = step
        up, down = (expected(name, values + sign * moved, target).mean() for sign in (1, -1))
        assert gradient[place] / 3 == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_extreme_logits_and_empty_masks_stay_finite(name, dtype):
    logits = mx.nd.array(np.array([-1e4, -100, 0, 100, 1e4]).reshape(1, 1, 1, 5), dtype=dtype)
    for target in (mx.nd.zeros_like(logits), mx.nd.ones_like(logits)):
        logits.attach_grad()
        with mx.autograd.record():
            loss = LOSSES[name](logits, target)
        loss.backward()
        assert np.isfinite(loss.asnumpy()).all() and np.isfinite(logits.grad.asnumpy()).all()


def test_cross_entropy_is_exact_far_out_and_has_its_slope_at_zero():
    logits = mx.nd.array([[[[-80.0, 80.0, 0.0]]]])
    logits.attach_grad()
    with mx.autograd.record():
        loss = LOSSES["bce"](logits, mx.nd.array([[[[1.0, 0.0, 1.0]]]]))
    loss.backward()
    assert loss.asscalar() == pytest.approx((160 + np.log(2)) / 3)
    np.testing.assert_allclose(logits.grad.asnumpy().ravel() * 3, [-1, 1, -0.5], rtol=1e-6)


def test_float16_sums_do_not_overflow():
    """70 000 pixels are more than float16 can count."""
    ones = mx.nd.ones((1, 1, 250, 280), dtype="float16")
    for name in LOSSES:
        assert LOSSES[name](20 * ones, ones).asscalar() == pytest.approx(0, abs=1e-6)
    assert batch_iou(ones, ones)[0].asscalar() == 1


def test_batch_iou_is_the_batches_weighted_by_images():
    found, true = LOGITS > 0, TARGET > 0
    value, count = batch_iou(mx.nd.array(LOGITS), mx.nd.array(TARGET))
    assert count == 3
    assert value.asscalar() / count == pytest.approx((found & true).sum() / (found | true).sum(), rel=1e-6)
    value, count = batch_iou(mx.nd.array(-np.ones((2, 1, 3, 3))), mx.nd.zeros((2, 1, 3, 3)))
    assert value.asscalar() / count == 1  # nothing to find and nothing found


def test_batch_miou_is_the_mean_over_classes_there():
    counts = CLASS_TARGET[:, 0] != 255
    found, true = CLASS_LOGITS.argmax(axis=1)[counts], CLASS_TARGET[:, 0][counts]
    ious = [((found == k) & (true == k)).sum() / ((found == k) | (true == k)).sum() for k in range(4)]
    value, images = batch_miou(mx.nd.array(CLASS_LOGITS), mx.nd.array(CLASS_TARGET))
    assert images == 3 and value.asscalar() == pytest.approx(3 * np.mean(ious), rel=1e-6)
