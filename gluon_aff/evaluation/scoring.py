"""Scoring a classifier: its predictions on labelled images, and the figures that follow from them."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import mxnet as mx
import numpy as np

from ..data.registry import known_classes, names_of_classes
from ..errors import GluonAFFError, UsageError
from ..facts import published_runs
from ..utils.console import progress
from ..utils.logits import check_finite
from .protocol import LabelledImages, official_size, record_passes
from .trained_network import Claim, TrainedNetwork

TOP = 5
Row = Dict[str, Any]  # figures by name
_SHOWN = 5  # names of classes in a message


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of every image its label, the predicted class and the label's rank.

    Attributes
    ----------
    labels, predicted : array
        int64 (N,): the true class, and the class of the largest logit.
    ranks : array
        int64 (N,): how many classes come before the label; 0 where it has the largest logit. Of equal logits the
        lower class number comes first.
    """

    labels: np.ndarray
    predicted: np.ndarray
    ranks: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def hits(self, k: int = 1) -> int:
        """Count the images whose label is among the k largest logits."""
        return int((self.ranks < k).sum())

    def take(self, indices: np.ndarray) -> Predictions:
        """Return the predictions of some images, in the order of ``indices``, which may repeat."""
        return Predictions(self.labels[indices], self.predicted[indices], self.ranks[indices])

    def confusion(self, classes: int) -> np.ndarray:
        """Count, int64 (classes, classes + 1), the images of a class (row) that were predicted as each class (column).

        The last column is for any other class; there are some where the head is wider than the labels need.
        """
        counts = np.zeros((classes, classes + 1), dtype=np.int64)
        np.add.at(counts, (self.labels, np.minimum(self.predicted, classes)), 1)
        return counts


def predict(
    net: mx.gluon.Block,
    batches: Iterable[Tuple[np.ndarray, np.ndarray]],
    devices: Sequence[mx.Context],
    total: int,
    relabel: Optional[Callable[[int], Optional[np.ndarray]]] = None,
) -> Predictions:
    """Run batches through a network.

    Parameters
    ----------
    net : callable
        A Block whose weights lie on ``devices``, or the like.
    batches : iterable of tuple of array
        (x, y): float32 (N, C, H, W) and int64 (N,).
    devices : sequence of Context
        Each gets a part of every batch.
    total : int
        Number of batches, for the progress bar.
    relabel : callable, optional
        Called once with the width of the head, as soon as it is known; it may raise. What it returns has for each label
        of the images the network's class number, -1 where their images are to be left out; None: they are the same.

    Raises
    ------
    UsageError
        For a label outside the head.
    GluonAFFError
        For logits that are not finite, and when there is not a single image.
    """
    pending: deque = deque()
    parts: List[Tuple[np.ndarray, ...]] = []
    numbers: Optional[np.ndarray] = None
    for number, (x, y) in enumerate(progress(batches, total, "evaluating")):
        logits = [net(data) for data in mx.gluon.utils.split_and_load(x, devices[: len(x)], even_split=False)]
        outputs = logits[0].shape[1]
        if relabel and not number:
            numbers = relabel(outputs)
        most = outputs if numbers is None else len(numbers)
        if y.max() >= most or y.min() < 0:
            raise UsageError(
                f"an image has the label {int(y.max())}, but the head has {most} classes (0 to {most - 1}): "
                "choose the data set (and `labels`) that the weights are for"
            )
        y = y if numbers is None else numbers[y]
        pending.append((logits, y))
        if len(pending) > 1:  # devices work on one batch while the one before is counted
            parts.append(_count(*pending.popleft()))
    parts += [_count(*waiting) for waiting in pending]
    if not parts:
        raise GluonAFFError("not a single image could be evaluated")
    return Predictions(*(np.concatenate(column) for column in zip(*parts)))


def _count(logits: List[Any], labels: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the labels, predicted classes and ranks of a batch, without images whose label is -1."""
    scores = np.concatenate([part.asnumpy() for part in logits]).astype(np.float32)
    check_finite(scores)
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    own = scores[np.arange(len(labels)), labels][:, None]
    before = np.arange(scores.shape[1]) < labels[:, None]
    ranks = ((scores > own) | ((scores == own) & before)).sum(axis=1)
    return labels, scores.argmax(axis=1), ranks


def pass_scores(
    predictions: Predictions, records: int, batch_size: int, passes: int, extra: Optional[int] = None
) -> List[Row]:
    """Return what the authors' script would report for the first ``passes`` passes, and for pass number ``extra``.

    The weights do not change between passes, only which images are counted twice or not at all does: all follow from
    the predictions of the first pass. Raises GluonAFFError when ``predictions`` are not those.
    """
    spans = record_passes(records, batch_size, max(passes, extra or 0))
    first = spans[0].images
    tail = predictions.labels[records:]
    if len(predictions) != first or not np.array_equal(tail, predictions.labels[: len(tail)]):
        raise GluonAFFError(
            f"the record iterator gave {len(predictions)} images, expected {first}, the last "
            f"{first - records} of them those of the beginning: is this MXNet 1.9.1?"
        )
    rows = []
    for number, span in enumerate(spans, 1):
        if number <= passes or number == extra:
            counted = predictions.take(span.indices(records))
            errors = {f"top{k}_errors": span.images - counted.hits(k) for k in (1, TOP)}
            shares = {f"top{k}_error": errors[f"top{k}_errors"] / span.images for k in (1, TOP)}
            place = {"first_record": span.first, "batches": span.batches, "images": span.images}
            rows.append({"pass": number, **place, **errors, **shares})
    return rows


def claimed_pass(claim: Optional[Claim], batch_size: int) -> Optional[int]:
    """Return the pass of the authors' iterator, counted from 1, that a published ImageNet file was scored in.

    None where that is not known, or when their batches had another size.
    """
    run = published_runs().get(claim.run) if claim and claim.run else None
    if run is None or run["data"] != "imagenet" or run["global_batch"] != batch_size:
        return None
    first_epoch = run["final"]["epoch"] - run["epochs_logged"] + 1
    return run["published_file"]["epoch"] - first_epoch + 1


class ClassMatch(NamedTuple):
    """``numbers``: for each class of the data the network's, -1 where it has none; None where all are the same.

    ``names`` are the network's classes, ``note`` is what the reader of the figures must know, if anything.
    """

    numbers: Optional[np.ndarray]
    names: Tuple[str, ...]
    note: Optional[str]


def match_classes(
    trained: TrainedNetwork, images: LabelledImages, outputs: int, skip_unknown: bool = False
) -> ClassMatch:
    """Return which class of a network, of ``outputs`` outputs, each class of the images is.

    Where any name is known on both sides, classes are matched by their names. Else names that are integers are the
    network's class numbers where the data have fewer classes, and of as many classes the numbers are the same. Raises
    UsageError for other classes, and for images of classes that the network has not, unless they are to be skipped.
    """
    data, found = trained.data, tuple(images.classes)
    known, theirs = known_classes(data, outputs), names_of_classes(found)
    names = known.names if known else tuple(str(number) for number in range(outputs))
    if found == names or (known is None and len(found) == outputs):
        return ClassMatch(None, found, None)
    described = f"the data have the classes {_listed(found)}, the network "
    described += f"was trained on {_listed(names)}" if known else f"has {outputs} outputs"
    numbers = np.full(len(found), -1)
    if known:
        for number, name in enumerate(names):
            place = theirs.find(name)
            if place is not None:
                numbers[place] = number
        for place, name in enumerate(found):  # the data may go by wnids, or the network
            number_of_name = known.find(name)
            if number_of_name is not None:
                numbers[place] = number_of_name
    if (numbers[list(images.present)] >= 0).any():
        unknown = [found[place] for place in images.present if numbers[place] < 0]
        if unknown and not skip_unknown:
            raise UsageError(
                f"{described}, which lacks {len(unknown)} of the former ({_listed(unknown)}): `skip_unknown` leaves "
                "their images out"
            )
        left = f"; those of {_listed(unknown)} are left out" if unknown else ""
        return ClassMatch(numbers, names, f"{described}: images are matched by the names{left}")
    if len(found) < outputs and all(name.isdecimal() and len(name) < 9 and int(name) < outputs for name in found):
        note = f"{described}: the names are taken for its class numbers"
        return ClassMatch(np.array([int(name) for name in found]), names, note)
    if known is None and max(images.present) < outputs:
        note = f"the network has {outputs} outputs, the data {len(found)} classes ({_listed(found)})"
        return ClassMatch(None, found, note)
    if len(found) == len(names):
        return ClassMatch(None, found, f"{described}: labels are compared by their numbers")
    own = data.get("labels") if data.get("dataset") == images.dataset else None  # CIFAR-100's other labels
    advice = f"leave `labels` out, or say {own}" if own else "evaluate data, or `labels`, with the network's classes"
    described += f", on {outputs} outputs" if known else f": expected at least {len(found)}"
    raise UsageError(f"{described}: a label means another class; {advice}")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown}, ... ({len(names)})" if len(names) > _SHOWN else shown


@dataclass
class Score:
    """The figures of one evaluation.

    Attributes
    ----------
    trained, images
        What was scored, and on what.
    protocol : str
        "exact" or "upstream".
    predictions : Predictions
        Of every image once, whatever the protocol.
    seconds : float
        Duration of the pass over ``images_run`` images, reading included.
    bad : list of str
        Images that could not be read, with the reason.
    passes : list of dict
        What the authors' script would have reported; of the upstream protocol.
    claim_pass : int or None
        The pass, counted from 1, that the published figure was taken in.
    notes : list of str
        What the reader of the figures must know.
    left_out : int
        Images of classes that the network has not.
    """

    trained: TrainedNetwork
    images: LabelledImages
    protocol: str
    predictions: Predictions
    seconds: float
    images_run: int
    bad: List[str]
    passes: List[Row]
    claim_pass: Optional[int] = None
    notes: List[str] = field(default_factory=list)
    left_out: int = 0

    @property
    def top1(self) -> int:
        return self.predictions.hits()

    @property
    def top5(self) -> int:
        return self.predictions.hits(TOP)

    @property
    def images_per_second(self) -> float:
        return self.images_run / self.seconds

    def claim(self) -> Optional[Claim]:
        """Return the published or logged figure, when it is of these images and labels."""
        claim, images = self.trained.claim, self.images
        if claim is None or images.dataset != claim.dataset or images.labels != (claim.labels or "fine"):
            return None
        whole = official_size(claim.dataset) if claim.run else claim.images
        return claim if images.count == whole else None

    def confusion(self) -> np.ndarray:
        """Return the counts of `Predictions.confusion`."""
        return self.predictions.confusion(len(self.images.classes))

    def class_rows(self) -> List[Row]:
        """Return name, images, hits and most frequent error of each class that has images."""
        names, counts = self.images.classes, self.confusion()
        labels, ranks = self.predictions.labels, self.predictions.ranks
        top1, top5 = (np.bincount(labels[ranks < k], minlength=len(names)) for k in (1, TOP))
        rows = []
        for number in np.flatnonzero(counts.sum(axis=1)):
            wrong = counts[number].copy()
            wrong[number] = 0
            taken = int(wrong.argmax())
            hits = {"top1": int(top1[number]), "top5": int(top5[number])}
            other = (*names, "other")[taken] if wrong[taken] else None
            rows.append({"name": names[number], "images": int(counts[number].sum()), **hits, "taken_for": other})
        return rows


def score(
    trained: TrainedNetwork,
    images: LabelledImages,
    devices: List[mx.Context],
    protocol: str = "exact",
    batch_size: int = 512,
    passes: int = 3,
    skip_unknown: bool = False,
) -> Score:
    """Run every image through the network and count.

    Parameters
    ----------
    trained, images
        The network, and the images.
    devices : list of Context
        Where the network lies.
    protocol : str
        "exact" or "upstream", see docs/results.md.
    batch_size, passes : int
        Of the upstream protocol.
    skip_unknown : bool
        Leave out images of classes that the network has not, see `match_classes`; of the exact protocol.

    Raises
    ------
    UsageError
        When the network was trained on other classes.
    GluonAFFError
        When another number of images was counted than there are.
    """
    if skip_unknown and protocol == "upstream":
        raise UsageError("the record iterator cannot leave images out: `skip_unknown` goes with the `protocol` exact")
    matches: List[ClassMatch] = []
    run = 0

    def relabel(outputs: int) -> Optional[np.ndarray]:
        matches.append(match_classes(trained, images, outputs, skip_unknown))
        return matches[0].numbers

    def batches() -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        nonlocal run
        for x, y in images.loader.batches(0):
            run += len(y)
            yield x, y

    began = time.perf_counter()
    found = predict(trained.forward, batches(), devices, len(images.loader), relabel)
    seconds, left_out, bad = time.perf_counter() - began, run - len(found), getattr(images.loader, "bad", [])
    rows, number, counted = [], None, run
    if protocol == "upstream":
        number = claimed_pass(trained.claim, batch_size)
        rows = pass_scores(found, images.count, batch_size, passes, number)
        found = found.take(np.arange(images.count))
        counted = images.count
    if counted + len(bad) != images.count:
        raise GluonAFFError(
            f"{counted} images were counted and {len(bad)} could not be read, of {images.count}: some were lost "
            "or repeated"
        )
    notes = [note for _, _, note in matches if note]
    images = replace(images, classes=matches[0].names)
    return Score(trained, images, protocol, found, seconds, run, bad, rows, number, notes, left_out)
