"""A run's directory: who may use it and what is kept in it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import yaml

from ..errors import GluonAFFError
from ..utils.files import PathLike, atomic_write
from .checkpoint import Checkpoints
from .history import History, epoch_line
from .plots import plot_history


class Run:
    """``directory`` with config.yaml, history.jsonl, train.log, curves.png, checkpoints/ and the link best.

    While open it belongs to this process; the lock falls when the process ends, however it ends.

    Args:
        details: what every checkpoint says of its run besides its progress (options, data), as JSON.
        log_dir, plot_dir: other places for train.log and curves.png.
        log_file: another name of train.log, in log_dir if that is given, else as it is.
        line: from an epoch's record to the line logged for it.
        best_name: see Checkpoints.

    Raises:
        GluonAFFError: the directory cannot be written, or another process is training in it.
    """

    def __init__(
        self,
        directory: PathLike,
        details: Dict[str, Any],
        *,
        log_dir: Optional[PathLike] = None,
        log_file: Optional[PathLike] = None,
        plot_dir: Optional[PathLike] = None,
        save_period: int = 0,
        line: Callable[[Dict[str, Any]], str] = epoch_line,
        best_name: Optional[Callable[[Dict[str, Any]], Optional[str]]] = None,
    ) -> None:
        self.directory = Path(directory)
        self.details = details
        self.line = line
        self.log_path = Path(log_dir or ("" if log_file else directory)) / (log_file or "train.log")
        self.plot_path = Path(plot_dir or directory) / "curves.png"
        self.config_path = self.directory / "config.yaml"
        self.history = History(self.directory / "history.jsonl")
        self.checkpoints = Checkpoints(self.directory / "checkpoints", self.directory / "best", save_period, best_name)
        self._plotted = time.monotonic()
        self._lock = _lock(self.directory)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: Any) -> None:
        os.close(self._lock)

    def erase(self) -> None:
        """Remove what an earlier run left here, and nothing else."""
        self.checkpoints.erase()
        for path in (self.history.path, self.config_path, self.log_path, self.plot_path):
            if path.exists():
                path.unlink()

    def write_config(self, options: Dict[str, Any]) -> None:
        """Save the run's options so that --config and --resume can read them."""
        with atomic_write(self.config_path) as handle:
            yaml.safe_dump(options, handle, sort_keys=False)

    def log(self, line: str) -> None:
        """To standard output and to train.log."""
        print(line, flush=True)
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.log_path, "a", encoding="utf-8") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise GluonAFFError(f"cannot write {self.log_path}: {error.strerror or error}") from error

    def last_good(self) -> str:
        newest = self.checkpoints.newest()
        return f"last good checkpoint: {newest}" if newest else "no checkpoint has been written yet"

    def plot(self, every: float = 0.0) -> None:
        """Draw the curves so far, unless that was done less than ``every`` seconds ago."""
        if time.monotonic() - self._plotted >= every:
            plot_history(self.history.epochs(), self.directory.name, self.plot_path)
            self._plotted = time.monotonic()


def has_run(directory: PathLike) -> bool:
    """Whether a run has begun in a directory."""
    return (Path(directory) / "history.jsonl").exists()


def _lock(directory: Path) -> int:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise GluonAFFError(f"cannot write to {directory}: {error.strerror}; choose another --save-dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise GluonAFFError(f"another process is training in {directory}: choose another --save-dir") from error
    return handle
