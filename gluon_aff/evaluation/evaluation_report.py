"""The report of a classification: text for a terminal, and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Tuple

from ..utils.files import write_json
from ..utils.resampling import share_interval, span_text
from ..utils.tables import text_table, write_csv
from .classification_score import Score
from .confusion_plot import plot_confusion
from .test_sets import official_size

_SHOWN = 20  # classes that are printed one by one


@dataclass
class ClassificationReport:
    """A `Score` with the environment in which it was measured."""

    score: Score
    environment: Dict[str, Any]

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""
        score = self.score
        trained, data, images = score.trained, score.test_set, len(score.predictions)
        labels = f", {data.labels} labels" if data.dataset == "cifar100" else ""
        found = [
            f"weights    {trained.name} ({trained.network})",
            f"data       {data.dataset}{labels}, {data.source}; normalised as for {data.normalisation}",
            f"protocol   {_protocol(score)}",
        ]
        official = official_size(data.dataset)
        if official and data.images != official:
            found.append(
                f"note       the official set has {official:,} images, this one {data.images:,}: another figure"
            )
        found += [f"note       {note}" for note in score.notes]
        for name, hits in (("top-1", score.top1), ("top-5", score.top5)):
            error = _percent(images - hits, images)
            span = span_text(share_interval(hits, images))
            found.append(f"{name}      {hits / images:.4f} ({hits:,} of {images:,}; 95 %: {span}), error {error}")
        found += [f"not read   {message}" for message in score.bad[:_SHOWN]]
        if len(score.bad) > _SHOWN:
            found.append(f"           and {len(score.bad) - _SHOWN} more")
        found += _claim_lines(score)
        speed = f"{score.images_per_second:.1f} images/s, {score.images_run:,} in {score.seconds:.1f} s"
        found.append(f"speed      {speed}")
        if score.passes:
            found += ["", *_passes(score)]
        return [*found, "", *_classes(score)]

    def to_json(self) -> Dict[str, Any]:
        """Every figure, with the environment."""
        return {**self.score.to_json(), "environment": self.environment}

    def write(self, directory: Path) -> List[Path]:
        """evaluation.json, per_class.csv, confusion.csv and confusion.png; returns their paths."""
        paths = [directory / name for name in ("evaluation.json", "per_class.csv", "confusion.csv", "confusion.png")]
        score = self.score
        write_json(self.to_json(), paths[0])
        rows = [(row.name, row.images, row.top1, row.top5, row.taken_for or "") for row in score.class_scores()]
        write_csv(("class", "images", "top1", "top5", "taken_for"), rows, paths[1])
        counts, classes = score.confusion(), score.test_set.classes
        matrix = [(name, *row) for name, row in zip(classes, counts.tolist())]
        write_csv(("class", *classes, "other"), matrix, paths[2])
        images = len(score.predictions)
        top1 = f"top-1 {score.top1 / images:.4f} of {images:,} images"
        plot_confusion(counts, classes, f"{score.trained.name} on {score.test_set.dataset}: {top1}", paths[3])
        return paths


def _protocol(score: Score) -> str:
    counted, expected = len(score.predictions), score.test_set.images
    if score.protocol == "upstream":
        batches = score.test_set.batch_count
        return f"upstream: {score.images_run:,} images in {batches} batches, {expected:,} different ones"
    missing = f", {len(score.bad):,} could not be read" if score.bad else ""
    return f"exact: every image once, {counted:,} of {expected:,} counted{missing}"


def _claim_lines(score: Score) -> List[str]:
    claim, images = score.claim(), len(score.predictions)
    if claim is None:
        return []
    measured = score.top1 / images if claim.metric == "accuracy" else 1 - score.top1 / images
    return [
        f"stated     {claim.metric} {claim.value:.4f} on {claim.images:,} images ({claim.by}); "
        f"difference {measured - claim.value:+.4f}"
    ]


def _passes(score: Score) -> List[str]:
    """What the authors' script would print for each pass, and the exact figure below."""
    images = len(score.predictions)
    rows: List[Tuple[str, ...]] = []
    for entry in score.passes:
        rows.append(
            (
                f"{entry.number}" + (" (published)" if entry.number == score.claim_pass else ""),
                f"{entry.span.first:,}",
                f"{entry.span.batches:,}",
                f"{entry.span.images:,}",
                _percent(entry.top1_errors, entry.span.images),
                _percent(entry.top5_errors, entry.span.images),
            )
        )
    exact = (images - score.top1, images - score.top5)
    rows.append(("exact", "0", "", f"{images:,}", *(_percent(errors, images) for errors in exact)))
    return text_table(("pass", "first record", "batches", "images counted", "top-1 error", "top-5 error"), rows, left=1)


def _classes(score: Score) -> List[str]:
    rows = sorted(score.class_scores(), key=lambda row: row.top1 / row.images)
    shown = rows if len(rows) <= _SHOWN else rows[:10]
    cells = [
        (
            row.name,
            row.taken_for or "-",
            f"{row.images:,}",
            f"{row.top1 / row.images:.4f}",
            f"{row.top5 / row.images:.4f}",
        )
        for row in shown
    ]
    heading = [] if len(shown) == len(rows) else [f"the ten worst of {len(rows)} classes (--out and --json give all):"]
    return [*heading, *text_table(("class", "mostly taken for", "images", "top-1", "top-5"), cells, left=2)]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4f} %"
