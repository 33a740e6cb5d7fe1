"""Predicted classes as files: masks, overlays and contact sheets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, Iterator, List, Optional, Sequence, Set, Tuple

import numpy as np
from PIL import Image

from ..data.decoding import IGNORED
from ..utils.figures import new_figure, plain, write_figure
from ..utils.files import FileNames, PathLike
from ..utils.png import write_picture, write_pixels
from .prediction_files import write_sheets

#: Name, image uint8 (H, W, 3), true and predicted class numbers, uint8 (H, W); no truth: None.
ClassItem = Tuple[str, np.ndarray, Optional[np.ndarray], np.ndarray]

ROWS = 6  # of a sheet
_CELL = 2.5  # inches


def class_colours() -> np.ndarray:
    """A colour for every class number, uint8 (256, 3): VOC's, which spread the number's bits over the channels.

    The background is black, what does not count a light grey.
    """
    numbers = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> channel) & 1) << (7 - bit)
        numbers >>= 3
    colours[IGNORED] = 224
    return colours.astype(np.uint8)


def class_numbers(logits: np.ndarray) -> np.ndarray:
    """The class of the largest logit at each pixel: (classes, H, W) -> uint8 (H, W)."""
    return logits.argmax(axis=0).astype(np.uint8)


def write_class_predictions(directory: PathLike, items: Iterable[ClassItem], names: Sequence[str]) -> List[Path]:
    """Write masks/NAME.png, overlays/NAME.png and contact sheets sheet-01.png, ...

    Masks hold class numbers, with a palette that shows them in colours. ``names`` are the classes'. Returns the sheets.
    """
    directory, files, colours = Path(directory), FileNames(), class_colours()

    def written() -> Iterator[ClassItem]:
        for item in items:
            name, image, _, found = item
            stem = files(name)
            _write_indexed(found, colours, directory / "masks" / f"{stem}.png")
            write_pixels(class_overlay(image, found), directory / "overlays" / f"{stem}.png")
            yield item

    return write_sheets(directory, written(), ROWS, lambda rows, path: _draw_sheet(rows, path, names))


def class_overlay(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The image, uint8 (H, W, 3), with its classes' colours half and half; the background as it is."""
    painted = image.copy()
    marked = found > 0
    painted[marked] = (image[marked].astype(np.uint16) + class_colours()[found[marked]] + 1) // 2
    return painted


def _write_indexed(numbers: np.ndarray, colours: np.ndarray, path: Path) -> None:
    picture = Image.fromarray(numbers, "P")
    picture.putpalette(colours.ravel().tolist())
    write_picture(picture, path)


def _draw_sheet(rows: Sequence[ClassItem], path: Path, names: Sequence[str]) -> None:
    """Image, truth where there is one, and prediction, side by side, with the colours that occur below."""
    from matplotlib.patches import Patch

    colours = class_colours()
    columns = ["image", "prediction"] if all(row[2] is None for row in rows) else ["image", "truth", "prediction"]
    figure = new_figure(_CELL * len(columns), (_CELL * 0.85) * len(rows) + 0.7)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    seen: Set[int] = set()
    for line, (name, image, truth, found) in zip(grid, rows):
        shown = {"image": image, "prediction": colours[found], "truth": None if truth is None else colours[truth]}
        seen.update(np.unique(found).tolist(), () if truth is None else np.unique(truth).tolist())
        for axes, column in zip(line, columns):
            _show(axes, shown[column])
        line[0].set_xlabel(plain(name[:40]), fontsize=7, labelpad=2)
    for axes, column in zip(grid[0], columns):
        axes.set_title(column, fontsize=9)
    patches = [
        Patch(facecolor=colours[each] / 255, edgecolor="black", linewidth=0.5, label=plain(_name(each, names)))
        for each in sorted(seen)
    ]
    figure.legend(handles=patches, loc="outside lower center", ncol=min(4, len(patches)), fontsize=8, frameon=False)
    write_figure(figure, path)


def _name(number: int, names: Sequence[str]) -> str:
    return "does not count" if number == IGNORED else names[number]


def _show(axes: Any, pixels: Optional[np.ndarray]) -> None:
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)
    if pixels is not None:
        axes.imshow(pixels)
