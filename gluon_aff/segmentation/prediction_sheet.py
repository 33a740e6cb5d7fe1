"""A contact sheet: image, truth, prediction and difference side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

from ..utils.figures import load_matplotlib, new_figure, plain, write_figure
from ..utils.files import PathLike

ROWS = 8

# White, orange and blue are told apart by every kind of colour vision, and by their brightness.
_BACKGROUND, _HIT, _MISS, _FALSE = "#1C1C1C", "#FFFFFF", "#F0A000", "#3D8BFF"
_FRAME = "#00C389"

# Inches: a picture's width, between pictures, above each row, of the columns' names, of the legend.
_CELL, _GAP, _BAND, _NAMES, _LEGEND = 2.7, 0.1, 0.28, 0.3, 0.32
_DPI = 120

_MAGNIFIED = 0.15  # objects whose extent is a smaller share of the image are shown in a magnifying inset
_SMALLEST = 16  # pixels that a magnified window has at least
_RINGED = 0.035  # objects whose extent is a smaller share of the image get a ring
_MOST_RINGS = 20  # more is noise, and seen as such


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


@dataclass(frozen=True)
class _View:
    """A square of a picture, by first row and column and side, and the first row and column of its magnified inset."""

    first: Tuple[int, int]
    side: int
    corner: Tuple[int, int]


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
    head = _NAMES + (_LEGEND if "difference" in columns else 0)
    height = head + sum(heights) + len(rows) * _BAND + _GAP
    figure = new_figure(width, height, layout=None, facecolor="white")
    for number, column in enumerate(columns):
        middle = (_GAP + number * (_CELL + _GAP) + _CELL / 2) / width
        figure.text(middle, 1 - (head - _NAMES / 2) / height, column, ha="center", va="center")
    if "difference" in columns:
        _legend(figure, height)
    top = height - head
    for row, cell in zip(rows, heights):
        top -= _BAND + cell
        figure.text(_GAP / width, (top + cell + 0.06) / height, plain(row.caption), fontsize=9)
        view = _view(row)
        ringed = {"truth": row.truth, "prediction": row.found, "difference": row.marked}
        for number, column in enumerate(columns):
            pixels = _pixels(row, column)
            if pixels is None:
                continue
            left = _GAP + number * (_CELL + _GAP)
            axes = figure.add_axes((left / width, top / height, _CELL / width, cell / height))
            _draw(axes, pixels, view)
            mask = ringed.get(column)
            if mask is not None:
                _rings(axes, mask, view)
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


def _objects(mask: np.ndarray) -> List[Tuple[slice, slice]]:
    """Bounding boxes of a mask's 8-connected components, the longest first."""
    from scipy import ndimage

    boxes = ndimage.find_objects(ndimage.label(mask, np.ones((3, 3), dtype=bool))[0])
    return sorted(boxes, key=_extent, reverse=True)


def _extent(box: Tuple[slice, ...]) -> int:
    return max(side.stop - side.start for side in box)


def _view(row: Row) -> Optional[_View]:
    """The window around all that is true if that is small, else around the largest object if that is; else None.

    Of what is predicted, where nothing is true.
    """
    mask = row.found if row.truth is None or not row.truth.any() else row.truth
    boxes, shorter = _objects(mask), min(mask.shape)
    if not boxes:
        return None
    whole = tuple(slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in (0, 1))
    for box in (whole, boxes[0]):
        if _extent(box) < _MAGNIFIED * shorter:
            side = min(max(_SMALLEST, 2 * _extent(box)), shorter // 2)
            first = [
                min(max((part.start + part.stop - side) // 2, 0), size - side) for part, size in zip(box, mask.shape)
            ]
            return _View((first[0], first[1]), side, _corner(row, first, side))
    return None


def _corner(row: Row, first: Sequence[int], side: int) -> Tuple[int, int]:
    """First row and column of the inset: the corner that hides the fewest marked pixels, of equal ones the farthest
    from the window."""
    height, width = row.found.shape
    inset = min(height, width) // 2
    corners = [(y, x) for y in (0, height - inset) for x in (0, width - inset)]

    def badness(corner: Tuple[int, int]) -> Tuple[int, float]:
        hidden = int(row.marked[corner[0] : corner[0] + inset, corner[1] : corner[1] + inset].sum())
        away = [c + inset / 2 - f - side / 2 for c, f in zip(corner, first)]
        return hidden, -(away[0] ** 2 + away[1] ** 2)

    return min(corners, key=badness)


def _draw(axes: Any, pixels: np.ndarray, view: Optional[_View]) -> None:
    height, width = pixels.shape[:2]
    axes.imshow(
        pixels, extent=(0, width, height, 0), interpolation="nearest" if width < _CELL * _DPI else "antialiased"
    )
    if view:
        (y, x), (top, left), inset = view.first, view.corner, min(height, width) // 2
        window = pixels[y : y + view.side, x : x + view.side]
        axes.imshow(window, extent=(left, left + inset, top + inset, top), interpolation="nearest", zorder=3)
        _frame(axes, x, y, view.side, 2)
        _frame(axes, left, top, inset, 4)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set(color="#808080", linewidth=0.5)


def _frame(axes: Any, x: float, y: float, side: float, zorder: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=_FRAME, linewidth=1.0, zorder=zorder))


def _rings(axes: Any, mask: np.ndarray, view: Optional[_View]) -> None:
    """Rings around small objects. The inset is drawn over them."""
    from matplotlib.patches import Circle

    shorter = min(mask.shape)
    small = [box for box in _objects(mask) if _extent(box) < _RINGED * shorter]
    for rows, columns in small if len(small) <= _MOST_RINGS else ():
        if view and all(
            first <= side.start and side.stop <= first + view.side for first, side in zip(view.first, (rows, columns))
        ):
            continue
        centre = ((columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2)
        axes.add_patch(Circle(centre, 0.04 * shorter, fill=False, edgecolor=_FRAME, linewidth=0.8, zorder=2))


def _legend(figure: Any, height: float) -> None:
    from matplotlib.patches import Patch

    kinds = (("hit", _HIT), ("miss", _MISS), ("false alarm", _FALSE))
    figure.legend(
        handles=[Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=kind) for kind, colour in kinds],
        loc="upper right",
        bbox_to_anchor=(1, 1 - 0.02 / height),
        ncol=3,
        fontsize=8,
        frameon=False,
    )
