"""A run goes on: whether it may, in which form, and from which state."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Optional, Sequence

from .._version import __version__
from ..errors import UsageError
from ..nn import native
from ..training import Job, Run, State, restore
from ..training.checkpoint import Description, checkpoint_name, weights_in
from ..training.history import HISTORY, environment
from ..training.weights import read_description
from .config import flag


def resume(
    job: Job, run: Run, config: Dict[str, Any], facts: Dict[str, Any], accept: bool, accept_data: bool = False
) -> State:
    """Return the state that the run was left in, and put it into the job's network and optimizer.

    Raises UsageError where the run's devices or network are no longer what they were, and where its files or its data
    were changed, unless that is to ``accept``.
    """
    header = run.history.header()
    fixed = {name: facts["data"].get(name) for name in ("name", "classes")}
    began = {name: header.get("data", {}).get(name) for name in fixed}
    for name, before, now in (("data", began, fixed), *((n, header.get(n), facts[n]) for n in facts if n != "data")):
        if before != now:
            raise UsageError(f"{run.directory} cannot be resumed: {name} was {before}, is {now}")
    if header.get("threads") != os.environ.get("OMP_NUM_THREADS"):
        run.log(f"note: the run began with OMP_NUM_THREADS={header.get('threads')}; with another number bits differ")
    keep_form(job.group.broadcast_object(header), run.log)
    state = restore(job, run)
    if state.epoch > job.epochs:
        raise UsageError(f"{run.directory} has done {state.epoch} epochs already, --num-epochs is {job.epochs}")
    changed = changed_options(run) or run.history.changed(state.epoch, state.best, state.history)
    if changed and not accept:
        raise UsageError(f"{changed}; put it back as it was, or --accept-changed-run goes on with what it says now")
    other = changed_data(run, state, facts["data"])
    if other and not accept_data:
        raise UsageError(
            f"{run.directory} cannot be resumed, its data have changed: {other}; put them back as they were, or "
            "--accept-changed-data goes on with these"
        )
    if other and state.batch > len(job.loader):
        raise UsageError(
            f"{run.directory} was stopped at batch {state.batch} of an epoch that has {len(job.loader)} now ({other}): "
            "put the data back until it has ended"
        )
    if changed:
        run.log(f"note: {changed}")
    if other:
        run.log(f"note: the data have changed (--accept-changed-data): {other}")
    run.write_config(config)
    run.history.resume(
        state.epoch,
        {
            "epoch": state.epoch,
            "batch": state.batch,
            **environment(__version__),
            **({"data": facts["data"]} if other else {}),
        },
    )
    if changed or not state.history:  # a run of an earlier version has no digest
        state.history = run.history.digest(state.epoch)
    run.log(f"resumed {run.directory} at epoch {state.epoch}, batch {state.batch}")
    return state


def changed_data(run: Run, state: State, now: Dict[str, Any]) -> Optional[str]:
    """Return in words how the data differ from those that the checkpoint was trained on; None where they do not.

    What a run of an earlier version does not tell is taken to be the same.
    """
    before = run.restored.get("data") or run.history.header().get("data", {})
    said = [
        f"{name} was {before[name]}, is {value}"
        for name, value in now.items()
        if name != "files" and name in before and before[name] != value
    ]
    files = before.get("files", {})
    others = [part for part, digest in now.get("files", {}).items() if files.get(part, digest) != digest]
    if others:
        said.append(f"the files of {' and '.join(others)} are others, in their names, order or sizes")
    weights = weights_in(run.directory / "checkpoints" / checkpoint_name(state.epoch, state.batch))
    names, wanted = _class_names(read_description(weights)), _class_names(run.description)
    number = next((n for n, pair in enumerate(zip(names, wanted)) if pair[0] != pair[1]), None)
    if number is not None:
        said.append(f"class {number} was {names[number]!r}, is {wanted[number]!r}")
    return "; ".join(said) or None


def _class_names(description: Optional[Description]) -> Sequence[str]:
    return ((description or {}).get("input") or {}).get("classes") or ()


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
    elif native.active(began_with) != began_with:
        log(f"note: the run began with the native operator {began_with}, here is {native.active()}; bits differ")
