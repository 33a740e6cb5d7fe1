"""The figures of a segmentation into several classes, added up batch by batch, and their report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from ..data.decoding import IGNORED
from ..errors import GluonAFFError
from ..utils.figures import label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike, atomic_write, write_json
from ..utils.logits import check_finite, class_ious, confusion
from ..utils.tables import markdown_table, text_table, write_csv


class ClassScore:
    """Add batches, then read the figures. A pixel is predicted to be of the class whose logit is largest.

    Pixels whose truth is `IGNORED` count nowhere. Memory holds a matrix of pixel counts.

    Parameters
    ----------
    classes : int
        The background's among them.
    names : sequence of str, optional
        Of the classes (default: their numbers).
    """

    merit = "miou"  # the figure that is maximised

    def __init__(self, classes: int, names: Optional[Sequence[str]] = None) -> None:
        self.names = tuple(names) if names else tuple(f"class {number}" for number in range(classes))
        self.counts = np.zeros((classes, classes), dtype=np.int64)  # truth, prediction
        self.images = 0

    def add(
        self,
        logits: np.ndarray,
        truth: np.ndarray,
        names: Sequence[str],
        originals: Optional[Sequence[Tuple[int, int]]] = None,
    ) -> None:
        """Add a batch: logits (B, K, h, w) and class numbers (B, 1, h, w); names and sizes play no part.

        Raises
        ------
        ValueError
            For shapes that do not belong together.
        GluonAFFError
            For logits that are not finite.
        """
        classes = len(self.counts)
        if logits.ndim != 4 or logits.shape[1] != classes or truth.shape != (len(logits), 1, *logits.shape[2:]):
            shapes = f"logits {logits.shape} and truth {truth.shape}"
            raise ValueError(f"{shapes}: expected (B, {classes}, h, w) and (B, 1, h, w)")
        check_finite(logits)
        self.counts += confusion(logits.argmax(axis=1), truth[:, 0], classes, IGNORED)
        self.images += len(logits)

    @property
    def class_iou(self) -> List[float]:
        """IoU of each class over the whole set; 0 for one that is neither in truth nor prediction."""
        return class_ious(self.counts).tolist()

    @property
    def miou(self) -> float:
        """GluonCV's mIoU: the mean of all classes' IoU, the background's included; an absent class counts as 0."""
        return float(np.mean(self.class_iou))

    @property
    def pixel_accuracy(self) -> float:
        """Pixels predicted as what they are, of those that count."""
        return float(np.diag(self.counts).sum() / max(self.counts.sum(), 1))

    @property
    def absent(self) -> List[str]:
        """Names of the classes that no pixel of the truth is of."""
        return [name for name, count in zip(self.names, self.counts.sum(axis=1)) if not count]

    def result(self) -> Dict[str, Any]:
        """miou, pixel_accuracy, class_iou and the number of images. Raises GluonAFFError when there are none."""
        if not self.images:
            raise GluonAFFError("not a single image could be evaluated")
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "class_iou": self.class_iou,
            "images": self.images,
        }


@dataclass
class ClassSegmentationReport:
    """A score with its facts (what was scored, with what command, on what machine), JSON's types by name."""

    score: ClassScore
    facts: Mapping[str, Any]

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""
        about = [f"{name:<15}{self.facts[name]}" for name in ("weights", "data") if name in self.facts]
        figures = [f"{name:<15}{value}" for name, value in self._figures()]
        return [*about, *figures, "", *text_table(_COLUMNS, self._rows(), left=1)]

    def to_json(self) -> Dict[str, Any]:
        """Every figure, with the facts; ``confusion`` are pixels, a row for each true class."""
        return {
            **self.score.result(),
            "classes": list(self.score.names),
            "absent": self.score.absent,
            "confusion": self.score.counts.tolist(),
            "facts": dict(self.facts),
        }

    def write(self, directory: PathLike) -> List[Path]:
        """report.json, classes.csv, confusion.csv, report.md and classes.png; returns their paths."""
        directory = Path(directory)
        names = ("report.json", "classes.csv", "confusion.csv", "report.md", "classes.png")
        paths = [directory / name for name in names]
        score = self.score
        write_json(self.to_json(), paths[0])
        write_csv(_COLUMNS, self._rows(), paths[1])
        rows = [(name, *counts) for name, counts in zip(score.names, score.counts.tolist())]
        write_csv(("truth", *score.names), rows, paths[2])
        with atomic_write(paths[3]) as handle:
            handle.write("\n".join(self._markdown()))
        self._plot(paths[4])
        return paths

    def _figures(self) -> List[Tuple[str, str]]:
        figures = [("mIoU", f"{self.score.miou:.4f}"), ("pixel accuracy", f"{self.score.pixel_accuracy:.4f}")]
        absent = ", ".join(self.score.absent)
        return [*figures, ("images", f"{self.score.images:,}"), *([("absent", absent)] if absent else [])]

    def _rows(self) -> List[Tuple[str, ...]]:
        counts = self.score.counts
        return [
            (name, f"{iou:.4f}", str(counts[number].sum()), str(counts[:, number].sum()), str(counts[number, number]))
            for number, (name, iou) in enumerate(zip(self.score.names, self.score.class_iou))
        ]

    def _markdown(self) -> List[str]:
        return [
            "# Segmentation",
            "",
            *(f"{name}: {value}  " for name, value in self.facts.items()),
            "",
            *markdown_table(("figure", "value"), self._figures()),
            "",
            "mIoU: GluonCV's, the mean over all classes, the background's included; a class that is absent counts as "
            "0. Pixels marked 255 count nowhere.",
            "",
            *markdown_table(_COLUMNS, self._rows()),
            "",
            "![classes](classes.png)",
            "",
        ]

    def _plot(self, path: Path) -> None:
        names, values = self.score.names, self.score.class_iou
        figure = new_figure(6.4, 1.2 + 0.24 * len(names))
        axes = figure.subplots()
        drawn = axes.barh(range(len(names)), values, color="#0072B2")
        axes.bar_label(drawn, [f"{value:.2f}" for value in values], fontsize=7, padding=2)
        axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.08)
        label_axes(axes, "IoU", "", f"mIoU {self.score.miou:.4f} of {self.score.images:,} images")
        write_figure(figure, path)


_COLUMNS = ("class", "IoU", "true pixels", "predicted pixels", "hits")
