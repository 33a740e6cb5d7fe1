"""A run's machine-readable record, ``history.jsonl``: JSON lines, one header, one record per epoch."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, TypedDict, cast, get_origin, get_type_hints

import numpy as np

from ..errors import GluonAFFError
from ..utils.files import PathLike, atomic_write, cannot_write


class EpochRecord(TypedDict, total=False):
    """One epoch's line of a history; of the best one its validation figures, epoch and checkpoint.

    Attributes
    ----------
    epoch : int
        Counts from 0.
    train, train_metric
        The training metric, and what it is called.
    loss : float
        Mean per image.
    lr : float
        Of the last update; ``updates`` counts those of the run.
    images : int
        Trained on, over all ranks.
    val, val_images
        The validation figure, which is to be large, and the images it is of.
    held_out : int
        Where the validation images were held out of the training images, how many.
    time : float
        Seconds of training, validation not counted.
    val_top5, left_out
        Of classifiers: top-5 accuracy, and images that could not be read.
    niou, pixel_accuracy, miou
        Of segmentation; of several classes no niou, but class_iou, a figure for each, and present_miou where some are
        absent from the truth.
    checkpoint : str
        Of the best epoch: the checkpoint's name.
    """

    epoch: int
    train: float
    train_metric: str
    loss: float
    lr: float
    updates: int
    images: int
    val: float
    val_images: int
    held_out: int
    time: float
    val_top5: float
    left_out: int
    niou: float
    pixel_accuracy: float
    miou: float
    present_miou: float
    class_iou: List[float]
    checkpoint: str


HISTORY = "history.jsonl"  # its name in a run's directory

#: What the entries of an epoch's record are; who needs "epoch" and "val" says what they are for.
_KINDS = {
    name: (int, float) if kind is float else get_origin(kind) or kind
    for name, kind in get_type_hints(EpochRecord).items()
    if name not in ("epoch", "val")
}


class History:
    """``history.jsonl``: a ``header`` line, one ``epoch`` line for each finished epoch, a ``resume`` line per restart.

    Lines are appended and synced one by one; a line cut short by a crash is dropped when the run resumes.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)

    def start(self, header: Dict[str, Any]) -> None:
        """Write a new file with nothing but the header."""
        with atomic_write(self.path) as handle:
            handle.write(_line("header", header))

    def resume(self, epoch: int, details: Dict[str, Any]) -> None:
        """Remove the epochs from ``epoch`` on, which will be run again, and note the restart with its details."""
        kept = [r for r in read_records(self.path) if r["record"] != "epoch" or _before(r, epoch)]
        with atomic_write(self.path) as handle:
            handle.writelines(_line(record.pop("record"), record) for record in kept)
            handle.write(_line("resume", details))

    def append(self, record: EpochRecord) -> None:
        """Add a finished epoch. Raises GluonAFFError when it cannot be written."""
        try:
            with open(self.path, "a", encoding="utf-8") as handle:
                handle.write(_line("epoch", record))
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def header(self) -> Dict[str, Any]:
        """Return what the run began with; nothing where the file has no header."""
        return next((record for record in read_records(self.path) if record["record"] == "header"), {})

    def epochs(self) -> List[EpochRecord]:
        """Return the records of the finished epochs."""
        found = [record for record in read_records(self.path) if record["record"] == "epoch"]
        return cast(List[EpochRecord], found)

    def digest(self, finished: int) -> str:
        """Return the running digest of the first epochs, see `chained`."""
        return functools.reduce(chained, self.epochs()[:finished], "")

    def changed(self, finished: int, best: Optional[EpochRecord], digest: str = "") -> Optional[str]:
        """Return in words how the file differs from what a run of so many epochs has written; None if it does not.

        ``digest`` is the running digest of what it wrote, empty where that is not known.
        """
        records = self.epochs()[:finished] if self.path.exists() else []
        if [record.get("epoch") for record in records] != list(range(finished)):
            return f"{self.path} was changed: it has not the epochs 0 to {finished - 1}, each once and in order"
        if best and records[best["epoch"]].get("val") != best["val"]:
            return f"{self.path} was changed: val of epoch {best['epoch']}, the best, was {best['val']}"
        if digest and self.digest(finished) != digest:
            return f"{self.path} was changed: its epochs are not those that the run wrote"
        return None

    def commits(self) -> List[str]:
        """Return the commits of the header and the restarts, sorted; "None" for one outside a working copy."""
        return sorted({str(record.get("commit")) for record in read_records(self.path) if record["record"] != "epoch"})


def chained(digest: str, record: Mapping[str, Any]) -> str:
    """Return the running digest with one epoch's record more."""
    text = json.dumps({name: value for name, value in record.items() if name != "record"}, sort_keys=True)
    return hashlib.sha256(f"{digest}{text}".encode()).hexdigest()


def read_records(path: PathLike) -> List[Dict[str, Any]]:
    """Return every complete record of a history file.

    Raises GluonAFFError when the file is missing or is not a history.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise GluonAFFError(f"cannot read history {path}: {error}") from error
    records = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
            _check(record)
        except (ValueError, TypeError, KeyError, RecursionError):
            if number == len(lines):  # no newline behind it: it was being written when the machine stopped
                break
            raise GluonAFFError(f"{path}, line {number} is not a record of a history: {line[:60]!r}") from None
        records.append(record)
    return records


def _before(record: Dict[str, Any], epoch: int) -> bool:
    return isinstance(record.get("epoch"), int) and record["epoch"] < epoch


def _check(record: Any) -> None:
    """Raise ValueError, TypeError or KeyError for what is not a record of a history."""
    if record["record"] == "header" and not isinstance(record.get("options", {}), dict):
        raise TypeError
    if record["record"] != "epoch":
        return
    for name, kinds in _KINDS.items():
        value = record.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
            raise TypeError


def epoch_line(record: EpochRecord) -> str:
    """Return the line of the authors' CIFAR logs; an RMSE, whose name theirs leave out, is ``train-rmse``."""
    name = "train-rmse" if record.get("train_metric") == "rmse" else "train"
    line = "[Epoch {epoch:d}] {name}={train:f} val={val:f} loss={loss:f} lr: {lr:f} time: {time:f}"
    return line.format(name=name, **record)


def environment(version: str) -> Dict[str, Any]:
    """Return what a result depends on besides its options: versions, threads, the command, the commit."""
    import mxnet as mx

    return {
        "command": sys.argv,
        "gluon_aff": version,
        "commit": git_commit(Path(__file__).resolve().parents[2]),
        "mxnet": mx.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def git_commit(root: Path) -> Optional[str]:
    """Return the commit checked out at ``root``, read from its .git; None outside a working copy."""
    git = shared = root / ".git"
    try:
        if git.is_file():  # of a further worktree
            git = Path(git.read_text().partition("gitdir: ")[2].strip())
            shared = git / (git / "commondir").read_text().strip()
        head = (git / "HEAD").read_text().strip()
        _, symbolic, reference = head.partition("ref: ")
        if not symbolic:
            return head
        if (shared / reference).is_file():
            return (shared / reference).read_text().strip()
        packed = (shared / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {reference}")), None)
    except OSError:
        return None


def _line(kind: str, content: Mapping[str, object]) -> str:
    return json.dumps({"record": kind, **content}) + "\n"
