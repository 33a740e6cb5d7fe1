"""Loss and training metric of segmentation into several classes: a softmax over K logits per pixel.

Outputs are logits (B, K, H, W), targets class numbers (B, 1, H, W), `IGNORED` where a pixel does not count. float16 is
computed in float32.
"""

from __future__ import annotations

from typing import Tuple

import mxnet as mx
import numpy as np

from ..data.decoding import IGNORED


def softmax_cross_entropy(output: mx.nd.NDArray, target: mx.nd.NDArray) -> mx.nd.NDArray:
    """-log p of the true class, p = softmax(logits): a mean over the pixels of each image that count, (B,).

    An image none of whose pixels count has loss 0.
    """
    logits = output.astype("float32") if output.dtype == np.float16 else output
    target = target.astype(logits.dtype)
    counts = target != IGNORED
    chosen = mx.nd.pick(mx.nd.log_softmax(logits, axis=1), (target * counts).squeeze(axis=1), axis=1, keepdims=True)
    return -(chosen * counts).sum(axis=(1, 2, 3)) / mx.nd.maximum(counts.sum(axis=(1, 2, 3)), 1)


def batch_miou(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Tuple[mx.nd.NDArray, int]:
    """Training metric: mean IoU of the batch on a device, as a sum over its images, and their number.

    The mean is over the classes that are in the batch's truth or prediction; over an epoch it is the mean of the
    batches, weighted by images.
    """
    found, true = output.argmax(axis=1, keepdims=True).astype("float32"), target.astype("float32")
    counts = true != IGNORED
    total, present = mx.nd.zeros((1,), ctx=output.ctx), mx.nd.zeros((1,), ctx=output.ctx)
    for number in range(output.shape[1]):
        predicted, truth = (found == number) * counts, (true == number) * counts
        both = (predicted * truth).sum()
        union = predicted.sum() + truth.sum() - both
        total = total + both / mx.nd.maximum(union, 1)
        present = present + (union > 0)
    return total / mx.nd.maximum(present, 1) * len(output), len(output)
