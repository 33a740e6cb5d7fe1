"""Predictions as files: masks, overlays and contact sheets, of a foreground or of several classes."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from ..data.decoding import IGNORED
from ..utils.figures import load_matplotlib, new_figure, plain, write_figure, write_picture, write_pixels
from ..utils.files import FileNames, PathLike
from ..utils.logits import logit_of
from .magnifying import FRAME, ring_small_objects, show_magnified, small_target

_ROWS, _CLASS_ROWS = 8, 6  # of a sheet
_OUTLINE = np.array([255, 40, 200], dtype=np.float32)  # rare in photographs of any kind
_TINT = 0.25
# White, orange and blue are told apart by every kind of colour vision, and by their brightness.
_BACKGROUND, _HIT, _MISS, _FALSE = "#1C1C1C", "#FFFFFF", "#F0A000", "#3D8BFF"
_OUTLINED = (("truth, found", "#00C389"), ("truth, missed", _MISS), ("prediction", "#FF28C8"), ("false alarm", _FALSE))
_LEAST_OVERLAY = 480  # pixels of the short side of an overlay with truth
# Inches: a picture's width, between pictures, above each row, of the columns' names, of the legend.
_CELL, _GAP, _BAND, _NAMES, _LEGEND = 2.7, 0.1, 0.28, 0.3, 0.32
_CLASS_CELL = 2.5
_DPI = 120


class Item(NamedTuple):
    """An image, uint8 (H, W, 3), and its prediction, bool (H, W), or class numbers, uint8; truth likewise, or None.

    A number other than 0 in the truth of a bool prediction is foreground; `IGNORED` does not count. ``logits``, (H, W),
    tell which target of a prediction without truth is magnified; ``figure`` stands behind the name on a sheet.
    """

    name: str
    image: np.ndarray
    truth: Optional[np.ndarray]
    found: np.ndarray
    logits: Optional[np.ndarray] = None
    figure: str = ""


def predicted_pixels(logits: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    """Return where p > ``threshold``, bool (H, W), of logits (1, H, W); of (classes, H, W) the class of the largest,
    uint8."""
    return logits.argmax(axis=0).astype(np.uint8) if len(logits) > 1 else logits[0] > logit_of(threshold)


def write_predictions(directory: PathLike, items: Iterable[Item], classes: Sequence[str] = ()) -> List[Path]:
    """Write masks/NAME.png, overlays/NAME.png and contact sheets sheet-01.png, ...; return the sheets.

    Masks hold 0 and 255; overlays show the truth as well, where there is one. Of several ``classes``, given by their
    names, masks hold class numbers, with a palette that shows them in colours. Names become file names by `FileNames`.
    Items are taken one by one; no more than a sheet's worth is kept. Raises ValueError for shapes that do not belong
    together.
    """
    place, names = Path(directory), FileNames()
    several = len(classes) > 1
    palette = class_colours().ravel().tolist()

    def written() -> Iterator[Item]:
        for item in items:
            _check(item)
            if several:
                mask, overlay = Image.fromarray(item.found, "P"), class_overlay(item.image, item.found)
                mask.putpalette(palette)
            else:
                mask = Image.fromarray(np.where(item.found, 255, 0).astype(np.uint8))
                if item.truth is not None:
                    counted = item.truth != IGNORED
                    item = item._replace(truth=(item.truth > 0) & counted, found=item.found & counted)
                overlay = prediction_overlay(item.image, item.found, item.truth)
            stem = names(item.name)
            write_picture(mask, place / "masks" / f"{stem}.png")
            write_pixels(overlay, place / "overlays" / f"{stem}.png")
            yield item

    sheets: List[Path] = []
    left = written()
    for rows in iter(lambda: list(islice(left, _CLASS_ROWS if several else _ROWS)), []):
        sheets.append(place / f"sheet-{len(sheets) + 1:02d}.png")
        if several:
            _draw_class_sheet(rows, sheets[-1], classes)
        else:
            _draw_sheet(rows, sheets[-1])
    return sheets


def _check(item: Item) -> None:
    image = item.image
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{item.name}: image {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
    for kind, array in (("truth", item.truth), ("prediction", item.found)):
        if array is not None and array.shape != image.shape[:2]:
            raise ValueError(f"{item.name}: {kind} {array.shape}, expected the image's {image.shape[:2]}")


def class_colours() -> np.ndarray:
    """Return a colour for every class number, uint8 (256, 3): VOC's, which spread the number's bits over the channels.

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


def prediction_overlay(image: np.ndarray, found: np.ndarray, truth: Optional[np.ndarray] = None) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), with the prediction, bool (H, W), tinted and outlined.

    The outline lies around the prediction, not on it, so that even a single pixel can be seen. With a ``truth``, bool
    (H, W), both are outlined in the colours of a legend below, and the image is enlarged so that the two are told
    apart; a target is found when it shares a pixel with the prediction.
    """
    if truth is None:
        painted = image.astype(np.float32)
        painted[found] += _TINT * (_OUTLINE - painted[found])
        painted[_ring(found)] = _OUTLINE
        return painted.round().astype(np.uint8)
    times = -(-_LEAST_OVERLAY // min(found.shape))
    painted, found, truth = (pixels.repeat(times, axis=0).repeat(times, axis=1) for pixels in (image, found, truth))
    missed, false = _apart(truth, found), _apart(found, truth)
    parts = (truth & ~missed, missed, found & ~false, false)
    for part, (_, colour), away in reversed(list(zip(parts, _OUTLINED, (0, 0, 1, 1)))):
        painted[_ring(part, away)] = ImageColor.getrgb(colour)
    return np.concatenate([painted, _legend_strip(painted.shape[1])])


def _ring(mask: np.ndarray, away: int = 0) -> np.ndarray:
    """The outline around a mask, or ``away`` times its width from it."""
    import cv2

    width = max(1, round(min(mask.shape) / 320))
    inner, outer = (
        cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
        for reach in (away * width, (away + 1) * width)
    )
    return outer & ~inner


def _apart(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The objects of a mask that share no pixel with another."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3), dtype=bool))
    return mask & ~np.isin(labels, labels[mask & other])


def _legend_strip(width: int) -> np.ndarray:
    """The colours of `_OUTLINED` and their meanings, uint8 (h, width, 3)."""
    strip = Image.new("RGB", (_LEAST_OVERLAY, 20), "white")
    draw = ImageDraw.Draw(strip)
    for number, (meaning, colour) in enumerate(_OUTLINED):
        left = 8 + number * _LEAST_OVERLAY // len(_OUTLINED)
        draw.rectangle((left, 5, left + 10, 15), outline=colour, width=2)
        draw.text((left + 16, 4), meaning, fill="black", font=ImageFont.load_default())
    pixels = np.asarray(strip)
    times = width // _LEAST_OVERLAY
    pixels = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return np.pad(pixels, ((0, 0), (0, width - pixels.shape[1]), (0, 0)), constant_values=255)


def class_overlay(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the image, uint8 (H, W, 3), with its classes' colours half and half; the background as it is."""
    painted = image.copy()
    marked = found > 0
    painted[marked] = (image[marked].astype(np.uint16) + class_colours()[found[marked]] + 1) // 2
    return painted


# Sheets --------------------------------------------------------------------------------------------------------------


def _draw_sheet(rows: Sequence[Item], path: Path) -> None:
    """Image, truth, prediction and difference side by side; without any truth, image and prediction.

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
    top, framed, ringed = height - head, False, False
    for row, cell in zip(rows, heights):
        top -= _BAND + cell
        marked = row.found if row.truth is None else row.found | row.truth
        figure.text(_GAP / width, (top + cell + 0.06) / height, plain(_caption(row)), fontsize=9)
        if row.truth is not None and row.truth.any():
            view = small_target(row.truth, marked)
        else:
            view = small_target(row.found, marked, row.logits)
        framed = framed or view is not None
        shown = _panels(row, marked)
        for number, column in enumerate(columns):
            if column not in shown:
                continue
            pixels, mask = shown[column]
            left = _GAP + number * (_CELL + _GAP)
            axes = figure.add_axes((left / width, top / height, _CELL / width, cell / height))
            show_magnified(axes, pixels, view, crisp=pixels.shape[1] < _CELL * _DPI)
            if mask is not None:
                ringed = ring_small_objects(axes, mask, view) or ringed
    compared = [("hit", _HIT), ("miss", _MISS), ("false alarm", _FALSE)]
    kinds = compared if "difference" in columns else [("predicted", _HIT)]
    marks = [("o", "ringed: small, so that it is seen")] * ringed + [("s", "framed: magnified in a corner")] * framed
    _legend(figure, kinds, marks, loc="upper right", bbox_to_anchor=(1, 1 - 0.02 / height), ncol=5, columnspacing=1.2)
    write_figure(figure, path, _DPI)


def _caption(row: Item) -> str:
    name = row.name if len(row.name) <= 60 else f"{row.name[:28]} … {row.name[-28:]}"
    return f"{name}   {row.figure or f'{int(row.found.sum()):,} px predicted'}"


def _panels(row: Item, marked: np.ndarray) -> dict:
    """Pixels, and the mask whose small objects get a ring, of each column; truth and difference need a truth."""
    shown = {"image": (row.image, None), "prediction": (_paint((row.found, _HIT)), row.found)}
    if row.truth is not None:
        hit, miss, false = row.found & row.truth, row.truth & ~row.found, row.found & ~row.truth
        shown["truth"] = _paint((row.truth, _HIT)), row.truth
        shown["difference"] = _paint((hit, _HIT), (miss, _MISS), (false, _FALSE)), marked
    return shown


def _paint(*parts: Tuple[np.ndarray, str]) -> np.ndarray:
    to_rgb = load_matplotlib().colors.to_rgb
    painted = np.full((*parts[0][0].shape, 3), to_rgb(_BACKGROUND))
    for mask, colour in parts:
        painted[mask] = to_rgb(colour)
    return (painted * 255).round().astype(np.uint8)


def _draw_class_sheet(rows: Sequence[Item], path: Path, names: Sequence[str]) -> None:
    """Image, truth where there is one, and prediction, side by side, with the colours that occur below."""
    colours = class_colours()
    columns = ["image", "prediction"] if all(row.truth is None for row in rows) else ["image", "truth", "prediction"]
    figure = new_figure(_CLASS_CELL * len(columns), (_CLASS_CELL * 0.85) * len(rows) + 0.7)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    maps = [each for row in rows for each in (row.truth, row.found) if each is not None]
    for line, row in zip(grid, rows):
        shown = {"image": row.image, "prediction": colours[row.found]}
        if row.truth is not None:
            shown["truth"] = colours[row.truth]
        for axes, column in zip(line, columns):
            axes.set(xticks=[], yticks=[])
            for side in axes.spines.values():
                side.set_visible(False)
            if column in shown:
                axes.imshow(shown[column])
        line[0].set_xlabel(plain(row.name[:40]), fontsize=7, labelpad=2)
    for axes, column in zip(grid[0], columns):
        axes.set_title(column, fontsize=9)
    seen = sorted({number for each in maps for number in np.unique(each).tolist()})
    labels = [("does not count" if number == IGNORED else names[number], colours[number] / 255) for number in seen]
    _legend(figure, labels, loc="outside lower center", ncol=min(4, len(labels)))
    write_figure(figure, path)


def _legend(
    figure: Any, colours: Sequence[Tuple[str, Any]], marks: Sequence[Tuple[str, str]] = (), **place: Any
) -> None:
    """Name the colours, and what is marked by green signs of a shape."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: List[Any] = [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.5, label=plain(label)) for label, colour in colours
    ]
    for shape, label in marks:
        handles.append(Line2D([], [], ls="", marker=shape, mfc="none", mec=FRAME, label=label))
    figure.legend(handles=handles, fontsize=8, frameon=False, **place)
