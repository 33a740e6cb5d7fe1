"""Batches on their way to the network: counted, timed, reported, and from their pace how long the run will take."""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator, List, Optional, Tuple

import mxnet as mx

from ..errors import GluonAFFError
from .metrics import Measured
from .schedule import Schedule


class Forecast:
    """How long a run of ``epochs`` epochs of ``batches`` batches will take, told once.

    Its base are the batches of the first epoch that this process trains, without the first one, which plans memory:
    as soon as they are BATCHES and took SECONDS, or when the epoch ends.
    """

    BATCHES, SECONDS = 10, 20.0

    def __init__(self, batches: int, epochs: int) -> None:
        self.batches, self.epochs = batches, epochs
        self._told = False
        self._marks: List[Tuple[float, int]] = []

    def begin(self) -> None:
        """A pass begins."""
        self._marks = [(time.perf_counter(), 0)]

    def add(self, images: int, epoch: int, done: int) -> Optional[str]:
        """After each batch: its images, and how many batches of ``epoch`` are done. The forecast, when it is due."""
        if self._told:
            return None
        self._marks.append((time.perf_counter(), images))
        base = self._marks[1:] if len(self._marks) > 2 else self._marks
        seconds, count = base[-1][0] - base[0][0], len(base) - 1
        if done < self.batches and (count < self.BATCHES or seconds < self.SECONDS):
            return None
        self._told = True
        rate = sum(images for _, images in base[1:]) / seconds
        left = (self.epochs - epoch) * self.batches - done
        return (
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


class WatchedLoader:
    """A Job's loader and metric, with the authors' lines ``Epoch[0] Batch [49] Speed: ... accuracy=... lr=...``.

    Args:
        loader: as Job has it.
        metric, metric_name: as Job has them; `measure` goes in the metric's place.
        schedule, epochs, accumulate: of the run.
        every: batches from line to line, 0 for none.
        planned: from the first batch of a pass to the least and the most images that it may have. An epoch with another
            number ends the run with a GluonAFFError; a pass that is not finished is not judged.
        log: takes the lines.
        ranks: processes that train together, each at this one's pace.
    """

    def __init__(
        self,
        loader: Any,
        metric: Callable[[mx.nd.NDArray, mx.nd.NDArray], Measured],
        metric_name: str,
        schedule: Schedule,
        epochs: int,
        *,
        accumulate: int = 1,
        every: int = 50,
        planned: Callable[[int], Tuple[int, int]],
        log: Callable[[str], None],
        ranks: int = 1,
    ) -> None:
        self.loader = loader
        self.metric, self.metric_name = metric, metric_name
        self.schedule, self.accumulate = schedule, accumulate
        self.every = every
        self.planned = planned
        self.log = log
        self.ranks = ranks
        self._forecast = Forecast(len(loader), epochs)
        self._measured: List[Measured] = []
        self._total, self._count = 0.0, 0

    def __len__(self) -> int:
        return len(self.loader)

    def measure(self, output: mx.nd.NDArray, target: mx.nd.NDArray) -> Measured:
        """The metric, kept for the next line; nothing waits for its value before."""
        measured = self.metric(output, target)
        if self.every:
            self._measured.append(measured)
        return measured

    def batches(self, epoch: int, start: int = 0) -> Iterator[Tuple[Any, Any]]:
        """The loader's; when a batch is asked for, the one before it is being trained on."""
        self._measured, self._total, self._count = [], 0.0, 0
        self._forecast.begin()
        seen, began, since = 0, time.perf_counter(), 0
        for done, (x, y) in enumerate(self.loader.batches(epoch, start), start=start + 1):
            yield x, y
            seen += len(x)
            forecast = self._forecast.add(len(x) * self.ranks, epoch, done)
            if forecast:
                self.log(forecast)
            if self.every and done % self.every == 0:
                value, now = self._metric_so_far(), time.perf_counter()
                speed, began, since = self.ranks * (seen - since) / (now - began), now, seen
                lr = self.schedule(epoch * -(-len(self) // self.accumulate) + (done - 1) // self.accumulate + 1)
                self.log(
                    f"Epoch[{epoch}] Batch [{done - 1}]\tSpeed: {speed:f} samples/sec\t"
                    f"{self.metric_name}={value:f}\tlr={lr:f}"
                )
        least, most = self.planned(start)
        if not least <= seen <= most:
            raise GluonAFFError(f"epoch {epoch} had {seen} images, not {most}: the loader lost or repeated some")

    def _metric_so_far(self) -> float:
        """Of the batches of this pass."""
        self._total += sum(float(value.asscalar()) for value, _ in self._measured)
        self._count += sum(count for _, count in self._measured)
        self._measured = []
        return self._total / max(self._count, 1)
