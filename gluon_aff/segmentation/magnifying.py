"""Small targets made visible: a magnifying inset, a frame around what it shows, rings around what it does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

import numpy as np

FRAME = "#00C389"  #: colour of frames and rings
_MAGNIFIED = 0.15  # objects whose extent is a smaller share of the image are shown in a magnifying inset
_SMALLEST = 16  # pixels that a magnified window has at least
_RINGED = 0.035  # objects whose extent is a smaller share of the image get a ring
_MOST_RINGS = 20  # more is noise, and seen as such


@dataclass(frozen=True)
class View:
    """A square of a picture, by first row and column and side, and the first row and column of its magnified inset."""

    first: Tuple[int, int]
    side: int
    corner: Tuple[int, int]

    def resized(self, old: Sequence[int], new: Sequence[int]) -> View:
        """The same place in a picture of ``new`` height and width that had the ``old`` ones."""
        side, inset = max(1, round(self.side * min(new) / min(old))), min(new) // 2
        y, x = (min(round(f * n / o), n - side) for f, o, n in zip(self.first, old, new))
        top, left = (n - inset if c else 0 for c, n in zip(self.corner, new))
        return View((y, x), side, (top, left))


def small_target(mask: np.ndarray, marked: np.ndarray, logits: Optional[np.ndarray] = None) -> Optional[View]:
    """The window around all of ``mask`` if that is small, else around its first object if that is; else None.

    All (H, W). The first object is the one of the highest of ``logits``, without these the largest; the inset should
    not hide what is ``marked``.
    """
    boxes, shorter = _objects(mask, logits), min(mask.shape)
    if not boxes:
        return None
    whole = tuple(slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes)) for axis in (0, 1))
    for box in (whole, boxes[0]):
        if _extent(box) < _MAGNIFIED * shorter:
            side = min(max(_SMALLEST, 2 * _extent(box)), shorter // 2)
            first = [
                min(max((part.start + part.stop - side) // 2, 0), size - side) for part, size in zip(box, mask.shape)
            ]
            return View((first[0], first[1]), side, _corner(marked, first, side))
    return None


def _objects(mask: np.ndarray, logits: Optional[np.ndarray] = None) -> List[Tuple[slice, slice]]:
    """Bounding boxes of a mask's 8-connected components, the likeliest or longest first."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3), dtype=bool))
    boxes = ndimage.find_objects(labels)
    merits = map(_extent, boxes) if logits is None else ndimage.maximum(logits, labels, range(1, count + 1))
    return [box for _, box in sorted(zip(merits, boxes), key=lambda pair: pair[0], reverse=True)]


def _extent(box: Tuple[slice, ...]) -> int:
    return max(side.stop - side.start for side in box)


def _corner(marked: np.ndarray, first: Sequence[int], side: int) -> Tuple[int, int]:
    """First row and column of the inset: the corner that hides the fewest marked pixels, of equal ones the farthest
    from the window."""
    height, width = marked.shape
    inset = min(height, width) // 2
    corners = [(y, x) for y in (0, height - inset) for x in (0, width - inset)]

    def badness(corner: Tuple[int, int]) -> Tuple[int, float]:
        hidden = int(marked[corner[0] : corner[0] + inset, corner[1] : corner[1] + inset].sum())
        away = [c + inset / 2 - f - side / 2 for c, f in zip(corner, first)]
        return hidden, -(away[0] ** 2 + away[1] ** 2)

    return min(corners, key=badness)


def show_magnified(axes: Any, pixels: np.ndarray, view: Optional[View], crisp: bool = True) -> None:
    """Draw a picture with the inset of its view, if any, without ticks; ``crisp`` shows its pixels as squares."""
    height, width = pixels.shape[:2]
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="nearest" if crisp else "antialiased")
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

    axes.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=FRAME, linewidth=1.0, zorder=zorder))


def ring_small_objects(axes: Any, mask: np.ndarray, view: Optional[View]) -> bool:
    """Draw rings around small objects; return whether there is any. The inset is drawn over them."""
    from matplotlib.patches import Circle

    shorter, ringed = min(mask.shape), False
    small = [box for box in _objects(mask) if _extent(box) < _RINGED * shorter]
    for rows, columns in small if len(small) <= _MOST_RINGS else ():
        if view and all(
            first <= side.start and side.stop <= first + view.side for first, side in zip(view.first, (rows, columns))
        ):
            continue
        ringed = True
        centre = ((columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2)
        axes.add_patch(Circle(centre, 0.04 * shorter, fill=False, edgecolor=FRAME, linewidth=0.8, zorder=2))
    return ringed
