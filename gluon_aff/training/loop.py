"""The training loop, and how its progress is saved and restored."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, cast

import mxnet as mx
from mxnet import autograd

from ..errors import GluonAFFError, UsageError
from .checkpoint import Checkpoint, checkpoint_name
from .history import EpochRecord, chained
from .listeners import BatchDone, Listeners
from .metrics import Diverged, Loader, Measured, Tally
from .optim import Updater
from .ranks import SingleProcess
from .run import Run
from .schedule import Schedule
from .state import (
    State,
    average_statistics,
    device_statistics,
    evaluating,
    first_not_finite,
    micro_batches,
    needs_input_gradient,
    network_arrays,
    rank_statistics,
    set_arrays,
)
from .stop import Stop

_PLOT_SECONDS = 60.0


Score = Dict[str, Any]


#: (images, labels, epoch, batch), lists of one array per device, -> per device what network and loss are given.
MakeTargets = Callable[
    [List[mx.nd.NDArray], List[mx.nd.NDArray], int, int], Sequence[Tuple[mx.nd.NDArray, mx.nd.NDArray]]
]


@dataclass
class Job:
    """What a training run is made of; its parts do not know each other.

    Attributes
    ----------
    net : Block
        Initialised on ``devices``.
    loader : Loader
        This rank's part of every batch.
    targets : callable
        See MakeTargets; `Targets` for instance.
    loss : callable
        (output, target) -> one value per image.
    metric : callable
        (output, target) -> (array, count), called ``metric_name`` in the history.
    evaluate : callable
        (net, stop) -> a dictionary whose "val" is to be maximised, or None when stopped on the way; with several
        ranks the same on all.
    group : SingleProcess
        The ranks that train together.
    listeners : Listeners
        Are told of every batch and epoch.
    rounds : int
        Parts of a batch that follow one another on each device, see `micro_batches`.
    """

    net: mx.gluon.Block
    loader: Loader
    devices: List[mx.Context]
    targets: MakeTargets
    loss: Callable[[mx.nd.NDArray, mx.nd.NDArray], mx.nd.NDArray]
    metric: Callable[[mx.nd.NDArray, mx.nd.NDArray], Measured]
    metric_name: str
    updater: Updater
    schedule: Schedule
    evaluate: Callable[[mx.gluon.Block, Stop], Optional[Score]]
    epochs: int
    accumulate: int = 1
    seed: int = 0
    group: SingleProcess = field(default_factory=SingleProcess)
    listeners: Listeners = field(default_factory=Listeners)
    rounds: int = 1


def fit(job: Job, state: State, run: Optional[Run], stop: Stop) -> None:
    """Train from ``state`` to the end of epoch ``job.epochs``, or until ``stop`` is requested, and keep it in ``run``.

    A batch's way: loader, devices, targets, network, loss, metric, update. All that is random depends on (seed, epoch,
    batch, rank) alone, so a run resumed from a checkpoint continues as if it had never stopped. With several ranks
    all are in here, the first one's ``run`` is written, the others' are None, and they stop after the same update.

    Raises Diverged, naming update and learning rate, when the loss or the network is not finite, and GluonAFFError
    when the ranks do not hold the same network.
    """
    total, input_gradient = len(job.loader), needs_input_gradient(job.net)
    _start_together(job, total)
    while state.epoch < job.epochs and not job.group.agree(stop):
        tally, began, images, stopped = Tally(state), time.perf_counter(), 0, False
        start, seen, score = state.batch, 0, None
        job.listeners.pass_begins(state.epoch, start)
        for batch, (x, y) in enumerate(job.loader.batches(state.epoch, start), start=start):
            mx.random.seed(step_seed(job.seed, state.epoch, batch, job.group.rank))
            lr = job.schedule(state.update + 1)
            losses, measured = [], []
            for part in micro_batches(job.net, job.devices, job.rounds, x, y):
                pairs = job.targets(*part, state.epoch, batch)
                for data, _ in pairs if input_gradient else ():
                    data.attach_grad()
                with autograd.record():
                    outputs = [job.net(data) for data, _ in pairs]
                    lost = [job.loss(output, target) for output, (_, target) in zip(outputs, pairs)]
                    with job.updater.scaled(lost) as scaled:
                        autograd.backward(scaled)
                losses += lost
                measured += [job.metric(output, target) for output, (_, target) in zip(outputs, pairs)]
            tally.add(_place(state, batch, lr), losses, measured)
            images, seen = images + len(x), seen + len(x)
            if (batch + 1) % job.accumulate == 0 or batch + 1 == total:
                summed, *flags = job.updater.sum_gradients(job.group, [images, *stop.flags()])
                job.updater.step(lr, int(summed))
                state.update, state.batch, images = state.update + 1, batch + 1, 0
                stopped = stop.join(flags)
                if stopped:
                    break
            job.listeners.batch_done(BatchDone(state.epoch, batch, len(x), lr, measured, tally.loss))
        tally.finish()
        mx.nd.waitall()  # for running statistics: a compiled backward pass writes them behind the scheduler's back
        state.seconds += time.perf_counter() - began
        if not stopped:
            job.listeners.pass_ends(state.epoch, start, seen)
            average_statistics(job.group, rank_statistics(job.net, job.updater.ema))
            job.group.check_equal(network_arrays(job.net), f"after epoch {state.epoch}")
            with evaluating(job.net, job.updater.ema.arrays if job.updater.ema else None):
                score = job.evaluate(job.net, stop)
        record = None if score is None else _finish_epoch(job, state, run, score)
        save(job, state, run, record)  # without a score: in the middle of an epoch, or before its validation
        if run and record:
            run.plot(every=_PLOT_SECONDS)
            job.listeners.epoch_ends(record)


def step_seed(seed: int, epoch: int, batch: int, rank: int = 0) -> int:
    """The seed of MXNet's generators (dropout) for one rank's part of one batch."""
    place = f"{seed}/{epoch}/{batch}" + (f"/{rank}" if rank else "")
    return zlib.crc32(place.encode()) & 0x7FFFFFFF


def _start_together(job: Job, batches: int) -> None:
    """Look whether sums over the ranks can be trusted, and give all of them the first one's network."""
    job.group.self_check()
    counts = [int(row[0]) for row in job.group.gather([batches])]
    if len(set(counts)) > 1:
        raise GluonAFFError(f"the ranks have {counts} batches per epoch: give all of them the same data and options")
    parameters = job.net._collect_params_with_prefix()
    trained = [parameters[name] for name in sorted(parameters) if parameters[name].grad_req != "null"]
    for device in range(len(job.devices)):
        job.group.broadcast([parameter.list_data()[device] for parameter in trained])


def _place(state: State, batch: int, lr: float) -> str:
    return f"update {state.update + 1} (epoch {state.epoch}, batch {batch}), learning rate {lr:g}"


def _finish_epoch(job: Job, state: State, run: Optional[Run], score: Score) -> EpochRecord:
    """Write the epoch's record and log line, note the best, and move the state to the next epoch."""
    sums = [state.images, state.loss_sum, state.metric_sum, state.metric_count]
    images, loss_sum, metric_sum, metric_count = job.group.sum_numbers(sums)
    fields = {
        "epoch": state.epoch,
        "train": metric_sum / max(metric_count, 1),
        "train_metric": job.metric_name,
        "loss": loss_sum / max(images, 1),
        "lr": job.schedule(state.update),
        "updates": state.update,
        "images": int(images),
        **score,
        "time": state.seconds,
    }
    record = cast(EpochRecord, fields)
    if run:
        run.history.append(record)
        state.history = chained(state.history, record)
        run.log(run.line(record))
    state.next_epoch()
    if state.best is None or score["val"] > state.best["val"]:
        state.best = cast(
            EpochRecord, {**score, "epoch": record["epoch"], "checkpoint": checkpoint_name(state.epoch, 0)}
        )
    return record


def save(job: Job, state: State, run: Optional[Run], record: Optional[EpochRecord] = None) -> None:
    """Write a checkpoint; ``record``: of the epoch that has just ended, if one has.

    Raises Diverged instead when the network is not finite: such a one is never saved.
    """
    bad = first_not_finite(job.net)
    if bad:
        raise Diverged(f"{bad} is not finite after {_place(state, state.batch, job.schedule(state.update))}")
    states = job.group.gather_object(state.to_json())
    statistics = job.group.gather_arrays(rank_statistics(job.net, job.updater.ema)) if job.group.size > 1 else []
    if run:
        arrays = {
            "model": network_arrays(job.net),
            "statistics": device_statistics(job.net) if len(job.devices) > 1 else {},
            "trainer": job.updater.arrays(),
            "ema": job.updater.ema.arrays if job.updater.ema else {},
            "ranks": {f"{rank}/{name}": array for rank, row in enumerate(statistics) for name, array in row.items()},
        }
        document = {**run.details, "progress": state.to_json(), "best": state.best, "trainer": job.updater.numbers()}
        if job.group.size > 1:
            document["ranks"] = states
        run.checkpoints.save(state.epoch, state.batch, arrays, document, run.describe(record))
    job.group.barrier()  # nobody continues or ends before it is written


def restore(job: Job, run: Optional[Run]) -> State:
    """Put the newest good checkpoint into the network and the optimizer; a fresh State when there is none.

    The first rank reads it and tells the others.
    """
    checkpoint = run.checkpoints.load(run.log) if run else None
    if run and checkpoint:
        run.restored, groups = checkpoint.state, checkpoint.arrays
        set_arrays(job.net, groups["model"], "the checkpoint")
        for name, data in device_statistics(job.net).items() if "statistics" in groups else ():
            groups["statistics"][name].copyto(data)
        job.updater.load(groups.get("trainer", {}), checkpoint.state["trainer"])
        if job.updater.ema:
            job.updater.ema.load(groups["ema"])
        run.checkpoints.link_best(checkpoint.state["best"])
    if job.group.size == 1:
        return State(**checkpoint.state["progress"]) if checkpoint else State()
    return _share(job, checkpoint)


def _share(job: Job, checkpoint: Optional[Checkpoint]) -> State:
    """Bring every rank to where the checkpoint was written: what all had alike, and what each had of its own."""
    states = job.group.broadcast_object(checkpoint and checkpoint.state.get("ranks", []))
    if states is None:
        return State()
    if len(states) != job.group.size:
        raise UsageError(
            f"the checkpoint was written by {len(states) or 1} worker(s), here are {job.group.size}: resume with as "
            "many, or start a new run from its weights with --resume-from"
        )
    numbers = job.group.broadcast_object(checkpoint and checkpoint.state["trainer"])
    optimizer, parameters = job.updater.arrays(), network_arrays(job.net)
    average = job.updater.ema.arrays if job.updater.ema else {}
    for arrays in (parameters, optimizer, average):
        job.group.broadcast([arrays[name] for name in sorted(arrays)])
    if job.group.rank:
        set_arrays(job.net, parameters, "rank 0")
        job.updater.load({name: array.copy() for name, array in optimizer.items()}, numbers)
    own, saved = rank_statistics(job.net, job.updater.ema), checkpoint.arrays["ranks"] if checkpoint else {}
    for rank in range(job.group.size):
        given = {name: array.copy() for name, array in own.items()}
        for name, array in given.items() if saved else ():
            saved[f"{rank}/{name}"].copyto(array)
        job.group.broadcast([given[name] for name in sorted(given)])
        for name in given if rank == job.group.rank else ():
            given[name].copyto(own[name])
    return State(**states[job.group.rank])
