"""A run's figures as an event file for TensorBoard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Iterable

from ..errors import UsageError
from .history import EpochRecord
from .listeners import Listener
from .run import event_files


def check_tensorboard() -> None:
    """Raise UsageError when there is nothing to write event files with."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        raise UsageError(
            "tensorboard needs tensorboardX: pip install 'gluon_aff[tensorboard]', or leave the option out"
        ) from None


class EventLog(Listener):
    """Writes an event file for TensorBoard into ``directory``: the epochs so far, and every epoch that ends.

    The event files in it are replaced; where it is a link, the link is. `check_tensorboard` first.
    """

    _TAGS = {
        "train": "train/{train_metric}",
        "loss": "train/loss",
        "lr": "train/lr",
        "val": "validation/val",
        "val_top5": "validation/top5",
        "niou": "validation/niou",
    }

    def __init__(self, directory: Path, epochs: Iterable[EpochRecord]) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        for path in event_files(directory):
            path.unlink()
        directory.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(directory / "events"))  # SummaryWriter has a queue, and may lose its end
        for record in epochs:
            self.epoch_ends(record)

    def epoch_ends(self, record: EpochRecord) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        values = dict(record)
        figures = {tag.format(**values): values[name] for name, tag in self._TAGS.items() if name in values}
        figures["train/images_per_second"] = record["images"] / record["time"]
        for tag, value in figures.items():
            self._writer.write_event(Event(step=record["epoch"], wall_time=time.time(), summary=scalar(tag, value)))
        self._writer.flush()
