"""Heat maps as pictures, and the paper's Fig. 6: rows are networks, columns images. Drawn without a display."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import List, Mapping, Sequence

import numpy as np

from ..utils.files import FileNames, PathLike, atomic_write
from ..utils.png import load_matplotlib, new_figure, write_figure, write_pixels
from .seen import Seen

COLUMNS = 10  # of a sheet; more images make more sheets
_COLOURS = "turbo"
_SMALL, _LARGE = 1.25, 2.0  # inches: a picture of up to 64 pixels, a larger one
_TEXT, _NAME = 0.3, 1.15  # inches: the line below it; the network's name
_DPI = 110


def coloured(heat: np.ndarray) -> np.ndarray:
    """(H, W) in [0, 1] to colours, uint8 (H, W, 3), from blue (0) to red (1)."""
    return load_matplotlib().colormaps[_COLOURS](heat, bytes=True)[..., :3]


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The heat map's colours over the picture, half and half; uint8 (H, W, 3)."""
    return ((pixels.astype(np.uint16) + coloured(heat) + 1) // 2).astype(np.uint8)


def write_all(seen: Mapping[str, Sequence[Seen]], directory: Path) -> List[Path]:
    """By network's name: NETWORK/PICTURE-heat.png and -overlay.png, sheet.png (sheet-2.png, ...), predictions.csv.

    Returns the sheets' paths.
    """
    folders = FileNames()
    for network, row in seen.items():
        folder, names = directory / folders(network), FileNames()
        for each in row:
            stem = names(f"{each.picture.folder}-{each.picture.name}")
            write_pixels(coloured(each.heat), folder / f"{stem}-heat.png")
            write_pixels(overlay(each.pixels, each.heat), folder / f"{stem}-overlay.png")
    with atomic_write(directory / "predictions.csv") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(("network", "picture", "truth", "predicted", "score", "wrong", "heat_of"))
        for network, row in seen.items():
            for each in row:
                score = "" if each.score is None else f"{each.score:.6f}"
                wrong = "" if each.wrong is None else int(each.wrong)
                writer.writerow(
                    (network, each.picture.where, each.truth or "", each.verdict, score, wrong, each.target or "")
                )
    sheets = []
    count = max(len(row) for row in seen.values())
    for number, start in enumerate(range(0, count, COLUMNS), 1):
        path = directory / ("sheet.png" if number == 1 else f"sheet-{number}.png")
        draw_sheet({network: row[start : start + COLUMNS] for network, row in seen.items()}, path)
        sheets.append(path)
    return sheets


def draw_sheet(seen: Mapping[str, Sequence[Seen]], path: PathLike) -> None:
    """One sheet: the pictures on top (true foreground outlined), below them a row for each network.

    Below each picture stands what the network predicted, with ✕ where that is wrong.
    """
    first = next(iter(seen.values()))
    rows = len(seen) + 1
    tile = _SMALL if max(first[0].pixels.shape) <= 64 else _LARGE
    figure = new_figure(figsize=(_NAME + tile * len(first), (tile + _TEXT) * rows), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    grid = figure.subplots(rows, len(first), squeeze=False)
    for axes, each in zip(grid[0], first):
        _draw(axes, each.pixels, each.truth or "", False)
        if each.mask is not None and each.mask.any():
            axes.contour(each.mask, levels=[0.5], colors="lime", linewidths=0.8)
    for row, line in zip(seen.values(), grid[1:]):
        for axes, each in zip(line, row):
            score = "" if each.score is None else f" {each.score:.2f}"
            _draw(axes, overlay(each.pixels, each.heat), each.verdict + score, bool(each.wrong))
    for name, line in zip(("image", *seen), grid):
        line[0].set_ylabel(_wrapped(name), fontsize=8, rotation=0, ha="right", va="center", labelpad=6)
    asked = {each.target for row in seen.values() for each in row if each.target not in (None, each.verdict)}
    if len(asked) == 1:  # one class for all pictures, not the predicted ones
        figure.suptitle(f"evidence for {asked.pop()}", fontsize=9)
    write_figure(figure, path, _DPI)


def _draw(axes: object, pixels: np.ndarray, text: str, wrong: bool) -> None:
    axes.imshow(pixels, interpolation="bicubic" if max(pixels.shape) <= 64 else "antialiased")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(f"✕ {text}" if wrong else text, fontsize=7, labelpad=2, color="crimson" if wrong else "black")


def _wrapped(name: str, width: int = 16) -> str:
    return "\n".join(name[start : start + width] for start in range(0, len(name), width))
