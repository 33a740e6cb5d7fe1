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

Cell = Any


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes
    ----------
    name : str
        As ``--table`` has it.
    title : str
    columns : tuple of str
    rows : list of tuple
    notes : tuple of str
        What a reader must know.
    digits : dict
        Number of decimals in Markdown, by column.
    """

    name: str
    title: str
    columns: Tuple[str, ...]
    rows: List[Tuple[Cell, ...]]
    notes: Tuple[str, ...] = ()
    digits: Dict[str, int] = field(default_factory=dict)


def tables(names: Optional[Sequence[str]] = None) -> List[Table]:
    """All tables, or those named, in the usual order. Raises UsageError for an unknown name."""
    found = [*_paper(), _readme(), _sirst(), _cifar_logs(), _imagenet_logs()]
    if not names:
        return found
    known = {table.name: table for table in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"there is no table {unknown[0]!r}: choose from {', '.join(known)}")
    return [table for table in found if table.name in names]


def render(chosen: Sequence[Table], form: str) -> str:
    """The tables as Markdown, as JSON, or as CSV (one row a line, every table with its own header line)."""
    if form == "json":
        return json_text([asdict(table) for table in chosen])
    if form == "csv":
        return "\n".join(_csv(table) for table in chosen)
    if form == "md":
        return "\n".join(_markdown(table) for table in chosen)
    raise UsageError(f"there is no format {form!r}: choose one of {', '.join(FORMATS)}")


def _paper() -> List[Table]:
    data = paper_tables()
    coarse = "inception and resnet: accuracy on CIFAR-100's 20 coarse labels with a 100-way head, width x1, b blocks"
    fpn = "fpn: most likely foreground IoU on StopSign, best epoch"
    table3, table4, table5 = (
        data[key] for key in ("table3_aggregation_scale", "table4_integration", "table5_imagenet")
    )
    imagenet = "imagenet_resnet50: 1 - top-1 error, counted on 49,920 images with repetitions, runs without mixup"
    return [
        _rows_by_columns("table3", "Paper, Table 3: context aggregation scale", table3, (coarse, fpn, imagenet)),
        _rows_by_columns("table4", "Paper, Table 4: integration strategies", table4, (coarse, fpn)),
        Table(
            "table5",
            "Paper, Table 5: ImageNet",
            ("network", "top-1 error (%)", "parameters (million)", "run"),
            [(name, error, size, data["runs"].get(f"table5/{name}")) for name, (error, size) in table5["rows"].items()],
            ("the AFF and iAFF rows are of the paper's generation of weights; networks without a run are cited",),
            {"top-1 error (%)": 1, "parameters (million)": 1},
        ),
    ]


def _rows_by_columns(name: str, title: str, data: Dict[str, Any], notes: Tuple[str, ...]) -> Table:
    rows = [(strategy, *values) for strategy, values in data["rows"].items()]
    return Table(name, title, ("strategy", *data["columns"]), rows, notes, dict.fromkeys(data["columns"], 3))


def _readme() -> Table:
    data = readme_figures()
    rows = []
    for network, (error, run) in data["rows"].items():
        best = published_runs()[run]["best"]
        rows.append((network, error, round(100 * best["value"], 4), best["images"], run))
    return Table(
        "readme",
        "Authors' README, release weights on ImageNet",
        ("network", "top-1 error stated (%)", "best of its log (%)", "images counted", "run"),
        rows,
        ("no figure is stated for AFF-ResNeXt-50",),
        {"best of its log (%)": 4},
    )


def _sirst() -> Table:
    data = sirst_figures()
    rows = [(row["network"], row["iou"], row["niou"]) for row in data["rows"]]
    columns = ("network", "IoU", "nIoU")
    notes = (data["note"], f"source: {data['source']}", "AFF and iAFF were never published on it")
    return Table("sirst", "SIRST, published", columns, rows, notes, dict.fromkeys(columns[1:], 3))


def _logs(data: Sequence[str]) -> List[Dict[str, Any]]:
    """Runs on these data sets that did not end at once, in the order of params/runs.json."""
    return [run for run in published_runs().values() if run["data"] in data and run["epochs_logged"] > 50]


def _cifar_logs() -> Table:
    rows = []
    for run in _logs(("cifar10", "cifar100")):
        best, final = run["best"], run["final"]
        labels = (
            "10 classes" if run["labels"] is None else {"coarse": "coarse (20)", "fine": "fine (100)"}[run["labels"]]
        )
        start = run["effective"]["start"]
        rows.append(
            (
                run["id"],
                run["data"],
                labels,
                run["epochs_logged"],
                best["value"],
                best["epoch"],
                final["value"],
                best["images"],
                start or "random",
                run["published_file"] is not None,
            )
        )
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
    for run in _logs(("imagenet",)):
        best, final = run["best"], run["final"]
        rows.append(
            (
                run["id"],
                run["epochs_logged"],
                run["global_batch"],
                round(100 * best["value"], 4),
                round(100 * best["top5_error"], 4),
                best["epoch"],
                best["counted"],
                best["images"],
                round(100 * final["value"], 4),
                final["images"],
            )
        )
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


def _csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("table", *table.columns))
    for row in table.rows:
        writer.writerow((table.name, *("" if cell is None else cell for cell in row)))
    return buffer.getvalue()


def _markdown(table: Table) -> str:
    lines = [f"## {table.title}", ""]
    if table.rows:
        lines += [*markdown_table(table.columns, [_cells(table, row) for row in table.rows]), ""]
    lines += [f"- {note}" for note in table.notes] + ([""] if table.notes else [])
    return "\n".join(lines)


def _cells(table: Table, row: Sequence[Cell]) -> List[str]:
    return [_shown(cell, table.digits.get(column)) for column, cell in zip(table.columns, row)]


def _shown(cell: Cell, digits: Optional[int]) -> str:
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float) and digits is not None:
        return f"{cell:.{digits}f}"
    return "-" if cell is None else str(cell)
