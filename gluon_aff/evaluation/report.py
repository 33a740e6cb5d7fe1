"""An evaluation as text and as files."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

from ..utils.files import atomic_write
from ..utils.tables import table
from .plots import plot_confusion
from .request import as_json
from .score import Score
from .test_sets import official_size

_SHOWN = 20  # classes that are printed one by one


@dataclass
class ClassificationReport:
    """A `Score` with the environment it was made in."""

    score: Score
    environment: Dict[str, Any]

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""
        score = self.score
        subject, data, images = score.subject, score.test_set, len(score.predictions)
        labels = f", {data.labels} labels" if data.dataset == "cifar100" else ""
        found = [
            f"weights    {subject.name} ({subject.network})",
            f"data       {data.dataset}{labels}, {data.source}; normalised as for {data.normalisation}",
            f"protocol   {_protocol(score)}",
        ]
        official = official_size(data.dataset)
        if official and data.images != official:
            found.append(
                f"note       the official set has {official:,} images, this one {data.images:,}: another figure"
            )
        for name, hits in (("top-1", score.top1), ("top-5", score.top5)):
            error = _percent(images - hits, images)
            found.append(f"{name}      {hits / images:.4f} ({hits:,} of {images:,}), error {error}")
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
        with atomic_write(paths[0]) as handle:
            handle.write(as_json(self))
        with atomic_write(paths[1]) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(("class", "images", "top1", "top5", "taken_for"))
            for row in score.class_scores():
                writer.writerow((row.name, row.images, row.top1, row.top5, row.taken_for or ""))
        counts = score.confusion()
        with atomic_write(paths[2]) as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(("class", *score.test_set.classes, "other"))
            for name, row in zip(score.test_set.classes, counts.tolist()):
                writer.writerow((name, *row))
        images = len(score.predictions)
        top1 = f"top-1 {score.top1 / images:.4f} of {images:,} images"
        title = f"{score.subject.name} on {score.test_set.dataset}: {top1}"
        plot_confusion(counts, score.test_set.classes, title, paths[3])
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
    rows = []
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
    return table(("pass", "first record", "batches", "images counted", "top-1 error", "top-5 error"), rows, left=1)


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
    return [*heading, *table(("class", "mostly taken for", "images", "top-1", "top-5"), cells, left=2)]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4f} %"
