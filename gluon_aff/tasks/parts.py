"""The parts of a training run that scripts make from their options in the same way."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List

import mxnet as mx
import numpy as np

from .. import published
from ..errors import UsageError
from ..models.summary import count_parameters
from ..training import Job, Schedule, SingleProcess, Updater
from ..training.ema import EMA
from ..training.plots import plot_schedule
from ..training.schedule import from_options
from ..zoo import create_model


def make_network(name: str, options: Namespace, ctx: Any, **settings: Any) -> mx.gluon.HybridBlock:
    """A network initialised from the run's seed, with the weights of ``--resume-from``, compiled as ``--mode`` says.

    ``settings``: for ``create_model``, beyond what every task has. Raises UsageError for what does not fit.
    """
    for generator in (random.seed, np.random.seed, mx.random.seed):
        generator(options.seed)
    if options.sync_bn:
        settings.update(_sync_batch_norm(ctx))
    initializer = mx.init.MSRAPrelu() if options.init == "kaiming" else mx.init.Xavier()
    net = create_model(name, fusion=options.fusion, r=options.r, ctx=ctx, init=initializer, **settings)
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


def job_settings(
    options: Namespace,
    net: mx.gluon.HybridBlock,
    contexts: List[mx.Context],
    mixed: bool,
    ranks: SingleProcess,
    batches: int,
) -> Dict[str, Any]:
    """What every task's job has in common, for epochs of so many batches."""
    return {
        "net": net,
        "devices": contexts,
        "updater": make_updater(net, options, mixed),
        "schedule": from_options(options, updates_per_epoch(batches, options)),
        "epochs": options.num_epochs,
        "accumulate": options.accumulate,
        "seed": options.seed,
        "group": ranks,
    }


def facts_of(job: Job, **data: Any) -> Dict[str, Any]:
    """What the head of a history tells of a run, and no resumed run may change."""
    return {
        "data": data,
        "devices": [str(context) for context in job.devices] * job.group.size,
        "parameters": count_parameters(job.net)[0],
    }


def make_updater(net: mx.gluon.Block, options: Namespace, mixed: bool) -> Updater:
    return Updater(
        net,
        options.optimizer,
        momentum=options.momentum,
        wd=options.wd,
        decay_all=not options.no_wd,
        clip=options.clip_gradient,
        accumulate=options.accumulate > 1,
        ema=EMA(net, options.ema) if options.ema else None,
        mixed=mixed,
    )


def updates_per_epoch(batches: int, options: Namespace) -> int:
    return -(-batches // options.accumulate)


def show_schedule(schedule: Schedule, title: str, options: Namespace) -> int:
    """Print the learning rate of every epoch, at its first update and as logged at its end, and plot it; return 0."""
    print("epoch  first     logged")
    for epoch, first, last in schedule.table():
        print(f"{epoch:5d}  {first:f}  {last:f}")
    path = Path(options.save_plot_dir or options.save_dir) / "schedule.png"
    plot_schedule(schedule, title, path)
    print(f"{schedule.updates_per_epoch} updates per epoch; plot: {path}")
    return 0
