"""ImageNet and data sets laid out like it: data, network and training put together.

outcome = train(parse_options(["--data-dir", "imagenet"]))
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mxnet as mx

from .. import published
from ..data import ImageNetLoader, ImageNetTrainLoader
from ..errors import UsageError
from ..models import model_entry
from ..runtime import devices
from ..training import Job, SingleProcess, Stop, Targets, accuracy, group, hits, soft_rmse
from ..training.amp import start_mixed_precision
from ..training.distillation import Distillation
from ..training.forecast import WatchedLoader
from ..training.schedule import Schedule, from_options
from .imagenet_data import Notes, classes_of, make_loaders, open_split, same_images, training_images
from .options import imagenet as imagenet_options
from .options.imagenet import applies_autoaugment, model_name, registered_name
from .parts import facts_of, job_settings, make_network, updates_per_epoch
from .task import Outcome, Task, check_free, introduce_machine, introduce_training
from .teachers import open_teacher

__all__ = ["TASK", "build_network", "parse_options", "schedule_of", "train"]


def _figure(record: Dict[str, Any]) -> str:
    errors = round((1 - record["val"]) * record["val_images"])
    return f"top-1 error {1 - record['val']:.4f} ({errors} of {record['val_images']} validation images)"


TASK = Task(
    name="imagenet",
    parser=imagenet_options.build_parser,
    complete=imagenet_options.complete,
    directory=imagenet_options.default_directory,
    figure=_figure,
    line=imagenet_options.log_lines,
    best_file=imagenet_options.best_file_name,
)
parse_options = TASK.options


def train(options: Namespace) -> Outcome:
    """Begin, or go on with, the training run that complete options (see `parse_options`) describe.

    Raises UsageError and GluonAFFError for what cannot be, Diverged when the loss is no longer finite.
    """
    contexts = devices.pick(options.gpus)
    ranks = group(contexts)
    check_free(options, ranks)
    typed = options.dtype is not None
    options = Namespace(**{**vars(options), "dtype": precision(options, contexts)})
    mixed = start_mixed_precision(options.dtype, contexts)
    train_set, val_set = open_split(options, "train"), open_split(options, "val")
    classes = classes_of(options, train_set, val_set)
    notes = Notes()
    shard = (ranks.rank, ranks.size)
    train_loader, val_loader = make_loaders(options, train_set, val_set, len(contexts), notes, shard)
    net = build_network(options, classes, contexts)
    job = build_job(options, net, contexts, train_loader, val_loader, classes, mixed, notes, ranks)
    facts = facts_of(job, name=options.dataset, train=len(train_set), test=len(val_set), classes=classes)
    if ranks.rank > 0:
        notes.begin(print)
    lines = list(_introduction(options, train_loader, val_loader, job, facts, typed))
    return TASK.train(options, job, facts, lines, watch=lambda run: notes.begin(run.log))


def precision(options: Namespace, contexts: List[mx.Context]) -> str:
    """``--dtype``, or where it is not given the authors' float16 on GPUs and float32 elsewhere."""
    on_gpus = all(context.device_type == "gpu" for context in contexts)
    return options.dtype or ("float16" if on_gpus else "float32")


def build_network(options: Namespace, classes: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
    """The network that the options describe, initialised from their seed.

    Raises UsageError for an option that the host network does not have, and for weights that do not fit.
    """
    name = registered_name(options)
    wanted = {
        "last_gamma": options.last_gamma or None,
        "authors_last_gamma": options.authors_last_gamma or None,
        "use_se": options.use_se or None,
    }
    accepted = model_entry(name).accepts()
    for option, value in wanted.items():
        if value is not None and option not in accepted:
            raise UsageError(f"--{option.replace('_', '-')}: {name} has no such thing, it would do nothing")
    if options.resume_from and options.use_pretrained:
        raise UsageError("--resume-from and --use-pretrained both name the weights to start from: give one of them")
    net = make_network(
        name,
        options,
        ctx,
        classes=classes or options.classes or 1000,
        start_layer=options.start_layer,
        **wanted,
    )
    if options.use_pretrained and not options.resume:
        published.load(_pretrained(options), net, replace_head=True)
    return net


def build_job(
    options: Namespace,
    net: mx.gluon.HybridBlock,
    contexts: List[mx.Context],
    train_loader: ImageNetTrainLoader,
    val_loader: ImageNetLoader,
    classes: int,
    mixed: bool,
    notes: Notes,
    ranks: SingleProcess,
) -> Job:
    """The parts of a training run, made from the options; ``notes`` takes the lines between those of the epochs."""
    targets = Targets(
        classes,
        smoothing=options.label_smoothing,
        mixup_alpha=options.mixup_alpha if options.mixup else 0.0,
        epochs=options.num_epochs,
        mixup_off_epoch=options.mixup_off_epoch,
        seed=options.seed,
    )
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=targets.sparse)
    metric, metric_name = (soft_rmse, "rmse") if options.mixup else (hits, "accuracy")
    if options.teacher:
        teacher = open_teacher(options.teacher, classes, options.input_size, contexts)
        targets = Distillation(targets, teacher, options.temperature, options.hard_weight)
        loss, metric = targets.loss, partial(_against_labels, metric, targets)
    settings = job_settings(options, net, contexts, mixed, ranks, len(train_loader))
    loader = WatchedLoader(
        train_loader,
        metric,
        metric_name,
        settings["schedule"],
        options.num_epochs,
        accumulate=options.accumulate,
        every=options.log_interval,
        planned=partial(_planned, train_loader),
        log=notes,
        ranks=ranks.size,
    )

    def evaluate(net: mx.gluon.HybridBlock, stop: Stop) -> Optional[Dict[str, Any]]:
        score = accuracy(net, val_loader, val_loader.count, contexts, stop, ranks, lambda: _left_out(val_loader))
        return score and {**score, "left_out": len(train_loader.bad) + len(val_loader.bad)}

    return Job(
        **settings,
        loader=loader,
        targets=targets,
        loss=loss,
        metric=loader.measure,
        metric_name=metric_name,
        evaluate=evaluate,
    )


def _left_out(loader: ImageNetLoader) -> int:
    """Images of this rank's part that could not be read; parts of the file that are lost are no images."""
    return len(loader.bad) - len(loader.source.damage)


def _against_labels(metric: Any, distillation: Distillation, output: mx.nd.NDArray, target: mx.nd.NDArray) -> Any:
    return metric(output, distillation.hard(target))


def _planned(loader: ImageNetTrainLoader, start: int) -> Tuple[int, int]:
    """The least and the most images in the rest of an epoch from batch ``start`` on: bad ones may be left out."""
    most = sum(loader.size_of(index) for index in range(start, len(loader)))
    return most - len(loader.bad), most


def schedule_of(options: Namespace) -> Schedule:
    """The schedule alone. Where there are no data, ImageNet's number of images is taken."""
    batch_size = options.batch_size * len(devices.pick(options.gpus))
    batches = -(-training_images(options) // batch_size)
    return from_options(options, updates_per_epoch(batches, options))


def _introduction(
    options: Namespace,
    train_loader: ImageNetTrainLoader,
    val_loader: ImageNetLoader,
    job: Job,
    facts: Dict[str, Any],
    typed: bool,
) -> Iterator[str]:
    """What a reader of the log must know of the run."""
    train_set, val_set = train_loader.source, val_loader.source
    yield introduce_machine(facts)
    yield (
        f"data: {facts['data']['classes']} classes, {len(train_set)} training images from {train_set.path}, "
        f"{len(val_set)} validation images from {val_set.path}, at {options.input_size}x{options.input_size}"
    )
    for source in (train_set, val_set):
        yield from (f"note: {line}" for line in source.notes)
    if same_images(train_set, val_set):
        yield "note: training and validation images are of one set: errors on these say nothing of others"
    yield (
        f"model: {model_name(options)}, {options.tag}, fusion {options.fusion}, first fused stage "
        f"{options.start_layer}; {facts['parameters']:,} parameters"
    )
    yield from introduce_training(options, job)
    if options.dtype == "float32" and not typed:
        yield "note: float16, the published runs' type, needs a GPU: training in float32"
    if options.auto_aug and not applies_autoaugment(options):
        yield (
            "note: no AutoAugment: the authors' script never read --auto_aug with --use-rec, and --auto-aug-input "
            "folder keeps to that; --auto-aug-input any applies it"
        )
    if options.use_pretrained and not options.resume:
        yield f"weights: from {_pretrained(options)}; optimizer, schedule and best start anew"
    if options.teacher:
        yield (
            f"teacher: {options.teacher}, temperature {options.temperature:g}; labels' share of the loss "
            f"{options.hard_weight:g}"
        )


def _pretrained(options: Namespace) -> str:
    """The id or file that ``--use-pretrained`` means."""
    if options.use_pretrained is True:
        return published.id_for(registered_name(options), options.fusion)
    return options.use_pretrained
