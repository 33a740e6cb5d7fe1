"""Signs of life within an epoch: a bar on a terminal, a line every minute where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Optional

from ..utils.console import EVERY, bar, on_terminal
from .forecast import Pace, duration
from .listeners import BatchDone, Listener


class Progress(Listener):
    """Shows images/s, loss and time left while an epoch goes on.

    Where standard error is a terminal that is a bar. Where standard output is none, a line goes to ``log`` every
    minute, so that a file or a pipe shows them as well.

    Parameters
    ----------
    batches, epochs : int
        Of an epoch, and of the run.
    log : callable
        Takes the lines.
    ranks : int
        Processes that train together, each at this one's pace.
    """

    def __init__(self, batches: int, epochs: int, log: Callable[[str], None], ranks: int = 1) -> None:
        self._batches, self._epochs, self._log = batches, epochs, log
        self._pace = Pace(ranks)
        self._told = time.perf_counter()
        self._bar: Any = None

    def pass_begins(self, epoch: int, start: int) -> None:
        self._pace.begin()
        self._told = time.perf_counter()
        self._bar = bar(self._batches, f"epoch {epoch}", initial=start)

    def batch_done(self, done: BatchDone) -> None:
        self._pace.add(done.images)
        if self._bar is not None:
            self._bar.set_postfix_str(self._state(done.loss), refresh=False)
            self._bar.update()
        now = time.perf_counter()
        if now - self._told >= EVERY and not on_terminal(sys.stdout):
            self._told = now
            self._log(f"epoch {done.epoch}, batch {done.batch + 1} of {self._batches}: {self._line(done)}")

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        self.run_ends()

    def run_ends(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _state(self, loss: Optional[float]) -> str:
        rate = self._pace.images_per_second()
        known = ["" if loss is None else f"loss {loss:.4g}", "" if rate is None else f"{rate:.3g} images/s"]
        return ", ".join(filter(None, known))

    def _line(self, done: BatchDone) -> str:
        seconds = self._pace.seconds_per_batch()
        if seconds is None:
            return self._state(done.loss)
        rest = self._batches - done.batch - 1
        run = rest + (self._epochs - done.epoch - 1) * self._batches
        return (
            f"{self._state(done.loss)}, {duration(rest * seconds)} left of the epoch, {duration(run * seconds)} of "
            "the run"
        )
