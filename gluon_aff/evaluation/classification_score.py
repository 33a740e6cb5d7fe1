"""Scoring a network on a test set under a protocol, and what is to be reported of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional

import mxnet as mx
import numpy as np

from ..errors import GluonAFFError
from ..facts import published_runs
from ..utils.resampling import share_interval
from .class_check import class_note
from .predictions import TOP, Predictions, predict
from .test_sets import TestSet, official_size
from .trained_network import Claim, TrainedNetwork
from .upstream import PassScore, pass_scores


@dataclass
class ClassScore:
    """One class: its images, those with the label first and among the first five, and what it is mostly taken for."""

    name: str
    images: int
    top1: int
    top5: int
    taken_for: Optional[str]


@dataclass
class Score:
    """The figures of one evaluation.

    Attributes
    ----------
    trained, test_set
        What was scored, and on what.
    protocol : str
        "exact" or "upstream".
    predictions : Predictions
        Of every image once, whatever the protocol.
    seconds : float
        Duration of the pass over ``images_run`` images.
    bad : list of str
        Images that could not be read, with the reason.
    passes : list of PassScore
        What the authors' script would have reported; of the upstream protocol.
    claim_pass : int or None
        The pass, counted from 1, that the published figure was taken in.
    notes : list of str
        What the reader of the figures must know.
    """

    trained: TrainedNetwork
    test_set: TestSet
    protocol: str
    predictions: Predictions
    seconds: float
    images_run: int
    bad: List[str]
    passes: List[PassScore]
    claim_pass: Optional[int] = None
    notes: List[str] = field(default_factory=list)

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
        """The published or logged figure, when it is of these images and labels."""
        claim, options = self.trained.claim, self.test_set
        if claim is None or options.dataset != claim.dataset or options.labels != (claim.labels or "fine"):
            return None
        whole = official_size(claim.dataset) if claim.run else claim.images
        return claim if options.images == whole else None

    def confusion(self) -> np.ndarray:
        return self.predictions.confusion(len(self.test_set.classes))

    def class_scores(self) -> List[ClassScore]:
        """A row for each class that has images."""
        names, counts, labels = self.test_set.classes, self.confusion(), self.predictions.labels
        top1 = np.bincount(labels[self.predictions.ranks < 1], minlength=len(names))
        top5 = np.bincount(labels[self.predictions.ranks < TOP], minlength=len(names))
        rows = []
        for number in np.flatnonzero(counts.sum(axis=1)):
            wrong = counts[number].copy()
            wrong[number] = 0
            taken = int(wrong.argmax())
            other = (*names, "other")[taken] if wrong[taken] else None
            rows.append(
                ClassScore(names[number], int(counts[number].sum()), int(top1[number]), int(top5[number]), other)
            )
        return rows

    def to_json(self) -> Dict[str, Any]:
        images, claim = len(self.predictions), self.claim()
        return {
            "weights": self.trained.name,
            "file": str(self.trained.file),
            "network": self.trained.network,
            "dataset": self.test_set.dataset,
            "labels": self.test_set.labels,
            "source": self.test_set.source,
            "normalisation": self.test_set.normalisation,
            "protocol": self.protocol,
            "images": images,
            "images_expected": self.test_set.images,
            "images_bad": self.bad,
            "top1": self.top1 / images,
            "top5": self.top5 / images,
            "top1_interval": share_interval(self.top1, images),
            "top5_interval": share_interval(self.top5, images),
            "top1_images": self.top1,
            "top5_images": self.top5,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "claim": asdict(claim) if claim else None,
            "passes": [
                {
                    "pass": score.number,
                    "first_record": score.span.first,
                    "batches": score.span.batches,
                    "images": score.span.images,
                    "top1_errors": score.top1_errors,
                    "top5_errors": score.top5_errors,
                    "top1_error": score.top1_errors / score.span.images,
                    "top5_error": score.top5_errors / score.span.images,
                }
                for score in self.passes
            ],
            "claim_pass": self.claim_pass,
            "notes": self.notes,
            "per_class": [asdict(row) for row in self.class_scores()],
        }


def score(
    trained: TrainedNetwork,
    test_set: TestSet,
    devices: List[mx.Context],
    protocol: str = "exact",
    batch_size: int = 512,
    passes: int = 3,
) -> Score:
    """Run every image of a test set through the network and count.

    Parameters
    ----------
    trained, test_set
        The network, and the images.
    devices : list of Context
        Where the network lies.
    protocol : str
        "exact" or "upstream", see docs/results.md.
    batch_size, passes : int
        Of the upstream protocol.

    Raises
    ------
    UsageError
        When the network was trained on other classes.
    GluonAFFError
        When another number of images was counted than there are.
    """
    notes: List[str] = []

    def check_outputs(outputs: int) -> None:
        note = class_note(trained, test_set, outputs)
        notes.extend([note] if note else [])

    found = predict(trained.net, test_set.batches(), devices, test_set.batch_count, check_outputs)
    bad, seconds, run = test_set.bad(), found.seconds, len(found)
    scores: List[PassScore] = []
    number = None
    if protocol == "upstream":
        number = claimed_pass(trained.claim, batch_size)
        scores = pass_scores(found, test_set.images, batch_size, passes, number)
        found = found.take(np.arange(test_set.images))
    if len(found) + len(bad) != test_set.images:
        raise GluonAFFError(
            f"{len(found)} images were counted and {len(bad)} could not be read, of {test_set.images}: some were lost "
            "or repeated"
        )
    return Score(trained, test_set, protocol, found, seconds, run, bad, scores, number, notes)


def claimed_pass(claim: Optional[Claim], batch_size: int) -> Optional[int]:
    """Which pass of the authors' iterator, counted from 1, a published ImageNet file was scored in.

    None where that is not known, or when their batches had another size.
    """
    run = published_runs().get(claim.run) if claim and claim.run else None
    if run is None or run["data"] != "imagenet" or run["global_batch"] != batch_size:
        return None
    first_epoch = run["final"]["epoch"] - run["epochs_logged"] + 1
    return run["published_file"]["epoch"] - first_epoch + 1
