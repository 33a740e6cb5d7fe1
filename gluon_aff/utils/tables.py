"""Tables, for a terminal and in Markdown."""

from __future__ import annotations

from typing import Any, List, Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 3) -> List[str]:
    """Lines of a text table; the first ``left`` columns are flush left, the others flush right."""
    widths = [max(len(str(row[column])) for row in [header, *rows]) for column in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            str(cell).ljust(width) if column < left else str(cell).rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths))
        ]
        return "  ".join(padded).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *map(line, rows)]


def markdown_table(header: Sequence[Any], rows: Sequence[Sequence[Any]]) -> List[str]:
    """Lines of a Markdown table. Bars within cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines]
