"""A task's training run: where it trains, what it trains, its directory, the loop, and what became of it."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Tuple

import mxnet as mx

from .._version import __version__
from ..data.loader import Batches
from ..errors import UsageError
from ..models.common import count_parameters, output_shape
from ..nn import native
from ..runtime import devices, threads
from ..training import Diverged, Job, LogBuffer, Run, Schedule, State, Stop, check_free, fit, group
from ..training.checkpoint import Description
from ..training.history import EpochRecord, environment
from ..training.optim import resolve_dtype, start_mixed_precision
from ..training.plots import plot_schedule
from ..training.schedule import from_options, warmup_epochs
from ..training.tensorboard import EventLog, check_tensorboard
from ..utils.console import say
from ..utils.files import make_next, next_name
from ..utils.outputs import Writes, claim
from ..utils.streams import tolerate_lost_output
from .config import identity, without
from .final_score import score_once
from .options import Role
from .resuming import resume, resume_along
from .setup import Data, Setup

# ``task`` is a `Task`, which is defined above this module.


@dataclass
class Outcome:
    """What became of a run. ``best`` and ``final`` are figures with what belongs to them; None before any."""

    directory: Path
    finished: bool
    exit_code: int
    best: Optional[EpochRecord]
    final: Optional[EpochRecord]


@tolerate_lost_output()
def train_run(task: Any, options: Namespace) -> Outcome:
    """Start or resume the run in ``options.save_dir``, to its end or until a signal stops it.

    Without one it is set to the task's default directory, or where that is there to the next with a number behind.
    Of several ranks only the first has a run; the others train along and keep nothing. Raises as `Task.train` does.
    """
    # Where: the devices here, the ranks that train together, the number type
    found = find_devices(options)
    dtype_given, options.dtype = options.dtype is not None, resolve_dtype(options.dtype, found)
    mixed = start_mixed_precision(options.dtype, found)
    ranks = group(found)
    used, rounds = share(options, found, ranks.size)
    setup = Setup(used, ranks, mixed, dtype_given, LogBuffer(), rounds)

    # What: data, network, and the job that the loop gets
    data = task.data(options, setup)
    unnamed = None if options.save_dir else task.directory(options)
    options.save_dir = str(next_name(unnamed) if unnamed else options.save_dir)
    if ranks.rank == 0 and not options.resume:  # it may have begun before the others get here
        check_free(options.save_dir, options.overwrite, options.logging_dir, options.save_plot_dir)
    net = task.network(options, data.outputs, used)
    job = task.job(options, setup, data, net)
    if ranks.rank > 0:
        return train_worker(job, options, setup.log)

    # The run's directory, and what it says of itself
    if options.tensorboard:
        check_tensorboard()
    if unnamed:
        options.save_dir = str(make_next(unnamed))
    parameters = count_parameters(net)[0]
    names = [str(context) for context in used] * ranks.size  # of all ranks
    facts = {"data": data.facts, "devices": names, "parameters": parameters}
    details = {"task": task.name, "options": identity(task.parser(), vars(options)), **facts}
    if not options.resume:
        details["native"] = native.active()
    set_to = os.environ.get(threads.VARIABLE, "1")
    device = f"device: {', '.join(names)}; {threads.VARIABLE}={set_to}; MXNet {mx.__version__}"
    introduction = [
        *task.introduction(options, data, parameters),
        *_introduce_training(options, job),
        describe_update(options, used, rounds, len(found), ranks.size),
        *describe_batches(data.loader),
        *task.notes(options, data),
    ]
    if unnamed and options.save_dir != str(unnamed):
        introduction.append(f"note: {unnamed} is there already, this run is {options.save_dir}")
    run = Run(
        options.save_dir,
        details,
        description=describe_weights(task, options, data, net),
        log_dir=options.logging_dir,
        log_file=options.logging_file,
        plot_dir=options.save_plot_dir,
        save_period=options.save_period,
        line=task.log_line,
        best_name=lambda best: task.best_file(options, best),
    )

    # Begin or resume, train, conclude
    with run, Stop() as stop:
        config = without(task.parser(), vars(options), Role.COMMAND)
        if options.resume:
            state = resume(job, run, config, facts, options.accept_changed_run, options.accept_changed_data)
        else:
            state = State()
            run.begin(options.overwrite)
            run.write_config(config)
            run.history.start({**environment(__version__), **run.details})
        for line in [f"{device}; {native.in_words()}", *introduction]:
            run.log(line)
        setup.log.open(run.log)
        if options.resume and state.epoch >= job.epochs:
            run.log(f"note: all {job.epochs} epochs of this run are done, nothing is left to train")
        if options.tensorboard:
            job.listeners.add(EventLog(run.directory / "tensorboard", run.history.epochs()))
        try:
            fit(job, state, run, stop)
        except Diverged as error:
            raise Diverged(f"{error}; {run.last_good()}; try a lower --lr, or --clip-gradient") from None
        finally:
            job.listeners.run_ends()
        changed = run.history.changed(state.epoch, state.best, state.history)
        if changed:
            run.log(f"note: {changed}")
        finished, epochs = state.epoch >= job.epochs, run.history.epochs()
        _say_best(task, run, state, epochs)
        if finished and state.best and getattr(data, "test", None) and getattr(options, "final_test", False):
            score_once(net, lambda: task.test(options, setup, data, net), run, state.best, task.figure)
        _say_where(run, state, epochs, finished)
        return Outcome(
            run.directory, finished, 0 if finished else stop.exit_code, state.best, epochs[-1] if epochs else None
        )


def train_worker(job: Job, options: Namespace, log: LogBuffer) -> Outcome:
    """Train along as a rank that is not the first: it has no run and keeps nothing."""
    log.open(say)
    with Stop() as stop:
        state = resume_along(job, log) if options.resume else State()
        fit(job, state, None, stop)
        finished = state.epoch >= job.epochs
        return Outcome(Path(options.save_dir), finished, 0 if finished else stop.exit_code, state.best, None)


# ---- what is said of a run


def _say_best(task: Any, run: Run, state: State, epochs: List[EpochRecord]) -> None:
    if epochs:
        run.plot()
    if state.best and epochs:
        run.log(
            f"best {task.figure(state.best)} after epoch {state.best['epoch']}; "
            f"after the last, {epochs[-1]['epoch']}: {task.figure(epochs[-1])}"
        )


def _say_where(run: Run, state: State, epochs: List[EpochRecord], finished: bool) -> None:
    if not finished:
        run.log(f"stopped at epoch {state.epoch}, batch {state.batch}: --resume {run.directory} continues from there")
    best = f", best: {run.checkpoints.best_link}" if state.best else ""
    run.log(f"checkpoints: {run.checkpoints.newest()}{best}")
    run.log(f"history: {run.history.path}" + (f"; plot: {run.plot_path}" if epochs and run.plot_path.exists() else ""))


def _introduce_training(options: Namespace, job: Job) -> Iterator[str]:
    """Yield length, schedule, seed and start weights."""
    recipe = f"recipe {options.recipe}; " if options.recipe else ""
    yield (
        f"training: {recipe}{options.num_epochs} epochs of {len(job.loader)} batches, "
        f"{options.optimizer}, {options.lr_mode} schedule, {options.dtype}, seed {options.seed}"
    )
    if options.resume_from and not options.resume:
        yield f"weights: from {options.resume_from}; optimizer, schedule and best start over"
    if warmup_epochs(options) >= options.num_epochs:
        yield f"note: the run ends within its warm-up of {warmup_epochs(options)} epochs (--warmup-epochs)"
    if getattr(options, "mixup", False) and options.mixup_off_epoch >= options.num_epochs:
        yield f"note: mixup is off in the last {options.mixup_off_epoch} epochs (--mixup-off-epoch), so in all of them"


def describe_weights(task: Any, options: Namespace, data: Data, net: mx.gluon.HybridBlock) -> Description:
    """Return what the weights of a run are to say of themselves, but for their figure; see `training.checkpoint`.

    Its entries: gluon_aff (version), task, name (of the network, for people), network (for ``create_model``; None for
    one of the task's own), data (under the names of `DataOptions`, without the place), input (of `NetworkInput`; None
    where the task shows its networks no pictures) and metric.
    """
    known = {**task.data_facts(options), **task.loaded_data_facts(data)}
    outputs = data.outputs
    if outputs is None:
        given: Tuple[int, ...] = output_shape(net, task.input_shape(options)) or ()
        outputs = given[1] if len(given) in (2, 4) else None
    try:
        network_input = task.network_input(known, outputs).to_json() if outputs else None
    except UsageError:  # of a task without `network_input`
        network_input = None
    return {
        "gluon_aff": __version__,
        "task": task.name,
        "name": task.model_name(options),
        "network": getattr(net, "call", None),
        "data": {name: value for name, value in known.items() if name not in ("data", "ground_truth", "classes")},
        "input": network_input,
        "metric": task.metric_of(options),
    }


# ---- how many images make an update, and how the devices at hand share them


def wanted_parts(options: Namespace) -> Optional[int]:
    """Return the parts of ``--batch-size`` images that an update is to have; None: one for each device."""
    return None if getattr(options, "batch_as_given", False) else getattr(options, "update_parts", None)


def find_devices(options: Namespace) -> List[mx.Context]:
    """Return what ``--gpus`` means here. Raises UsageError that says what to type, see `devices.pick`."""
    try:
        return devices.pick(options.gpus)
    except devices.NoSuchGPU as error:
        count = len((options.gpus or "").split(","))
        if count < 2:
            raise
        parts = "the recipe then makes" if wanted_parts(options) else f"--update-parts {count} beside it makes"
        raise UsageError(f"{error}; {parts} updates of as many images, part after part") from None


def share(options: Namespace, found: List[mx.Context], ranks: int = 1) -> Tuple[List[mx.Context], int]:
    """Return the devices that an update is trained on, of ``found`` in each of ``ranks`` processes, and its rounds:
    how many parts one after another each of them has.

    A single process leaves devices idle where the parts do not divide by them. Raises UsageError where several
    processes cannot share them evenly.
    """
    parts = wanted_parts(options)
    if parts is None:
        return found, 1
    if ranks == 1:
        used = max(count for count in range(1, min(parts, len(found)) + 1) if parts % count == 0)
        return found[:used], parts // used
    total = len(found) * ranks
    if parts % total:
        raise UsageError(
            f"an update of {parts} parts cannot be shared evenly by {total} devices: give --update-parts {total}, or "
            f"--batch-as-given, for updates of {total} parts"
        )
    return found, parts // total


def describe_update(options: Namespace, used: List[mx.Context], rounds: int, found: int, ranks: int = 1) -> str:
    """Return a line on the images per update, and whether they make up for devices that are not here."""
    count, size = len(used) * ranks, options.batch_size
    parts = count * rounds
    images = f"images per update: {parts * size * options.accumulate}"
    on = f"{count} device{'s' if count > 1 else ''}" + (f" of {found}" if count < found * ranks else "")
    batches = f", {options.accumulate} batches" if options.accumulate > 1 else ""
    if rounds > 1:
        return (
            f"{images}, {parts} x {size} as on {parts} devices: on {on} {rounds} parts one after another, each "
            f"normalised by itself{batches}"
        )
    stated, asked = getattr(options, "update_parts", None), len((options.gpus or "").split(","))
    note = ""
    if stated and stated != count and wanted_parts(options) is None:
        note = f" (--batch-as-given; else it would be {stated} x {size})"
    elif not stated and asked > found * ranks:
        note = f" (--gpus {options.gpus} would make it {asked} x {size}, and so does --update-parts {asked} here)"
    return f"{images}, {count} x {size} on {on}{batches}{note}"


def describe_batches(loader: Any) -> Iterator[str]:
    """Yield a note where an epoch leaves images out, and where none of its batches is full."""
    if not isinstance(loader, Batches):
        return
    images, full, batches = loader.count, loader.batch_size * loader.shard[1], len(loader)
    if loader.last == "drop" and images % full:
        left = images % full
        yield f"note: {images} training images, batches of {full}: every epoch leaves {left} out, drawn anew each time"
    elif batches * full - images >= batches:  # of batches whose sizes differ by one at most
        size = f"one batch of {images}" if batches == 1 else f"{batches} batches of at most {-(-images // batches)}"
        yield f"note: {images} training images, batches of {full}: none is full, every epoch is {size}"


# ---- the schedule alone


def schedule_of(task: Any, options: Namespace, found: Optional[List[mx.Context]] = None) -> Schedule:
    """Return the run's learning rates on the devices ``found``, see `Task.schedule`."""
    used, rounds = share(options, found or find_devices(options))
    batches = task.batches_per_epoch(options, len(used) * rounds)
    return from_options(options, -(-batches // options.accumulate))


def show_schedule(task: Any, options: Namespace) -> int:
    """Print the learning rate where it bends, at an epoch's first update and as logged at its end, and the images per
    update; plot it; return 0.

    The plot goes to ``--save-plot-dir`` or else to the current directory: there is no run that it could belong to.
    """
    path = Path(options.save_plot_dir or "") / "schedule.png"
    claim(path, Writes(forms=("figure",)))
    found = find_devices(options)
    schedule = schedule_of(task, options, found)
    print("epoch  first     logged")
    for epoch, first, last in schedule.table(every=False):
        print(f"{epoch:5d}  {first:f}  {last:f}")
    plot_schedule(schedule, task.model_name(options), path)
    print(describe_update(options, *share(options, found), len(found)))
    print(f"{schedule.updates_per_epoch} updates per epoch; plot: {path}")
    return 0
