"""From what a user gives to every option of a run: command line over --config or --recipe over defaults."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict

from ...errors import GluonAFFError, UsageError
from ...training.history import HISTORY, History
from ..definition import TaskDefinition
from .config import check_same, flag, read_recipe, read_yaml
from .parser import OptionParser, Role

Options = Dict[str, Any]


def complete_options(task: TaskDefinition, given: Options) -> Namespace:
    """Every option of a run of ``task``. Raises UsageError, see `Task.options`."""
    parser = task.parser()
    asked = _asked(task, parser, given)
    options = {**parser.defaults(), **asked}
    own = None if "recipe" in asked or "config" in asked else task.default_recipe(options)
    if own:
        options.update({**_recipe(task, parser, own, given), **given})
    task.complete(options)
    if "" in (given.get("resume"), given.get("save_dir")):
        raise UsageError("--resume and --save-dir: expected the name of a run's directory, found ''")
    if isinstance(options["resume"], str):
        options["save_dir"] = options["resume"]
    options["save_dir"] = str(options["save_dir"] or task.directory(Namespace(**options)))
    if options["resume"]:
        options = _of_run(task, parser, options, asked)
    for name, reason in task.unused(options):
        if name in given:
            raise UsageError(f"{flag(name)} has no effect {reason}: leave it out")
    return Namespace(**options)


def identity(parser: OptionParser, options: Options) -> Options:
    """The options that make a run what it is."""
    return without(parser, options, Role.COMMAND, Role.FREE, Role.PLACE)


def without(parser: OptionParser, options: Options, *roles: Role) -> Options:
    """The options that have none of these roles."""
    left_out = parser.names(*roles)
    return {name: value for name, value in options.items() if name not in left_out}


def _asked(task: TaskDefinition, parser: OptionParser, given: Options) -> Options:
    if "config" in given and "recipe" in given:
        raise UsageError("--config holds all options of a run, a recipe's included: give it or --recipe, not both")
    if "config" in given:
        values = parser.checked(read_yaml(given["config"]), given["config"])
        if "save_dir" in values:  # a run's own, perhaps of a run older than some options
            values = {**parser.before(), **values}
        return {**without(parser, values, Role.COMMAND, Role.PLACE), **given}
    return {**_recipe(task, parser, given["recipe"], given), **given} if "recipe" in given else given


def _recipe(task: TaskDefinition, parser: OptionParser, name: str, given: Options) -> Options:
    values = parser.checked(read_recipe(task.name, name, given.get("model"), given), f"recipe {name}")
    task.adapt_recipe(values, given)
    return {**values, "recipe": name}


def _of_run(task: TaskDefinition, parser: OptionParser, options: Options, asked: Options) -> Options:
    """The options of the run in ``options["save_dir"]``, with those of ``asked`` that may change."""
    path = Path(options["save_dir"]) / "config.yaml"
    if not path.is_file():
        raise UsageError(f"nothing to resume: {path.parent} holds no run (no config.yaml)")
    _check_task(task, path.parent)
    older = {**identity(parser, parser.defaults()), **parser.before()}  # what is not said was not there to be chosen
    saved = {**older, **parser.checked(read_yaml(path), str(path))}
    free_length = saved["lr_mode"] in ("step", "constant") and not (saved.get("mixup") and saved["mixup_off_epoch"])
    check_same(saved, identity(parser, asked), str(path.parent), free_length)
    commands = parser.names(Role.COMMAND)
    mine = {name: value for name, value in options.items() if name in commands or name == "save_dir"}
    return {**parser.defaults(), **saved, **asked, **mine}


def _check_task(task: TaskDefinition, run: Path) -> None:
    """Raise UsageError for a run of another task; one whose history tells none passes."""
    try:
        other = History(run / HISTORY).header().get("task", task.name)
    except GluonAFFError:
        return
    if other != task.name:
        raise UsageError(f"{run} is a run of task {other}, not of {task.name}: gluon-aff train {other} resumes it")
