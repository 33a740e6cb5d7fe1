"""The lines of a log between those of the epochs, as the authors' ImageNet logs have them."""

from __future__ import annotations

import time
from typing import Callable, List

from .listeners import BatchDone, Listener
from .metrics import Measured


class BatchLog(Listener):
    """``Epoch[0] Batch [49]	Speed: ... samples/sec	accuracy=...	lr=...`` every ``every`` batches.

    Parameters
    ----------
    metric_name : str
        What the training metric is called.
    every : int
        Batches from line to line, at least 1.
    log : callable
        Takes the lines.
    ranks : int
        Processes that train together, each at this one's pace.
    """

    def __init__(self, metric_name: str, every: int, log: Callable[[str], None], ranks: int = 1) -> None:
        self._metric_name, self._every, self._log, self._ranks = metric_name, every, log, ranks
        self._measured: List[Measured] = []
        self._total, self._count = 0.0, 0
        self._images, self._since = 0, 0.0

    def pass_begins(self, epoch: int, start: int) -> None:
        self._measured, self._total, self._count = [], 0.0, 0
        self._images, self._since = 0, time.perf_counter()

    def batch_done(self, done: BatchDone) -> None:
        self._measured += done.measured
        self._images += done.images
        if (done.batch + 1) % self._every:
            return
        value, now = self._metric_so_far(), time.perf_counter()
        speed = self._ranks * self._images / (now - self._since)
        self._images, self._since = 0, now
        self._log(
            f"Epoch[{done.epoch}] Batch [{done.batch}]\tSpeed: {speed:f} samples/sec\t"
            f"{self._metric_name}={value:f}\tlr={done.lr:f}"
        )

    def _metric_so_far(self) -> float:
        """Of the batches of this pass."""
        self._total += sum(float(value.asscalar()) for value, _ in self._measured)
        self._count += sum(count for _, count in self._measured)
        self._measured = []
        return self._total / max(self._count, 1)
