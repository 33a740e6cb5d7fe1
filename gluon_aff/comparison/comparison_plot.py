"""A run and its reference, drawn over each other."""

from __future__ import annotations

from typing import Any, Optional, Sequence

from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from .comparison import Comparison, metric_text, point_text, value_text
from .learning_curve import ERROR, Curve

_SHORT = 0.7  # of the reference's epochs: a run that has fewer gets a panel of its own epochs


def draw_comparison(comparison: Comparison, path: PathLike, dpi: int = DPI) -> None:
    """Both curves over the run's epochs, and below them their difference where epochs match.

    Where the run has fewer epochs than the reference, a second panel shows all of the reference's.
    """
    run, reference, pairs = comparison.run, comparison.reference, comparison.pairs
    short = bool(reference.points) and run.final().epoch < _SHORT * reference.final().epoch
    figure = new_figure(13 if short else 9, 6 if pairs else 4.5)
    heights = (3, 1) if pairs else (1,)
    grid = figure.add_gridspec(len(heights), 1 + short, height_ratios=heights, width_ratios=(3, 2)[: 1 + short])
    upper = figure.add_subplot(grid[0, 0])
    _draw_curve(upper, reference, "tab:orange", run.final().epoch if short else None)
    _draw_curve(upper, run, "tab:blue")
    label_axes(upper, "" if pairs else "epoch", metric_text(reference), "the run's epochs" if short else "")
    upper.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.08 if short else 1.0), frameon=False)
    if pairs:
        lower = figure.add_subplot(grid[1, 0], sharex=upper)
        lower.axhline(0, color="black", lw=0.8)
        differences = [_scale(reference) * pair.difference for pair in pairs]
        lower.plot([pair.epoch for pair in pairs], differences, color="tab:blue", lw=1.0, marker=_marker(pairs))
        label_axes(lower, "epoch", "run - reference")
    if short:
        whole = figure.add_subplot(grid[:, 1])
        _draw_curve(whole, reference, "tab:orange")
        _draw_curve(whole, run, "tab:blue")
        whole.axvspan(run.points[0].epoch, run.final().epoch, color="tab:blue", alpha=0.12, lw=0)
        label_axes(whole, "epoch", metric_text(reference), "all of the reference's epochs")
    write_figure(figure, path, dpi)


def _draw_curve(axes: Any, curve: Curve, colour: str, until: Optional[int] = None) -> None:
    """A line up to epoch ``until`` with its best point marked; a dashed level for a single figure."""
    scale = _scale(curve)
    if not curve.points:
        label = plain(f"{curve.name}, {value_text(curve, curve.goal())}")
        axes.axhline(scale * curve.goal(), color=colour, ls="--", lw=1.2, label=label)
        return
    points = [point for point in curve.points if until is None or point.epoch <= until]
    if not points:
        return
    best = curve.best(until)
    epochs, values = zip(*points)
    scaled = [scale * value for value in values]
    axes.plot(epochs, scaled, color=colour, lw=1.2, marker=_marker(points), label=plain(curve.name))
    label = f"its best{'' if until is None else ' so far'}, {point_text(curve, best)}"
    axes.plot(best.epoch, scale * best.value, "o", ms=5, color=colour, label=label)


def _marker(points: Sequence[object]) -> Optional[str]:
    return "." if len(points) < 3 else None


def _scale(curve: Curve) -> int:
    return 100 if curve.metric == ERROR else 1
