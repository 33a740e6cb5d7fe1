"""Heat maps as image files, and the paper's Fig. 6: rows are networks, columns images."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..segmentation.magnifying import FRAME, View, show_magnified, small_target
from ..utils.figures import DPI, is_figure, load_matplotlib, new_figure, plain, write_figure
from ..utils.files import FileNames, PathLike
from ..utils.png import write_pixels
from ..utils.tables import write_csv
from .cam_images import ExplainedImage

#: The explained images of each network, by its name; every network has the same images in the same order.
Rows = Mapping[str, Sequence[ExplainedImage]]

COLUMNS = 10  # of a sheet; more images make more sheets
_COLOURS = "turbo"
_SMALL, _LARGE = 1.25, 2.0  # inches: a picture of up to 64 pixels, a larger one
_TEXT, _NAME = 0.3, 1.15  # inches: the line below it; the network's name
_BAR, _LEGEND, _LEAST = 0.6, 0.25, 3.2  # inches: the colour bar; the line of marks; a sheet without the bar
_OUTLINE = "lime"
_STAMP: Dict[str, Any] = {
    "fontsize": 7,
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "boxstyle": "round,pad=0.2"},
}
_CSV = ("network", "picture", "truth", "predicted", "score", "wrong", "heat_of")


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] to colours, uint8 (H, W, 3), from blue (0) to red (1)."""
    return load_matplotlib().colormaps[_COLOURS](heat, bytes=True)[..., :3]


def heat_overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The heat map's colours over the picture, half and half; uint8 (H, W, 3)."""
    return ((pixels.astype(np.uint16) + heat_colours(heat) + 1) // 2).astype(np.uint8)


def write_explained(rows: Rows, place: Path, dpi: int = DPI) -> List[Path]:
    """Write NETWORK/PICTURE-heat.png and -overlay.png, sheet.png (sheet-2.png, ...) and predictions.csv.

    Parameters
    ----------
    rows : Rows
    place : Path
        Their folder; or a file that ends in .png, .pdf or .svg, for the sheet alone.
    dpi : int
        Pixels per inch of the sheet.

    Returns
    -------
    list of Path
        The sheets.
    """
    sheet = place if is_figure(place) else place / "sheet.png"
    if sheet != place:
        _write_maps(rows, place)
        write_csv(_CSV, _csv_rows(rows), place / "predictions.csv")
    sheets = []
    count = max(len(images) for images in rows.values())
    for number, start in enumerate(range(0, count, COLUMNS), 1):
        path = sheet if number == 1 else sheet.with_name(f"{sheet.stem}-{number}{sheet.suffix}")
        draw_cam_sheet({network: images[start : start + COLUMNS] for network, images in rows.items()}, path, dpi)
        sheets.append(path)
    return sheets


def _write_maps(rows: Rows, directory: Path) -> None:
    folders = FileNames()
    for network, images in rows.items():
        folder, names = directory / folders(network), FileNames()
        for image in images:
            stem = names(f"{image.picture.folder}-{image.picture.name}")
            write_pixels(heat_colours(image.heat), folder / f"{stem}-heat.png")
            write_pixels(enlarged(heat_overlay(image.pixels, image.heat)), folder / f"{stem}-overlay.png")


def enlarged(pixels: np.ndarray, least: int = 256) -> np.ndarray:
    """uint8 (H, W, 3), a whole number of times larger where its longer side has less than ``least`` pixels."""
    from PIL import Image

    height, width = pixels.shape[:2]
    times = -(-least // max(height, width))
    if times == 1:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((times * width, times * height), Image.Resampling.BICUBIC))


def _csv_rows(rows: Rows) -> Iterator[Tuple[object, ...]]:
    for network, images in rows.items():
        for image in images:
            score = "" if image.score is None else f"{image.score:.6f}"
            wrong = "" if image.wrong is None else int(image.wrong)
            where = image.picture.where
            yield network, where, image.truth or "", image.predicted, score, wrong, image.target or ""


def draw_cam_sheet(rows: Rows, path: PathLike, dpi: int = DPI) -> None:
    """One sheet: the images on top (true foreground outlined), below them a row for each network.

    Below each image stands what the network predicted, with ✕ where that is wrong, and whether its map is empty. Small
    targets are magnified in a corner.
    """
    first = next(iter(rows.values()))
    count = len(rows) + 1
    tile = _SMALL if max(first[0].pixels.shape) <= 64 else _LARGE
    figure = new_figure(max(_NAME + tile * len(first), _LEAST) + _BAR, (tile + _TEXT) * count + _LEGEND)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(count, len(first), squeeze=False)
    views = [None if image.mask is None else small_target(image.mask, image.mask) for image in first]
    for axes, image, view in zip(grid[0], first, views):
        _draw(axes, image.pixels, image.truth or "", False, view)
        if image.mask is not None and image.mask.any() and view is None:
            height, width = enlarged(image.pixels).shape[:2]
            axes.contour(image.mask, levels=[0.5], colors=_OUTLINE, linewidths=0.8, extent=(0, width, 0, height))
    for images, line in zip(rows.values(), grid[1:]):
        for axes, image, shown, view in zip(line, images, first, views):
            score = "" if image.score is None else f" {image.score:.2f}"
            empty = not image.heat.any()
            pixels = image.pixels if empty else heat_overlay(image.pixels, image.heat)
            text = image.predicted + score + (", empty map" if empty else "")
            here = view and view.resized(_size(shown), _size(image))  # networks may have inputs of several sizes
            _draw(axes, pixels, text, bool(image.wrong), here)
            if empty:
                axes.text(0.5, 0.92, "no evidence", transform=axes.transAxes, ha="center", va="center", **_STAMP)
    for name, line in zip(("image", *rows), grid):
        line[0].set_ylabel(plain(_wrapped(name)), fontsize=8, rotation=0, ha="right", va="center", labelpad=6)
    asked = {i.target for images in rows.values() for i in images if i.target not in (None, i.predicted)}
    if len(asked) == 1:  # one class for all images, not the predicted ones
        figure.suptitle(plain(f"evidence for {asked.pop()}"), fontsize=9)
    _legend(figure, grid, rows, views)
    write_figure(figure, path, dpi)


def _size(image: ExplainedImage) -> Tuple[int, int]:
    return image.pixels.shape[0], image.pixels.shape[1]


def _draw(axes: Any, pixels: np.ndarray, text: str, wrong: bool, view: Optional[View]) -> None:
    show_magnified(axes, enlarged(pixels) if view is None else pixels, view, crisp=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(
        plain(f"✕ {text}" if wrong else text), fontsize=7, labelpad=2, color="crimson" if wrong else "black"
    )


def _legend(figure: Any, grid: np.ndarray, rows: Rows, views: Sequence[Optional[View]]) -> None:
    """What the colours, the cross, the outline and the frame mean, as far as they are there."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    bar = figure.colorbar(
        ScalarMappable(cmap=_COLOURS), ax=grid.ravel().tolist(), fraction=0.02, aspect=25, pad=0.01, ticks=(0, 1)
    )
    bar.ax.set_yticklabels(["none", "most"], fontsize=7)
    bar.set_label("evidence, scaled for each map", fontsize=7)
    images = [image for row in rows.values() for image in row]
    marks = []
    if any(image.wrong for image in images):
        marks.append(Line2D([], [], ls="", marker="$✕$", color="crimson", label="wrong prediction"))
    if any(image.mask is not None and image.mask.any() and not view for image, view in zip(images, views)):
        marks.append(Line2D([], [], color=_OUTLINE, label="true foreground"))
    if any(views):
        marks.append(Line2D([], [], color=FRAME, label="framed: a small target, magnified in a corner"))
    if marks:
        figure.legend(handles=marks, loc="outside lower center", ncol=3, fontsize=7, frameon=False)


def _wrapped(name: str, width: int = 16) -> str:
    return "\n".join(wrap(name, width))
