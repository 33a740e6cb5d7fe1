"""Where a run's options come from: command line over --config or --recipe over defaults; on resume, from its run."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml

from ..errors import GluonAFFError, UsageError, near_matches
from ..training.history import HISTORY, History
from ..utils.files import PathLike, last_name
from .options import OptionParser, Role

Options = Dict[str, Any]  # below, ``task`` is a `Task`, which is defined above this module


def complete_options(task: Any, given: Options) -> Namespace:
    """Every option of a run of ``task``; ``save_dir`` is None where the run is to choose one.

    Raises UsageError, see `Task.options`.
    """
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
    if not options["save_dir"] and (options["resume"] or options["overwrite"]):
        options["save_dir"] = str(last_name(task.directory(Namespace(**options))))
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


def _asked(task: Any, parser: OptionParser, given: Options) -> Options:
    if "config" in given and "recipe" in given:
        raise UsageError("--config holds all options of a run, a recipe's included: give it or --recipe, not both")
    if "config" in given:
        values = parser.checked(read_yaml(given["config"]), given["config"])
        if "save_dir" in values:  # a run's own, perhaps of a run older than some options
            values = {**parser.before(), **values}
        return {**without(parser, values, Role.COMMAND, Role.PLACE), **given}
    return {**_recipe(task, parser, given["recipe"], given), **given} if "recipe" in given else given


def _recipe(task: Any, parser: OptionParser, name: str, given: Options) -> Options:
    values = parser.checked(read_recipe(task.recipes, name, given.get("model"), given), f"recipe {name}")
    task.adapt_recipe(values, given)
    return {**values, "recipe": name}


def _of_run(task: Any, parser: OptionParser, options: Options, asked: Options) -> Options:
    """The options of the run in ``options["save_dir"]``, with those of ``asked`` that may change."""
    run = Path(options["save_dir"])
    if not (run / "config.yaml").is_file():
        raise UsageError(f"nothing to resume: {run} holds no run (no config.yaml)")
    _check_task(task, run)
    saved = saved_options(parser, run)
    free_length = saved["lr_mode"] in ("step", "constant") and not (saved.get("mixup") and saved["mixup_off_epoch"])
    check_same(saved, identity(parser, asked), str(run), free_length)
    commands = parser.names(Role.COMMAND)
    mine = {name: value for name, value in options.items() if name in commands or name == "save_dir"}
    return {**parser.defaults(), **saved, **asked, **mine}


def saved_options(parser: OptionParser, run: Path) -> Options:
    """What config.yaml of a run says; what it does not say was not there to be chosen."""
    path = run / "config.yaml"
    older = {**identity(parser, parser.defaults()), **parser.before()}
    return {**older, **parser.checked(read_yaml(path), str(path))}


def _check_task(task: Any, run: Path) -> None:
    """Raise UsageError for a run of another task; one whose history tells none passes."""
    try:
        other = History(run / HISTORY).header().get("task", task.name)
    except GluonAFFError:
        return
    if other != task.name:
        raise UsageError(f"{run} is a run of task {other}, not of {task.name}: gluon-aff train {other} resumes it")


RECIPES = Path(__file__).with_name("recipes")


def list_recipes(task: str) -> List[str]:
    return sorted(path.stem[len(task) + 1 :] for path in RECIPES.glob(f"{task}-*.yaml"))


def every_recipe() -> Dict[str, str]:
    """``<task>-<name>`` of every recipe, sorted, to what it is for."""
    return {path.stem: " ".join(read_yaml(path)["about"].split()) for path in sorted(RECIPES.glob("*.yaml"))}


def read_recipe(task: str, name: str, model: Optional[str] = None, given: Optional[Options] = None) -> Options:
    """The options that a recipe fills in for a host network (default: the recipe's own).

    A recipe is ``recipes/<task>-<name>.yaml``: ``about``, ``options``, under ``models`` what differs by network, and
    in ``cases`` what differs by other options: each has its ``options`` where all of ``when`` is so, or one of a list
    of values, in what is ``given`` or else in the recipe. ``differs`` are lines on where paper and code disagree.
    Raises UsageError for an unknown recipe, and for a network that it does not cover.
    """
    known = list_recipes(task)
    if name not in known:
        near = f"{near_matches(name, known)}; `gluon-aff recipes '{task}-*'` lists what each is for"
        raise UsageError(f"recipe {name!r} is unknown: {near if known else 'this task has no recipes'}")
    recipe = read_yaml(RECIPES / f"{task}-{name}.yaml")
    options, models = dict(recipe["options"]), recipe.get("models", {})
    model = model or options.get("model") or next(iter(models), None)
    if models and model not in models:
        raise UsageError(f"recipe {name!r} has no {model}: it is for {', '.join(models)}")
    if model:
        options["model"] = model
    options.update(models.get(model, {}))
    chosen = {**options, **(given or {})}
    for case in recipe.get("cases", []):
        if all(
            chosen.get(key) in (value if isinstance(value, list) else [value]) for key, value in case["when"].items()
        ):
            options.update(case["options"])
    return options


def disagreements(task: str, name: str) -> List[str]:
    """Where the paper and the authors' code disagree about what a recipe states, a line each."""
    return list(read_yaml(RECIPES / f"{task}-{name}.yaml").get("differs", []))


def read_yaml(path: PathLike) -> Any:
    """A YAML file of plain values. Raises UsageError when it cannot be read."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_PlainLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except (yaml.YAMLError, ValueError) as error:  # of dates and numbers that are none
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


class _PlainLoader(yaml.SafeLoader):
    """Plain values in lists and dictionaries, a few deep: no reference to another value, which can multiply."""

    _DEEPEST = 10
    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it refers from one value to another by *name")
        if self._depth >= self._DEEPEST:
            raise yaml.YAMLError(f"its lists are more than {self._DEEPEST} deep")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def check_same(saved: Options, asked: Options, where: str, independent_of_length: bool) -> None:
    """Raise UsageError naming the options in which a resumed run would differ from what it was.

    ``--num-epochs`` may change when nothing done so far depends on it.
    """
    different = [name for name in asked if name in saved and asked[name] != saved[name]]
    if independent_of_length and "num_epochs" in different:
        different.remove("num_epochs")
    if not different:
        return
    listed = ", ".join(f"{flag(name)} was {saved[name]}, is {asked[name]}" for name in different)
    why = ""
    if "num_epochs" in different:
        why = " (the schedule, or the epoch in which mixup ends, depends on the number of epochs)"
    raise UsageError(
        f"{where} cannot be resumed with other options: {listed}{why}; leave them out, or start over elsewhere "
        "with --save-dir"
    )


def flag(name: str) -> str:
    """An option as it stands on the command line."""
    return "--" + name.replace("_", "-")
