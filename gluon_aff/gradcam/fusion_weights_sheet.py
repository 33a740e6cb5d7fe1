"""Fusion weights of one image: as a table, as arrays and as a contact sheet."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Dict, List, Sequence

import numpy as np

from ..utils.figures import DPI, new_figure, plain, write_figure
from ..utils.files import PathLike, atomic_write
from ..utils.tables import text_table
from .fusion_weights import FusionWeights

_PARTS = ("weight", "local", "context")
_TILE, _TEXT, _NAME, _BARS = 1.35, 0.3, 1.5, 1.3  # inches: a map; the line below it; the path; the colour bars


def weight_lines(weights: Sequence[FusionWeights]) -> List[str]:
    """A table for a terminal, shallow to deep: M and its parts, and which input each fusion leans to.

    The columns M, local and global are means, ``std`` is M's standard deviation over channels and positions, and
    ``> 0.5`` the share of weights above one half.
    """
    rows = []
    for each in weights:
        mean, share = float(each.weight.mean()), float((each.weight > 0.5).mean())
        leaning = (each.weighed if mean > 0.5 else each.other) if each.selects else f"M weighs the {each.weighed}"
        rows.append(
            (
                each.path,
                each.kind + (f", stage {each.stage}" if _stages(weights) > 1 else ""),
                "x".join(map(str, each.weight.shape[1:])),
                leaning,
                f"{mean:.3f}",
                f"{each.weight.std():.3f}",
                f"{100 * share:.0f} %",
                *("-" if part is None else f"{part.mean():+.2f}" for part in (each.local, each.context)),
            )
        )
    return text_table(("fusion", "kind", "map", "leans to", "M", "std", "> 0.5", "local", "global"), rows, left=4)


def weight_arrays(weights: Sequence[FusionWeights]) -> Dict[str, np.ndarray]:
    """Means over channels of the first image's weight, local and context, each (H, W).

    Returns
    -------
    dict
        By names such as ``features.2.0.attention.weight``; of iAFF's second stage ``weight2``, ``local2``,
        ``context2``.
    """
    found = {}
    for each in weights:
        for part in _PARTS:
            values = getattr(each, part)
            if values is not None:
                found[f"{each.path}.{part}{'' if each.stage == 1 else each.stage}"] = values[0].mean(axis=0)
    return found


def write_weight_arrays(weights: Sequence[FusionWeights], path: PathLike) -> None:
    """`weight_arrays` as .npz."""
    buffer = BytesIO()
    np.savez_compressed(buffer, **weight_arrays(weights))
    with atomic_write(path, "wb") as handle:
        handle.write(buffer.getvalue())


def draw_weight_sheet(
    weights: Sequence[FusionWeights], pixels: np.ndarray, title: str, path: PathLike, dpi: int = DPI
) -> None:
    """The input once, and a row for each fusion, shallow to deep: M, its local and its global part, for each stage.

    Maps are means over channels of the first image's. One scale for all M, symmetric about 0.5, and one for all parts,
    symmetric about 0, below which they argue for the other input.
    """
    found, stages = weight_arrays(weights), _stages(weights)
    paths = list(dict.fromkeys(each.path for each in weights))
    limits = _limits(found)
    columns = 1 + 3 * stages
    figure = new_figure(_NAME + _TILE * columns + 2 * _BARS, (_TILE + _TEXT) * len(paths) + 0.5)
    grid = figure.subplots(len(paths), columns, squeeze=False)
    shown: Dict[bool, Any] = {}
    for row, (fusion, line) in enumerate(zip(paths, grid)):
        for axes in line:
            axes.set_axis_off()
        for stage in range(stages):
            for number, part in enumerate(_PARTS):
                values = found.get(f"{fusion}.{part}{'' if stage == 0 else stage + 1}")
                if values is not None:
                    axes = line[1 + 3 * stage + number]
                    shown[part == "weight"] = _draw(axes, values, limits[part], pixels.shape[0] / pixels.shape[1])
                    if row == 0:
                        axes.set_title(_heading(part, stage, stages), fontsize=8)
        line[0].set_axis_on()
        _bare(line[0])
        line[0].set_ylabel(fusion.replace(".attention", "").replace(".fusion", ""), fontsize=8)
        if row == 0:
            small = max(pixels.shape[:2]) < _TILE * dpi
            line[0].imshow(pixels, interpolation="bicubic" if small else "antialiased")
            line[0].set_title("input", fontsize=8)
        else:
            line[0].spines[:].set_visible(False)
            line[0].set_box_aspect(pixels.shape[0] / pixels.shape[1])
    _bars(figure, grid, shown, weights[0])
    figure.suptitle(plain(title), fontsize=9)
    write_figure(figure, path, dpi)


def _stages(weights: Sequence[FusionWeights]) -> int:
    return max(each.stage for each in weights)


def _limits(found: Dict[str, np.ndarray]) -> Dict[str, Sequence[float]]:
    def farthest(values: List[np.ndarray], centre: float, least: float) -> float:
        return max([least, *(float(abs(value - centre).max()) for value in values)])

    weight = farthest([v for name, v in found.items() if ".weight" in name], 0.5, 0.01)
    part = farthest([v for name, v in found.items() if ".weight" not in name], 0.0, 0.01)
    return {"weight": (0.5 - weight, 0.5 + weight), "local": (-part, part), "context": (-part, part)}


def _draw(axes: Any, values: np.ndarray, limits: Sequence[float], shape: float) -> Any:
    axes.set_axis_on()
    _bare(axes)
    low, high = limits
    image = axes.imshow(
        values, vmin=low, vmax=high, cmap="PuOr_r" if low >= 0 else "coolwarm", interpolation="nearest", aspect="auto"
    )
    axes.set_box_aspect(shape)
    std = f" ± {values.std():.2f}" if values.size > 1 else ""
    axes.set_xlabel(f"{values.mean():.2f}{std}", fontsize=7, labelpad=2)
    return image


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])


def _heading(part: str, stage: int, stages: int) -> str:
    name = {"weight": "M", "local": "local part", "context": "global part"}[part]
    return f"{name}, stage {stage + 1}" if stages > 1 else name


def _bars(figure: Any, grid: np.ndarray, shown: Dict[bool, Any], first: FusionWeights) -> None:
    """Colour bars that say which input the weight multiplies."""
    choice = f"{first.other} (0) or {first.weighed} (1)"
    label = f"M: {choice if first.selects else f'weight of the {first.weighed}'}"
    for key, text in ((False, "parts of M, before the sigmoid"), (True, label)):
        if key in shown:
            bar = figure.colorbar(shown[key], ax=grid.ravel().tolist(), fraction=0.04, aspect=30, pad=0.01)
            bar.set_label(text, fontsize=8)
            bar.ax.tick_params(labelsize=7)
