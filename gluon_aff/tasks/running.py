"""A training run from its beginning to its end, the same for every task."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

import mxnet as mx

from .._version import __version__
from ..errors import UsageError
from ..models.summary import count_parameters
from ..runtime import devices
from ..training import Diverged, Job, Run, SingleProcess, State, Stop, fit, group, has_run, restore
from ..training.amp import start_mixed_precision
from ..training.history import environment
from ..training.schedule import warmup_epochs
from ..training.tensorboard import EventLog, check_installed
from .options.completing import identity, without
from .options.config import write_config
from .options.parser import Role
from .parts import Notes, Setup

if TYPE_CHECKING:
    from .task import Task

Record = Dict[str, Any]


@dataclass
class Outcome:
    """What became of a run. ``best`` and ``final`` are figures with what belongs to them; None before any."""

    directory: Path
    finished: bool
    exit_code: int
    best: Optional[Record]
    final: Optional[Record]


@dataclass(frozen=True)
class Facts:
    """What a run depends on besides its options, the same at every resume; the header of its history tells it."""

    data: Dict[str, Any]
    devices: List[str]
    parameters: int


def train(task: Task, options: Namespace) -> Outcome:
    """Begin a run in ``options.save_dir`` or go on with it, to its end or until a signal stops it.

    Of several ranks only the first has a run; the others train along and keep nothing. Raises as `Task.train` does.
    """
    contexts = devices.pick(options.gpus)
    ranks = group(contexts)
    check_free(options, ranks)
    dtype_given = options.dtype is not None
    options = task.for_devices(options, contexts)
    setup = Setup(contexts, ranks, start_mixed_precision(options.dtype, contexts), dtype_given, Notes())
    data = task.data(options, setup)
    net = task.network(options, data.outputs, contexts)
    job = task.job(options, setup, data, net)
    names = [str(context) for context in contexts] * ranks.size
    facts = Facts(data.facts, names, count_parameters(net)[0])
    if ranks.rank > 0:
        setup.log.begin(print)
        return _train_along(options, job)
    if options.tensorboard:
        check_installed()
    details = {"task": task.name, "options": identity(task.parser(), vars(options)), **asdict(facts)}
    run = Run(
        options.save_dir,
        details,
        log_dir=options.logging_dir,
        log_file=options.logging_file,
        plot_dir=options.save_plot_dir,
        save_period=options.save_period,
        line=task.log_line,
        best_name=partial(task.best_file, options),
    )
    with run, Stop() as stop:
        state = _begin(task, run, job, options, facts)
        for line in (*_machine(facts), *task.introduction(options, data, facts.parameters)):
            run.log(line)
        for line in (*_introduce(options, job), *task.notes(options, data)):
            run.log(line)
        if options.tensorboard:
            job.listeners.add(EventLog(run.directory / "tensorboard", run.history.epochs()))
        setup.log.begin(run.log)
        try:
            fit(job, state, run, stop)
        except Diverged as error:
            raise Diverged(f"{error}; {run.last_good()}; try a lower --lr, or --clip-gradient") from None
        return _conclude(task, run, job, state, stop)


def check_free(options: Namespace, ranks: Optional[SingleProcess] = None) -> None:
    """Raise UsageError, on the first rank, when a run is there that is neither to be resumed nor to be removed."""
    if ranks and ranks.rank > 0:  # the first may have begun already
        return
    if has_run(options.save_dir) and not (options.resume or options.overwrite):
        raise UsageError(f"{options.save_dir} holds a run already: --resume goes on with it, --overwrite removes it")


def _begin(task: Task, run: Run, job: Job, options: Namespace, facts: Facts) -> State:
    """A fresh state with its header and config.yaml, or the state that the run was left in."""
    config = without(task.parser(), vars(options), Role.COMMAND)
    if not options.resume:
        run.erase()
        write_config(run.config_path, config)
        run.history.start({**environment(__version__), **run.details})
        return State()
    header = run.history.header()
    for name, now in asdict(facts).items():
        if header.get(name) != now:
            raise UsageError(f"{run.directory} cannot be resumed: {name} was {header.get(name)}, is {now}")
    if header.get("threads") != os.environ.get("OMP_NUM_THREADS"):
        run.log(f"note: the run began with OMP_NUM_THREADS={header.get('threads')}; with another number bits differ")
    state = restore(job, run)
    if state.epoch > job.epochs:
        raise UsageError(f"{run.directory} has done {state.epoch} epochs already, --num-epochs is {job.epochs}")
    write_config(run.config_path, config)
    run.history.resume(state.epoch, {"epoch": state.epoch, "batch": state.batch, **environment(__version__)})
    run.log(f"resumed {run.directory} at epoch {state.epoch}, batch {state.batch}")
    return state


def _conclude(task: Task, run: Run, job: Job, state: State, stop: Stop) -> Outcome:
    epochs = run.history.epochs()
    finished = state.epoch >= job.epochs
    if epochs:
        run.plot()
    if state.best:
        run.log(
            f"best {task.figure(state.best)} after epoch {state.best['epoch']}; "
            f"after the last, {epochs[-1]['epoch']}: {task.figure(epochs[-1])}"
        )
    if not finished:
        run.log(f"stopped at epoch {state.epoch}, batch {state.batch}: --resume {run.directory} goes on from there")
    best = f", best: {run.checkpoints.best_link}" if state.best else ""
    run.log(f"checkpoints: {run.checkpoints.newest()}{best}")
    run.log(f"history: {run.history.path}" + (f"; plot: {run.plot_path}" if epochs else ""))
    code = 0 if finished else stop.exit_code
    return Outcome(run.directory, finished, code, state.best, epochs[-1] if epochs else None)


def _train_along(options: Namespace, job: Job) -> Outcome:
    with Stop() as stop:
        state = restore(job, None) if options.resume else State()
        fit(job, state, None, stop)
        finished = state.epoch >= job.epochs
        return Outcome(Path(options.save_dir), finished, 0 if finished else stop.exit_code, state.best, None)


def _machine(facts: Facts) -> Iterator[str]:
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    yield f"device: {', '.join(facts.devices)}; OMP_NUM_THREADS={threads}; MXNet {mx.__version__}"


def _introduce(options: Namespace, job: Job) -> Iterator[str]:
    """The lines of an introduction about length, schedule, seed and start weights."""
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
