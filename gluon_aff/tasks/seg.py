"""Segmentation into foreground and background: data, network and training put together.

outcome = train(parse_options(["--dataset", "shapes"]))
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mxnet as mx
import numpy as np

from ..data import EvalPairs, PairLoader, PairSet, TrainPairs, load_pair_set
from ..errors import UsageError
from ..runtime import devices
from ..segmentation.losses import batch_iou, segmentation_loss
from ..segmentation.score import SegmentationScore
from ..training import Job, SingleProcess, Stop, group
from ..training.amp import start_mixed_precision
from ..training.history import epoch_line
from ..training.metrics import split_batch
from ..training.schedule import Schedule, from_options
from ..utils.console import progress
from .options import seg as seg_options
from .options.seg import model_name
from .parts import facts_of, job_settings, make_network, updates_per_epoch
from .task import Outcome, Task, check_free, introduce_machine, introduce_training

__all__ = ["TASK", "build_network", "load_split", "parse_options", "predictions", "schedule_of", "score", "train"]


def _figure(record: Dict[str, Any]) -> str:
    return f"IoU {record['val']:.4f}, nIoU {record['niou']:.4f} ({record['val_images']} images)"


def _line(record: Dict[str, Any]) -> str:
    """The line of our other logs, and GluonCV's figures behind it."""
    figures = "validation pixAcc: {pixel_accuracy:.3f}, mIoU: {miou:.3f}, IoU: {val:.4f}, nIoU: {niou:.4f}"
    return f"{epoch_line(record)} {figures.format(**record)}"


TASK = Task(
    name="seg",
    parser=seg_options.build_parser,
    complete=seg_options.complete,
    directory=seg_options.default_directory,
    figure=_figure,
    own_recipe=seg_options.own_recipe,
    line=_line,
)
parse_options = TASK.options


def train(options: Namespace) -> Outcome:
    """Begin, or go on with, the training run that complete options (see `parse_options`) describe.

    Raises UsageError and GluonAFFError for what cannot be, Diverged when the loss is no longer finite.
    """
    contexts = devices.pick(options.gpus)
    ranks = group(contexts)
    check_free(options, ranks)
    mixed = start_mixed_precision(options.dtype, contexts)
    train_set = load_split(options, options.train_split, options.train_images)
    val_set = load_split(options, options.val_split, options.test_images)
    net = build_network(options, contexts)
    job = build_job(options, net, contexts, train_set, val_set, mixed, ranks)
    facts = facts_of(job, name=train_set.name, train=len(train_set), test=len(val_set))
    return TASK.train(options, job, facts, _introduction(options, train_set, val_set, job, facts))


def load_split(options: Namespace, split: str, count: Optional[int] = None) -> PairSet:
    """The images and masks of a split, or ``count`` of them."""
    pairs = load_pair_set(
        options.dataset,
        split,
        options.data_dir,
        download=options.download,
        category=options.category,
        mask_threshold=options.mask_threshold,
    )
    return pairs if count is None else pairs.subset(count, options.seed)


def build_network(options: Namespace, ctx: Any = None) -> mx.gluon.HybridBlock:
    """The network that the options describe, initialised from their seed."""
    return make_network(
        "fpn_resnet20",
        options,
        ctx,
        blocks=options.blocks,
        channel_times=options.channel_times,
        stem=options.stem,
        decoder=options.decoder,
    )


def build_job(
    options: Namespace,
    net: mx.gluon.HybridBlock,
    contexts: List[mx.Context],
    train_set: PairSet,
    val_set: PairSet,
    mixed: bool,
    ranks: SingleProcess,
) -> Job:
    """The parts of a training run, made from the options."""
    if options.crop_size % net.divisor:
        good = max(round(options.crop_size / net.divisor), 1) * net.divisor
        raise UsageError(
            f"--crop-size {options.crop_size}: the {options.stem} stem needs a multiple of {net.divisor}, as {good} is"
        )
    batch_size = options.batch_size * len(contexts)
    used = len(contexts) * ranks.size
    if len(train_set) < used:
        raise UsageError(f"{len(train_set)} training images for {used} devices: use fewer devices")
    loader = PairLoader(
        train_set,
        batch_size,
        TrainPairs(options.base_size, options.crop_size),
        shuffle=True,
        last="drop" if len(train_set) >= batch_size * ranks.size else "keep",
        seed=options.seed,
        workers=options.num_data_workers,
        shard=(ranks.rank, ranks.size),
    )

    def evaluate(net: mx.gluon.HybridBlock, stop: Stop) -> Optional[Dict[str, Any]]:
        """Every rank scores the whole set: the figures are not sums over images."""
        found = score(net, val_set, options, contexts, stop)
        if ranks.agree(stop) or found is None:
            return None
        figures = found.result()
        return {"val": figures.pop("iou"), "val_images": figures.pop("images"), **figures}

    return Job(
        **job_settings(options, net, contexts, mixed, ranks, len(loader)),
        loader=loader,
        targets=lambda images, masks, epoch, batch: list(zip(images, masks)),
        loss=segmentation_loss(options.loss),
        metric=batch_iou,
        metric_name="iou",
        evaluate=evaluate,
    )


def score(
    net: mx.gluon.HybridBlock,
    pairs: PairSet,
    options: Namespace,
    contexts: List[mx.Context],
    stop: Optional[Stop] = None,
) -> Optional[SegmentationScore]:
    """The figures of a network on a set, at ``base_size``; None when ``stop`` is requested on the way."""
    found = SegmentationScore()
    for logits, masks, chosen in predictions(net, pairs, options, contexts):
        found.add(logits, masks, [pairs.names[index] for index in chosen])
        if stop is not None and stop.requested:
            return None
    return found


def predictions(
    net: mx.gluon.HybridBlock, pairs: PairSet, options: Namespace, contexts: List[mx.Context]
) -> Iterator[Tuple[np.ndarray, np.ndarray, range]]:
    """Batch by batch in the set's order: logits and masks (B, 1, base_size, base_size), and the images' places."""
    loader = PairLoader(
        pairs,
        options.test_batch_size * len(contexts),
        EvalPairs(options.base_size),
        shuffle=False,
        workers=options.num_data_workers,
    )
    first = 0
    for x, y in progress(loader.batches(0), len(loader), "validation"):
        outputs = [net(data) for data, _ in zip(*split_batch(x, y, contexts))]
        yield np.concatenate([output.asnumpy() for output in outputs]), y, range(first, first + len(x))
        first += len(x)


def schedule_of(options: Namespace) -> Schedule:
    """The schedule alone, for as many training images as there are."""
    images = len(load_split(options, options.train_split, options.train_images))
    batches = max(1, images // (options.batch_size * len(devices.pick(options.gpus))))
    return from_options(options, updates_per_epoch(batches, options))


def _introduction(
    options: Namespace, train_set: PairSet, val_set: PairSet, job: Job, facts: Dict[str, Any]
) -> Iterator[str]:
    """What a reader of the log must know of the run."""
    yield introduce_machine(facts)
    yield f"data: {train_set.note}; validation: {val_set.note}; from {train_set.source}"
    yield (
        f"model: {model_name(options)}, {options.stem} stem, {options.decoder} decoder, fusion {options.fusion}, "
        f"width x{options.channel_times}; {facts['parameters']:,} parameters"
    )
    yield (
        f"images: base size {options.base_size}, crops of {options.crop_size} in training, "
        f"validation at {options.base_size}x{options.base_size}; loss {options.loss}"
    )
    yield from introduce_training(options, job)
    if job.loader.last == "keep":
        yield f"note: fewer training images than a batch of {job.loader.batch_size}: every epoch is one smaller batch"
