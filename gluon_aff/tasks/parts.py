"""The parts of a training run that scripts make from their options in the same way."""

from __future__ import annotations

import random
from argparse import Namespace
from pathlib import Path
from typing import Any, Dict

import mxnet as mx
import numpy as np

from ..errors import UsageError
from ..training import Schedule, Updater
from ..training.ema import EMA
from ..training.plots import plot_schedule


def seed_everything(seed: int) -> None:
    for generator in (random.seed, np.random.seed, mx.random.seed):
        generator(seed)


def initializer(options: Namespace) -> mx.init.Initializer:
    return mx.init.MSRAPrelu() if options.init == "kaiming" else mx.init.Xavier()


def sync_batch_norm(ctx: Any) -> Dict[str, Any]:
    """The network's options for ``--sync-bn``. Raises UsageError when there is but one device."""
    count = len(ctx) if isinstance(ctx, list) else 1
    if count < 2:
        raise UsageError("--sync-bn joins the batches of several devices: give --gpus 0,1, or leave it out")
    return {"norm_layer": mx.gluon.contrib.nn.SyncBatchNorm, "norm_kwargs": {"num_devices": count}}


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
