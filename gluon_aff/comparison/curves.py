"""Validation figures over epochs, of our runs, the authors' logs and runs, and the paper's rows.

`open_curve` opens what a user calls a run; `reference` finds what is published, by name: the authors' runs
(params/runs.json, params/curves), the figures of the paper's tables and of their README.
"""

from __future__ import annotations

import ast
import csv
import math
import re
from argparse import Namespace
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from ..data import find_dataset, list_datasets
from ..data.imagenet import OFFICIAL_SIZES
from ..errors import GluonAFFError, UsageError, near_matches
from ..facts import curve_file, paper_tables, published_runs, readme_figures
from ..published import METRICS, catalogue
from ..tasks import get_task
from ..tasks.opening import check_registered
from ..training.history import HISTORY, read_records
from ..training.run import history_changed
from .settings import settings_of_flags, settings_of_header

ACCURACY, ERROR = METRICS["acc"], METRICS["err-top1"]
_COLUMNS = {"val_acc": ACCURACY, "err_top1": ERROR, "iou": METRICS["iou"]}  # of params/curves

_NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?|nan|inf"
_EPOCH = re.compile(
    rf"\[Epoch (?P<epoch>\d+)\] (train(?:-rmse)?=({_NUMBER}) val=(?P<accuracy>{_NUMBER})"
    rf"|validation: err-top1=(?P<error>{_NUMBER}))"
)
_FLAGS = re.compile(r"Namespace\((.*)\)")
_FLAG = re.compile(r"(\w+)=('[^']*'|\"[^\"]*\"|\[[^\]]*\]|[^,]*)")


class Point(NamedTuple):
    epoch: int
    value: float


@dataclass(frozen=True)
class Curve:
    """Validation figures of one run, or a single figure without epochs (``points`` empty, ``value`` set).

    Attributes
    ----------
    name : str
        For headings.
    metric : str
        ACCURACY, ERROR or another task's; from 0 to 1.
    points : tuple of Point
        In the order of epochs, which count from 0.
    settings : dict
        Hyper-parameters under `settings.NAMES`.
    planned : int or None
        Epochs that the run is to have.
    notes : tuple of str
        What a reader of a comparison must know.
    """

    name: str
    metric: str
    points: Tuple[Point, ...] = ()
    value: Optional[float] = None
    settings: Dict[str, Any] = field(default_factory=dict)
    planned: Optional[int] = None
    notes: Tuple[str, ...] = ()

    def best(self, until: float = math.inf) -> Point:
        """Return the best point, the first of equal ones, up to and including epoch ``until``."""
        points = [point for point in self.points if point.epoch <= until]
        return max(points, key=lambda point: (self._goodness(point.value), -point.epoch))

    def final(self) -> Point:
        return self.points[-1]

    def goal(self) -> float:
        """Return the best figure, or the only one there is."""
        if self.value is not None:
            return self.value
        return self.best().value

    def reached(self, value: float) -> Optional[Point]:
        """Return the first point at least as good as ``value``."""
        goal = self._goodness(value)
        return next((point for point in self.points if self._goodness(point.value) >= goal), None)

    def measured_as(self, metric: str) -> Curve:
        """Turn accuracies into errors, or back. Raises UsageError for other metrics."""
        if metric == self.metric:
            return self
        if {metric, self.metric} != {ACCURACY, ERROR}:
            raise UsageError(
                f"{self.name} is measured by {self.metric}, the other by {metric}: they cannot be compared"
            )
        points = tuple(Point(point.epoch, 1 - point.value) for point in self.points)
        return replace(self, metric=metric, points=points, value=None if self.value is None else 1 - self.value)

    def _goodness(self, value: float) -> float:
        if math.isnan(value):
            return -math.inf
        return -value if self.metric == ERROR else value


# Whatever a user calls a run


def open_curve(text: str, segment: Optional[int] = None) -> Curve:
    """Open the learning curve of one run.

    Parameters
    ----------
    text : str
        A run's directory, a history.jsonl, a log of the authors' scripts, a .csv, or a published name.
    segment : int, optional
        Which of several runs in a log (default: the longest, the last of equally long ones).

    Raises
    ------
    UsageError, GluonAFFError
        For what is none of these, cannot be read or has no finished epoch.
    """
    path = Path(text).expanduser()
    curves = path.is_dir() or path.suffix in (".jsonl", ".csv")
    if path.exists() and not curves:
        return _of_log(path, segment)
    if segment is not None:
        raise UsageError(f"`segment` chooses a run of a log file: {text} is none, leave it out")
    if path.exists():
        return _of_logged(read_csv(path), str(path)) if path.suffix == ".csv" else _of_history(path)
    try:
        curve = reference(text)
    except UsageError as error:
        raise UsageError(f"{text} is neither a file or directory nor a published run ({error})") from None
    if not curve.points:
        raise UsageError(f"{text} is a single figure without epochs: it can be what a run is compared with only")
    return curve


def _of_history(path: Path) -> Curve:
    path = path / HISTORY if path.is_dir() else path
    records = read_records(path)
    header = next((record for record in records if record["record"] == "header"), {})
    epochs = [record for record in records if record["record"] == "epoch"]
    if not epochs:
        raise GluonAFFError(f"{path} has no finished epoch yet: try again when there is one")
    if not all(isinstance(r.get("epoch"), int) and isinstance(r.get("val"), (int, float)) for r in epochs):
        raise GluonAFFError(
            f"{path} has an epoch without number or validation figure (epoch, val): it is not the history of a "
            "training run here"
        )
    options, task = header.get("options", {}), header.get("task", "cifar")
    check_registered(task, path)
    try:
        settings = settings_of_header(header)
        metric = get_task(task).metric_of(Namespace(**options))
    except (KeyError, TypeError, AttributeError) as error:
        raise GluonAFFError(f"{path}: its header is not one of a training run here ({error!r})") from error
    points = tuple(Point(record["epoch"], record["val"]) for record in epochs)
    name, changed = (path.parent, history_changed(path.parent)) if path.name == HISTORY else (path, None)
    notes = (changed,) if changed else ()
    return Curve(str(name), metric, points, settings=settings, planned=options.get("num_epochs"), notes=notes)


# The authors' logs as files: several runs in a row, each with its flags and its figures per epoch


@dataclass
class LoggedRun:
    """One run of a log. ``number`` counts the lines of flags before it, runs without a finished epoch included."""

    number: int
    flags: Dict[str, Any]
    metric: str = ACCURACY
    points: List[Point] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.number} ({len(self.points)} epochs)"


def read_log(path: Path) -> List[LoggedRun]:
    """Read the runs of a log that finished an epoch.

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
                flags, epoch = _FLAGS.search(line), _EPOCH.search(line)
                if flags:
                    values = {name: _literal(text.strip()) for name, text in _FLAG.findall(flags.group(1))}
                    if runs[-1].points or runs[-1].flags:
                        runs.append(LoggedRun(runs[-1].number + 1, values))
                    else:
                        runs[-1].flags = values
                elif epoch:
                    point = Point(int(epoch["epoch"]), float(epoch["accuracy"] or epoch["error"]))
                    if runs[-1].points and point.epoch <= runs[-1].points[-1].epoch:
                        runs.append(LoggedRun(runs[-1].number + 1, runs[-1].flags))
                    runs[-1].metric = ACCURACY if epoch["accuracy"] else ERROR
                    runs[-1].points.append(point)
    except OSError as error:
        raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
    found = [run for run in runs if run.points]
    if not found:
        raise GluonAFFError(
            f"{path} has no line of a finished epoch: expected '[Epoch 0] train=... val=...' or "
            "'[Epoch 0] validation: err-top1=... err-top5=...'"
        )
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def read_csv(path: Path) -> LoggedRun:
    """Read a curve of params/curves, or another table with its columns. Raises GluonAFFError for any other file."""
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle)
            columns = reader.fieldnames or []
            column = next((name for name in _COLUMNS if name in columns), None)
            if column is None or "epoch" not in columns:
                raise GluonAFFError(
                    f"{path} is not a curve: expected the columns epoch and {' or '.join(_COLUMNS)}, "
                    f"found {', '.join(columns)}"
                )
            points = [Point(int(row["epoch"]), float(row[column])) for row in reader]
    except (OSError, UnicodeDecodeError) as error:
        raise GluonAFFError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (ValueError, TypeError) as error:
        raise GluonAFFError(f"{path}: a value is not a number ({error})") from error
    if not points:
        raise GluonAFFError(f"{path} has no epochs")
    return LoggedRun(0, {}, _COLUMNS[column], points)


def _of_log(path: Path, segment: Optional[int]) -> Curve:
    runs = read_log(path)
    run = max(runs, key=lambda run: (len(run.points), run.number))
    if segment is not None:
        chosen = [run for run in runs if run.number == segment]
        if not chosen:
            raise UsageError(f"{path} has no run {segment} with epochs: choose {', '.join(map(str, runs))}")
        run = chosen[0]
    others = ", ".join(str(other) for other in runs if other is not run)
    if not others:
        return _of_logged(run, str(path))
    note = f"{path} holds several runs, this is segment {run.number}; there are also {others}"
    return _of_logged(run, f"{path}, run {run.number}", (note,))


def _of_logged(run: LoggedRun, name: str, notes: Tuple[str, ...] = ()) -> Curve:
    """Return a log's run; when it is a published one, with all that is known of it."""
    points = tuple(run.points)
    for identity in published_runs():
        known = _curve_of_run(identity)
        if known.metric == run.metric and known.points == points:
            return replace(known, name=name, notes=(*notes, *known.notes))
    if not run.flags:
        return Curve(name, run.metric, points, notes=notes)
    notes = (*notes, "settings are the flags as logged; some have no effect in the authors' scripts")
    try:
        settings = settings_of_flags(run.flags)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        settings, notes = {}, (*notes, f"the flags in the log are damaged ({error!r}): no settings are known")
    planned = run.flags.get("num_epochs")
    return Curve(name, run.metric, points, None, settings, planned if isinstance(planned, int) else None, notes)


# What is published, by name


def references() -> List[str]:
    """List every name that `reference` knows."""
    return sorted(_published())


def fitting(run: Curve) -> List[Curve]:
    """Return what is published for a run's data and labels, of as near a network and fusion as there is."""
    known = [published for published in (open_() for open_ in _published().values()) if published.name != run.name]
    near = ("data", "labels", "host", "fusion", "blocks")
    for count in range(len(near), 0, -1):
        wanted = {name: run.settings.get(name) for name in near[:count]}
        found = [one for one in known if {name: one.settings.get(name) for name in wanted} == wanted]
        if found and wanted["data"]:
            return found
    return []


def reference(text: str) -> Curve:
    """Return a published curve or figure by its name.

    Parameters
    ----------
    text : str
        A published id or run, a row of the paper's tables or of the authors' README (``table4/aff/resnet_b4``,
        ``table5/AFF-ResNet-50``, ``readme/AFF-ResNet-50``), or a part of one such name alone.

    Raises
    ------
    UsageError
        For a name that fits none or several; with similar names.
    """
    known = _published()
    alternatives = {name: record["alternative_reading_of"] for name, record in catalogue().items()}
    text = alternatives.get(text) or text
    hits = [text] if text in known else sorted(name for name in known if text.lower() in name.lower())
    if len(hits) != 1:
        command = "gluon-aff compare --list"
        more = f" and {len(hits) - 8} more" if len(hits) > 8 else ""
        several = f"it could be {', '.join(hits[:8])}{more}; `{command}` prints all"
        raise UsageError(f"no single reference {text!r}: {several if hits else near_matches(text, known, command)}")
    return known[hits[0]]()


def _published() -> Dict[str, Callable[[], Curve]]:
    """Return what opens each published figure: a file without a log, a row of a table or of the README, a run."""
    found: Dict[str, Callable[[], Curve]] = {}
    for name, record in catalogue().items():
        if not record["alternative_reading_of"]:
            notes = ("the authors published no log with its epochs: the figure is that of the file's name",)
            found[name] = partial(Curve, name, METRICS[record["metric"]], value=record["value"], notes=notes)
    tables, readme = paper_tables(), readme_figures()["rows"]
    runs = {**tables["runs"], **{f"readme/{row}": values[1] for row, values in readme.items()}}
    for short, key in (("table3", "table3_aggregation_scale"), ("table4", "table4_integration")):
        for row, values in tables[key]["rows"].items():
            for column, value in zip(tables[key]["columns"], values):
                if value is not None and not column.startswith("fpn"):  # segmentation: another figure altogether
                    name = f"{short}/{row}/{column}"
                    found[name] = partial(_row, name, ACCURACY, value, runs.get(name))
    for short, rows in (("table5", tables["table5_imagenet"]["rows"]), ("readme", readme)):
        for row, values in rows.items():
            if values[0] is not None:
                name = f"{short}/{row}"
                found[name] = partial(_row, name, ERROR, values[0] / 100, runs.get(name))
    return {**found, **{name: partial(_curve_of_run, name) for name in published_runs()}}


def _curve_of_run(identity: str) -> Curve:
    record, logged = published_runs()[identity], read_csv(curve_file(identity))
    notes = tuple(record["notes"])
    if record["data"] == "imagenet":
        notes += (
            f"their record iterator counted {record['best']['images']:,} images at the best epoch, not 50,000: an "
            "exact count typically differs by 0.0002",
        )
    points, planned = tuple(logged.points), record["flags"]["num_epochs"]
    return Curve(identity, logged.metric, points, None, _settings_of_run(record), planned, notes)


def _settings_of_run(record: Dict[str, Any]) -> Dict[str, Any]:
    """Return what a run's network is known to be and what its flags really did."""
    settings = settings_of_flags({**record["flags"], **record["effective"]}, record["network"])
    data = record["data"]
    sizes = OFFICIAL_SIZES if data == "imagenet" else find_dataset(data).official if data in list_datasets() else {}
    settings.update({"training images": sizes["train"]} if sizes else {})
    settings["validation images"] = sizes.get("val", record["best"]["images"])
    return {**settings, "data": data, "labels": record["labels"]}


def _row(name: str, metric: str, value: float, run: Optional[str]) -> Curve:
    settings: Dict[str, Any] = {}
    note = "of another paper, as cited"
    if run:
        settings, note = _settings_of_run(published_runs()[run]), f"the run is {run}"
    elif name.count("/") == 2:  # what the paper's Tables 2 to 4 say of a run on CIFAR-100
        _, fusion, column = name.split("/")
        host, blocks = column.rsplit("_b", 1)
        host = f"cifar {host}" + (" (paper)" if host == "resnet" else "")  # the generation before the release
        settings = {
            **{"data": "cifar100", "labels": "coarse", "outputs": 100},
            **{"training images": 50000, "validation images": 10000, "host": host, "fusion": fusion},
            **{"blocks": int(blocks), "width": 1, "images per update": 128, "epochs": 400, "optimizer": "nag"},
            **{"learning rate": 0.2, "schedule": "step", "decay factor": 0.1},
        }
        note = "accuracy on CIFAR-100's 20 coarse labels with a 100-way head; settings as in the paper's Table 2"
    return Curve(name, metric, value=value, settings=settings, notes=(note,))
