"""What every task that puts images into classes has in common: targets, loss, metric, validation."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any, Callable, Dict, Optional, Sequence

import mxnet as mx

from ..data import ImageNetTrainLoader, list_datasets
from ..errors import GluonAFFError, UsageError
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
from ..training import Job, Listener, Loader, Stop, Targets, accuracy, hits, soft_rmse
from ..training.loop import MakeTargets
from ..training.metrics import Measured
from ..training.targets import Distillation
from .final_score import FinalScore
from .opening import open_teacher
from .parts import make_job
from .setup import Setup


def classification_job(
    options: Namespace,
    setup: Setup,
    net: mx.gluon.HybridBlock,
    loader: Loader,
    val_loader: Loader,
    val_images: int,
    outputs: int,
    *,
    teacher: Optional[str] = None,
    listeners: Sequence[Listener] = (),
    left_out: Callable[[], int] = lambda: 0,
    more_figures: Callable[[], Dict[str, Any]] = dict,
) -> Job:
    """A classifier's job, distilled from a ``teacher`` that `open_teacher` opens.

    ``val_loader`` has this rank's validation batches, ``val_images`` are those of all ranks together; ``left_out``
    tells how many of this rank's could not be read, ``more_figures`` what else an epoch's record says.
    """
    labels = Targets(
        outputs,
        smoothing=options.label_smoothing,
        mixup_alpha=options.mixup_alpha if options.mixup else 0.0,
        epochs=options.num_epochs,
        mixup_off_epoch=options.mixup_off_epoch,
        seed=options.seed,
    )
    metric, metric_name = (soft_rmse, "rmse") if options.mixup else (hits, "accuracy")

    def evaluate(net: mx.gluon.Block, stop: Stop) -> Optional[Dict[str, Any]]:
        figures = accuracy(net, val_loader, val_images, setup.devices, stop, setup.group, left_out)
        return figures and {**figures, **more_figures()}

    targets: MakeTargets = labels
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=labels.sparse)
    measure = metric
    if teacher:
        network = open_teacher(teacher, outputs, options.input_size, setup.devices)
        targets = distillation = Distillation(labels, network, options.temperature, options.hard_weight)
        loss = distillation.loss

        def measure(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Measured:
            return metric(output, distillation.hard(target))

    return make_job(
        options,
        setup,
        net,
        loader,
        targets=targets,
        loss=loss,
        metric=measure,
        metric_name=metric_name,
        evaluate=evaluate,
        listeners=listeners,
    )


class ImageCount(Listener):
    """Ends the run when an epoch had another number of images than there are, those that cannot be read aside."""

    def __init__(self, loader: ImageNetTrainLoader) -> None:
        self._loader = loader

    def pass_ends(self, epoch: int, start: int, images: int) -> None:
        most = sum(self._loader.size_of(index) for index in range(start, len(self._loader)))
        if not most - len(self._loader.bad) <= images <= most:
            raise GluonAFFError(f"epoch {epoch} had {images} images, not {most}: the loader lost or repeated some")


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
    known = dict(trained.data)
    if request.data.get("dataset", known.get("dataset")) != known.get("dataset"):
        known = {}  # what is known of the weights' own data says nothing of another set
    known.pop("classes", None)
    if _elsewhere(known, request.data):
        known.pop("val_fraction")
    chosen = {**known, **request.data}
    if "dataset" not in chosen:
        names = "|".join((*list_datasets(), "imagenet"))
        raise UsageError(f"no data set is known for these weights: give --dataset {names}")
    batch_size = request.batch_size or (UPSTREAM_BATCH_SIZE if request.protocol == "upstream" else 128)
    options = DataOptions(**chosen, batch_size=batch_size, workers=request.workers, skip_bad=request.skip_bad)
    images = open_images(options, request.protocol)
    found = score(trained, images, request.devices, request.protocol, batch_size, request.passes)
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
