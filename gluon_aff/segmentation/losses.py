"""Losses and the training metric of segmentation into foreground and background: one logit per pixel.

Outputs are logits (B, 1, H, W), targets 0/1 of the same shape, on one device. float16 is computed in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, Tuple

import numpy as np

from ..errors import UsageError

if TYPE_CHECKING:
    import mxnet as mx

Loss = Callable[["mx.nd.NDArray", "mx.nd.NDArray"], "mx.nd.NDArray"]


def segmentation_loss(name: str) -> Loss:
    """A loss by its name.

    Returns
    -------
    callable
        (output, target), both (B, 1, H, W), to (B,), whose mean is the loss of the batch.

    Raises
    ------
    UsageError
        For a name that is not in LOSSES.
    """
    if name not in LOSSES:
        raise UsageError(f"there is no segmentation loss {name!r}: choose from {', '.join(sorted(LOSSES))}")
    return LOSSES[name]


def soft_iou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """1 − (Σpt + 1) / (Σp + Σt − Σpt + 1), p = sigmoid(logit), sums over the whole batch; that value B times.

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
    """1 − (2 Σpt + 1) / (Σp + Σt + 1), sums over the whole batch; that value B times (see `soft_iou`).

    The overlap of Milletari et al. (V-Net, 2016) without their squares. F1 where `soft_iou` is IoU.
    """
    both, either = _overlap(output, target, axis=None)
    return (1 - (2 * both + 1) / (either + 1)).broadcast_to((len(output),))


def binary_cross_entropy(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """−t log p − (1 − t) log(1 − p) = log(1 + exp(logit)) − t·logit, a mean over each image's pixels."""
    import mxnet as mx

    logits, target = _precise(output), _precise(target)
    return (mx.nd.Activation(logits, "softrelu") - target * logits).mean(axis=(1, 2, 3))


#: Of several classes, see `class_losses`.
CLASS_LOSS = "ce"

LOSSES: Dict[str, Loss] = {
    "softiou": soft_iou,
    "softiou_per_image": soft_iou_per_image,
    "bce": binary_cross_entropy,
    "dice": dice,
}


def batch_iou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, int]:
    """Training metric: foreground IoU of the batch on a device (logit > 0), as a sum over its images, and their number.

    Over an epoch it is the mean of the batches' IoU, weighted by images. A batch with neither truth nor prediction
    counts as 1.
    """
    found, true = output > 0, target > 0.5  # 0/1 in the arrays' types
    found, true = found.astype("float32"), true.astype("float32")
    both = (found * true).sum()
    union = found.sum() + true.sum() - both
    empty = union == 0
    return (both + empty) / (union + empty) * len(output), len(output)


def _overlap(output: mx.nd.NDArray, target: mx.nd.NDArray, axis: object) -> Tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """Σpt and Σp + Σt."""
    p, t = _precise(output).sigmoid(), _precise(target)
    return (p * t).sum(axis=axis), (p + t).sum(axis=axis)


def _precise(array: mx.nd.NDArray) -> mx.nd.NDArray:
    return array.astype("float32") if array.dtype == np.float16 else array
