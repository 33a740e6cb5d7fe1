"""What every task that puts images into classes has in common: targets, loss, metric, validation."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence

import mxnet as mx

from ..training import Job, Listener, Loader, Stop, Targets, accuracy, hits, soft_rmse
from ..training.distillation import Distillation
from ..training.metrics import Measured
from .parts import Setup, make_job


def classification_job(
    options: Namespace,
    setup: Setup,
    net: mx.gluon.HybridBlock,
    loader: Loader,
    val_loader: Loader,
    val_images: int,
    outputs: int,
    *,
    teacher: Optional[mx.gluon.Block] = None,
    listeners: Sequence[Listener] = (),
    left_out: Callable[[], int] = lambda: 0,
    more_figures: Callable[[], Dict[str, Any]] = dict,
) -> Job:
    """A classifier's job.

    Parameters
    ----------
    val_loader, val_images
        Validation batches of this rank, and the images in those of all ranks together.
    outputs : int
        Of the head.
    teacher : Block, optional
        To distil from.
    left_out : callable
        How many of this rank's validation images could not be read.
    more_figures : callable
        What an epoch's record says besides "val", "val_top5" and "val_images".
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

    make = partial(
        make_job, options, setup, net, loader, metric_name=metric_name, evaluate=evaluate, listeners=listeners
    )
    if teacher is None:
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=labels.sparse)
        return make(targets=labels, loss=loss, metric=metric)
    distillation = Distillation(labels, teacher, options.temperature, options.hard_weight)

    def against_labels(output: mx.nd.NDArray, target: mx.nd.NDArray) -> Measured:
        return metric(output, distillation.hard(target))

    return make(targets=distillation, loss=distillation.loss, metric=against_labels)
