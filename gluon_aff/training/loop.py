"""The training loop, and how its progress is kept and taken up again."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import mxnet as mx
from mxnet import autograd

from ..console import progress
from .arrays import (
    device_statistics,
    evaluating,
    first_not_finite,
    needs_input_gradient,
    network_arrays,
    restore_network,
)
from .checkpoint import checkpoint_name
from .metrics import Diverged, Measured, Tally, split_batch
from .run import Run
from .schedule import Schedule
from .state import State
from .stop import Stop
from .targets import Targets
from .updater import Updater

_PLOT_SECONDS = 60.0


@dataclass
class Job:
    """What a training run is made of; its parts do not know each other.

    loader: ``len()`` batches per epoch, ``batches(epoch, start)`` yields NumPy (x, y). loss: (output, target) -> one
    value per image. metric: (output, target) -> (array, count), called ``metric_name`` in the history. evaluate:
    ``(net, stop)`` -> a dictionary whose "val" is to be maximised, or None when stopped on the way.
    """

    net: mx.gluon.Block
    loader: Any
    devices: List[mx.Context]
    targets: Targets
    loss: Callable[[mx.nd.NDArray, mx.nd.NDArray], mx.nd.NDArray]
    metric: Callable[[mx.nd.NDArray, mx.nd.NDArray], Measured]
    metric_name: str
    updater: Updater
    schedule: Schedule
    evaluate: Callable[[mx.gluon.Block, Stop], Optional[Dict[str, Any]]]
    epochs: int
    accumulate: int = 1
    seed: int = 0


def fit(job: Job, state: State, run: Run, stop: Stop) -> None:
    """Train from ``state`` to the end of epoch ``job.epochs``, or until ``stop`` is requested, and keep it in ``run``.

    A batch's way: loader, devices, targets, network, loss, metric, update. All that is random depends on (seed, epoch,
    batch) alone, so a run that goes on from a checkpoint does so as if it had never stopped.

    Raises Diverged, naming update and learning rate, when the loss or the network is not finite.
    """
    total, input_gradient = len(job.loader), needs_input_gradient(job.net)
    while state.epoch < job.epochs and not stop.requested:
        tally, began, images = Tally(state), time.perf_counter(), 0
        batches = progress(job.loader.batches(state.epoch, state.batch), total - state.batch, f"epoch {state.epoch}")
        for batch, (x, y) in enumerate(batches, start=state.batch):
            mx.random.seed(step_seed(job.seed, state.epoch, batch))
            lr = job.schedule(state.update + 1)
            pairs = job.targets(*split_batch(x, y, job.devices), state.epoch, batch)
            for data, _ in pairs if input_gradient else ():
                data.attach_grad()
            with autograd.record():
                outputs = [job.net(data) for data, _ in pairs]
                losses = [job.loss(output, target) for output, (_, target) in zip(outputs, pairs)]
                with job.updater.scaled(losses) as scaled:
                    autograd.backward(scaled)
            measured = [job.metric(output, target) for output, (_, target) in zip(outputs, pairs)]
            tally.add(_place(state, batch, lr), losses, measured)
            images += len(x)
            if (batch + 1) % job.accumulate == 0 or batch + 1 == total:
                job.updater.step(lr, images)
                state.update, state.batch, images = state.update + 1, batch + 1, 0
                if stop.requested:
                    break
        tally.finish()
        state.seconds += time.perf_counter() - began
        score = None
        if not stop.requested:
            with evaluating(job.net, job.updater.ema.arrays if job.updater.ema else None):
                score = job.evaluate(job.net, stop)
        if score is not None:
            _finish_epoch(job, state, run, score)
        save(job, state, run)  # without a score: in the middle of an epoch, or before its validation


def step_seed(seed: int, epoch: int, batch: int) -> int:
    """The seed of MXNet's generators (dropout) for one batch."""
    return zlib.crc32(f"{seed}/{epoch}/{batch}".encode()) & 0x7FFFFFFF


def _place(state: State, batch: int, lr: float) -> str:
    return f"update {state.update + 1} (epoch {state.epoch}, batch {batch}), learning rate {lr:g}"


def _finish_epoch(job: Job, state: State, run: Run, score: Dict[str, Any]) -> None:
    """Write the epoch's record and log line, note the best, and move the state to the next epoch."""
    record = {
        "epoch": state.epoch,
        "train": state.metric,
        "train_metric": job.metric_name,
        "loss": state.loss,
        "lr": job.schedule(state.update),
        "updates": state.update,
        "images": state.images,
        **score,
        "time": state.seconds,
    }
    run.history.append(record)
    run.log(run.line(record))
    run.plot(every=_PLOT_SECONDS)
    state.next_epoch()
    if state.best is None or score["val"] > state.best["val"]:
        state.best = {**score, "epoch": record["epoch"], "checkpoint": checkpoint_name(state.epoch, 0)}


def save(job: Job, state: State, run: Run) -> None:
    """Write a checkpoint. Raises Diverged instead when the network is not finite: such a one is never saved."""
    bad = first_not_finite(job.net)
    if bad:
        raise Diverged(f"{bad} is not finite after {_place(state, state.batch, job.schedule(state.update))}")
    arrays = {
        "model": network_arrays(job.net),
        "statistics": device_statistics(job.net),
        "trainer": job.updater.arrays(),
        "ema": job.updater.ema.arrays if job.updater.ema else {},
    }
    document = {**run.details, "progress": state.to_json(), "best": state.best, "trainer": job.updater.numbers()}
    run.checkpoints.save(state.epoch, state.batch, arrays, document)


def restore(job: Job, run: Run) -> State:
    """Put the newest good checkpoint into the network and the optimizer; a fresh State when there is none."""
    checkpoint = run.checkpoints.load(run.log)
    if checkpoint is None:
        return State()
    groups = checkpoint.arrays
    restore_network(job.net, groups["model"], groups.get("statistics", {}))
    job.updater.load(groups.get("trainer", {}), checkpoint.state["trainer"])
    if job.updater.ema:
        job.updater.ema.load(groups["ema"])
    state = State(**checkpoint.state["progress"])
    run.checkpoints.link_best(state.best)
    return state
