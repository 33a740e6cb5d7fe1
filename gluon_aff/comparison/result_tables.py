"""The published results in tables: the paper's, the authors' README's and their logs'."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import UsageError
from ..facts import paper_tables, published_runs, readme_figures, sirst_figures
from ..utils.files import json_text
from ..utils.tables import markdown_table

FORMATS = ("md", "csv", "json")


@dataclass(frozen=True)
class Table:
    """A table of results with what a reader must know; ``digits``: number of decimals in Markdown, by column."""

    name: str
    title: str
    columns: Tuple[str, ...]
    rows: List[Tuple[Any, ...]]
    notes: Tuple[str, ...] = ()
    digits: Dict[str, int] = field(default_factory=dict)


def tables(names: Optional[Sequence[str]] = None) -> List[Table]:
    """Return all tables, or those named, in the usual order. Raises UsageError for an unknown name."""
    found = [*_paper(), _readme(), _sirst(), _cifar_logs(), _imagenet_logs()]
    if not names:
        return found
    known = {table.name: table for table in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no table {unknown[0]!r}: choose from {', '.join(known)}")
    return [table for table in found if table.name in names]


def render(chosen: Sequence[Table], form: str) -> str:
    """Write tables as Markdown, as JSON, or as CSV (one row a line, every table with its own header line)."""
    if form == "json":
        return json_text([asdict(table) for table in chosen])
    if form == "csv":
        return "\n".join(map(_csv, chosen))
    if form == "md":
        return "\n".join(map(_markdown, chosen))
    raise UsageError(f"there is no format {form!r}: choose one of {', '.join(FORMATS)}")


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", *table.columns))
    writer.writerows((table.name, *row) for row in table.rows)  # None is empty
    return buffer.getvalue()


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    if table.rows:
        digits = [table.digits.get(column) for column in table.columns]
        lines += [*markdown_table(table.columns, [list(map(_cell, row, digits)) for row in table.rows]), ""]
    lines += [f"- {note}" for note in table.notes] + ([""] if table.notes else [])
    return "\n".join(lines)


def _cell(value: Any, digits: Optional[int]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and digits is not None:
        return f"{value:.{digits}f}"
    return "-" if value is None else str(value)


def _paper() -> List[Table]:
    data = paper_tables()
    coarse = "inception and resnet: accuracy on CIFAR-100's 20 coarse labels with a 100-way head, width x1, b blocks"
    fpn = "fpn: most likely foreground IoU on StopSign, best epoch"
    imagenet = "imagenet_resnet50: 1 - top-1 error, counted on 49,920 images with repetitions, runs without mixup"
    found = []
    for name, key, title, notes in (
        ("table3", "table3_aggregation_scale", "Paper, Table 3: context aggregation scale", (coarse, fpn, imagenet)),
        ("table4", "table4_integration", "Paper, Table 4: integration strategies", (coarse, fpn)),
    ):
        columns = data[key]["columns"]
        rows = [(strategy, *values) for strategy, values in data[key]["rows"].items()]
        found.append(Table(name, title, ("strategy", *columns), rows, notes, dict.fromkeys(columns, 3)))
    figures = data["table5_imagenet"]["rows"]
    table5 = Table(
        "table5",
        "Paper, Table 5: ImageNet",
        ("network", "top-1 error (%)", "parameters (million)", "run"),
        [(name, error, size, data["runs"].get(f"table5/{name}")) for name, (error, size) in figures.items()],
        ("the AFF and iAFF rows are of the paper's generation of weights; networks without a run are cited",),
        {"top-1 error (%)": 1, "parameters (million)": 1},
    )
    return [*found, table5]


def _readme() -> Table:
    rows = []
    for network, (error, run) in readme_figures()["rows"].items():
        best = published_runs()[run]["best"]
        rows.append((network, error, _percent(best["value"]), best["images"], run))
    columns = ("network", "top-1 error stated (%)", "best of its log (%)", "images counted", "run")
    title, notes = "Authors' README, release weights on ImageNet", ("no figure is stated for AFF-ResNeXt-50",)
    return Table("readme", title, columns, rows, notes, {"best of its log (%)": 4})


def _sirst() -> Table:
    data = sirst_figures()
    rows = [(row["network"], row["iou"], row["niou"]) for row in data["rows"]]
    notes = (data["note"], f"source: {data['source']}", "AFF and iAFF were never published on it")
    return Table("sirst", "SIRST, published", ("network", "IoU", "nIoU"), rows, notes, {"IoU": 3, "nIoU": 3})


def _cifar_logs() -> Table:
    labels = {None: "10 classes", "coarse": "coarse (20)", "fine": "fine (100)"}
    rows = []
    for run in _logs("cifar10", "cifar100"):
        best, final, start = run["best"], run["final"], run["effective"]["start"] or "random"
        figures = (best["value"], best["epoch"], final["value"], best["images"])
        known = (run["id"], run["data"], labels[run["labels"]], run["epochs_logged"])
        rows.append((*known, *figures, start, run["published_file"] is not None))
    return Table(
        "logs-cifar",
        "Authors' logs, CIFAR: accuracies on the test split",
        ("run", "data", "labels", "epochs", "best", "epoch", "final", "images", "start weights", "weights published"),
        rows,
        (
            "best is the maximum over all epochs, chosen on the test split itself",
            "coarse runs have a 100-way head on 20 labels: their accuracies are not those of CIFAR-100's 100 classes",
            "runs that were given up within 50 epochs are left out; params/runs.json has them",
        ),
        {"best": 4, "final": 4},
    )


def _imagenet_logs() -> Table:
    rows = []
    for run in _logs("imagenet"):
        best, final = run["best"], run["final"]
        errors = (_percent(best["value"]), _percent(best["top5_error"]), best["epoch"], best["counted"], best["images"])
        known = (run["id"], run["epochs_logged"], run["global_batch"])
        rows.append((*known, *errors, _percent(final["value"]), final["images"]))
    return Table(
        "logs-imagenet",
        "Authors' logs, ImageNet: errors on the validation split, with what they counted",
        (
            *("run", "epochs", "batch", "best top-1 (%)", "its top-5 (%)", "epoch", "errors counted"),
            *("images counted", "final top-1 (%)", "images counted (final)"),
        ),
        rows,
        (
            "the split has 50,000 images: the record iterator wrapped round and its padding was counted "
            "(docs/results.md)",
        ),
        {"best top-1 (%)": 4, "its top-5 (%)": 4, "final top-1 (%)": 4},
    )


def _logs(*data: str) -> List[Dict[str, Any]]:
    """Runs on these data sets that did not end at once, in the order of params/runs.json."""
    return [run for run in published_runs().values() if run["data"] in data and run["epochs_logged"] > 50]


def _percent(value: float) -> float:
    return round(100 * value, 4)
