"""Predictions as a table, CSV, JSON lines, or masks and overlays; written one by one as they come."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ..data.class_names import ClassNames
from ..deploy.predicting import Prediction
from ..segmentation.pictures import ClassItem, Item, class_numbers, write_class_predictions, write_predictions
from ..utils.files import atomic_write


class Tally:
    """Counts predictions on their way: how many, what could not be read, and how many are right where folders tell."""

    def __init__(self, classes: ClassNames) -> None:
        self._classes = classes
        self.images = self.judged = self.right = 0
        self.bad: List[str] = []

    def counted(self, found: Iterable[Prediction]) -> Iterator[Prediction]:
        """The same predictions, counted."""
        for each in found:
            if each.logits is None:
                self.bad.append(each.fault or each.name)
                print(f"skipped: {each.fault}", file=sys.stderr)
            else:
                self.images += 1
                truth = self._classes.find(each.folder) if each.folder else None
                if truth is not None and each.logits.ndim == 1:
                    self.judged += 1
                    self.right += int(each.logits.argmax()) == truth
            yield each

    def lines(self, seconds: float) -> List[str]:
        """For people."""
        said = f"{self.images} images in {seconds:.1f} s, {self.images / max(seconds, 1e-9):.1f} images/s"
        lines = [f"{said}; {len(self.bad)} could not be read" if self.bad else said]
        if self.judged:
            lines.append(
                f"top-1 accuracy {self.right / self.judged:.4f} ({self.right} of {self.judged} images, whose folders "
                "are named like their classes)"
            )
        return lines


def write_classes(found: Iterable[Prediction], out: Optional[str], form: str, top: int, width: int) -> None:
    """The ``top`` likeliest classes of each picture, to a file or, line by line, to standard output."""
    with _opened(out) as handle:
        if form == "csv":
            names = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("class", "score")]
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["image", *names])
        for each in found:
            classes = [] if each.logits is None else each.top(top)
            if form == "jsonl":
                handle.write(json.dumps(_entry(each, classes)) + "\n")
            elif form == "csv":
                if classes:
                    cells = [cell for _, name, score in classes for cell in (name, f"{score:.6g}")]
                    writer.writerow([each.name, *cells])
            elif classes:
                named = "  ".join(f"{score:6.4f} {name}" for _, name, score in classes)
                handle.write(f"{each.name:<{width}}  {named}\n")
            handle.flush()


def _entry(each: Prediction, classes: List[Any]) -> Dict[str, Any]:
    if each.logits is None:
        return {"image": each.name, "error": each.fault}
    listed = [{"number": number, "class": name, "score": round(score, 6)} for number, name, score in classes]
    return {"image": each.name, "classes": listed}


def write_masks(found: Iterable[Prediction], out: str, form: str, classes: Sequence[str]) -> List[Path]:
    """masks/, overlays/ and contact sheets of a segmentation network, as ``train_seg.py --predict`` writes them, and a
    table of the share of foreground, or of each of several ``classes``; returns the sheets."""
    several = len(classes) > 1
    rows: List[_Shares] = []

    def readable() -> Iterator[Tuple[str, Prediction, np.ndarray]]:
        for each in found:
            if each.logits is None:
                rows.append(_Shares(each.name, [], each.fault))
            else:
                assert each.image is not None
                yield each.name.rsplit("/", 1)[-1].rsplit(".", 1)[0], each, each.image

    def foregrounds() -> Iterator[Item]:
        for name, each, image in readable():
            probability = each.probability
            rows.append(_Shares(each.name, [float((probability > 0.5).mean())]))
            yield name, image, None, probability

    def maps() -> Iterator[ClassItem]:
        for name, each, image in readable():
            numbers = class_numbers(each.resized)
            counts = np.bincount(numbers.ravel(), minlength=len(classes))
            rows.append(_Shares(each.name, (counts / numbers.size).tolist()))
            yield name, image, None, numbers

    sheets = write_class_predictions(out, maps(), classes) if several else write_predictions(out, foregrounds())
    _write_shares(rows, out, form, classes if several else ("foreground",), several)
    return sheets


@dataclass(frozen=True)
class _Shares:
    """Parts of a picture's pixels, in the order of the classes; none of one that could not be read."""

    image: str
    values: List[float]
    fault: Optional[str] = None


def _write_shares(rows: Sequence[_Shares], out: str, form: str, names: Sequence[str], several: bool) -> None:
    file = {"table": "predictions.txt", "csv": "predictions.csv", "jsonl": "predictions.jsonl"}[form]
    with atomic_write(Path(out) / file) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if form == "csv":
            writer.writerow(["image", *names])
        for row in rows:
            if form == "jsonl":
                shares = dict(zip(names, row.values))
                found: Dict[str, Any] = {"shares": shares} if several else shares
                found = {"error": row.fault} if row.fault else found
                handle.write(json.dumps({"image": row.image, **found}) + "\n")
            elif not row.fault and form == "csv":
                writer.writerow([row.image, *(f"{value:.6f}" for value in row.values)])
            elif not row.fault:
                cells = [f"{value:.6f} {name}" if several else f"{value:.6f}" for name, value in zip(names, row.values)]
                handle.write("  ".join([row.image, *cells]) + "\n")


@contextmanager
def _opened(out: Optional[str]) -> Iterator[IO]:
    if out is None:
        yield sys.stdout
        return
    with atomic_write(out) as handle:
        yield handle
