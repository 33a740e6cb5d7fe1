"""A run goes on: whether it may, in which form, and from which state."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Optional

from .._version import __version__
from ..errors import UsageError
from ..nn import native
from ..training import Job, Run, State, restore
from ..training.history import HISTORY, environment
from .config import flag


def resume(job: Job, run: Run, config: Dict[str, Any], facts: Dict[str, Any], accept: bool) -> State:
    """Return the state that the run was left in, and put it into the job's network and optimizer.

    Raises UsageError where the run's data, devices or network are no longer what they were, and where its files were
    changed, unless that is to ``accept``.
    """
    header = run.history.header()
    for name, now in facts.items():
        if header.get(name) != now:
            raise UsageError(f"{run.directory} cannot be resumed: {name} was {header.get(name)}, is {now}")
    if header.get("threads") != os.environ.get("OMP_NUM_THREADS"):
        run.log(f"note: the run began with OMP_NUM_THREADS={header.get('threads')}; with another number bits differ")
    keep_form(job.group.broadcast_object(header), run.log)
    state = restore(job, run)
    if state.epoch > job.epochs:
        raise UsageError(f"{run.directory} has done {state.epoch} epochs already, --num-epochs is {job.epochs}")
    changed = changed_options(run) or run.history.changed(state.epoch, state.best, state.history)
    if changed and not accept:
        raise UsageError(f"{changed}; put it back as it was, or --accept-changed-run goes on with what it says now")
    if changed:
        run.log(f"note: {changed}")
    run.write_config(config)
    run.history.resume(state.epoch, {"epoch": state.epoch, "batch": state.batch, **environment(__version__)})
    if changed or not state.history:  # a run of an earlier version has no digest
        state.history = run.history.digest(state.epoch)
    run.log(f"resumed {run.directory} at epoch {state.epoch}, batch {state.batch}")
    return state


def changed_options(run: Run) -> Optional[str]:
    """Return in words where config.yaml or the history's header say other options than the checkpoint's digest covers.

    A run may have been made longer.
    """
    wrote = run.restored.get("options", {})
    for name, options in (("config.yaml", run.details["options"]), (HISTORY, run.history.header().get("options", {}))):
        now = json.loads(json.dumps(options))  # as it was written: lists for tuples
        changed = [key for key, value in wrote.items() if key != "num_epochs" and now.get(key, value) != value]
        if changed:
            listed = ", ".join(f"{flag(key)} was {wrote[key]}, is {now[key]}" for key in changed)
            return f"{run.directory / name} was changed: {listed}"
    return None


def resume_along(job: Job, log: Callable[[str], None]) -> State:
    """Do on a rank that is not the first what the first does in `resume`; return this rank's state."""
    keep_form(job.group.broadcast_object(None), log)
    return restore(job, None)


def keep_form(header: Dict[str, Any], log: Callable[[str], None]) -> None:
    """Let a resumed run's fusions go on in the form that it began with: the native operator's identity, or none."""
    began_with = header.get("native")
    if began_with is None:
        if native.identity and native.enabled:
            log("note: the run began without the native operator and goes on without it")
        native.enabled = False
    elif native.active() != began_with:
        log(f"note: the run began with the native operator {began_with}, here is {native.active()}; bits differ")
