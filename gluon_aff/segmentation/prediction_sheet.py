"""A contact sheet: image, truth, prediction and difference side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from ..utils.figures import load_matplotlib, new_figure, plain, write_figure
from ..utils.files import PathLike
from .magnifying import ring_small_objects, show_magnified, small_target

ROWS = 8

# White, orange and blue are told apart by every kind of colour vision, and by their brightness.
_BACKGROUND, _HIT, _MISS, _FALSE = "#1C1C1C", "#FFFFFF", "#F0A000", "#3D8BFF"
# Inches: a picture's width, between pictures, above each row, of the columns' names, of the legend.
_CELL, _GAP, _BAND, _NAMES, _LEGEND = 2.7, 0.1, 0.28, 0.3, 0.32
_DPI = 120


@dataclass(frozen=True, eq=False)
class Row:
    """One image of a sheet: uint8 (H, W, 3); its truth, None where there is none, and what was found, bool (H, W)."""

    name: str
    image: np.ndarray
    truth: Optional[np.ndarray]
    found: np.ndarray

    @property
    def marked(self) -> np.ndarray:
        return self.found if self.truth is None else self.found | self.truth

    @property
    def caption(self) -> str:
        name = self.name if len(self.name) <= 60 else f"{self.name[:28]} … {self.name[-28:]}"
        if self.truth is None:
            return f"{name}   {int(self.found.sum()):,} px predicted"
        both, either = int((self.found & self.truth).sum()), int(self.marked.sum())
        return f"{name}   IoU {both / either if either else 1.0:.3f}"


def draw_sheet(rows: Sequence[Row], path: PathLike) -> None:
    """Draw at most ROWS rows. The columns truth and difference are left out where no row has a truth.

    Small objects are magnified in a corner, the magnified window is framed in the whole image, and small objects
    outside of it get a ring.
    """
    columns = ["image", "prediction"]
    if any(row.truth is not None for row in rows):
        columns = ["image", "truth", "prediction", "difference"]
    heights = [_CELL * min(max(row.found.shape[0] / row.found.shape[1], 0.5), 1.25) for row in rows]
    width = len(columns) * _CELL + (len(columns) + 1) * _GAP
    head = _NAMES + _LEGEND
    height = head + sum(heights) + len(rows) * _BAND + _GAP
    figure = new_figure(width, height, layout=None, facecolor="white")
    for number, column in enumerate(columns):
        middle = (_GAP + number * (_CELL + _GAP) + _CELL / 2) / width
        figure.text(middle, 1 - (head - _NAMES / 2) / height, column, ha="center", va="center")
    _legend(figure, height, "difference" in columns)
    top = height - head
    for row, cell in zip(rows, heights):
        top -= _BAND + cell
        figure.text(_GAP / width, (top + cell + 0.06) / height, plain(row.caption), fontsize=9)
        view = small_target(row.truth if row.truth is not None and row.truth.any() else row.found, row.marked)
        ringed = {"truth": row.truth, "prediction": row.found, "difference": row.marked}
        for number, column in enumerate(columns):
            pixels = _pixels(row, column)
            if pixels is None:
                continue
            left = _GAP + number * (_CELL + _GAP)
            axes = figure.add_axes((left / width, top / height, _CELL / width, cell / height))
            show_magnified(axes, pixels, view, crisp=pixels.shape[1] < _CELL * _DPI)
            mask = ringed.get(column)
            if mask is not None:
                ring_small_objects(axes, mask, view)
    write_figure(figure, path, _DPI)


def _pixels(row: Row, column: str) -> Optional[np.ndarray]:
    """What a column shows, uint8 (H, W, 3); None where that needs a truth that is not there."""
    if column == "image":
        return row.image
    if column == "prediction":
        return _paint(row.found.shape, (row.found, _HIT))
    if row.truth is None:
        return None
    if column == "truth":
        return _paint(row.found.shape, (row.truth, _HIT))
    hit, miss, false = row.found & row.truth, row.truth & ~row.found, row.found & ~row.truth
    return _paint(row.found.shape, (hit, _HIT), (miss, _MISS), (false, _FALSE))


def _paint(shape: Tuple[int, ...], *parts: Tuple[np.ndarray, str]) -> np.ndarray:
    to_rgb = load_matplotlib().colors.to_rgb
    painted = np.full((*shape, 3), to_rgb(_BACKGROUND))
    for mask, colour in parts:
        painted[mask] = to_rgb(colour)
    return (painted * 255).round().astype(np.uint8)


def _legend(figure: Any, height: float, compared: bool) -> None:
    from matplotlib.patches import Patch

    kinds = (("hit", _HIT), ("miss", _MISS), ("false alarm", _FALSE)) if compared else (("predicted", _HIT),)
    figure.legend(
        handles=[Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=kind) for kind, colour in kinds],
        loc="upper right",
        bbox_to_anchor=(1, 1 - 0.02 / height),
        ncol=3,
        fontsize=8,
        frameon=False,
    )
