"""A run and its reference, drawn over each other."""

from __future__ import annotations

from typing import Any

from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from .comparison import Comparison, metric_text, point_text, value_text
from .learning_curve import ERROR, Curve


def draw_comparison(comparison: Comparison, path: PathLike, dpi: int = DPI) -> None:
    """Both curves, and below them their difference where epochs match."""
    pairs, metric = comparison.pairs, metric_text(comparison.reference)
    figure = new_figure(9, 6 if pairs else 4.5)
    heights = (3, 1) if pairs else (1,)
    upper, *lower = figure.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
    upper, lower = upper[0], [row[0] for row in lower]
    _draw_curve(upper, comparison.reference, "tab:orange")
    _draw_curve(upper, comparison.run, "tab:blue")
    label_axes(upper, "" if lower else "epoch", metric)
    upper.legend(fontsize="small")
    for axes in lower:
        axes.axhline(0, color="black", lw=0.8)
        differences = [_scale(comparison.reference) * pair.difference for pair in pairs]
        axes.plot([pair.epoch for pair in pairs], differences, color="tab:blue", lw=1.0)
        label_axes(axes, "epoch", "run - reference")
    write_figure(figure, path, dpi)


def _draw_curve(axes: Any, curve: Curve, colour: str) -> None:
    """A line with its best point marked; a dashed level for a single figure."""
    scale = _scale(curve)
    if not curve.points:
        label = plain(f"{curve.name}, {value_text(curve, curve.goal())}")
        axes.axhline(scale * curve.goal(), color=colour, ls="--", lw=1.2, label=label)
        return
    best = curve.best()
    epochs, values = zip(*curve.points)
    marker = "." if len(epochs) < 3 else None
    axes.plot(epochs, [scale * value for value in values], color=colour, lw=1.2, marker=marker, label=plain(curve.name))
    label = f"its best, {point_text(curve, best)}"
    axes.plot(best.epoch, scale * best.value, "o", ms=5, color=colour, label=label)


def _scale(curve: Curve) -> int:
    return 100 if curve.metric == ERROR else 1
