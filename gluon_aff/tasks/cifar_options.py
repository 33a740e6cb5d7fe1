"""The options of a CIFAR run, from the command line, a recipe, a configuration file or the run to be resumed."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import yaml

from ..data import DATASETS
from ..errors import UsageError
from ..nn import AUTHORS_KEYS, canonical_fusion, list_fusions
from ..training import options as groups
from ..training.config import COMMANDS, FREE, PLACES, check_same, read_recipe, read_yaml
from ..training.parser import OptionParser

TASK = "cifar"
MODELS = ("resnet", "resnext", "inception")
_SAME_ARITHMETIC = ("add", "aff", "iaff", "aff_global_global", "aff_local_local")


def build_parser() -> OptionParser:
    parser = OptionParser(
        prog="train_cifar.py",
        description="Train an attentional feature fusion network on CIFAR or on images like CIFAR's.",
    )
    groups.data_options(parser, DATASETS, "cifar100")
    groups.model_options(parser, MODELS, fusion_name, list_fusions())
    groups.optimisation_options(parser)
    groups.run_options(parser)
    return parser


def parse_options(argv: Optional[Sequence[str]] = None) -> Namespace:
    """Every option of a run, complete: what is given wins over --config and --recipe, these win over the defaults.

    With --resume the run's own config.yaml takes the place of the defaults, and what is given must agree with it.
    The handwritten digits come with the recipe "quick" unless another recipe or a configuration is given.
    Raises UsageError.
    """
    parser = build_parser()
    given = parser.given(argv)
    asked = _asked(parser, given)
    options = {**parser.defaults(), **asked}
    if options["dataset"] == "digits" and not ("recipe" in asked or "config" in asked):
        options.update({**_recipe(parser, "quick", given), **given})
    if options["channel_times"] is None:
        options["channel_times"] = 1 if options["model"] == "inception" else 4
    if isinstance(options["resume"], str):
        options["save_dir"] = options["resume"]
    options["save_dir"] = str(options["save_dir"] or default_directory(Namespace(**options)))
    if options["resume"]:
        options = _of_run(parser, options, asked)
    return Namespace(**options)


def _asked(parser: OptionParser, given: Dict[str, Any]) -> Dict[str, Any]:
    if "config" in given and "recipe" in given:
        raise UsageError("--config holds all options of a run, a recipe's included: give it or --recipe, not both")
    if "config" in given:
        values = parser.checked(read_yaml(given["config"]), given["config"])
        return {**{name: value for name, value in values.items() if name not in (*COMMANDS, *PLACES)}, **given}
    return {**_recipe(parser, given["recipe"], given), **given} if "recipe" in given else given


def _recipe(parser: OptionParser, name: str, given: Dict[str, Any]) -> Dict[str, Any]:
    values = parser.checked(read_recipe(TASK, name, given.get("model")), f"recipe {name}")
    if given.get("dataset", values["dataset"]) != "cifar100":
        values.pop("labels", None)  # a recipe's coarse labels are CIFAR-100's
    return {**values, "recipe": name}


def _of_run(parser: OptionParser, options: Dict[str, Any], asked: Dict[str, Any]) -> Dict[str, Any]:
    """The options of the run in ``options["save_dir"]``, with those of ``asked`` that may change."""
    path = Path(options["save_dir"]) / "config.yaml"
    if not path.is_file():
        raise UsageError(f"nothing to resume: {path.parent} holds no run (no config.yaml)")
    saved = parser.checked(read_yaml(path), str(path))
    free_length = saved["lr_mode"] in ("step", "constant") and not (saved["mixup"] and saved["mixup_off_epoch"])
    check_same(saved, {k: v for k, v in asked.items() if k not in (*COMMANDS, *FREE)}, str(path.parent), free_length)
    mine = {name: options[name] for name in (*COMMANDS, "save_dir")}
    return {**parser.defaults(), **saved, **asked, **mine}


def recipe_text(options: Namespace) -> str:
    """A recipe's options as YAML that --config reads."""
    if options.recipe is None:
        raise UsageError("--print-recipe prints the recipe that --recipe names")
    values = read_recipe(TASK, options.recipe, options.model)
    return f"# recipe {options.recipe} for {options.model}\n" + yaml.safe_dump(values, sort_keys=False)


def fusion_name(text: str) -> str:
    """An argparse type: a fusion's name, the field's where the authors' key means the same arithmetic."""
    try:
        name = canonical_fusion(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from None
    return name if name in _SAME_ARITHMETIC else text


def depth(options: Namespace) -> int:
    """A network's depth in its own counting."""
    return (9 if options.model == "resnext" else 6) * options.blocks + 2


def model_name(options: Namespace) -> str:
    """``cifar_aff_resnet32`` and the like."""
    prefix = "" if options.fusion == "add" else f"{canonical_fusion(options.fusion)}_"
    return f"cifar_{prefix}{options.model}{depth(options)}"


def default_directory(options: Namespace) -> Path:
    return Path("runs") / f"{options.dataset}-{model_name(options)}-{options.seed}"


def best_file_name(options: Namespace, best: Dict[str, Any]) -> str:
    """The authors' name of a best parameter file: ``0.8357-cifar100-ASKCFuse-resnet-32-c-4-s-1-best.params``."""
    keys = {name: key for key, name in reversed(list(AUTHORS_KEYS.items()))}
    host = "resneXt" if options.model == "resnext" else options.model
    fusion = keys.get(options.fusion, options.fusion)
    return (
        f"{best['val']:.4f}-{options.dataset}-{fusion}-{host}-{depth(options)}"
        f"-c-{options.channel_times}-s-{options.start_layer}-best.params"
    )
