"""Arithmetic on logits as NumPy arrays: softmax, resizing, confusion, IoU."""

from __future__ import annotations

import warnings

import numpy as np

from ..errors import GluonAFFError, UsageError

_UNSETTLED = 1e6  # of a trained network they stay below some hundreds


def check_finite(logits: np.ndarray) -> None:
    """Raise GluonAFFError for logits that are not finite numbers; warn of very large ones."""
    if not np.isfinite(logits).all():
        raise GluonAFFError(
            "the network's logits are not finite numbers: the weights are damaged or of another network"
        )
    if logits.size and abs(logits).max() > _UNSETTLED:
        warnings.warn(
            f"logits beyond {_UNSETTLED:.0e}: the running statistics of batch normalisation are unsettled, as after "
            "few updates, so predictions and figures tell little; train longer",
            stacklevel=2,
        )


def softmax(logits: np.ndarray, axis: int) -> np.ndarray:
    """Return probabilities along ``axis``, without overflow."""
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def logit_of(probability: float) -> float:
    """Return the logit whose sigmoid is a probability. Raises UsageError unless that is between 0 and 1."""
    if not 0 < probability < 1:
        raise UsageError(f"`threshold` {probability}: expected a probability between 0 and 1")
    return float(np.log(probability / (1 - probability)))


def as_logits(probabilities: np.ndarray) -> np.ndarray:
    """Return finite logits whose softmax over axis 1, or whose sigmoid for maps of one class (N, 1, H, W), these are.

    The latter are -16.6 to 16.6, as far as float32 tells probabilities from 1.
    """
    limits = np.finfo(np.float32)
    if probabilities.ndim == 4 and probabilities.shape[1] == 1:
        inner = np.clip(probabilities, limits.epsneg, 1 - limits.epsneg)
        return np.log(inner) - np.log1p(-inner)
    return np.log(np.maximum(probabilities, limits.tiny))


def resized_logits(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize maps of logits (classes, h, w) to (classes, height, width), bilinear."""
    import cv2

    return np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_LINEAR) for each in logits])


def confusion(found: np.ndarray, true: np.ndarray, classes: int, ignored: int) -> np.ndarray:
    """Count pixels, int64 (classes, classes), a row for each true class, without those whose truth is ``ignored``."""
    counts = true != ignored
    pairs = true[counts].astype(np.int64) * classes + found[counts]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def class_ious(counts: np.ndarray) -> np.ndarray:
    """Return the IoU per class of a `confusion`, 0 for one in neither truth nor prediction; the mIoU is their mean."""
    hits = np.diag(counts)
    return hits / np.maximum(counts.sum(axis=0) + counts.sum(axis=1) - hits, 1)
