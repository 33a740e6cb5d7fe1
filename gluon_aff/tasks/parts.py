"""The parts of a training run that tasks make from their options in the same way: network and job."""

from __future__ import annotations

import io
import random
import zlib
from argparse import Namespace
from contextlib import redirect_stdout
from typing import Any, Callable, Dict, Mapping, Optional, Sequence

import mxnet as mx
import numpy as np

from .. import published
from ..data import ImageNetTrainLoader
from ..errors import GluonAFFError, UsageError, last_line
from ..models import model_entry
from ..training import Job, Listener, Listeners, Loader, Targets, Updater, accuracy, hits, soft_rmse
from ..training.listeners import BatchLog, Progress
from ..training.loop import MakeTargets, Score
from ..training.metrics import Measured
from ..training.optim import EMA
from ..training.schedule import from_options
from ..training.stop import Stop
from ..training.targets import Distillation
from ..zoo import create_model
from .config import flag
from .setup import Setup

_FLAGS = {"final_drop": "--drop-rate"}  # settings of a network that have another name on the command line


def make_network(
    name: str,
    options: Namespace,
    ctx: Any,
    optional: Mapping[str, Any],
    **settings: Any,
) -> mx.gluon.HybridBlock:
    """Return a registered network, initialised as `own_network` does.

    Parameters
    ----------
    name : str
        In the register.
    optional : mapping
        Settings that only some networks have, None where they are not given.
    **settings
        For ``create_model``, beyond what every task has.

    Raises
    ------
    UsageError
        For an option that the network has not, and for what does not fit.
    """
    accepted = model_entry(name).accepts()
    for setting, value in optional.items():
        if value is not None and setting not in accepted:
            text = "" if value is True else f" {value}"
            raise UsageError(f"{_FLAGS.get(setting, flag(setting))}{text}: {name} has no such option: leave it out")
    settings.update({setting: value for setting, value in optional.items() if value is not None})
    if options.sync_bn:
        settings.update(_sync_batch_norm(ctx))
    seed_generators(options.seed)
    net = create_model(name, fusion=options.fusion, r=options.r, ctx=ctx, init=initializer(options), **settings)
    return _ready(net, options)


def own_network(
    make: Callable[[], mx.gluon.HybridBlock], options: Namespace, shape: Sequence[int], ctx: Any
) -> mx.gluon.HybridBlock:
    """A network that ``make`` builds, initialised from the run's seed, with the weights of ``--resume-from``.

    It is compiled as ``--mode`` says. Where layers leave sizes open, an input of ``shape`` settles them. Raises
    UsageError where the network cannot take one.
    """
    seed_generators(options.seed)
    net = make()
    net.initialize(initializer(options), ctx=ctx)
    # not by a forward pass: MXNet then reorders weights for inference behind one's back, and training does not repeat
    try:
        with redirect_stdout(io.StringIO()):  # MXNet prints the arguments that it refuses
            net.infer_shape(mx.nd.zeros(tuple(shape)))
    except mx.MXNetError as error:
        kind, reason = type(net).__name__, last_line(error)
        raise UsageError(f"this {kind} cannot take an input of {tuple(shape)}: {reason}; take another size") from error
    for parameter in net.collect_params().values():
        parameter._finish_deferred_init()
    return _ready(net, options)


def _ready(net: mx.gluon.HybridBlock, options: Namespace) -> mx.gluon.HybridBlock:
    if getattr(options, "init_by_name", False):  # options of one's own task may be without it
        draw_by_name(net, initializer(options), options.seed)
    if options.resume_from:
        published.load(options.resume_from, net)
    if options.mode == "hybrid":
        net.hybridize(static_alloc=True, static_shape=True)
    return net


def _sync_batch_norm(ctx: Any) -> Dict[str, Any]:
    """The network's options for ``--sync-bn``. Raises UsageError when there is but one device."""
    count = len(ctx) if isinstance(ctx, list) else 1
    if count < 2:
        raise UsageError("--sync-bn joins the batches of several devices: give --gpus 0,1, or leave it out")
    return {"norm_layer": mx.gluon.contrib.nn.SyncBatchNorm, "norm_kwargs": {"num_devices": count}}


def make_job(
    options: Namespace,
    setup: Setup,
    net: mx.gluon.HybridBlock,
    loader: Loader,
    *,
    targets: MakeTargets,
    loss: Callable[[mx.nd.NDArray, mx.nd.NDArray], mx.nd.NDArray],
    metric: Callable[[mx.nd.NDArray, mx.nd.NDArray], Measured],
    metric_name: str,
    evaluate: Callable[[mx.gluon.Block, Stop], Optional[Score]],
    listeners: Sequence[Listener] = (),
) -> Job:
    """A task's job: its own parts, see `Job`, and optimizer, schedule and the like from the options."""
    group, every = setup.group, getattr(options, "log_interval", 0)
    progress = Progress(len(loader), options.num_epochs, setup.log, group.size, shown=group.rank == 0)
    batch_log = [BatchLog(metric_name, every, setup.log, group.size)] if every else []
    updater = Updater(
        net,
        options.optimizer,
        momentum=options.momentum,
        wd=options.wd,
        decay_all=not options.no_wd,
        clip=options.clip_gradient,
        accumulate=options.accumulate > 1 or setup.rounds > 1,
        ema=EMA(net, options.ema) if options.ema else None,
        mixed=setup.mixed,
    )
    return Job(
        net=net,
        loader=loader,
        devices=setup.devices,
        targets=targets,
        loss=loss,
        metric=metric,
        metric_name=metric_name,
        updater=updater,
        schedule=from_options(options, -(-len(loader) // options.accumulate)),
        evaluate=evaluate,
        epochs=options.num_epochs,
        accumulate=options.accumulate,
        seed=options.seed,
        group=group,
        listeners=Listeners([progress, *batch_log, *listeners]),
        rounds=setup.rounds,
    )


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
        from .opening import open_teacher

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


# ---- initial weights


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and MXNet's generators."""
    for generator in (random.seed, np.random.seed, mx.random.seed):
        generator(seed)


def initializer(options: Namespace) -> mx.init.Initializer:
    """What ``--init`` names, for arrays that have no initializer of their own."""
    return mx.init.MSRAPrelu() if options.init == "kaiming" else mx.init.Xavier()


def draw_by_name(net: mx.gluon.Block, default: mx.init.Initializer, seed: int) -> None:
    """Draw every array of an initialised network again, each from (``seed``, its structural name).

    A structural name is that of ``save_parameters``: ``features.2.0.resfwd.2.weight``. It does not depend on how many
    blocks were made before, nor do the values on which other arrays there are: networks that differ in their fusion
    start with the same host.

    Parameters
    ----------
    net : Block
        Initialised, its sizes known.
    default : Initializer
        For arrays that have none of their own; those that have one (gamma, beta, zero-initialised gammas) keep it.
    seed : int
    """
    for name, parameter in net._collect_params_with_prefix().items():
        seed_generators(array_seed(seed, name))
        parameter.initialize(None, parameter.list_ctx(), default, force_reinit=True)
    seed_generators(seed)  # what follows does not depend on the arrays either


def array_seed(seed: int, name: str) -> int:
    """The seed, 0 to 2**31 - 1, from which the array of a structural name is drawn."""
    return zlib.crc32(f"{seed}/{name}".encode()) & 0x7FFFFFFF
