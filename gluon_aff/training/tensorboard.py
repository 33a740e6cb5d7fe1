"""A run's figures per epoch as event files, which TensorBoard shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Iterable, List

from ..errors import UsageError
from .epoch_record import EpochRecord
from .listeners import Listener

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
