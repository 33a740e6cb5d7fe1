"""CIFAR and data sets like it: data, network and training put together.

outcome = train(parse_options(["--dataset", "digits"]))
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Tuple

import mxnet as mx

from ..data import (
    BatchLoader,
    EvalTransform,
    ImageSet,
    TrainTransform,
    autoaugment_policy,
    check_labels,
    load_image_set,
)
from ..errors import UsageError
from ..models import model_entry
from ..runtime import devices
from ..training import Job, SingleProcess, Targets, accuracy, group, hits, soft_rmse
from ..training.amp import start_mixed_precision
from ..training.schedule import Schedule, from_options
from .options import cifar as cifar_options
from .options.cifar import model_name
from .parts import facts_of, job_settings, make_network, updates_per_epoch
from .task import Outcome, Task, check_free, introduce_machine, introduce_training

__all__ = ["TASK", "Outcome", "build_network", "parse_options", "schedule_of", "train"]

_OFFICIAL_SIZES = {"cifar10": 50000, "cifar100": 50000}
_HEADS = {"cifar10": 10, "cifar100": 100, "digits": 10}


def _figure(record: Dict[str, Any]) -> str:
    hits, images = round(record["val"] * record["val_images"]), record["val_images"]
    return f"accuracy {record['val']:.4f} ({hits} of {images} test images)"


TASK = Task(
    name="cifar",
    parser=cifar_options.build_parser,
    complete=cifar_options.complete,
    directory=cifar_options.default_directory,
    figure=_figure,
    own_recipe=cifar_options.own_recipe,
    fit_recipe=cifar_options.fit_recipe,
    best_file=cifar_options.best_file_name,
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
    train_set, test_set = load_data(options)
    classes = head_size(options, train_set)
    check_labels(train_set, classes)
    check_labels(test_set, classes)
    net = build_network(options, classes, contexts)
    job = build_job(options, net, contexts, train_set, test_set, classes, mixed, ranks)
    facts = facts_of(job, name=train_set.name, train=len(train_set), test=len(test_set), classes=classes)
    return TASK.train(options, job, facts, _introduction(options, train_set, test_set, job, facts))


def load_data(options: Namespace) -> Tuple[ImageSet, ImageSet]:
    """The training and the test images, or as many of them as asked for."""
    sets = []
    for split, count in (("train", options.train_images), ("test", options.test_images)):
        images = load_image_set(options.dataset, split, options.data_dir, options.labels, options.resize)
        sets.append(images if count is None else images.subset(count, options.seed))
    return sets[0], sets[1]


def head_size(options: Namespace, train_set: ImageSet) -> int:
    """Outputs of the network: ``--classes``, else 100 for CIFAR-100 whatever its labels, else the data's classes."""
    return options.classes or (100 if options.dataset == "cifar100" else len(train_set.classes))


def build_network(options: Namespace, classes: Optional[int] = None, ctx: Any = None) -> mx.gluon.HybridBlock:
    """The network that the options describe, initialised from their seed.

    Raises UsageError for an option that the host network does not have.
    """
    name = f"cifar_{options.model}" + (".paper" if options.tag == "paper" else "")
    wanted = {
        "start_layer": options.start_layer if options.start_layer != 1 else None,
        "deep_stem": options.deep_stem or None,
        "authors_last_gamma": options.authors_last_gamma or None,
        "mid_width": options.mid_width,
        "kernel5": options.kernel5,
        "final_drop": options.drop_rate or None,
    }
    accepted = model_entry(name).accepts()
    for option, value in wanted.items():
        if value is not None and option not in accepted:
            flag = "drop-rate" if option == "final_drop" else option.replace("_", "-")
            raise UsageError(f"--{flag} {value}: {name} has no such thing, it would do nothing; leave it out")
    return make_network(
        name,
        options,
        ctx,
        classes=classes or options.classes or _HEADS.get(options.dataset, 100),
        blocks=options.blocks,
        channel_times=options.channel_times,
        **{option: value for option, value in wanted.items() if value is not None},
    )


def build_job(
    options: Namespace,
    net: mx.gluon.HybridBlock,
    contexts: List[mx.Context],
    train_set: ImageSet,
    test_set: ImageSet,
    classes: int,
    mixed: bool,
    ranks: SingleProcess,
) -> Job:
    """The parts of a training run, made from the options."""
    batch_size = options.batch_size * len(contexts)
    policy = autoaugment_policy("cifar10") if options.auto_aug else None
    shard = (ranks.rank, ranks.size)
    batches = partial(BatchLoader, seed=options.seed, workers=options.num_data_workers, shard=shard)
    if len(train_set) < len(contexts) * ranks.size:
        raise UsageError(
            f"{len(train_set)} training images for {len(contexts) * ranks.size} devices: use fewer devices"
        )
    drop_last = len(train_set) >= batch_size * ranks.size  # fewer images than a batch are one smaller batch
    augment = TrainTransform(pad=options.pad, mirror=options.mirror, autoaugment=policy)
    loader = batches(train_set, batch_size, augment, shuffle=True, drop_last=drop_last)
    test_loader = batches(test_set, batch_size, EvalTransform(), shuffle=False, drop_last=False)
    targets = Targets(
        classes,
        smoothing=options.label_smoothing,
        mixup_alpha=options.mixup_alpha if options.mixup else 0.0,
        epochs=options.num_epochs,
        mixup_off_epoch=options.mixup_off_epoch,
        seed=options.seed,
    )
    return Job(
        **job_settings(options, net, contexts, mixed, ranks, len(loader)),
        loader=loader,
        targets=targets,
        loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=targets.sparse),
        metric=soft_rmse if options.mixup else hits,
        metric_name="rmse" if options.mixup else "accuracy",
        evaluate=lambda net, stop: accuracy(net, test_loader, len(test_set), contexts, stop, ranks),
    )


def schedule_of(options: Namespace) -> Schedule:
    """The schedule alone. Data are read only where nothing else tells how many training images there are."""
    images = options.train_images or _OFFICIAL_SIZES.get(options.dataset) or len(load_data(options)[0])
    batch_size = options.batch_size * len(devices.pick(options.gpus))
    return from_options(options, updates_per_epoch(max(1, images // batch_size), options))


def _introduction(
    options: Namespace, train_set: ImageSet, test_set: ImageSet, job: Job, facts: Dict[str, Any]
) -> Iterator[str]:
    """What a reader of the log must know of the run."""
    yield introduce_machine(facts)
    labels = f"{facts['data']['classes']} classes"
    if options.dataset == "cifar100":
        coarse = options.labels == "coarse"
        labels = f"{options.labels} labels: {'20 labels on a ' if coarse else ''}{facts['data']['classes']}"
        labels += "-way head" + (", as published" if labels.endswith(" 100") else "") if coarse else " classes"
    height, width = train_set.images.shape[1:3]
    yield (
        f"data: {options.dataset}, {labels}; {len(train_set)} training and {len(test_set)} test images "
        f"of {width}x{height} from {train_set.source}"
    )
    yield (
        f"model: {model_name(options)}, {options.tag}, fusion {options.fusion}, width x{options.channel_times}; "
        f"{facts['parameters']:,} parameters"
    )
    yield from introduce_training(options, job)
    if job.loader.last == "keep":
        yield f"note: fewer training images than a batch of {job.loader.batch_size}: every epoch is one smaller batch"
