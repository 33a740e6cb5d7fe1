"""The authors' training logs as files: several runs in a row, each with its flags and its figures per epoch."""

from __future__ import annotations

import ast
import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List

from ..errors import GluonAFFError
from .learning_curve import ACCURACY, ERROR, Point

_NUMBER = r"(-?\d+(?:\.\d+)?(?:e-?\d+)?|nan|inf)"
_CIFAR = re.compile(rf"\[Epoch (\d+)\] train={_NUMBER} val={_NUMBER}")
_IMAGENET = re.compile(rf"\[Epoch (\d+)\] validation: err-top1={_NUMBER} err-top5={_NUMBER}")
_FLAGS = re.compile(r"Namespace\((.*)\)")
_FLAG = re.compile(r"(\w+)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^,]*)")


@dataclass
class LoggedRun:
    """One run of a log. ``number`` counts the lines of flags before it, runs without a finished epoch included."""

    number: int
    flags: Dict[str, Any]
    metric: str = ACCURACY
    points: List[Point] = field(default_factory=list)


def read_log(path: Path) -> List[LoggedRun]:
    """The runs of a log that finished an epoch.

    A run begins with a line of flags, ``Namespace(...)``, or where the epochs start over.

    Raises
    ------
    GluonAFFError
        For a file that cannot be read or has no finished epoch.
    """
    runs = [LoggedRun(0, {})]
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                _take(line, runs)
    except OSError as error:
        raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
    found = [run for run in runs if run.points]
    if not found:
        raise GluonAFFError(
            f"{path} has no line of a finished epoch: expected '[Epoch 0] train=... val=...' or "
            "'[Epoch 0] validation: err-top1=... err-top5=...'"
        )
    return found


def _take(line: str, runs: List[LoggedRun]) -> None:
    flags = _FLAGS.search(line)
    if flags:
        values = {name: _literal(text) for name, text in _FLAG.findall(flags.group(1))}
        if runs[-1].points or runs[-1].flags:
            runs.append(LoggedRun(runs[-1].number + 1, values))
        else:
            runs[-1].flags = values
        return
    for pattern, metric, group in ((_CIFAR, ACCURACY, 3), (_IMAGENET, ERROR, 2)):
        match = pattern.search(line)
        if match:
            epoch = int(match.group(1))
            if runs[-1].points and epoch <= runs[-1].points[-1].epoch:
                runs.append(LoggedRun(runs[-1].number + 1, runs[-1].flags))
            runs[-1].metric = metric
            runs[-1].points.append(Point(epoch, float(match.group(group))))


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()


def read_csv(path: Path) -> LoggedRun:
    """A curve of params/curves, or another table with its columns. Raises GluonAFFError for any other file."""
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            columns = reader.fieldnames or []
            column = next((name for name in ("val_acc", "err_top1") if name in columns), None)
            if column is None or "epoch" not in columns:
                raise GluonAFFError(
                    f"{path} is not a curve: expected the columns epoch and val_acc or err_top1, "
                    f"found {', '.join(columns)}"
                )
            points = [Point(int(row["epoch"]), float(row[column])) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise GluonAFFError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, TypeError) as error:
        raise GluonAFFError(f"{path}: a value is not a number ({error})") from error
    if not points:
        raise GluonAFFError(f"{path} has no epochs")
    return LoggedRun(0, {}, ACCURACY if column == "val_acc" else ERROR, points)
