"""A run's figures per epoch as event files, which TensorBoard shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable

from ..errors import UsageError

_NAMES = {
    "train": "train/{train_metric}",
    "loss": "train/loss",
    "lr": "train/lr",
    "val": "validation/val",
    "val_top5": "validation/top5",
    "niou": "validation/niou",
}


class EventLog:
    """``directory`` with one event file: the epochs so far, to which `add` appends.

    Raises UsageError when tensorboardX, the extra ``tensorboard``, is not installed.
    """

    def __init__(self, directory: Path, epochs: Iterable[Dict[str, Any]]) -> None:
        writer = _writer()
        for path in directory.glob("events.out.tfevents.*"):
            path.unlink()
        self._writer = writer(str(directory))
        for record in epochs:
            self.add(record)

    def add(self, record: Dict[str, Any]) -> None:
        """One epoch of a History."""
        for name, tag in _NAMES.items():
            if name in record:
                self._writer.add_scalar(tag.format(**record), record[name], record["epoch"])
        self._writer.add_scalar("train/images_per_second", record["images"] / record["time"], record["epoch"])
        self._writer.flush()


def check_installed() -> None:
    """Raise UsageError when there is nothing to write event files with."""
    _writer()


def _writer() -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard needs tensorboardX: pip install 'gluon_aff[tensorboard]', or leave the option out"
        ) from None
    return SummaryWriter
