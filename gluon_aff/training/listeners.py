"""Who is told of a run's course: forecast, progress bar, lines in the log, TensorBoard."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Iterable, List, NamedTuple, Optional, Tuple

from ..errors import UsageError
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


_NAMES = {
    "train": "train/{train_metric}",
    "loss": "train/loss",
    "lr": "train/lr",
    "val": "validation/val",
    "val_top5": "validation/top5",
    "niou": "validation/niou",
}


class EventLog(Listener):
    """``directory`` with one event file: the epochs so far, and every epoch that ends.

    Parameters
    ----------
    directory : Path
        The event files in it are replaced.
    epochs : iterable of dict
        A History's epochs.

    Raises
    ------
    UsageError
        When tensorboardX, the extra ``tensorboard``, is not installed.
    """

    def __init__(self, directory: Path, epochs: Iterable[EpochRecord]) -> None:
        check_installed()
        from tensorboardX.event_file_writer import EventsWriter

        directory.mkdir(parents=True, exist_ok=True)
        for path in event_files(directory):
            path.unlink()
        self._writer = EventsWriter(str(directory / "events"))  # SummaryWriter has a queue, and may lose its end
        for record in epochs:
            self.epoch_ends(record)

    def epoch_ends(self, record: EpochRecord) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        values = dict(record)
        figures = {tag.format(**values): values[name] for name, tag in _NAMES.items() if name in values}
        figures["train/images_per_second"] = record["images"] / record["time"]
        for tag, value in figures.items():
            self._writer.write_event(Event(step=record["epoch"], wall_time=time.time(), summary=scalar(tag, value)))
        self._writer.flush()


def event_files(directory: Path) -> List[Path]:
    """The event files in a directory."""
    return sorted(directory.glob("events.out.tfevents.*"))


def check_installed() -> None:
    """Raise UsageError when there is nothing to write event files with."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UsageError(
            "--tensorboard needs tensorboardX: pip install 'gluon_aff[tensorboard]', or leave the option out"
        ) from None
