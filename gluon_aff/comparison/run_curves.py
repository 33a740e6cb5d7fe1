"""Learning curves by what a user calls a run: a directory, a history, a log, a table, a published name."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from ..errors import GluonAFFError, UsageError
from ..facts import published_runs
from ..tasks import get_task, list_tasks
from ..training.history import HISTORY, read_records
from .authors_logs import LoggedRun, read_csv, read_log
from .learning_curve import ACCURACY, Curve, Point
from .references import curve_of_run, reference
from .settings import settings_of_flags, settings_of_header


def open_curve(text: str, number: Optional[int] = None) -> Curve:
    """The learning curve of one run.

    Parameters
    ----------
    text : str
        A run's directory, a history.jsonl, a log of the authors' scripts, a .csv, or a published name.
    number : int, optional
        Which of several runs in a log (default: the longest, the last of equally long ones).

    Raises
    ------
    UsageError, GluonAFFError
        For what is none of these, cannot be read or has no finished epoch.
    """
    path = Path(text).expanduser()
    if not path.exists():
        curve = _named(text)
    elif path.is_dir() or path.suffix == ".jsonl":
        curve = _of_history(path / HISTORY if path.is_dir() else path)
    elif path.suffix == ".csv":
        curve = _of_logged(read_csv(path), str(path), ())
    else:
        return _of_log(path, number)
    if number is not None:
        raise UsageError(f"--segment chooses a run of a log file: {text} is none, leave it out")
    return curve


def _named(text: str) -> Curve:
    try:
        curve = reference(text)
    except UsageError as error:
        raise UsageError(f"{text} is neither a file or directory nor a published run ({error})") from None
    if not curve.points:
        raise UsageError(f"{text} is a single figure without epochs: it can stand behind --with only")
    return curve


def _of_history(path: Path) -> Curve:
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
    try:
        settings, metric = settings_of_header(header), _metric(header)
    except (KeyError, TypeError, AttributeError) as error:
        raise GluonAFFError(f"{path}: its header is not one of a training run here ({error!r})") from error
    return Curve(
        name=str(path.parent) if path.name == HISTORY else str(path),
        metric=metric,
        points=tuple(Point(record["epoch"], record["val"]) for record in epochs),
        settings=settings,
        planned=header.get("options", {}).get("num_epochs"),
    )


def _metric(header: Dict[str, Any]) -> str:
    """What the "val" of a run's epochs is."""
    task = header.get("task", "cifar")
    return get_task(task).metric_of(Namespace(**header.get("options", {}))) if task in list_tasks() else ACCURACY


def _of_log(path: Path, number: Optional[int]) -> Curve:
    runs = read_log(path)
    if number is None:
        run = max(runs, key=lambda run: (len(run.points), run.number))
    else:
        chosen = [run for run in runs if run.number == number]
        if not chosen:
            raise UsageError(f"{path} has no run {number} with epochs: choose {_listed(runs)}")
        run = chosen[0]
    others = [other for other in runs if other is not run]
    notes = (f"{path} holds several runs, this is {run.number}; --segment chooses {_listed(others)}",) if others else ()
    return _of_logged(run, f"{path}, run {run.number}" if others else str(path), notes)


def _of_logged(run: LoggedRun, name: str, notes: Sequence[str]) -> Curve:
    """A log's run; when it is a published one, with all that is known of it."""
    for identity in published_runs():
        known = curve_of_run(identity)
        if known.metric == run.metric and known.points == tuple(run.points):
            return Curve(name, run.metric, known.points, None, known.settings, known.planned, (*notes, *known.notes))
    if run.flags:
        notes = (*notes, "settings are the flags as logged; some have no effect in the authors' scripts")
    try:
        settings = settings_of_flags(run.flags) if run.flags else {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        settings, notes = {}, (*notes, f"the flags in the log are damaged ({error!r}): no settings are known")
    planned = run.flags.get("num_epochs")
    return Curve(
        name=name,
        metric=run.metric,
        points=tuple(run.points),
        settings=settings,
        planned=planned if isinstance(planned, int) else None,
        notes=tuple(notes),
    )


def _listed(runs: List[LoggedRun]) -> str:
    return ", ".join(f"{run.number} ({len(run.points)} epochs)" for run in runs)
