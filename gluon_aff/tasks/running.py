"""A task's training run, from complete options to what became of it."""

from __future__ import annotations

import os
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import mxnet as mx

from ..models.summary import count_parameters
from ..nn import native
from ..runtime import threads
from ..training import Facts, Job, LogBuffer, Outcome, Plan, Run, carry_out, check_free, group, train_along
from ..training.listeners import check_tensorboard
from ..training.optim import resolve_dtype, start_mixed_precision
from ..training.schedule import warmup_epochs
from ..utils.streams import outliving_terminal
from .definition import TaskDefinition
from .describing import describe_run
from .final_test import score_once, wanted
from .options.completing import identity, without
from .options.parser import Role
from .parts import Setup
from .update_size import describe, find_devices, share


@outliving_terminal()
def train(task: TaskDefinition, options: Namespace) -> Outcome:
    """Start or resume the run in ``options.save_dir``, to its end or until a signal stops it.

    Of several ranks only the first has a run; the others train along and keep nothing. Raises as `Task.train` does.
    """
    found = find_devices(options)
    dtype = resolve_dtype(options.dtype, found)
    mixed = start_mixed_precision(dtype, found)
    ranks = group(found)
    shared = share(options, found, ranks.size)
    contexts = shared.devices
    if ranks.rank == 0 and not options.resume:  # it may have begun before the others get here
        check_free(options.save_dir, options.overwrite, options.logging_dir, options.save_plot_dir)
    setup = Setup(contexts, ranks, mixed, options.dtype is not None, LogBuffer(), shared.rounds)
    options.dtype = dtype

    data = task.data(options, setup)
    net = task.network(options, data.outputs, contexts)
    job = task.job(options, setup, data, net)
    if ranks.rank > 0:
        return train_along(job, Path(options.save_dir), options.resume, setup.log, keep_form)

    if options.tensorboard:
        check_tensorboard()
    facts = Facts(data.facts, [str(context) for context in contexts] * ranks.size, count_parameters(net)[0])
    details = {"task": task.name, "options": identity(task.parser(), vars(options)), **asdict(facts)}
    if not options.resume:
        details["native"] = native.active()
    config = without(task.parser(), vars(options), Role.COMMAND)
    introduction, notes = task.introduction(options, data, facts.parameters), task.notes(options, data)
    end = partial(score_once, net, partial(task.test, options, setup, data, net), Path(options.save_dir))
    plan = Plan(
        resume=bool(options.resume),
        config=config,
        facts=facts,
        introduction=[
            *_introduce_machine(facts),
            *introduction,
            *_introduce_training(options, job),
            describe(options, shared, len(found), ranks.size),
            *notes,
        ],
        figure=task.figure,
        log=setup.log,
        tensorboard=options.tensorboard,
        overwrite=options.overwrite,
        take_up=keep_form,
        **({"at_end": lambda best, log: end(best, task.figure, log)} if wanted(options) else {}),
    )
    run = Run(
        options.save_dir,
        details,
        description=describe_run(task, options, data, net),
        log_dir=options.logging_dir,
        log_file=options.logging_file,
        plot_dir=options.save_plot_dir,
        save_period=options.save_period,
        line=task.log_line,
        best_name=partial(task.best_file, options),
    )
    return carry_out(job, run, plan)


def keep_form(header: Dict[str, Any], log: Callable[[str], None]) -> None:
    """Fusions of a resumed run go on in the form that it began with: the native operator's identity, or none."""
    began_with = header.get("native")
    if began_with is None:
        if native.identity and native.enabled:
            log("note: the run began without the native operator and goes on without it")
        native.enabled = False
    elif native.active() != began_with:
        log(f"note: the run began with the native operator {began_with}, here is {native.active()}; bits differ")


def _introduce_machine(facts: Facts) -> Iterator[str]:
    set_to = os.environ.get(threads.VARIABLE, "1")
    yield f"device: {', '.join(facts.devices)}; {threads.VARIABLE}={set_to}; MXNet {mx.__version__}"


def _introduce_training(options: Namespace, job: Job) -> Iterator[str]:
    """Length, schedule, seed and start weights."""
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
