"""How long a run will take, from the pace of its first batches."""

from __future__ import annotations

import time
from typing import Callable, List, Tuple

from .listeners import BatchDone, Listener


class Forecast(Listener):
    """Tells once how long the run will take.

    It is based on the batches of the first epoch that this process trains, without the first one, which plans memory:
    as soon as they are BATCHES and took SECONDS, or when the epoch ends.

    Parameters
    ----------
    batches, epochs : int
        Of an epoch, and of the run.
    log : callable
        Takes the line.
    ranks : int
        Processes that train together, each at this one's pace.
    """

    BATCHES, SECONDS = 10, 20.0

    def __init__(self, batches: int, epochs: int, log: Callable[[str], None], ranks: int = 1) -> None:
        self.batches, self.epochs = batches, epochs
        self._log, self._ranks = log, ranks
        self._told = False
        self._marks: List[Tuple[float, int]] = []

    def pass_begins(self, epoch: int, start: int) -> None:
        self._marks = [(time.perf_counter(), 0)]

    def batch_done(self, done: BatchDone) -> None:
        if self._told:
            return
        self._marks.append((time.perf_counter(), done.images * self._ranks))
        base = self._marks[1:] if len(self._marks) > 2 else self._marks
        seconds, count = base[-1][0] - base[0][0], len(base) - 1
        finished = done.batch + 1
        if finished < self.batches and (count < self.BATCHES or seconds < self.SECONDS):
            return
        self._told = True
        rate = sum(images for _, images in base[1:]) / seconds
        left = (self.epochs - done.epoch) * self.batches - finished
        self._log(
            f"pace: {rate:.3g} images/s over {count} batches: about {duration(self.batches * seconds / count)} per "
            f"epoch, {duration(left * seconds / count)} in all from here, validation not counted"
        )


def duration(seconds: float) -> str:
    """'25 s', '3 min 20 s', '3 h 20 min', '33 days 7 h': two units at most, as long as they matter."""
    units = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, part) in zip(units, units[1:]):
        if seconds >= size - part / 2:
            whole, rest = divmod(round(seconds / part), size // part)
            name += "s" if name == "day" and whole > 1 else ""
            return f"{whole} {name}" + (f" {rest} {smaller}" if rest and whole < 100 else "")
    return f"{seconds:.0f} s"
