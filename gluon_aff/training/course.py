"""The course of a run: it begins or is resumed, trains, and says what became of it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from .._version import __version__
from ..errors import UsageError
from ..utils.console import say
from .history import EpochRecord, environment
from .listeners import EventLog
from .loop import Job, fit, restore
from .metrics import Diverged
from .run import Run
from .state import State
from .stop import Stop

#: Called with the header of a run that is resumed and with what logs a line, before the checkpoint is read.
TakeUp = Callable[[Dict[str, Any], Callable[[str], None]], None]


class LogBuffer:
    """Lines for a run's log; those that come up before there is a run are kept until `open`."""

    def __init__(self) -> None:
        self._kept: List[str] = []
        self._log: Callable[[str], None] = self._kept.append

    def __call__(self, line: str) -> None:
        self._log(line)

    def open(self, log: Callable[[str], None]) -> None:
        """Hand over what was kept, and from now on every line."""
        self._log = log
        for line in self._kept:
            log(line)


@dataclass(frozen=True)
class Facts:
    """What a run depends on besides its options, the same at every resume; the header of its history tells it.

    Attributes
    ----------
    data : dict
        Name of the data set, training and test images, classes if there are any.
    devices : list of str
        Of all ranks.
    parameters : int
        Trained ones.
    """

    data: Dict[str, Any]
    devices: List[str]
    parameters: int


@dataclass
class Plan:
    """What a run does besides training its job.

    Attributes
    ----------
    resume : bool
        Go on with what is in the run's directory, or begin.
    config : dict
        For config.yaml.
    facts : Facts
    introduction : sequence of str
        The first lines of the log.
    figure : callable
        From a record to its validation figure in words.
    log : LogBuffer
        What wrote its lines there before the run began.
    tensorboard : bool
        Write event files as well.
    overwrite : bool
        A run that begins may remove the one that is there.
    take_up : callable
        Gets the header of a run that is resumed and its log, before anything is computed.
    at_end : callable
        Gets the best epoch and the log of a run that is finished, also when that was so before.
    """

    resume: bool
    config: Dict[str, Any]
    facts: Facts
    introduction: Sequence[str]
    figure: Callable[[EpochRecord], str]
    log: LogBuffer = field(default_factory=LogBuffer)
    tensorboard: bool = False
    overwrite: bool = False
    take_up: TakeUp = lambda header, log: None
    at_end: Callable[[EpochRecord, Callable[[str], None]], None] = lambda best, log: None


@dataclass
class Outcome:
    """What became of a run. ``best`` and ``final`` are figures with what belongs to them; None before any."""

    directory: Path
    finished: bool
    exit_code: int
    best: Optional[EpochRecord]
    final: Optional[EpochRecord]


def carry_out(job: Job, run: Run, plan: Plan) -> Outcome:
    """Begin or resume the run and train to its end, or until a signal stops it.

    Raises
    ------
    UsageError
        When the run that is there was another one.
    Diverged
        When the loss is no longer finite; the message names the last good checkpoint.
    """
    with run, Stop() as stop:
        state = _resumed(job, run, plan) if plan.resume else _begun(run, plan)
        for line in plan.introduction:
            run.log(line)
        plan.log.open(run.log)
        if plan.tensorboard:
            job.listeners.add(EventLog(run.directory / "tensorboard", run.history.epochs()))
        try:
            fit(job, state, run, stop)
        except Diverged as error:
            raise Diverged(f"{error}; {run.last_good()}; try a lower --lr, or --clip-gradient") from None
        finally:
            job.listeners.run_ends()
        return _concluded(job, run, plan, state, stop)


def train_along(job: Job, directory: Path, resume: bool, log: LogBuffer, take_up: TakeUp) -> Outcome:
    """What a rank does that is not the first: it has no run and keeps nothing. ``take_up`` is `Plan`'s."""
    log.open(say)
    with Stop() as stop:
        state = State()
        if resume:
            take_up(job.group.broadcast_object(None), log)
            state = restore(job, None)
        fit(job, state, None, stop)
        finished = state.epoch >= job.epochs
        return Outcome(directory, finished, 0 if finished else stop.exit_code, state.best, None)


def _begun(run: Run, plan: Plan) -> State:
    run.begin(plan.overwrite)
    run.write_config(plan.config)
    run.history.start({**environment(__version__), **run.details})
    return State()


def _resumed(job: Job, run: Run, plan: Plan) -> State:
    """The state that the run was left in, in the job's network and optimizer as well."""
    header = run.history.header()
    for name, now in asdict(plan.facts).items():
        if header.get(name) != now:
            raise UsageError(f"{run.directory} cannot be resumed: {name} was {header.get(name)}, is {now}")
    if header.get("threads") != os.environ.get("OMP_NUM_THREADS"):
        run.log(f"note: the run began with OMP_NUM_THREADS={header.get('threads')}; with another number bits differ")
    plan.take_up(job.group.broadcast_object(header), run.log)
    state = restore(job, run)
    if state.epoch > job.epochs:
        raise UsageError(f"{run.directory} has done {state.epoch} epochs already, --num-epochs is {job.epochs}")
    run.write_config(plan.config)
    run.history.resume(state.epoch, {"epoch": state.epoch, "batch": state.batch, **environment(__version__)})
    run.log(f"resumed {run.directory} at epoch {state.epoch}, batch {state.batch}")
    return state


def _concluded(job: Job, run: Run, plan: Plan, state: State, stop: Stop) -> Outcome:
    epochs = run.history.epochs()
    finished = state.epoch >= job.epochs
    if epochs:
        run.plot()
    if state.best:
        run.log(
            f"best {plan.figure(state.best)} after epoch {state.best['epoch']}; "
            f"after the last, {epochs[-1]['epoch']}: {plan.figure(epochs[-1])}"
        )
    if finished and state.best:
        plan.at_end(state.best, run.log)
    if not finished:
        run.log(f"stopped at epoch {state.epoch}, batch {state.batch}: --resume {run.directory} continues from there")
    best = f", best: {run.checkpoints.best_link}" if state.best else ""
    run.log(f"checkpoints: {run.checkpoints.newest()}{best}")
    run.log(f"history: {run.history.path}" + (f"; plot: {run.plot_path}" if epochs and run.plot_path.exists() else ""))
    code = 0 if finished else stop.exit_code
    return Outcome(run.directory, finished, code, state.best, epochs[-1] if epochs else None)
