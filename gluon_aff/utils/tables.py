"""Tables as text, as Markdown and as CSV."""

from __future__ import annotations

import csv
from typing import Iterable, List, Sequence

from .files import PathLike, atomic_write

Row = Sequence[object]


def text_table(header: Row, rows: Sequence[Row], left: int = 3) -> List[str]:
    """Lines of a table for a terminal; the first ``left`` columns are flush left, the others flush right."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        return "  ".join(padded).rstrip()

    return [line(cells[0]), "  ".join("-" * width for width in widths), *map(line, cells[1:])]


def markdown_table(header: Row, rows: Sequence[Row]) -> List[str]:
    """Lines of a Markdown table. Vertical bars inside cells are escaped."""
    cells = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in cells]


def write_csv(header: Row, rows: Iterable[Row], path: PathLike) -> None:
    """A comma-separated table with one header line. Raises GluonAFFError as `atomic_write` does."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
