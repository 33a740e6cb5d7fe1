"""Losses and training metrics of segmentation, on logits (B, K, H, W) of one device; float16 is computed in float32.

Of foreground and background there is one logit per pixel, and targets are 0/1 of the same shape. Of several classes
there are K, for a softmax; targets are class numbers (B, 1, H, W). Either are `IGNORED` where a pixel does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple

import numpy as np

from ..data.decoding import IGNORED

if TYPE_CHECKING:
    import mxnet as mx

Loss = Callable[["mx.nd.NDArray", "mx.nd.NDArray"], "mx.nd.NDArray"]


def soft_iou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return 1 − (Σpt + 1) / (Σp + Σt − Σpt + 1), p = sigmoid(logit), sums over the whole batch; B times that value.

    The mean over images, and its gradient, are thus those of the batch's one loss. It is the siblings' SoftIoU: a
    target of a few pixels weighs as much as its pixels, an image without any is no special case.
    """
    both, either = _overlap(output, target, axis=None)
    return (1 - (both + 1) / (either - both + 1)).broadcast_to((len(output),))


def soft_iou_per_image(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """As `soft_iou`, sums over each image and 0.1 in the place of 1: every image weighs the same, however small its
    target."""
    both, either = _overlap(output, target, axis=(1, 2, 3))
    return 1 - (both + 0.1) / (either - both + 0.1)


def dice(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return 1 − (2 Σpt + 1) / (Σp + Σt + 1), sums over the whole batch; B times that value (see `soft_iou`).

    The overlap of Milletari et al. (V-Net, 2016) without their squares. F1 where `soft_iou` is IoU.
    """
    both, either = _overlap(output, target, axis=None)
    return (1 - (2 * both + 1) / (either + 1)).broadcast_to((len(output),))


def binary_cross_entropy(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return −t log p − (1 − t) log(1 − p) = log(1 + exp(logit)) − t·logit, a mean over each image's pixels.

    An image none of whose pixels count has loss 0.
    """
    import mxnet as mx

    (target, counts), logits = _counted(target), _precise(output)
    losses = (mx.nd.Activation(logits, "softrelu") - target * logits) * counts
    pixels = counts.size / len(counts)
    return losses.mean(axis=(1, 2, 3)) * (pixels / mx.nd.maximum(counts.sum(axis=(1, 2, 3)), 1))


#: Of (output, target), both (B, 1, H, W): the loss of each image, (B,), whose mean is that of the batch.
LOSSES: Dict[str, Loss] = {
    "softiou": soft_iou,
    "softiou_per_image": soft_iou_per_image,
    "bce": binary_cross_entropy,
    "dice": dice,
}

#: Of several classes there is one loss, `softmax_cross_entropy`.
CLASS_LOSS = "ce"


def softmax_cross_entropy(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return −log p of the true class, p = softmax(logits): a mean over the pixels of each image that count, (B,).

    An image none of whose pixels count has loss 0.
    """
    import mxnet as mx

    logits = _precise(output)
    target = target.astype(logits.dtype)
    counts = target != IGNORED
    chosen = mx.nd.pick(mx.nd.log_softmax(logits, axis=1), (target * counts).squeeze(axis=1), axis=1, keepdims=True)
    return -(chosen * counts).sum(axis=(1, 2, 3)) / mx.nd.maximum(counts.sum(axis=(1, 2, 3)), 1)


def batch_iou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, int]:
    """Training metric: foreground IoU of the batch on a device (logit > 0), as a sum over its images, and their number.

    Over an epoch it is the mean of the batches' IoU, weighted by images. A batch with neither truth nor prediction
    counts as 1.
    """
    target, counts = _counted(target.astype("float32"))
    both, union = _both_and_union((output > 0).astype("float32") * counts, (target > 0.5).astype("float32"))
    empty = union == 0
    return (both + empty) / (union + empty) * len(output), len(output)


def batch_miou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, int]:
    """Training metric: mean IoU of the batch on a device, as a sum over its images, and their number.

    The mean is over the classes that are in the batch's truth or prediction; over an epoch it is the mean of the
    batches, weighted by images.
    """
    import mxnet as mx

    found, true = output.argmax(axis=1, keepdims=True).astype("float32"), target.astype("float32")
    counts = true != IGNORED
    total, present = mx.nd.zeros((1,), ctx=output.ctx), mx.nd.zeros((1,), ctx=output.ctx)
    for number in range(output.shape[1]):
        both, union = _both_and_union((found == number) * counts, (true == number) * counts)
        total = total + both / mx.nd.maximum(union, 1)
        present = present + (union > 0)
    return total / mx.nd.maximum(present, 1) * len(output), len(output)


def _overlap(output: mx.nd.NDArray, target: mx.nd.NDArray, axis: Any) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """Σpt and Σp + Σt."""
    t, counts = _counted(target)
    p = _precise(output).sigmoid() * counts
    return (p * t).sum(axis=axis), (p + t).sum(axis=axis)


def _counted(target: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """The target with 0 where a pixel does not count, and 1 for those that do."""
    target = _precise(target)
    counts = target != IGNORED
    return target * counts, counts


def _both_and_union(found: mx.nd.NDArray, true: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    both = (found * true).sum()
    return both, found.sum() + true.sum() - both


def _precise(array: mx.nd.NDArray) -> mx.nd.NDArray:
    return array.astype("float32") if array.dtype == np.float16 else array
