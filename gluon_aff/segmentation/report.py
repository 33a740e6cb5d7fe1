"""A segmentation's score as text, JSON, tables and figures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ..utils.figures import label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike, atomic_write, write_json
from ..utils.logits import logit_of
from ..utils.resampling import Span, span_text
from ..utils.tables import markdown_table, text_table, write_csv
from .scores import AnyScore, ClassScore, ImageScore, SegmentationScore, SizeGroup
from .targets import DISTANCE, ImageTargets, TargetScore

Row = Tuple[str, ...]

_WORST = 10  # images that are named in the Markdown
_TARGETS = (
    f"Pd: the share of the targets, 8-connected, with a predicted component whose centroid lies less than {DISTANCE} "
    "pixels of the scored size away. Fa: pixels of all other predicted components over all pixels; targets.csv has "
    "them image by image."
)


def segmentation_report(score: AnyScore, facts: Mapping[str, Any]) -> AnyReport:
    """Return the report of a score of either kind."""
    return ClassReport(score, facts) if isinstance(score, ClassScore) else SegmentationReport(score, facts)


def _lines(facts: Mapping[str, Any], figures: Sequence[Row], table: List[str]) -> List[str]:
    about = [(name, facts[name]) for name in ("weights", "data", "vanished") if name in facts]
    return [*(f"{name:<15}{value}" for name, value in [*about, *figures]), "", *table]


def _write_markdown(path: Path, facts: Mapping[str, Any], figures: Sequence[Row], parts: Sequence[str]) -> None:
    about = [
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}  "
        for name, value in facts.items()
        if value is not None
    ]
    lines = ["# Segmentation", "", *about, "", *markdown_table(("figure", "value"), figures), "", *parts, ""]
    with atomic_write(path) as handle:
        handle.write("\n".join(lines))


@dataclass
class SegmentationReport:
    """A score with its facts (what was scored, with what command, on what machine), JSON's types by name."""

    score: SegmentationScore
    facts: Mapping[str, Any]

    def lines(self) -> List[str]:
        """Return the report for a terminal, line by line."""
        return _lines(self.facts, self._figures(), text_table(*self._sizes(), left=2))

    def to_json(self) -> Dict[str, Any]:
        """Return figures, sizes, curves and facts."""
        score, curves, best = self.score, self.score.curves, self.score.curves.best
        arrays = {
            "threshold": curves.thresholds,
            "precision": curves.precision,
            "recall": curves.recall,
            "false_alarm_rate": curves.false_alarm_rate,
            "iou": curves.iou,
        }
        return {
            **score.result(),
            "threshold": score.threshold,
            "best_threshold": None if best is None else dict(zip(("threshold", "iou"), best)),
            "iou_interval": score.iou_interval,
            "niou_interval": score.niou_interval,
            "average_precision": curves.average_precision,
            "roc_area": curves.roc_area,
            "size_limits": list(score.size_limits),
            "sizes": [group._asdict() for group in score.sizes],
            "stray_pixels": score.stray_pixels,
            "pd": None if score.targets is None else score.targets.pd,
            "fa": None if score.targets is None else score.targets.fa,
            "targets": None if score.targets is None else _targets(score.targets),
            "facts": dict(self.facts),
            "curves": {
                name: None if values is None else [round(float(value), 9) for value in values]
                for name, values in arrays.items()
            },
        }

    def write(self, directory: PathLike) -> List[Path]:
        """Write report.json, images.csv, report.md, curves.png, sizes.png, with Pd targets.csv; return their paths.

        Raises GluonAFFError for a score without images.
        """
        score, names = self.score, ("report.json", "images.csv", "report.md", "curves.png", "sizes.png")
        paths = [Path(directory) / name for name in names]
        title = f"IoU {score.iou:.4f}, nIoU {score.niou:.4f} of {len(score.images):,} images"
        write_json(self.to_json(), paths[0])
        rows = [(*image, image.union, f"{image.iou:.6f}") for image in score.images]
        write_csv((*ImageScore._fields, "union", "iou"), rows, paths[1])
        _write_markdown(paths[2], self.facts, self._figures(), self._markdown())
        plot_curves(score, title, paths[3])
        plot_sizes(score.sizes, title, paths[4])
        if score.targets is not None:
            paths.append(Path(directory) / "targets.csv")
            write_csv(ImageTargets._fields, score.targets.images, paths[-1])
        return paths

    def _figures(self) -> List[Row]:
        score, curves, targets = self.score, self.score.curves, self.score.targets

        def with_span(figure: float, span: Optional[Span]) -> str:
            return f"{figure:.4f}" + ("" if span is None else f" (95 %: {span_text(span)})")

        best = [
            f"p > {_probability(p)}: IoU {iou:.4f}, chosen on these images" for p, iou in filter(None, [curves.best])
        ]
        return [
            ("counted at", f"{self._size()}, p > {score.threshold}"),
            ("IoU", with_span(score.iou, score.iou_interval)),
            *self._stated(),
            ("nIoU", with_span(score.niou, score.niou_interval)),
            ("pixel accuracy", f"{score.pixel_accuracy:.4f}"),
            *_mious(score),
            ("PR area", _number(curves.average_precision)),
            ("ROC area", _number(curves.roc_area)),
            *(("best threshold", text) for text in best),
            *([] if targets is None else [("Pd", _pd(targets)), ("Fa", _fa(targets))]),
            ("images", f"{len(score.images):,}"),
        ]

    def _size(self) -> str:
        """The size at which pixels were counted."""
        sizes = {f"{image.scored_width}x{image.scored_height}" for image in self.score.images}
        return sizes.pop() if len(sizes) == 1 else "several sizes"

    def _stated(self) -> List[Row]:
        """The figure that others state for these weights and images."""
        stated = self.facts.get("stated")
        if not stated:
            return []
        about = f"on {stated['images']} images ({stated['by']})"
        difference = f"difference {self.score.iou - stated['value']:+.4f}"
        return [("stated", f"{stated['metric']} {stated['value']:.4f} {about}; {difference}")]

    def _sizes(self) -> Tuple[Row, List[Row]]:
        rows: List[Row] = [
            (
                *(group.name, _extent(group), f"{group.objects:,}", f"{group.detected:,}"),
                *(_number(group.iou), span_text(group.interval), _number(group.object_iou), _number(group.recall)),
            )
            for group in self.score.sizes
        ]
        return ("objects", "original area", "number", "detected", "IoU", "95 %", "object IoU", "recall"), rows

    def _markdown(self) -> List[str]:
        score = self.score
        worst = []
        for image in sorted(score.images, key=lambda image: image.iou)[:_WORST]:
            counts = (f"{value:,}" for value in (image.truth, image.predicted, image.intersection))
            worst.append((image.name, f"{image.original_width}x{image.original_height}", *counts, f"{image.iou:.4f}"))
        return [
            f"Pixels and objects are counted at {self._size()}, areas told in pixels of the original image. A pixel is "
            f"predicted where p > {score.threshold}. IoU: total intersection over total union of the foreground. nIoU: "
            "mean of the images' IoU, 1 for an image with neither truth nor prediction. mIoU: GluonCV's, over "
            "background and foreground. 95 %: what other test images of the same kind would have given, by a bootstrap "
            "over images; other seeds are not in it.",
            *([] if score.targets is None else [_TARGETS]),
            "",
            "## By size of the objects",
            "",
            *markdown_table(*self._sizes()),
            "",
            "Objects are the 8-connected components of the truth. A false alarm counts in the union of the nearest "
            f"object; {score.stray_pixels:,} predicted pixels lie in images without an object and count in none. "
            "Object IoU: every object weighs the same. Detected: at least one pixel was predicted.",
            "",
            f"## The {len(worst)} images of lowest IoU (images.csv has all {len(score.images):,})",
            "",
            *markdown_table(("image", "original size", "truth", "predicted", "intersection", "IoU"), worst),
            "",
            "![curves](curves.png)",
            "![sizes](sizes.png)",
        ]


@dataclass
class ClassReport:
    """The same of a score of several classes."""

    score: ClassScore
    facts: Mapping[str, Any]

    def lines(self) -> List[str]:
        """Return the report for a terminal, line by line."""
        return _lines(self.facts, self._figures(), text_table(*self._classes(), left=1))

    def to_json(self) -> Dict[str, Any]:
        """Return every figure, with the facts; ``confusion`` are pixels, a row for each true class."""
        return {
            **self.score.result(),
            "classes": list(self.score.names),
            "absent": self.score.absent,
            "confusion": self.score.counts.tolist(),
            "facts": dict(self.facts),
        }

    def write(self, directory: PathLike) -> List[Path]:
        """Write report.json, classes.csv, confusion.csv, report.md and classes.png; return their paths."""
        score, names = self.score, ("report.json", "classes.csv", "confusion.csv", "report.md", "classes.png")
        paths = [Path(directory) / name for name in names]
        write_json(self.to_json(), paths[0])
        columns, rows = self._classes()
        write_csv(columns, rows, paths[1])
        write_csv(("truth", *score.names), [(n, *c) for n, c in zip(score.names, score.counts.tolist())], paths[2])
        parts = [
            "mIoU: GluonCV's, the mean over all classes, the background's included; a class that is absent counts as "
            "0. mIoU, present: the mean over the classes that are in the truth. Pixels marked 255 count nowhere.",
            "",
            *markdown_table(columns, rows),
            "",
            "![classes](classes.png)",
        ]
        _write_markdown(paths[3], self.facts, self._figures(), parts)
        plot_classes(score, paths[4])
        return paths

    def _figures(self) -> List[Row]:
        figures = [*_mious(self.score), ("pixel accuracy", f"{self.score.pixel_accuracy:.4f}")]
        absent = ", ".join(self.score.absent)
        return [*figures, ("images", f"{self.score.images:,}"), *([("absent", absent)] if absent else [])]

    def _classes(self) -> Tuple[Row, List[Row]]:
        counts = self.score.counts
        pixels = zip(counts.sum(axis=1), counts.sum(axis=0), np.diag(counts))
        figures = zip(self.score.names, self.score.class_iou, pixels)
        rows = [(name, f"{iou:.4f}", *(str(number) for number in numbers)) for name, iou, numbers in figures]
        return ("class", "IoU", "true pixels", "predicted pixels", "hits"), rows


AnyReport = Union[SegmentationReport, ClassReport]


def _mious(score: AnyScore) -> List[Row]:
    """GluonCV's figure, and beside it that of the classes present, where one is absent."""
    absent = not score.counts.any(axis=1).all()
    return [("mIoU", f"{score.miou:.4f}"), *([("mIoU, present", f"{score.present_miou:.4f}")] if absent else [])]


def _pd(targets: TargetScore) -> str:
    return f"{_number(targets.pd)} ({targets.found:,} of {targets.targets:,} targets)"


def _fa(targets: TargetScore) -> str:
    return f"{targets.fa:.4g} (false components: {targets.false_alarms:,})"


def _targets(targets: TargetScore) -> Dict[str, Any]:
    curve = {"logit": targets.logits, "pd": targets.pd_curve, "fa": targets.fa_curve}
    return {
        "targets": targets.targets,
        "found": targets.found,
        "false_alarms": targets.false_alarms,
        "distance": DISTANCE,
        "curve": {name: None if values is None else values.tolist() for name, values in curve.items()},
    }


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4f}"


def _probability(p: float) -> str:
    """With as many digits as its logit needs, close to 0 or 1 too."""
    return f"{p:.{3 - math.floor(math.log10(min(p, 1 - p)))}f}"


def _extent(group: SizeGroup) -> str:
    """The areas of a group in words, such as "under 32² px"."""
    if group.limit is None:
        return f"from {_area(group.smallest)} px"
    return (f"{_area(group.smallest)} to" if group.smallest else "under") + f" {_area(group.limit)} px"


def _area(pixels: float) -> str:
    side = round(pixels**0.5)
    return f"{side}²" if side > 10 and side**2 == pixels else f"{pixels:,g}"


# Figures -------------------------------------------------------------------------------------------------------------


def plot_curves(score: SegmentationScore, title: str, path: PathLike) -> None:
    """Draw precision over recall, hits over false alarms, IoU over the threshold, Pd over Fa. Dots: the threshold."""
    curves, targets = score.curves, score.targets
    (tn, fp), (fn, tp) = score.counts
    used, cut = f"p > {score.threshold}", logit_of(score.threshold)
    figure = new_figure(12.5 if targets is None else 16.5, 4)
    precision, roc, threshold, *others = figure.subplots(1, 3 if targets is None else 4)
    recall, alarms = curves.recall, curves.false_alarm_rate
    dot = {"marker": "o", "linestyle": "", "color": "C1"}
    if recall is not None:
        precision.plot(recall, curves.precision, label=f"area {curves.average_precision:.4f}")
        precision.plot(tp / (tp + fn), tp / (tp + fp) if tp + fp else 1.0, label=used, **dot)
        precision.set_xlim(-0.02, 1.02)
        _draw_contours(precision)
    if recall is not None and alarms is not None:
        roc.plot(alarms, recall, label=f"area {curves.roc_area:.4f}")
        roc.plot(fp / (fp + tn), tp / (tp + fn), label=used, **dot)
        _show_zero(roc, alarms)
    if targets is not None and targets.pd_curve is not None:
        pd, fa = targets.pd_curve, targets.fa_curve
        others[0].plot(fa, pd, marker=".")
        others[0].plot(targets.fa, targets.pd, label=f"{used}: Pd {targets.pd:.4f}, Fa {targets.fa:.3g}", **dot)
        _show_zero(others[0], fa)
    threshold.plot(curves.logits, curves.iou)
    threshold.plot(cut, score.iou, label=f"{used}: {score.iou:.4f}", **dot)
    for p, iou in filter(None, [curves.best]):
        threshold.plot(logit_of(p), iou, "C2o", label=f"best, p > {_probability(p)}: {iou:.4f}")
    for axes, title_of_axes, x, y in (
        (precision, "precision and recall", "recall", "precision"),
        (roc, "ROC", "background pixels predicted", "foreground pixels predicted"),
        (threshold, "IoU", "threshold on the logit", "foreground IoU"),
        *((axes, "Pd and Fa", "Fa, false alarms' share of all pixels", "Pd, targets found") for axes in others),
    ):
        label_axes(axes, x, y, title_of_axes)
        axes.set_ylim(-0.02, 1.02)
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=8)
        elif not axes.lines:
            axes.text(0.5, 0.5, "not defined for these images", ha="center", transform=axes.transAxes)
    figure.suptitle(plain(title))
    write_figure(figure, path)


def _show_zero(axes: Any, rates: np.ndarray) -> None:
    """A logarithmic axis, for nearly all pixels are background, and at its left end 0."""
    if (rates > 0).any():
        least = 10 ** np.floor(np.log10(rates[rates > 0].min()))
        axes.set_xscale("symlog", linthresh=1.001 * least, linscale=0.5)  # just above, else the ticks' floor slips
        axes.set_xlim(left=-0.2 * least)


def _draw_contours(axes: Any) -> None:
    """Lines of equal IoU: precision p and recall r make 1 / (1/p + 1/r − 1)."""
    recall, precision = np.meshgrid(np.linspace(0.01, 1, 100), np.linspace(0.01, 1, 100))
    iou = 1 / (1 / precision + 1 / recall - 1)
    lines = axes.contour(recall, precision, iou, levels=(0.2, 0.4, 0.6, 0.8), colors="0.75", linewidths=0.7)
    axes.clabel(lines, fmt="IoU %.1f", fontsize=7)


def plot_sizes(groups: Sequence[SizeGroup], title: str, path: PathLike) -> None:
    """Draw IoU, recall and share of detected objects for small, medium and large ones, as far as there are any."""
    figure = new_figure(7, 4)
    axes = figure.subplots()
    groups = [group for group in groups if group.objects]
    bars: Tuple[Tuple[str, str, List[Any]], ...] = (
        ("IoU", "#0072B2", [group.iou for group in groups]),
        ("mean IoU of objects", "#56B4E9", [group.object_iou for group in groups]),
        ("recall of pixels", "#009E73", [group.recall for group in groups]),
        ("objects detected", "#E69F00", [group.detected / group.objects for group in groups]),
    )
    width = 0.8 / len(bars)
    for number, (label, colour, heights) in enumerate(bars):
        places = np.arange(len(groups)) + (number - (len(bars) - 1) / 2) * width
        drawn = axes.bar(places, heights, width, label=label, color=colour)
        axes.bar_label(drawn, [f"{height:.2f}" for height in heights], fontsize=7, padding=1)
    counts = [f"{group.objects:,} object{'' if group.objects == 1 else 's'}" for group in groups]
    labels = [f"{group.name}\n{_extent(group)}\n{count}" for group, count in zip(groups, counts)]
    axes.set_xticks(range(len(groups)), labels)
    axes.set_xlim(-0.5, max(len(groups), 1) - 0.5)
    axes.set_ylim(0, 1.06)
    label_axes(axes, "", "", title)
    axes.grid(False, axis="x")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=len(bars), fontsize=8)
    write_figure(figure, path)


def plot_classes(score: ClassScore, path: PathLike) -> None:
    """Draw the IoU of each class."""
    figure = new_figure(6.4, 1.2 + 0.24 * len(score.names))
    axes = figure.subplots()
    drawn = axes.barh(range(len(score.names)), score.class_iou, color="#0072B2")
    axes.bar_label(drawn, [f"{value:.2f}" for value in score.class_iou], fontsize=7, padding=2)
    axes.set_yticks(range(len(score.names)), [plain(name) for name in score.names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    label_axes(axes, "IoU", "", f"mIoU {score.miou:.4f} of {score.images:,} images")
    write_figure(figure, path)
