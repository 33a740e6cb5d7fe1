"""Heat maps as image files, and the paper's Fig. 6: rows are networks, columns images."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from ..utils.figures import load_matplotlib, new_figure, plain, write_figure
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
_CSV = ("network", "picture", "truth", "predicted", "score", "wrong", "heat_of")


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] to colours, uint8 (H, W, 3), from blue (0) to red (1)."""
    return load_matplotlib().colormaps[_COLOURS](heat, bytes=True)[..., :3]


def heat_overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The heat map's colours over the picture, half and half; uint8 (H, W, 3)."""
    return ((pixels.astype(np.uint16) + heat_colours(heat) + 1) // 2).astype(np.uint8)


def write_explained(rows: Rows, directory: Path) -> List[Path]:
    """Write NETWORK/PICTURE-heat.png and -overlay.png, sheet.png (sheet-2.png, ...) and predictions.csv.

    Returns
    -------
    list of Path
        The sheets.
    """
    folders = FileNames()
    for network, images in rows.items():
        folder, names = directory / folders(network), FileNames()
        for image in images:
            stem = names(f"{image.picture.folder}-{image.picture.name}")
            write_pixels(heat_colours(image.heat), folder / f"{stem}-heat.png")
            write_pixels(heat_overlay(image.pixels, image.heat), folder / f"{stem}-overlay.png")
    write_csv(_CSV, _csv_rows(rows), directory / "predictions.csv")
    sheets = []
    count = max(len(images) for images in rows.values())
    for number, start in enumerate(range(0, count, COLUMNS), 1):
        path = directory / ("sheet.png" if number == 1 else f"sheet-{number}.png")
        draw_cam_sheet({network: images[start : start + COLUMNS] for network, images in rows.items()}, path)
        sheets.append(path)
    return sheets


def _csv_rows(rows: Rows) -> Iterator[Tuple[object, ...]]:
    for network, images in rows.items():
        for image in images:
            score = "" if image.score is None else f"{image.score:.6f}"
            wrong = "" if image.wrong is None else int(image.wrong)
            where = image.picture.where
            yield network, where, image.truth or "", image.predicted, score, wrong, image.target or ""


def draw_cam_sheet(rows: Rows, path: PathLike) -> None:
    """One sheet: the images on top (true foreground outlined), below them a row for each network.

    Below each image stands what the network predicted, with ✕ where that is wrong.
    """
    first = next(iter(rows.values()))
    count = len(rows) + 1
    tile = _SMALL if max(first[0].pixels.shape) <= 64 else _LARGE
    figure = new_figure(_NAME + tile * len(first), (tile + _TEXT) * count)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(count, len(first), squeeze=False)
    for axes, image in zip(grid[0], first):
        _draw(axes, image.pixels, image.truth or "", False)
        if image.mask is not None and image.mask.any():
            axes.contour(image.mask, levels=[0.5], colors="lime", linewidths=0.8)
    for images, line in zip(rows.values(), grid[1:]):
        for axes, image in zip(line, images):
            score = "" if image.score is None else f" {image.score:.2f}"
            _draw(axes, heat_overlay(image.pixels, image.heat), image.predicted + score, bool(image.wrong))
    for name, line in zip(("image", *rows), grid):
        line[0].set_ylabel(plain(_wrapped(name)), fontsize=8, rotation=0, ha="right", va="center", labelpad=6)
    asked = {i.target for images in rows.values() for i in images if i.target not in (None, i.predicted)}
    if len(asked) == 1:  # one class for all images, not the predicted ones
        figure.suptitle(plain(f"evidence for {asked.pop()}"), fontsize=9)
    write_figure(figure, path)


def _draw(axes: Any, pixels: np.ndarray, text: str, wrong: bool) -> None:
    axes.imshow(pixels, interpolation="bicubic" if max(pixels.shape) <= 64 else "antialiased")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(
        plain(f"✕ {text}" if wrong else text), fontsize=7, labelpad=2, color="crimson" if wrong else "black"
    )


def _wrapped(name: str, width: int = 16) -> str:
    return "\n".join(wrap(name, width))
