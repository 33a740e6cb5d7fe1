"""A run's log: what is printed also goes to a file, and what was in the file stays."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Optional, Tuple

from ..utils.console import say
from ..utils.files import cannot_write
from ..utils.streams import output_lost


class RunLog:
    """Lines for standard output and for a file, which they are appended to.

    Parameters
    ----------
    path : Path
        Its directory is made. While another run writes to ``train.log``, the lines go to ``train-2.log``, and so on.

    Attributes
    ----------
    path : Path
        The file that was taken.

    Raises
    ------
    GluonAFFError
        When the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Optional[int] = None
        self._told = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.is_file():
                self.path, self._lock = _claimed(path)
        except OSError as error:
            raise cannot_write(path, error) from error

    def close(self) -> None:
        """Leave the file to other runs."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, directory: Path) -> None:
        """Separate the run in ``directory`` from what the file holds already."""
        with suppress(OSError):
            if self.path.is_file() and self.path.stat().st_size and not self.is_output():
                self.append(f"\n---- run in {directory.resolve()}, begun {datetime.now():%Y-%m-%d %H:%M:%S} ----")

    def __call__(self, line: str) -> None:
        """Print a line and append it. Raises GluonAFFError when the file cannot be written."""
        say(line)
        if not self.is_output():
            self.append(line)
        lost = output_lost()
        if lost and not self._told:
            self._told = True
            self.append(f"note: standard output was lost ({lost}); the run continues, and this file has its log")

    def append(self, line: str) -> None:
        """To the file alone. Raises GluonAFFError when it cannot be written."""
        try:
            with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def is_output(self) -> bool:
        """Whether standard output goes to this very file (``> run/train.log``): one line is enough."""
        try:
            return os.path.samestat(os.fstat(1), os.stat(self.path))
        except OSError:
            return False


def _claimed(path: Path) -> Tuple[Path, int]:
    """The first of ``train.log``, ``train-2.log``, ... that no other run writes to, and the descriptor that says so."""
    number = 0
    while True:
        number += 1
        chosen = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        handle = os.open(chosen, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        except OSError:  # a file system without locks
            pass
        return chosen, handle
