"""The authors' runs (params/runs.json, params/curves) and the paper's and README's figures, as curves."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..errors import UsageError, near_matches
from ..facts import curve_file, paper_tables, published_runs, readme_figures
from ..published import catalogue
from .authors_logs import read_csv
from .learning_curve import ACCURACY, ERROR, Curve
from .settings import settings_of_flags


def curve_of_run(identity: str) -> Curve:
    """The curve of an id of `published_runs`."""
    record = published_runs()[identity]
    logged = read_csv(curve_file(identity))
    return Curve(
        name=identity,
        metric=logged.metric,
        points=tuple(logged.points),
        settings=settings_of_run(record),
        planned=record["flags"]["num_epochs"],
        notes=tuple(record["notes"]) + _counting(record),
    )


def settings_of_run(record: Dict[str, Any]) -> Dict[str, Any]:
    """The settings of a record of `published_runs`: what its network is known to be and what flags really did."""
    flags = {**record["flags"], **record["effective"]}
    known = {"data": record["data"], "labels": record["labels"]}
    return {**settings_of_flags(flags, record["network"]), **known}


def references() -> List[str]:
    """Every name that `reference` knows."""
    return sorted({*published_runs(), *_published_without_log(), *_paper_rows()})


def reference(text: str) -> Curve:
    """A published curve or figure by its name.

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
    names = references()
    alternatives = {name: record["alternative_reading_of"] for name, record in catalogue().items()}
    text = alternatives.get(text) or text
    hits = [name for name in names if name == text] or [name for name in names if text.lower() in name.lower()]
    if len(hits) != 1:
        reason = near_matches(text, names) if not hits else f"it could be {', '.join(hits[:8])}"
        raise UsageError(f"no single reference {text!r}: {reason}; `gluon-aff compare --list` prints all")
    name = hits[0]
    if name in published_runs():
        return curve_of_run(name)
    rows = _paper_rows()
    return rows[name] if name in rows else _published_without_log()[name]


def _published_without_log() -> Dict[str, Curve]:
    runs = published_runs()
    curves = {}
    for name, record in catalogue().items():
        if name in runs or record["alternative_reading_of"]:
            continue
        metric = ACCURACY if record["metric"] == "acc" else ERROR
        note = "the authors published no log with its epochs: the figure is that of the file's name"
        curves[name] = Curve(name, metric, value=record["value"], notes=(note,))
    return curves


def _paper_rows() -> Dict[str, Curve]:
    tables, readme = paper_tables(), readme_figures()
    figures: Dict[str, Tuple[str, float]] = {}
    for short, key in (("table3", "table3_aggregation_scale"), ("table4", "table4_integration")):
        for row, values in tables[key]["rows"].items():
            for column, value in zip(tables[key]["columns"], values):
                if value is not None and not column.startswith("fpn"):  # segmentation: another figure altogether
                    figures[f"{short}/{row}/{column}"] = (ACCURACY, value)
    for short, rows in (("table5", tables["table5_imagenet"]["rows"]), ("readme", readme["rows"])):
        for row, values in rows.items():
            if values[0] is not None:
                figures[f"{short}/{row}"] = (ERROR, values[0] / 100)
    runs = {**tables["runs"], **{f"readme/{row}": values[1] for row, values in readme["rows"].items()}}
    return {name: _row(name, metric, value, runs.get(name)) for name, (metric, value) in figures.items()}


def _row(name: str, metric: str, value: float, run: Optional[str]) -> Curve:
    if run:
        return Curve(
            name, metric, value=value, settings=settings_of_run(published_runs()[run]), notes=(f"the run is {run}",)
        )
    settings, notes = _stated(name) if "/" in name.split("/", 1)[1] else ({}, ("of another paper, as cited",))
    return Curve(name, metric, value=value, settings=settings, notes=notes)


def _stated(name: str) -> Tuple[Dict[str, Any], Tuple[str, ...]]:
    """What the paper says (Tables 2 to 4) of a row's run on CIFAR-100."""
    _, fusion, column = name.split("/")
    host, blocks = column.rsplit("_b", 1)
    host = f"cifar {host}" + (" (paper)" if host == "resnet" else "")  # the generation before the release
    settings = {
        **{"data": "cifar100", "labels": "coarse", "outputs": 100, "host": host, "fusion": fusion},
        **{"blocks": int(blocks), "width": 1, "images per update": 128, "epochs": 400, "optimizer": "nag"},
        **{"learning rate": 0.2, "schedule": "step", "decay factor": 0.1},
    }
    return settings, (
        "accuracy on CIFAR-100's 20 coarse labels with a 100-way head; settings as in the paper's Table 2",
    )


def _counting(record: Dict[str, Any]) -> Tuple[str, ...]:
    if record["data"] != "imagenet":
        return ()
    best = record["best"]
    return (
        f"their record iterator counted {best['images']:,} images at the best epoch, not 50,000: an exact count "
        "typically differs by 0.0002",
    )
