"""The parts of a training run that all tasks make from their options in the same way."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx

from .. import published
from ..errors import UsageError
from ..training import Job, Listener, Listeners, Loader, LogBuffer, Schedule, SingleProcess, Updater
from ..training.listeners import BatchLog, Progress
from ..training.loop import MakeTargets, Score
from ..training.metrics import Measured
from ..training.optim import EMA
from ..training.plots import plot_schedule
from ..training.schedule import from_options
from ..training.stop import Stop
from ..zoo import create_model
from .initialising import draw_by_name, initializer, seed_generators
from .update_size import find_devices, share


@dataclass
class Setup:
    """Where and how a run trains, as far as every task needs to know.

    Attributes
    ----------
    devices : list of Context
    rounds : int
        Parts of a batch that follow one another on each device; a batch of the loader is that of ``parts``.
    group : SingleProcess
        The ranks that train together.
    mixed, dtype_given : bool
        Whether AMP is on, and whether the user chose the type.
    log : LogBuffer
        The way into the run's log.
    """

    devices: List[mx.Context]
    group: SingleProcess
    mixed: bool
    dtype_given: bool
    log: LogBuffer
    rounds: int = 1

    @property
    def parts(self) -> int:
        """Parts of ``--batch-size`` images in this process's share of a batch."""
        return len(self.devices) * self.rounds

    @property
    def shard(self) -> Tuple[int, int]:
        """(rank, ranks): this process's part of every batch."""
        return self.group.rank, self.group.size

    def check_enough(self, images: int) -> None:
        """Raise UsageError when there are fewer training images than devices."""
        used = len(self.devices) * self.group.size
        if images < used:
            raise UsageError(f"{images} training images for {used} devices: use fewer devices")


@dataclass
class Data:
    """What a run trains and validates on; tasks add what their jobs need.

    Attributes
    ----------
    loader : Loader
        Training batches over all devices of this rank.
    facts : dict
        For the history's header, the same at every resume: name, train and test (images), classes if there are any.
    outputs : int or None
        Of the network's head; None where it has but one size.
    """

    loader: Loader
    facts: Dict[str, Any]
    outputs: Optional[int]


def smaller_batch(data: Data) -> Iterator[str]:
    """A note for the log where the images do not fill a batch."""
    if getattr(data.loader, "last", None) == "keep":
        size = getattr(data.loader, "batch_size", 0)
        yield f"note: fewer training images than a batch of {size}: every epoch is one smaller batch"


def make_network(name: str, options: Namespace, ctx: Any, **settings: Any) -> mx.gluon.HybridBlock:
    """A registered network, initialised as `own_network` does.

    ``settings``: for ``create_model``, beyond what every task has. Raises UsageError for what does not fit.
    """
    if options.sync_bn:
        settings.update(_sync_batch_norm(ctx))
    seed_generators(options.seed)
    net = create_model(name, fusion=options.fusion, r=options.r, ctx=ctx, init=initializer(options), **settings)
    return _ready(net, options)


def own_network(
    make: Callable[[], mx.gluon.HybridBlock], options: Namespace, shape: Sequence[int], ctx: Any
) -> mx.gluon.HybridBlock:
    """A network that ``make`` builds, initialised from the run's seed, with the weights of ``--resume-from``.

    It is compiled as ``--mode`` says. Where layers leave sizes open, an input of ``shape`` settles them.
    """
    seed_generators(options.seed)
    net = make()
    net.initialize(initializer(options), ctx=ctx)
    # not by a forward pass: MXNet then reorders weights for inference behind one's back, and training does not repeat
    net.infer_shape(mx.nd.zeros(tuple(shape)))
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


def check_accepted(name: str, accepted: Sequence[str], wanted: Dict[str, Any], flags: Dict[str, str]) -> Dict[str, Any]:
    """The network's options in ``wanted`` that are given (not None). Raises UsageError for one it does not have.

    ``flags``: names on the command line where they differ.
    """
    given = {option: value for option, value in wanted.items() if value is not None}
    for option, value in given.items():
        if option not in accepted:
            flag = flags.get(option, option).replace("_", "-")
            text = "" if value is True else f" {value}"
            raise UsageError(f"--{flag}{text}: {name} has no such option: leave it out")
    return given


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
    told = Listeners([*_log_listeners(options, setup, len(loader), metric_name), *listeners])
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
        schedule=from_options(options, _updates_per_epoch(len(loader), options)),
        evaluate=evaluate,
        epochs=options.num_epochs,
        accumulate=options.accumulate,
        seed=options.seed,
        group=setup.group,
        listeners=told,
        rounds=setup.rounds,
    )


def _log_listeners(options: Namespace, setup: Setup, batches: int, metric_name: str) -> Iterator[Listener]:
    """How long the run will take, signs of life and, with --log-interval, lines between those of the epochs."""
    yield Progress(batches, options.num_epochs, setup.log, setup.group.size, shown=setup.group.rank == 0)
    if getattr(options, "log_interval", 0):
        yield BatchLog(metric_name, options.log_interval, setup.log, setup.group.size)


def _updates_per_epoch(batches: int, options: Namespace) -> int:
    return -(-batches // options.accumulate)


def schedule_of(options: Namespace, batches_per_epoch: Callable[[Namespace, int], int]) -> Schedule:
    """The schedule alone. ``batches_per_epoch``: from options and the parts of ``--batch-size`` in a batch."""
    shared = share(options, find_devices(options))
    batches = batches_per_epoch(options, len(shared.devices) * shared.rounds)
    return from_options(options, _updates_per_epoch(batches, options))


def show_schedule(schedule: Schedule, title: str, options: Namespace) -> int:
    """Print the learning rate of every epoch, at its first update and as logged at its end, and plot it; return 0."""
    print("epoch  first     logged")
    for epoch, first, last in schedule.table():
        print(f"{epoch:5d}  {first:f}  {last:f}")
    path = Path(options.save_plot_dir or options.save_dir) / "schedule.png"
    plot_schedule(schedule, title, path)
    print(f"{schedule.updates_per_epoch} updates per epoch; plot: {path}")
    return 0
