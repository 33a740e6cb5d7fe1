"""How long a run will take, from the pace of its first batches."""

from __future__ import annotations

import time
from collections import deque
from typing import Callable, Deque, Optional, Tuple

from .listeners import BatchDone, Listener


class Pace:
    """How fast batches pass, from the last WINDOW of them.

    This process's first WARM_UP batches, which plan memory and choose kernels, do not count, nor does what lies
    between two passes.

    Parameters
    ----------
    ranks : int
        Processes that train together, each at this one's pace.
    """

    WARM_UP, WINDOW = 3, 100

    def __init__(self, ranks: int = 1) -> None:
        self._ranks, self._passed = ranks, 0
        self._last: Optional[float] = None
        self._counted: Deque[Tuple[float, int]] = deque(maxlen=self.WINDOW)

    def begin(self) -> None:
        """A pass begins: what was before it does not belong to its first batch."""
        self._last = None

    def add(self, images: int) -> None:
        """One more batch of this process has passed, with so many images."""
        now = time.perf_counter()
        self._passed += 1
        if self._last is not None and self._passed > self.WARM_UP:
            self._counted.append((now - self._last, images * self._ranks))
        self._last = now

    @property
    def batches(self) -> int:
        """How many it is based on."""
        return len(self._counted)

    @property
    def seconds(self) -> float:
        """How long these took."""
        return sum(seconds for seconds, _ in self._counted)

    def seconds_per_batch(self) -> Optional[float]:
        """None before there is one to count."""
        return self.seconds / self.batches if self._counted else None

    def images_per_second(self) -> Optional[float]:
        """Of all ranks; None before there is a batch to count."""
        return sum(images for _, images in self._counted) / max(self.seconds, 1e-9) if self._counted else None


class Forecast(Listener):
    """Tells once how long the run will take.

    It is based on the `Pace` of the first batches that this process trains: as soon as those that count are BATCHES
    and took SECONDS, or when an epoch ends.

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
        self._log, self._pace = log, Pace(ranks)
        self._told = False

    def pass_begins(self, epoch: int, start: int) -> None:
        self._pace.begin()

    def batch_done(self, done: BatchDone) -> None:
        if self._told:
            return
        self._pace.add(done.images)
        finished, each = done.batch + 1, self._pace.seconds_per_batch()
        enough = self._pace.batches >= self.BATCHES and self._pace.seconds >= self.SECONDS
        if each is None or not (enough or finished == self.batches):
            return
        self._told = True
        left = (self.epochs - done.epoch) * self.batches - finished
        self._log(
            f"pace: {self._pace.images_per_second():.3g} images/s over {self._pace.batches} batches: about "
            f"{duration(self.batches * each)} per epoch, {duration(left * each)} in all from here, validation not "
            "counted"
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
