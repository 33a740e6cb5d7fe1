"""Who is told of a run's course: forecasts, lines in the log, counts, event files."""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Optional

from .epoch_record import EpochRecord
from .metrics import Measured


class BatchDone(NamedTuple):
    """One batch that was trained on.

    Attributes
    ----------
    epoch, batch : int
        Its place; both count from 0.
    images : int
        Of this process's part of the batch.
    lr : float
        The learning rate it was trained with.
    measured : list of (array, count)
        The training metric, per device; nothing has waited for its value yet.
    loss : float or None
        Mean over the epoch's images so far, as far as it is known; None before it is.
    """

    epoch: int
    batch: int
    images: int
    lr: float
    measured: List[Measured]
    loss: Optional[float] = None


class Listener:
    """Is told of a run's course and changes nothing in it. Every method may be left out.

    A pass is an epoch or, after a resume, the rest of one. A pass that a signal or an error stops has no end.
    """

    def pass_begins(self, epoch: int, start: int) -> None:
        """Batch ``start`` of ``epoch`` is the first that follows."""

    def batch_done(self, done: BatchDone) -> None:
        """The devices have been given one more batch."""

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        """The pass that began at batch ``start`` had so many images."""

    def epoch_ends(self, record: EpochRecord) -> None:
        """The epoch is trained and validated; ``record`` is its line of the history. On the first rank only."""

    def run_ends(self) -> None:
        """Nothing more will be told, whatever ended it."""


class Listeners(Listener):
    """Several listeners, told one after the other."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)

    def add(self, listener: Listener) -> None:
        """From now on this one is told, too."""
        self._listeners.append(listener)

    def pass_begins(self, epoch: int, start: int) -> None:
        for listener in self._listeners:
            listener.pass_begins(epoch, start)

    def batch_done(self, done: BatchDone) -> None:
        for listener in self._listeners:
            listener.batch_done(done)

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        for listener in self._listeners:
            listener.pass_ends(epoch, start, images)

    def epoch_ends(self, record: EpochRecord) -> None:
        for listener in self._listeners:
            listener.epoch_ends(record)

    def run_ends(self) -> None:
        for listener in self._listeners:
            listener.run_ends()
