"""What a user asks of a score, and the reports of it: text for a terminal, and files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..errors import UsageError
from ..utils.figures import load_matplotlib, new_figure, plain, write_figure
from ..utils.files import PathLike, write_json
from ..utils.resampling import share_interval, span_text
from ..utils.tables import text_table, write_csv
from .protocol import official_size
from .scoring import TOP, Score

_SHOWN = 20  # classes that are printed one by one
_WITH_FIGURES, _WITH_NAMES = 20, 100  # largest numbers of classes whose cells, and whose names, can be read


@dataclass
class ScoreRequest:
    """How to score a network.

    Attributes
    ----------
    devices : list of Context
    data : dict
        What the user says of the images, under the names of `DataOptions`.
    protocol, passes
        See `score`; for classification.
    batch_size : int or None
        Over all devices; None for the task's own.
    workers : int
        Threads that make batches.
    skip_bad, skip_unknown : bool
        Leave unreadable images out, and those of classes that a classifier has not.
    threshold : float or None
        The probability above which a pixel is foreground; None for 0.5.
    environment : dict
        Versions, command and commit for the report.
    """

    devices: List[mx.Context]
    data: Dict[str, Any] = field(default_factory=dict)
    protocol: str = "exact"
    passes: int = 3
    batch_size: Optional[int] = None
    workers: int = 0
    skip_bad: bool = False
    skip_unknown: bool = False
    threshold: Optional[float] = None
    environment: Dict[str, Any] = field(default_factory=dict)

    def refuse(self, task: str, *names: str) -> None:
        """Raise UsageError where the user gave one of ``names``, which ``task`` has not."""
        given = {**self.data, "protocol": self.protocol != "exact"}
        given.update(skip_bad=self.skip_bad, skip_unknown=self.skip_unknown, threshold=self.threshold)
        for name in names:
            if given.get(name):
                raise UsageError(f"`{name}` is not for {task}: leave it out")


class Report(Protocol):
    """A score to be read, stored and looked at."""

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""

    def to_json(self) -> Dict[str, Any]:
        """Every figure."""

    def write(self, directory: Path) -> List[Path]:
        """Files with all there is to know; returns their paths."""


@dataclass
class FigureReport:
    """A report of single figures, for tasks that have no more to tell.

    Attributes
    ----------
    weights, data : str
        What was scored, and on what.
    images : int
    figures : mapping
        Name to value.
    environment : mapping
    """

    weights: str
    data: str
    images: int
    figures: Mapping[str, float]
    environment: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> List[str]:
        rows: Sequence = [("weights", self.weights), ("data", self.data), ("images", f"{self.images:,}")]
        rows = [*rows, *((name, f"{value:.4f}") for name, value in self.figures.items())]
        width = max(len(name) for name, _ in rows) + 2
        return [f"{name:<{width}}{value}" for name, value in rows]

    def to_json(self) -> Dict[str, Any]:
        return asdict(self)

    def write(self, directory: Path) -> List[Path]:
        path = directory / "evaluation.json"
        write_json(self.to_json(), path)
        return [path]


@dataclass
class ClassificationReport:
    """A `Score` with the environment in which it was measured."""

    score: Score
    environment: Dict[str, Any]

    def lines(self) -> List[str]:
        """Return the report for a terminal, line by line."""
        score, data, count = self.score, self.score.images, len(self.score.predictions)
        labels = f", {data.labels} labels" if data.dataset == "cifar100" else ""
        missing = f", {len(score.bad):,} could not be read" if score.bad else ""
        missing += f", {score.left_out:,} of classes unknown to the network left out" if score.left_out else ""
        protocol = f"exact: every image once, {count:,} of {data.count:,} counted{missing}"
        if score.protocol == "upstream":
            batches = len(data.loader)
            protocol = f"upstream: {score.images_run:,} images in {batches} batches, {data.count:,} different ones"
        found = [
            f"weights    {score.trained.name} ({score.trained.network})",
            f"data       {data.dataset}{labels}, {data.source}; normalised as for {data.normalisation}",
            f"protocol   {protocol}",
        ]
        own = data.dataset == "imagenet" and len(data.classes) < 1000  # classes laid out like ImageNet's
        official = None if own else official_size(data.dataset)
        if official and data.count != official:
            found.append(
                f"note       the official set has {official:,} images, this one {data.count:,}: another figure"
            )
        found += [f"note       {note}" for note in score.notes]
        for name, hits in (("top-1", score.top1), ("top-5", score.top5))[: _shares(score)]:
            error = _percent(count - hits, count)
            span = span_text(share_interval(hits, count))
            found.append(f"{name}      {hits / count:.4f} ({hits:,} of {count:,}; 95 %: {span}), error {error}")
        found += [f"not read   {message}" for message in score.bad[:_SHOWN]]
        if len(score.bad) > _SHOWN:
            found.append(f"           and {len(score.bad) - _SHOWN} more")
        claim = score.claim()
        if claim:
            measured = score.top1 / count if claim.metric == "accuracy" else 1 - score.top1 / count
            found.append(
                f"stated     {claim.metric} {claim.value:.4f} on {claim.images:,} images ({claim.by}); "
                f"difference {measured - claim.value:+.4f}"
            )
        speed = f"{score.images_per_second:.1f} images/s, {score.images_run:,} in {score.seconds:.1f} s"
        return [*found, f"speed      {speed}", *_pass_lines(score), "", *_class_lines(score)]

    def to_json(self) -> Dict[str, Any]:
        """Return every figure, with the environment."""
        score, images, count, claim = self.score, self.score.images, len(self.score.predictions), self.score.claim()
        return {
            "weights": score.trained.name,
            "file": str(score.trained.file),
            "network": score.trained.network,
            "dataset": images.dataset,
            "labels": images.labels,
            "source": images.source,
            "normalisation": images.normalisation,
            "protocol": score.protocol,
            "images": count,
            "images_expected": images.count,
            "images_bad": score.bad,
            "images_unknown": score.left_out,
            "top1": score.top1 / count,
            "top5": score.top5 / count,
            "top1_interval": share_interval(score.top1, count),
            "top5_interval": share_interval(score.top5, count),
            "top1_images": score.top1,
            "top5_images": score.top5,
            "seconds": score.seconds,
            "images_per_second": score.images_per_second,
            "claim": asdict(claim) if claim else None,
            "passes": score.passes,
            "claim_pass": score.claim_pass,
            "notes": score.notes,
            "per_class": score.class_rows(),
            "environment": self.environment,
        }

    def write(self, directory: Path) -> List[Path]:
        """Write evaluation.json, per_class.csv, confusion.csv and confusion.png; return their paths."""
        paths = [directory / name for name in ("evaluation.json", "per_class.csv", "confusion.csv", "confusion.png")]
        score, images = self.score, self.score.images
        write_json(self.to_json(), paths[0])
        rows = [["" if cell is None else cell for cell in row.values()] for row in score.class_rows()]
        write_csv(("class", "images", "top1", "top5", "taken_for"), rows, paths[1])
        counts = score.confusion()
        matrix = [(name, *row) for name, row in zip(images.classes, counts.tolist())]
        write_csv(("class", *images.classes, "other"), matrix, paths[2])
        count = len(score.predictions)
        title = f"{score.trained.name} on {images.dataset}: top-1 {score.top1 / count:.4f} of {count:,} images"
        plot_confusion(counts, images.classes, title, paths[3])
        return paths


def _pass_lines(score: Score) -> List[str]:
    """What the authors' script would print for each pass, and the exact figure below."""
    if not score.passes:
        return []
    count = len(score.predictions)
    rows: List[Tuple[str, ...]] = [
        (
            f"{row['pass']}" + (" (published)" if row["pass"] == score.claim_pass else ""),
            *(f"{row[name]:,}" for name in ("first_record", "batches", "images")),
            *(_percent(row[name], row["images"]) for name in ("top1_errors", "top5_errors")),
        )
        for row in score.passes
    ]
    exact = (_percent(count - hits, count) for hits in (score.top1, score.top5))
    rows.append(("exact", "0", "", f"{count:,}", *exact))
    names = ("pass", "first record", "batches", "images counted", "top-1 error", "top-5 error")
    return ["", *text_table(names, rows, left=1)]


def _class_lines(score: Score) -> List[str]:
    """Each class, or the ten worst of many."""
    rows = sorted(score.class_rows(), key=lambda row: row["top1"] / row["images"])
    shown = rows if len(rows) <= _SHOWN else rows[:10]
    cells = []
    for row in shown:
        shares = [f"{row[name] / row['images']:.4f}" for name in ("top1", "top5")][: _shares(score)]
        cells.append((row["name"], row["taken_for"] or "-", f"{row['images']:,}", *shares))
    heading = [] if len(shown) == len(rows) else [f"the ten worst of {len(rows)} classes (--out and --json give all):"]
    names = ("class", "mostly taken for", "images", "top-1", "top-5")[: 3 + _shares(score)]
    return [*heading, *text_table(names, cells, left=2)]


def _shares(score: Score) -> int:
    """1, top-1 alone, where all classes are among the top five; 2 otherwise."""
    return 1 if len(score.images.classes) <= TOP else 2


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4f} %"


def plot_confusion(counts: np.ndarray, classes: Sequence[str], title: str, path: PathLike) -> None:
    """Draw the counts of `Predictions.confusion`: a row per class, each cell the share of the row's images.

    Classes without images are left blank; the last column is drawn when there is something in it.
    """
    matplotlib = load_matplotlib()
    names = [plain(name) for name in classes]
    columns = names + ["other"] if counts[:, -1].any() else names
    shown = counts[:, : len(columns)]
    totals = counts.sum(axis=1, keepdims=True)
    share: Any = np.ma.masked_array(shown / np.maximum(totals, 1), mask=np.broadcast_to(totals == 0, shown.shape))

    side = 4.0 + (0.42 * len(names) if len(names) <= _WITH_FIGURES else min(0.13 * len(names), 9.0))
    figure = new_figure(side + 1.0, side)
    axes = figure.subplots()
    scale = matplotlib.colors.PowerNorm(0.5, vmin=0, vmax=1)  # so that rare confusions are seen
    image = axes.imshow(share, cmap="Blues", norm=scale, interpolation="nearest", aspect="auto")
    figure.colorbar(image, ax=axes, label="share of the class's images", shrink=0.8, aspect=40, pad=0.01)
    if len(names) <= _WITH_NAMES:
        size = 9 if len(names) <= _WITH_FIGURES else 6
        axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) <= _WITH_FIGURES:
        for row, column in zip(*np.nonzero(shown)):
            value = share[row, column]
            if value >= 0.005:
                colour = "white" if value > 0.35 else "black"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true class" + (" (cells in %)" if len(names) <= _WITH_FIGURES else ""))
    axes.set_title(plain(title), fontsize=10)
    write_figure(figure, path)
