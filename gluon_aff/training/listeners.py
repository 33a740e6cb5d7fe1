"""Who is told of a run's course: forecast, progress bar, lines in the log."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, Callable, Deque, Iterable, List, NamedTuple, Optional, Tuple

from ..utils.console import EVERY, bar, on_terminal
from .history import EpochRecord
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


class Progress(Listener):
    """Logs once how long the run will take, and shows that it goes on.

    The forecast is made as soon as the batches that count, or a single slow one, took FORECAST_SECONDS, or when an
    epoch ends. Where standard error is a terminal, images/s and loss are shown by a bar. Where standard output is none,
    a line goes to ``log`` every minute, so that a file or a pipe has them as well.

    The pace is that of the last WINDOW batches. This process's first WARM_UP batches, which plan memory and choose
    kernels, do not count (of a shorter epoch all but the last), nor does what lies between two passes.

    Parameters
    ----------
    batches, epochs : int
        Of an epoch, and of the run.
    log : callable
        Takes the lines.
    ranks : int
        Processes that train together, each at this one's pace.
    shown : bool
        False: only the forecast is made.
    """

    WARM_UP, WINDOW = 3, 100
    FORECAST_SECONDS = 20.0

    def __init__(
        self, batches: int, epochs: int, log: Callable[[str], None], ranks: int = 1, shown: bool = True
    ) -> None:
        self._batches, self._epochs, self._log, self._ranks, self._shown = batches, epochs, log, ranks, shown
        self._warm_up = min(self.WARM_UP, batches - 1)
        self._passed, self._forecast_made = 0, False
        self._told = time.perf_counter()
        self._last: Optional[float] = None
        self._counted: Deque[Tuple[float, int]] = deque(maxlen=self.WINDOW)  # seconds and images of all ranks
        self._bar: Any = None

    def pass_begins(self, epoch: int, start: int) -> None:
        self._last = None
        self._told = time.perf_counter()
        self._bar = bar(self._batches, f"epoch {epoch}", initial=start) if self._shown else None

    def batch_done(self, done: BatchDone) -> None:
        now = time.perf_counter()
        self._passed += 1
        if self._last is not None and self._passed > self._warm_up:
            self._counted.append((now - self._last, done.images * self._ranks))
        self._last = now
        if not self._forecast_made:
            self._forecast(done)
        if self._bar is not None:
            self._bar.set_postfix_str(self._state(done.loss), refresh=False)
            self._bar.update()
        if self._shown and now - self._told >= EVERY and not on_terminal(sys.stdout):
            self._told = now
            line = f"epoch {done.epoch}, batch {done.batch + 1} of {self._batches}: {self._state(done.loss)}"
            if self._counted:
                rest = self._batches - done.batch - 1
                line += f", {self._time_for(rest)} left of the epoch, {self._time_for(self._left(done))} of the run"
            self._log(line)

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        self.run_ends()

    def run_ends(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _forecast(self, done: BatchDone) -> None:
        count, seconds = len(self._counted), sum(seconds for seconds, _ in self._counted)
        if not count or (seconds < self.FORECAST_SECONDS and done.batch + 1 < self._batches):
            return
        self._forecast_made = True
        pace, left = f"{self._rate():.3g} images/s over {count} batch{'es' * (count > 1)}", self._left(done)
        run = f", {self._time_for(left)} in all from here" if left else ""
        self._log(f"pace: {pace}: about {self._time_for(self._batches)} per epoch{run}, validation not counted")

    def _state(self, loss: Optional[float]) -> str:
        known = ["" if loss is None else f"loss {loss:.4g}", f"{self._rate():.3g} images/s" if self._counted else ""]
        return ", ".join(filter(None, known))

    def _rate(self) -> float:
        """Images per second of all ranks."""
        return sum(images for _, images in self._counted) / max(sum(seconds for seconds, _ in self._counted), 1e-9)

    def _left(self, done: BatchDone) -> int:
        """Batches of the run that follow."""
        return (self._epochs - done.epoch) * self._batches - done.batch - 1

    def _time_for(self, batches: int) -> str:
        return duration(batches * (sum(seconds for seconds, _ in self._counted) / len(self._counted)))


def duration(seconds: float) -> str:
    """'0.4 s', '25 s', '3 min 20 s', '3 h 20 min', '33 days 7 h': two units at most, as long as they matter."""
    units = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, part) in zip(units, units[1:]):
        if seconds >= size - part / 2:
            whole, rest = divmod(round(seconds / part), size // part)
            name += "s" if name == "day" and whole > 1 else ""
            return f"{whole} {name}" + (f" {rest} {smaller}" if rest and whole < 100 else "")
    return f"{seconds:.{int(0 < seconds < 0.95)}f} s"


class BatchLog(Listener):
    """Logs a line every ``every`` batches, as the authors' ImageNet logs have them.

    The metric, called ``metric_name``, is that of this pass so far, the speed that of ``ranks`` such processes.
    """

    def __init__(self, metric_name: str, every: int, log: Callable[[str], None], ranks: int = 1) -> None:
        self._metric_name, self._every, self._log, self._ranks = metric_name, every, log, ranks
        self.pass_begins(0, 0)

    def pass_begins(self, epoch: int, start: int) -> None:
        self._measured: List[Measured] = []
        self._total, self._count, self._images = 0.0, 0, 0
        self._since = time.perf_counter()

    def batch_done(self, done: BatchDone) -> None:
        self._measured += done.measured
        self._images += done.images
        if (done.batch + 1) % self._every:
            return
        self._total += sum(float(value.asscalar()) for value, _ in self._measured)
        self._count += sum(count for _, count in self._measured)
        now = time.perf_counter()
        self._log(
            f"Epoch[{done.epoch}] Batch [{done.batch}]\tSpeed: "
            f"{self._ranks * self._images / (now - self._since):f} samples/sec\t"
            f"{self._metric_name}={self._total / max(self._count, 1):f}\tlr={done.lr:f}"
        )
        self._measured, self._images, self._since = [], 0, now
