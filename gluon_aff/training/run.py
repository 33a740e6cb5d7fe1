"""A run's directory: who may use it, its log, what is kept in it, and what of it may be deleted."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import yaml

from ..errors import GluonAFFError, UsageError
from ..utils.console import say
from ..utils.figures import source_of
from ..utils.files import PathLike, atomic_write, cannot_write, remove_leftovers
from ..utils.streams import output_lost, tolerate_lost_output
from .checkpoint import Checkpoints, Description, read_state
from .history import HISTORY, EpochRecord, History, epoch_line
from .plots import plot_history

_CONFIG, _LOG, _CURVES, _EVENTS = "config.yaml", "train.log", "curves.png", "tensorboard"
#: Figures and images of a test at the end of a run, see `tasks.final_score`.
FINAL_TEST = ("final-test.json", "final-test.csv")


class LogBuffer:
    """Lines for a run's log; those that come up before there is a run are kept until `open`."""

    def __init__(self) -> None:
        self._kept: List[str] = []
        self._log: Callable[[str], None] = self._kept.append

    def __call__(self, line: str) -> None:
        self._log(line)

    def open(self, log: Callable[[str], None]) -> None:
        """Hand over what was kept, and from now on every line."""
        self._log = log
        for line in self._kept:
            log(line)


class Run:
    """``directory`` with config.yaml, history.jsonl, train.log, curves.png, checkpoints/ and the link best.

    While open it belongs to this process; the lock falls when the process ends, however it ends. Entered, it goes on
    without its terminal: the log has what can no longer be printed.

    Parameters
    ----------
    directory : path
    details : dict
        What every checkpoint says of its run besides its progress (options, data), as JSON.
    description : dict, optional
        What the run's weights say of themselves besides their figure, see `checkpoint`.
    log_dir, plot_dir : path, optional
        Other places for train.log and curves.png. What others have there is left as it is: the log is appended, the
        curves take another name.
    log_file : path, optional
        Another name of train.log, in ``log_dir`` if that is given, else as it is.
    save_period : int
        See `Checkpoints`.
    line : callable
        From an epoch's record to the line logged for it.
    best_name : callable, optional
        See `Checkpoints`.

    Raises
    ------
    GluonAFFError
        When the directory cannot be written, or another process is training in it.
    """

    def __init__(
        self,
        directory: PathLike,
        details: Dict[str, Any],
        *,
        description: Optional[Description] = None,
        log_dir: Optional[PathLike] = None,
        log_file: Optional[PathLike] = None,
        plot_dir: Optional[PathLike] = None,
        save_period: int = 0,
        line: Callable[[EpochRecord], str] = epoch_line,
        best_name: Optional[Callable[[EpochRecord], Optional[str]]] = None,
    ) -> None:
        self.directory = Path(directory)
        self.details = details
        self.description = description
        self.line = line
        self.plot_path = Path(plot_dir or directory) / _CURVES
        self.history = History(self.directory / HISTORY)
        self.restored: Dict[str, Any] = {}  # state.json of the checkpoint that `restore` has read
        self.checkpoints = Checkpoints(self.directory / "checkpoints", self.directory / "best", save_period, best_name)
        self._plotted = time.monotonic()
        self._plot_failed = False
        with ExitStack() as opened:
            opened.callback(os.close, _lock(self.directory))
            self.log = RunLog(Path(log_dir or ("" if log_file else directory)) / (log_file or _LOG))
            opened.callback(self.log.close)
            self._closing = opened.pop_all()
        self.checkpoints.remove_leftovers()  # nobody else writes here now
        remove_leftovers(self.directory)

    def __enter__(self) -> Run:
        self._closing.enter_context(tolerate_lost_output())
        return self

    def __exit__(self, kind: object, error: Optional[BaseException], trace: object) -> None:
        with self._closing:
            if isinstance(error, Exception):
                what = "error" if isinstance(error, GluonAFFError) else f"unexpected {type(error).__name__}"
                with suppress(GluonAFFError):  # the disk may be full, which is what the error says
                    self.log.append(f"{what}: {error}")

    def begin(self, overwrite: bool = False) -> None:
        """Make room for a new run; ``overwrite``: remove the `own_files` of the run before.

        Raises UsageError when files are there that it would replace.
        """
        check_free(self.directory, overwrite)
        if overwrite:
            for path in own_files(self.directory):
                if not (path == self.log.path and self.log.is_output()):
                    path.unlink()
            self.checkpoints.erase()
        self.log.begin(self.directory)

    def write_config(self, options: Dict[str, Any]) -> None:
        """Save the run's options so that --config and --resume can read them."""
        with atomic_write(self.directory / _CONFIG) as handle:
            yaml.safe_dump(options, handle, sort_keys=False)

    def describe(self, record: Optional[EpochRecord]) -> Optional[Description]:
        """Return what weights of this run say of themselves; ``record``: of the epoch that ended with them, if any."""
        if self.description is None:
            return None
        figure = record and {"value": record["val"], "images": record.get("val_images"), "epoch": record["epoch"]}
        return {**self.description, "figure": figure}

    def last_good(self) -> str:
        """Return in words which checkpoint a run that has failed can be resumed from."""
        newest = self.checkpoints.newest()
        return f"last good checkpoint: {newest}" if newest else "no checkpoint has been written yet"

    def plot(self, every: float = 0.0) -> None:
        """Draw the curves so far, unless they were drawn less than ``every`` seconds ago.

        What fails in that is noted in the log, once, and ends nothing.
        """
        if time.monotonic() - self._plotted < every:
            return
        self._plotted = time.monotonic()
        source = str(self.directory.resolve())
        try:
            self.plot_path = self._free_plot_path(source)
            plot_history(self.history.epochs(), self.directory.resolve().name, self.plot_path, source)
        except Exception as error:  # drawing needs much that training does not
            if not self._plot_failed:
                self._plot_failed = True
                self.log(f"note: the curves cannot be drawn: {type(error).__name__}: {' '.join(str(error).split())}")

    def _free_plot_path(self, source: str) -> Path:
        """curves.png; in a folder of several runs, where that is another's, curves-2.png and so on."""
        number, path = 1, self.plot_path.with_name(_CURVES)
        while str(path.parent.resolve()) != source and path.exists() and source_of(path) != source:
            number += 1
            path = path.with_name(f"curves-{number}.png")
        return path


class RunLog:
    """Lines for standard output and for a file, which they are appended to.

    The file's directory is made. While another run writes to ``train.log``, the lines go to ``train-2.log``, and so on;
    ``path`` is the one that was taken. Raises GluonAFFError when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: Optional[int] = None
        self._loss_noted = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.is_file():
                self.path, self._lock = _lock_log(path)
        except OSError as error:
            raise cannot_write(path, error) from error

    def close(self) -> None:
        """Leave the file to other runs."""
        if self._lock is not None:
            os.close(self._lock)

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
        if lost and not self._loss_noted:
            self._loss_noted = True
            self.append(f"note: standard output was lost ({lost}); the run continues, and this file has its log")

    def append(self, line: str) -> None:
        """To the file alone. Raises GluonAFFError when it cannot be written."""
        try:
            with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as handle:
                handle.write(line + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def is_output(self) -> bool:
        """Return whether standard output goes to this very file (``> run/train.log``): one line is enough."""
        try:
            return os.path.samestat(os.fstat(1), os.stat(self.path))
        except OSError:
            return False


def history_changed(directory: PathLike) -> Optional[str]:
    """Return in words how a run's history differs from what its newest checkpoint knows of it; None if it does not."""
    newest = Checkpoints(Path(directory) / "checkpoints", Path(directory) / "best").newest()
    try:
        progress = read_state(newest)["progress"] if newest else {}
    except GluonAFFError:  # a damaged checkpoint, or one that is just being replaced
        progress = {}
    wrote = progress.get("epoch", 0), progress.get("best"), progress.get("history", "")
    return History(Path(directory) / HISTORY).changed(*wrote)


def own_files(directory: PathLike) -> List[Path]:
    """Return the files of a run in its directory. With checkpoints and links to them, this is all that it ever deletes.

    A log or curves that the run has elsewhere are not among its own files.
    """
    named = [Path(directory) / name for name in (_CONFIG, HISTORY, _LOG, _CURVES, *FINAL_TEST)]
    there = [path for path in named if path.is_symlink() or path.is_file()]
    return [*there, *event_files(Path(directory) / _EVENTS)]


def event_files(directory: Path) -> List[Path]:
    """Return the event files in a directory; where it is a link to one that has some, the link alone."""
    found = sorted(directory.glob("events.out.tfevents.*"))
    return [directory] if found and directory.is_symlink() else found


def check_free(directory: PathLike, overwrite: bool = False, *others: Optional[PathLike]) -> None:
    """Make sure that a run may begin in a directory.

    Parameters
    ----------
    directory : path
    overwrite : bool
        Whether the run that is there may be removed.
    *others : path, optional
        Directories that the run will write to as well.

    Raises
    ------
    UsageError
        When something is there that the run would replace.
    GluonAFFError
        When one of the places can be no directory.
    """
    for place in (directory, *others):
        if place is not None:
            _check_directory(place)
    directory = Path(directory)
    checkpoints = Checkpoints(directory / "checkpoints", directory / "best")
    foreign = checkpoints.foreign()
    if foreign:
        raise UsageError(f"{foreign} is in the way of a run's {foreign.name}: move it, or choose another --save-dir")
    if overwrite:
        return
    if (directory / HISTORY).exists():
        raise UsageError(f"{directory} holds a run already: --resume continues it, --overwrite removes it")
    replaced = [path for path in (*own_files(directory), *checkpoints.own()) if path.name != _LOG]
    if replaced:
        names = ", ".join(str(path.relative_to(directory)) for path in replaced[:5])
        raise UsageError(
            f"{directory} holds files that a run would replace ({names}): choose another --save-dir, or --overwrite "
            "to lose them"
        )


def _check_directory(place: PathLike) -> None:
    """Raise GluonAFFError when ``place`` can be no directory: its name is too long, or a file is in the way."""
    path = Path(place)
    try:
        while not path.exists():
            path = path.parent
    except OSError as error:
        raise GluonAFFError(f"cannot write to {place}: {error.strerror}; choose another directory") from None
    if not path.is_dir():
        raise GluonAFFError(f"cannot write to {place}: {path} is a file; choose another directory")


def _lock(directory: Path) -> int:
    """Lock a run's directory, which is made; return the descriptor that holds the lock."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise GluonAFFError(f"cannot write to {directory}: {error.strerror}; choose another --save-dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise GluonAFFError(f"another process is training in {directory}: choose another --save-dir") from error
    return handle


def _lock_log(path: Path) -> Tuple[Path, int]:
    """Lock the first of ``train.log``, ``train-2.log``, ... that no other run writes to; return it with the lock."""
    number, chosen = 1, path
    while True:
        handle = os.open(chosen, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            number += 1
            chosen = path.with_name(f"{path.stem}-{number}{path.suffix}")
            continue
        except OSError:  # a file system without locks
            pass
        return chosen, handle
