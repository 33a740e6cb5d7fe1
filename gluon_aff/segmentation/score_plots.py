"""A segmentation's curves and its figures by object size, drawn."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np

from ..utils.figures import label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from .object_sizes import SizeGroup
from .pixel_curves import PixelCurves


def plot_curves(curves: PixelCurves, title: str, path: PathLike) -> None:
    """Precision over recall, hits over false alarms, and IoU over the threshold. Dots: the logit 0."""
    figure = new_figure(12.5, 4)
    precision, roc, threshold = figure.subplots(1, 3)
    middle = int(np.flatnonzero(curves.logits == 0)[0])
    recall, alarms = curves.recall, curves.false_alarm_rate
    if recall is not None:
        precision.plot(recall, curves.precision, label=f"area {curves.average_precision:.4f}")
        precision.plot(recall[middle], curves.precision[middle], "o", color="C1", label="p > 0.5")
        precision.set_xlim(-0.02, 1.02)
        _contours(precision)
    _axes(precision, "recall", "precision", legend=recall is not None)
    if recall is not None and alarms is not None:
        drawn = alarms > 0  # what a logarithmic axis can show
        roc.plot(alarms[drawn], recall[drawn], label=f"area {curves.roc_area:.4f}")
        if drawn[middle]:
            roc.plot(alarms[middle], recall[middle], "o", color="C1", label="p > 0.5")
        roc.set_xscale("log")  # nearly all pixels are background: a rate of 1 % is already a flood
    _axes(
        roc,
        "background pixels predicted",
        "foreground pixels predicted",
        legend=recall is not None and alarms is not None,
    )
    threshold.plot(curves.logits, curves.iou)
    threshold.plot(0, curves.iou[middle], "o", color="C1", label=f"p > 0.5: {curves.iou[middle]:.4f}")
    _axes(threshold, "threshold on the logit", "foreground IoU", legend=True)
    for axes, name in ((precision, "precision and recall"), (roc, "ROC"), (threshold, "IoU")):
        axes.set_title(name, fontsize=10)
    figure.suptitle(plain(title))
    write_figure(figure, path)


def plot_sizes(groups: Sequence[SizeGroup], title: str, path: PathLike) -> None:
    """IoU, recall and share of detected objects for small, medium and large ones, as far as there are any."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    groups = [group for group in groups if group.objects]
    filled = list(enumerate(groups))
    bars: Tuple[Tuple[str, List[Any]], ...] = (
        ("IoU", [group.iou for _, group in filled]),
        ("mean IoU of objects", [group.object_iou for _, group in filled]),
        ("recall of pixels", [group.recall for _, group in filled]),
        ("objects detected", [group.detected / group.objects for _, group in filled]),
    )
    width = 0.8 / len(bars)
    for number, (label, heights) in enumerate(bars):
        places = [place + (number - (len(bars) - 1) / 2) * width for place, _ in filled]
        drawn = axes.bar(
            places, heights, width, label=label, color=("#0072B2", "#56B4E9", "#009E73", "#E69F00")[number]
        )
        axes.bar_label(drawn, [f"{height:.2f}" for height in heights], fontsize=7, padding=1)
    axes.set_xticks(range(len(groups)), [f"{group.name}\n{extent(group)}\n{_objects(group)}" for group in groups])
    axes.set_xlim(-0.5, max(len(groups), 1) - 0.5)
    axes.set_ylim(0, 1.06)
    label_axes(axes, "", "", title)
    axes.grid(False, axis="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=len(bars), fontsize=8)
    write_figure(figure, path)


def _objects(group: SizeGroup) -> str:
    return f"{group.objects:,} object{'' if group.objects == 1 else 's'}"


def extent(group: SizeGroup) -> str:
    """The areas of a group in words, such as "under 32² px"."""
    low, high = _area(group.smallest), None if group.limit is None else _area(group.limit)
    if high is None:
        return f"from {low} px"
    return f"{low} to {high} px" if group.smallest else f"under {high} px"


def _area(pixels: float) -> str:
    side = round(pixels**0.5)
    return f"{side}²" if side > 10 and side**2 == pixels else f"{pixels:,g}"


def _contours(axes: Any) -> None:
    """Lines of equal IoU: precision p and recall r make 1 / (1/p + 1/r − 1)."""
    recall, precision = np.meshgrid(np.linspace(0.01, 1, 100), np.linspace(0.01, 1, 100))
    lines = axes.contour(
        recall,
        precision,
        1 / (1 / precision + 1 / recall - 1),
        levels=(0.2, 0.4, 0.6, 0.8),
        colors="0.75",
        linewidths=0.7,
    )
    axes.clabel(lines, fmt="IoU %.1f", fontsize=7)


def _axes(axes: Any, x: str, y: str, *, legend: bool) -> None:
    label_axes(axes, x, y)
    axes.set_ylim(-0.02, 1.02)
    if legend:
        axes.legend(fontsize=8)
    else:
        axes.text(0.5, 0.5, "not defined for these images", ha="center", transform=axes.transAxes)
