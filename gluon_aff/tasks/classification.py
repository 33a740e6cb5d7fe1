"""Scores of networks that put images into classes: of trained weights, and of a run's test images."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, Sequence

from ..data import list_datasets
from ..data.pairs import holds_pairs
from ..errors import UsageError
from ..evaluation import (
    ClassificationReport,
    DataOptions,
    Predictions,
    Report,
    ScoreRequest,
    TrainedNetwork,
    open_images,
    score,
)
from ..evaluation.protocol import UPSTREAM_BATCH_SIZE
from ..evaluation.scoring import TOP
from .final_score import FinalScore


def classes_found(found: Predictions, images: Sequence[str]) -> FinalScore:
    """A classifier's predictions on test images of these ids, as a run keeps them."""
    hits = (found.ranks == 0).astype(int).tolist()
    count = len(found)
    record = {"val": found.hits() / count, "val_top5": found.hits(TOP) / count, "val_images": count}
    rows = list(zip(found.labels.tolist(), found.predicted.tolist(), found.ranks.tolist()))
    return FinalScore(
        record, [(image, hit, 1) for image, hit in zip(images, hits)], ("label", "predicted", "rank"), rows
    )


def score_classifier(trained: TrainedNetwork, request: ScoreRequest) -> Report:
    """Top-1 and top-5 of a classifier, on what the user says or else on what its weights are for.

    Raises UsageError when neither tells the data set, and for options that it has not.
    """
    request.refuse("classification", "split", "threshold")
    known = dict(trained.data)
    if request.data.get("dataset", known.get("dataset")) != known.get("dataset"):
        known = {}  # what is known of the weights' own data says nothing of another set
    known.pop("classes", None)
    if _elsewhere(known, request.data):
        known.pop("val_fraction")
    chosen, without = {**known, **request.data}, (*list_datasets(), "imagenet")
    if "dataset" not in chosen:
        raise UsageError(f"no data set is known for these weights: give --dataset {'|'.join(without)}")
    place = request.data.get("data")
    masked = chosen["dataset"] in list_datasets(masks=True) and chosen["dataset"] not in without
    if masked or (place and holds_pairs(Path(place).expanduser())):
        raise UsageError(
            f"{trained.title} is a classifier, and {place or chosen['dataset']} has images with masks: give images in "
            f"class folders, or a data set of {', '.join(without)}; or the weights of a segmentation network"
        )
    batch_size = request.batch_size or (UPSTREAM_BATCH_SIZE if request.protocol == "upstream" else 128)
    options = DataOptions(**chosen, batch_size=batch_size, workers=request.workers, skip_bad=request.skip_bad)
    images = open_images(options, request.protocol)
    for note in images.notes:
        print(f"note: {note}", file=sys.stderr)
    how = request.protocol, batch_size, request.passes, request.skip_unknown
    found = score(trained, images, request.devices, *how)
    return ClassificationReport(found, {**request.environment, "batch_size": batch_size})


def _elsewhere(known: Dict[str, Any], given: Dict[str, Any]) -> bool:
    """Whether images held out for a run are not to be looked for where the user says; a note tells of it."""
    fraction, place = known.get("val_fraction"), given.get("data")
    if fraction is None or place is None or "val_fraction" in given or place == known.get("data"):
        return False
    print(
        f"note: these weights were validated on {fraction:g} of their folder; if {place} is that folder, "
        f"--val-fraction {fraction:g} scores these images alone",
        file=sys.stderr,
    )
    return True
