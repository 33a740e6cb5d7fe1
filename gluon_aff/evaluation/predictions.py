"""A network's predictions on a test set, image by image, and the figures that follow from them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Iterable, List, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError, UsageError
from ..utils.console import progress
from ..utils.logits import check_finite

TOP = 5


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of every image its label, the predicted class and the label's rank.

    Attributes
    ----------
    labels, predicted : array
        int64 (N,): the true class, and the class of the largest logit.
    ranks : array
        int64 (N,): how many classes come before the label; 0 where it has the largest logit. Of equal logits the
        lower class number comes first.
    outputs : int
        Width of the network's head.
    seconds : float
        Duration of the pass, reading included.
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
        """The predictions of some images, in the order of ``indices``, which may repeat."""
        return Predictions(
            self.labels[indices], self.predicted[indices], self.ranks[indices], self.outputs, self.seconds
        )

    def confusion(self, classes: int) -> np.ndarray:
        """Counts, int64 (classes, classes + 1): images of a class (row) that were predicted as each class (column).

        The last column is for any other class; there are some where the head is wider than the labels need.
        """
        counts = np.zeros((classes, classes + 1), dtype=np.int64)
        np.add.at(counts, (self.labels, np.minimum(self.predicted, classes)), 1)
        return counts


def predict(
    net: mx.gluon.Block,
    batches: Iterable[Tuple[np.ndarray, np.ndarray]],
    devices: Sequence[mx.Context],
    total: int,
    check_outputs: Optional[Callable[[int], None]] = None,
) -> Predictions:
    """Run batches through a network.

    Parameters
    ----------
    net : Block
        Its weights lie on ``devices``.
    batches : iterable of tuple of array
        (x, y): float32 (N, C, H, W) and int64 (N,).
    devices : sequence of Context
        Each gets a part of every batch.
    total : int
        Number of batches, for the progress bar.
    check_outputs : callable, optional
        Called once with the width of the head, as soon as it is known; it may raise.

    Raises
    ------
    UsageError
        For a label outside the head.
    GluonAFFError
        For logits that are not finite, and when there is not a single image.
    """
    began = time.perf_counter()
    pending: deque = deque()
    parts: List[Tuple[np.ndarray, ...]] = []
    outputs = 0
    for x, y in progress(batches, total, "evaluating"):
        logits = [net(data) for data in mx.gluon.utils.split_and_load(x, devices[: len(x)], even_split=False)]
        if check_outputs and not outputs:
            check_outputs(logits[0].shape[1])
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
    check_finite(scores)
    own = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(scores.shape[1]) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return labels, scores.argmax(axis=1), ranks
