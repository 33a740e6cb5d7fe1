"""What a network says of a test set, image by image, and the figures that follow from it."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Iterable, List, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from ..training.metrics import split_batch
from ..utils.console import progress

TOP = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """Per image, int64 (N,): its label, the class of the largest logit, and the label's rank (0 = largest logit).

    Of equal logits the lower class number comes first. ``outputs`` is the width of the network's head, ``seconds``
    what the pass took, reading included.
    """

    labels: np.ndarray
    predicted: np.ndarray
    ranks: np.ndarray
    outputs: int
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.labels)

    def hits(self, k: int = 1) -> int:
        """Images whose label is among the k largest logits."""
        return int((self.ranks < k).sum())

    def take(self, indices: np.ndarray) -> Predictions:
        """Those of some images, repeated as often as their index is."""
        return Predictions(
            self.labels[indices], self.predicted[indices], self.ranks[indices], self.outputs, self.seconds
        )

    def confusion(self, classes: int) -> np.ndarray:
        """int64 (classes, classes + 1): images of a class (row) called each class (column); last column: any other.

        There are others where the head is wider than the labels need.
        """
        counts = np.zeros((classes, classes + 1), dtype=np.int64)
        np.add.at(counts, (self.labels, np.minimum(self.predicted, classes)), 1)
        return counts


def predict(
    net: mx.gluon.Block,
    batches: Iterable[Tuple[np.ndarray, np.ndarray]],
    devices: Sequence[mx.Context],
    total: int,
) -> Predictions:
    """Run NumPy batches (x, y) through a network that lies on ``devices``. ``total`` batches are expected.

    Raises UsageError for a label outside the head and GluonAFFError for logits that are no numbers.
    """
    began = time.perf_counter()
    pending: deque = deque()
    parts: List[Tuple[np.ndarray, ...]] = []
    outputs = 0
    for x, y in progress(batches, total, "evaluating"):
        logits = [net(data) for data in split_batch(x, y, list(devices))[0]]
        outputs = logits[0].shape[1]
        if y.max() >= outputs or y.min() < 0:
            raise UsageError(
                f"an image has the label {int(y.max())}, but the head has {outputs} classes (0 to {outputs - 1}): "
                "choose the data set (and --labels) that the weights are for"
            )
        pending.append((logits, y))
        if len(pending) > 1:  # devices work on one batch while the one before is counted
            parts.append(_count(*pending.popleft()))
    parts += [_count(*waiting) for waiting in pending]
    if not parts:
        raise GluonAFFError("not a single image could be evaluated")
    labels, predicted, ranks = (np.concatenate(column) for column in zip(*parts))
    return Predictions(labels, predicted, ranks, outputs, time.perf_counter() - began)


def _count(logits: List[Any], labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    scores = np.concatenate([part.asnumpy() for part in logits]).astype(np.float32)
    if not np.isfinite(scores).all():
        raise GluonAFFError(
            "the network's logits are not finite numbers: the weights are damaged or of another network"
        )
    own = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(scores.shape[1]) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return labels, scores.argmax(axis=1), ranks
