"""Grad-CAM of image files: what networks predict and where they look, as files and in the paper's Fig. 6 layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..data.decoding import IGNORED
from ..data.picture_files import Picture, Pictures
from ..data.registry import ClassNames
from ..errors import UsageError
from ..evaluation import TrainedNetwork
from ..segmentation.magnifying import FRAME, View, show_magnified, small_target
from ..utils.figures import DPI, is_figure, load_matplotlib, new_figure, plain, write_figure, write_pixels
from ..utils.files import FileNames, PathLike
from ..utils.logits import softmax
from ..utils.tables import write_csv
from .cam import explain, resized_maps

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


@dataclass(frozen=True, eq=False)
class ExplainedImage:
    """One network's prediction for one image, with its heat map.

    Attributes
    ----------
    picture : Picture
        The file.
    pixels : array
        The network's input before normalisation, uint8 (H, W, 3).
    heat : array
        float32 (H, W) in [0, 1].
    predicted : str
        The predicted class's name, or a phrase for what a segmentation found.
    score : float or None
        The prediction's softmax score, or IoU with the mask; None where there is no mask.
    truth : str or None
        Name of the true class; None where it is not known.
    target : str or None
        Name of the class whose evidence the heat map shows; None for a segmentation.
    wrong : bool or None
        Whether the prediction is wrong; None where the truth is not known.
    mask : array or None
        The true foreground of a segmentation, bool (H, W); None where there is none.
    """

    picture: Picture
    pixels: np.ndarray
    heat: np.ndarray
    predicted: str
    score: Optional[float]
    truth: Optional[str]
    target: Optional[str]
    wrong: Optional[bool]
    mask: Optional[np.ndarray] = None


def explain_images(
    network: TrainedNetwork,
    pictures: Pictures,
    target: Optional[str] = None,
    layer: Optional[str] = None,
    method: str = "grad_cam",
    batch_size: int = 8,
) -> List[ExplainedImage]:
    """Run every chosen picture through a network and Grad-CAM, ``batch_size`` at a time.

    Parameters
    ----------
    target : str, optional
        Name or number of the class whose evidence is wanted (default: the predicted one). It counts as the truth of a
        picture whose folder is not called like a class of the network.
    layer, method
        As for `grad_cam`.

    Raises
    ------
    UsageError
        For a class or layer that the network does not have, and for images of unequal size where nothing says what to
        resize them to.
    GluonAFFError
        For an image that cannot be read.
    """
    classes = network.input.classes or ClassNames(pictures.folders if len(pictures.folders) == network.outputs else ())
    if network.segments and network.outputs == 1 and target is not None:
        name = f"{network.title} is a segmentation network"
        raise UsageError(f"`class` {target}: {name} and has no classes; leave it out")
    if network.segments and network.outputs > 1 and target is None:
        raise UsageError(f"{network.title} segments {network.outputs} classes: choose the `class` to show")
    wanted = None if target is None else classes.number(target, network.outputs)
    explained: List[ExplainedImage] = []
    for start in range(0, len(pictures.chosen), batch_size):
        batch = pictures.chosen[start : start + batch_size]
        pixels = [network.input.read(picture.content(), picture.where) for picture in batch]
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in pixels]
        other = next((number for number, size in enumerate(sizes) if size != sizes[0]), None)
        if other is not None:
            raise UsageError(
                f"{batch[0].where} is {sizes[0]}, {batch[other].where} {sizes[other]}: give `input_size` to resize all "
                "images"
            )
        found = explain(network.net, network.input.transform(np.stack(pixels)), wanted, layer, method)
        judge = partial(_segmented, network) if network.segments else _classified
        for picture, image, heat, logits in zip(batch, pixels, found.maps, found.outputs):
            explained.append(ExplainedImage(picture, image, heat, *judge(picture, logits, classes, wanted)))
    return explained


#: `ExplainedImage` from ``predicted`` on.
Verdict = Tuple[str, Optional[float], Optional[str], Optional[str], Optional[bool], Optional[np.ndarray]]


def _classified(picture: Picture, logits: np.ndarray, classes: ClassNames, wanted: Optional[int]) -> Verdict:
    predicted, truth = int(logits.argmax()), classes.find(picture.folder)
    truth = wanted if truth is None else truth
    name, wrong = (None, None) if truth is None else (classes[truth], predicted != truth)
    target = classes[predicted if wanted is None else wanted]
    return classes[predicted], float(softmax(logits, axis=0)[predicted]), name, target, wrong, None


def _segmented(
    network: TrainedNetwork, picture: Picture, logits: np.ndarray, classes: ClassNames, wanted: Optional[int]
) -> Verdict:
    """Judge the foreground by its mask, unless its targets have no pixel at the input's size.

    Of several classes show the wanted one, without truth.
    """
    target = None if wanted is None else classes[wanted]
    foreground = logits[0] > 0 if wanted is None else logits.argmax(axis=0) == wanted
    mask = network.mask_of(picture, foreground.shape) if wanted is None else None
    if mask is None:
        return f"{100 * foreground.mean():.2g} % {target or 'foreground'}", None, None, target, None, None
    truth, foreground = (mask > 0) & (mask != IGNORED), foreground & (mask != IGNORED)
    if not truth.any():
        original = network.mask_of(picture)
        if original is not None and ((original > 0) & (original != IGNORED)).any():
            return f"no target at {truth.shape[1]}x{truth.shape[0]}", None, None, target, None, truth
    both, either = (foreground & truth).sum(), (foreground | truth).sum()
    return "IoU", float(both / either) if either else 1.0, None, target, bool(either and not both), truth


#: The explained images of each network, by its name; every network has the same images in the same order.
Rows = Mapping[str, Sequence[ExplainedImage]]


def heat_colours(heat: np.ndarray) -> np.ndarray:
    """Turn (H, W) in [0, 1] into colours, uint8 (H, W, 3), from blue (0) to red (1)."""
    return load_matplotlib().colormaps[_COLOURS](heat, bytes=True)[..., :3]


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a map as `grad_cam` gives it in colours from blue (0) to red (1), half and half over its picture.

    >>> pixels = np.asarray(PIL.Image.open("photo.jpg").convert("RGB"))
    >>> PIL.Image.fromarray(overlay(pixels, grad_cam(net, x)[0])).save("seen.png")

    Parameters
    ----------
    image : array
        uint8 (H, W, 3), RGB, or (H, W), grey; or the same as float in [0, 1].
    heat : array
        (h, w) in [0, 1]; resized, bilinearly, to the picture where it has another size.

    Returns
    -------
    array
        uint8 (H, W, 3).

    Raises
    ------
    UsageError
        For arrays of another shape, type or range.
    """
    pixels, heat = np.asarray(image), np.asarray(heat, dtype=np.float32)
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = np.round(255 * pixels).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UsageError(
            f"the image is {np.asarray(image).dtype} {np.shape(image)}: expected (H, W, 3) or (H, W), uint8 or float "
            "in [0, 1], not a normalised input"
        )
    if heat.ndim != 2 or not heat.size or not (heat.min() >= 0 and heat.max() <= 1):
        raise UsageError(f"the map is {heat.shape}: expected (h, w) in [0, 1], one map of what grad_cam gives")
    if heat.shape != pixels.shape[:2]:
        heat = np.clip(resized_maps(heat[None], pixels.shape[:2])[0], 0, 1)
    return heat_overlay(pixels, heat)


def heat_overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay the heat map's colours over the picture, half and half; uint8 (H, W, 3)."""
    return ((pixels.astype(np.uint16) + heat_colours(heat) + 1) // 2).astype(np.uint8)


def write_explained(rows: Rows, place: Path, dpi: int = DPI) -> List[Path]:
    """Write NETWORK/PICTURE-heat.png and -overlay.png, sheet.png (sheet-2.png, ...) and predictions.csv.

    Where ``place`` is no folder but a figure's file, write the sheets alone. Return these.
    """
    sheet = place if is_figure(place) else place / "sheet.png"
    if sheet != place:
        folders, verdicts = FileNames(), []
        for network, images in rows.items():
            folder, names = place / folders(network), FileNames()
            for image in images:
                stem = names(f"{image.picture.folder}-{image.picture.name}")
                write_pixels(heat_colours(image.heat), folder / f"{stem}-heat.png")
                write_pixels(enlarged(heat_overlay(image.pixels, image.heat)), folder / f"{stem}-overlay.png")
                score = "" if image.score is None else f"{image.score:.6f}"
                judged = (score, "" if image.wrong is None else int(image.wrong), image.target or "")
                verdicts.append((network, image.picture.where, image.truth or "", image.predicted, *judged))
        write_csv(_CSV, verdicts, place / "predictions.csv")
    sheets: List[Path] = []
    for start in range(0, max(map(len, rows.values())), COLUMNS):
        sheets.append(sheet.with_name(f"{sheet.stem}-{len(sheets) + 1}{sheet.suffix}") if sheets else sheet)
        draw_cam_sheet({name: images[start : start + COLUMNS] for name, images in rows.items()}, sheets[-1], dpi)
    return sheets


def enlarged(pixels: np.ndarray) -> np.ndarray:
    """Enlarge uint8 (H, W, 3) a whole number of times where its longer side has less than 256 pixels."""
    from PIL import Image

    height, width = pixels.shape[:2]
    times = -(-256 // max(height, width))
    if times == 1:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((times * width, times * height), Image.Resampling.BICUBIC))


def draw_cam_sheet(rows: Rows, path: PathLike, dpi: int = DPI) -> None:
    """Draw one sheet: the images on top (true foreground outlined), below them a row for each network.

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
            judged = image.score is not None or image.mask is None  # else the text would be too wide
            text = image.predicted + score + (", empty map" if empty and judged else "")
            here = view and view.resized(shown.heat.shape, image.heat.shape)  # inputs may differ in size
            _draw(axes, pixels, text, bool(image.wrong), here)
            if empty:
                axes.text(0.5, 0.92, "no evidence", transform=axes.transAxes, ha="center", va="center", **_STAMP)
    for name, line in zip(("image", *rows), grid):
        line[0].set_ylabel(
            plain("\n".join(wrap(name, 16))), fontsize=8, rotation=0, ha="right", va="center", labelpad=6
        )
    asked = {i.target for images in rows.values() for i in images if i.target not in (None, i.predicted)}
    if len(asked) == 1:  # one class for all images, not the predicted ones
        figure.suptitle(plain(f"evidence for {asked.pop()}"), fontsize=9)
    _legend(figure, grid, rows, views)
    write_figure(figure, path, dpi)


def _draw(axes: Any, pixels: np.ndarray, text: str, wrong: bool, view: Optional[View]) -> None:
    show_magnified(axes, enlarged(pixels) if view is None else pixels, view, crisp=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(
        plain(f"✕ {text}" if wrong else text), fontsize=7, labelpad=2, color="crimson" if wrong else "black"
    )


def _legend(figure: Any, grid: np.ndarray, rows: Rows, views: Sequence[Optional[View]]) -> None:
    """Explain the colours, the cross, the outline and the frame, as far as they are there."""
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
