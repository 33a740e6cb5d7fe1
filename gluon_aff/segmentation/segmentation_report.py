"""A segmentation's score as text and as files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import numpy as np

from ..utils.files import PathLike, atomic_write, write_json
from ..utils.resampling import Span, span_text
from ..utils.tables import markdown_table, text_table, write_csv
from .score_plots import extent, plot_curves, plot_sizes
from .segmentation_score import ImageScore, SegmentationScore

_WORST = 10  # images that are named in the Markdown

_COLUMNS = (
    *("name", "height", "width", "scored_height", "scored_width", "objects"),
    *("truth", "predicted", "intersection", "union"),
)


def lines(score: SegmentationScore) -> List[str]:
    """The report for a terminal, line by line."""
    return [
        *(f"{name:<15}{value}" for name, value in _figures(score)),
        "",
        *text_table(_SIZE_COLUMNS, _size_rows(score), left=2),
    ]


def as_json(score: SegmentationScore, facts: Mapping[str, Any]) -> Dict[str, Any]:
    """Figures, sizes, curves and ``facts`` (what was scored, with what command, on what machine) as JSON's types."""
    curves = score.curves
    return {
        **score.result(),
        "iou_interval": score.iou_interval,
        "niou_interval": score.niou_interval,
        "average_precision": curves.average_precision,
        "roc_area": curves.roc_area,
        "size_limits": list(score.size_limits),
        "sizes": [asdict(group) for group in score.sizes],
        "stray_pixels": score.stray_pixels,
        "facts": dict(facts),
        "curves": {
            "threshold": _list(curves.thresholds),
            "precision": _list(curves.precision),
            "recall": _list(curves.recall),
            "false_alarm_rate": _list(curves.false_alarm_rate),
            "iou": _list(curves.iou),
        },
    }


def markdown(score: SegmentationScore, facts: Mapping[str, Any]) -> str:
    """The report as Markdown: ``facts`` first, one line each."""
    worst = sorted(score.images, key=lambda image: image.iou)[:_WORST]
    found = ["# Segmentation", ""]
    found += [f"{name}: {_fact(value)}  " for name, value in facts.items()]
    found += ["", *markdown_table(("figure", "value"), _figures(score)), ""]
    found += [
        "IoU: total intersection over total union of the foreground, logit > 0. nIoU: mean of the images' IoU, 1 for "
        "an image with neither truth nor prediction. mIoU: GluonCV's, over background and foreground. 95 %: what other "
        "test images of the same kind would have given, by a bootstrap over images; other seeds are not in it.",
        "",
        "## By size of the objects",
        "",
        *markdown_table(_SIZE_COLUMNS, _size_rows(score)),
        "",
        "Objects are the 8-connected components of the truth, sizes their areas in the original image. A false alarm "
        "counts in the union of the nearest object; "
        f"{score.stray_pixels:,} predicted pixels lie in images without an object and count in none. "
        "Object IoU: every object weighs the same. Detected: at least one pixel was predicted.",
        "",
        f"## The {len(worst)} images of lowest IoU (images.csv has all {len(score.images):,})",
        "",
        *markdown_table(
            ("image", "size", "truth", "predicted", "intersection", "IoU"),
            [_image_row(image) for image in worst],
        ),
        "",
        "![curves](curves.png)",
        "![sizes](sizes.png)",
        "",
    ]
    return "\n".join(found)


@dataclass
class SegmentationReport:
    """A score with its facts (what was scored, with what command, on what machine), JSON's types by name."""

    score: SegmentationScore
    facts: Mapping[str, Any]

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""
        about = [f"{name:<15}{self.facts[name]}" for name in ("weights", "data") if name in self.facts]
        return [*about, *lines(self.score)]

    def to_json(self) -> Dict[str, Any]:
        """Every figure, with the facts."""
        return as_json(self.score, self.facts)

    def write(self, directory: PathLike) -> List[Path]:
        """report.json, images.csv, report.md, curves.png and sizes.png; returns their paths.

        Raises GluonAFFError for a score without images.
        """
        directory, score = Path(directory), self.score
        paths = [directory / name for name in ("report.json", "images.csv", "report.md", "curves.png", "sizes.png")]
        title = f"IoU {score.iou:.4f}, nIoU {score.niou:.4f} of {len(score.images):,} images"
        write_json(self.to_json(), paths[0])
        rows = [[*(getattr(image, name) for name in _COLUMNS), f"{image.iou:.6f}"] for image in score.images]
        write_csv((*_COLUMNS, "iou"), rows, paths[1])
        with atomic_write(paths[2]) as handle:
            handle.write(markdown(score, self.facts))
        plot_curves(score.curves, title, paths[3])
        plot_sizes(score.sizes, title, paths[4])
        return paths


def _figures(score: SegmentationScore) -> List[tuple]:
    curves = score.curves
    return [
        ("IoU", f"{score.iou:.4f}{_between(score.iou_interval)}"),
        ("nIoU", f"{score.niou:.4f}{_between(score.niou_interval)}"),
        ("pixel accuracy", f"{score.pixel_accuracy:.4f}"),
        ("mIoU", f"{score.miou:.4f}"),
        ("PR area", _number(curves.average_precision)),
        ("ROC area", _number(curves.roc_area)),
        ("images", f"{len(score.images):,}"),
    ]


def _between(span: Optional[Span]) -> str:
    return "" if span is None else f" (95 %: {span_text(span)})"


_SIZE_COLUMNS = ("objects", "area", "number", "detected", "IoU", "95 %", "object IoU", "recall")


def _size_rows(score: SegmentationScore) -> List[tuple]:
    return [
        (
            group.name,
            extent(group),
            f"{group.objects:,}",
            f"{group.detected:,}",
            _number(group.iou),
            span_text(group.interval),
            *(_number(value) for value in (group.object_iou, group.recall)),
        )
        for group in score.sizes
    ]


def _image_row(image: ImageScore) -> tuple:
    counts = (f"{value:,}" for value in (image.truth, image.predicted, image.intersection))
    return (image.name, f"{image.width} x {image.height}", *counts, f"{image.iou:.4f}")


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4f}"


def _list(values: Optional[np.ndarray]) -> Optional[List[float]]:
    return None if values is None else [round(float(value), 9) for value in values]
