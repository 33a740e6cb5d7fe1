"""A run's options: defaults, a recipe, a configuration file and the command line, one over the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml

from ...errors import UsageError
from ...utils.files import PathLike

RECIPES = Path(__file__).with_name("recipes")


def list_recipes(task: str) -> List[str]:
    return sorted(path.stem[len(task) + 1 :] for path in RECIPES.glob(f"{task}-*.yaml"))


def every_recipe() -> Dict[str, str]:
    """``<task>-<name>`` of every recipe, sorted, to what it is for."""
    return {path.stem: " ".join(read_yaml(path)["about"].split()) for path in sorted(RECIPES.glob("*.yaml"))}


def read_recipe(
    task: str, name: str, model: Optional[str] = None, given: Optional[Dict[str, Any]] = None
) -> Dict[str, Any]:
    """The options that a recipe fills in for a host network (default: the recipe's own).

    A recipe is ``recipes/<task>-<name>.yaml``: ``about``, ``options``, under ``models`` what differs by network, and
    in ``cases`` what differs by other options: each has its ``options`` where all of ``when`` is so, or one of a list
    of values, in what is ``given`` or else in the recipe. ``differs`` are lines on where paper and code disagree.
    Raises UsageError for an unknown recipe, and for a network that it does not cover.
    """
    if name not in list_recipes(task):
        raise UsageError(f"recipe {name!r} is unknown; choose from {', '.join(list_recipes(task))}")
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


def check_same(saved: Dict[str, Any], asked: Dict[str, Any], where: str, independent_of_length: bool) -> None:
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
