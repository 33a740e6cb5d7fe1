"""Hyper-parameters of our runs and of the authors' under the same names, side by side."""

from __future__ import annotations

import inspect
from argparse import Namespace
from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import UsageError
from ..models import model_entry
from ..nn import canonical_fusion, fusion_class, list_fusions
from ..tasks import get_task
from ..tasks.train import wanted_parts

Settings = Dict[str, Any]

#: What is compared, in the order of the table.
NAMES = (
    *("data", "labels", "outputs", "training images", "validation images", "base size"),
    *("host", "fusion", "r", "blocks", "width", "first fused stage", "deep stem", "start weights"),
    *("devices", "images per update", "epochs", "optimizer"),
    *("learning rate", "schedule", "warm-up epochs", "decay at epochs", "decay factor"),
    *("momentum", "weight decay", "norms and biases decayed"),
    *("mixup alpha", "last epochs without mixup", "label smoothing", "AutoAugment", "precision"),
)
#: Of a network: the name, and the option of ours and the authors' flag for it.
_NETWORK = {"first fused stage": "start_layer", "blocks": "blocks", "width": "channel_times", "deep stem": "deep_stem"}


class Row(NamedTuple):
    """One setting of two runs. ``same`` is None where one side is not known."""

    name: str
    run: Any
    reference: Any
    same: Optional[bool]


def side_by_side(run: Settings, reference: Settings) -> List[Row]:
    """The settings that at least one run has; a value is None where the run has no such setting or it is not known."""
    rows = []
    for name in NAMES:
        mine, theirs = run.get(name), reference.get(name)
        if mine is not None or theirs is not None:
            rows.append(Row(name, mine, theirs, mine == theirs if name in run and name in reference else None))
    return rows


def settings_of_header(header: Dict[str, Any]) -> Settings:
    """From the header of a run's history: its task's options and what became of them."""
    options = header.get("options", {})
    if "dataset" not in options:
        return {}
    devices, data = len(header.get("devices", [])) or 1, header.get("data", {})
    images = options["batch_size"] * (wanted_parts(Namespace(**options)) or devices) * options["accumulate"]
    settings = {
        "data": options["dataset"],
        **_network_of_options(header.get("task", "cifar"), options),
        "outputs": data.get("classes"),
        "training images": data.get("train"),
        "validation images": data.get("held_out", data.get("test")),
        **({"base size": options["base_size"]} if "base_size" in options else {}),
        "start weights": options.get("resume_from"),
        "devices": devices,
        "images per update": images,
        "epochs": options["num_epochs"],
        "optimizer": options["optimizer"],
        "momentum": options["momentum"],
        "precision": options["dtype"],
        **_augmentation(options, "paper"),  # as all runs had it before there was a choice
        "weight decay": options["wd"],
        "norms and biases decayed": not options["no_wd"],
        **_schedule_of_options(options),
    }
    unknown = [name for name in ("outputs", "training images", "validation images") if settings[name] is None]
    return {name: value for name, value in settings.items() if name not in unknown}


def _network_of_options(task: str, options: Dict[str, Any]) -> Settings:
    found = get_task(task).model_args(options)
    if found is None:
        return {
            "host": get_task(task).model_name(Namespace(**options)),
            "fusion": _fusion(options.get("fusion", "add")),
        }
    return {"labels": options["labels"] if options["dataset"] == "cifar100" else None, **_network(*found)}


def settings_of_flags(flags: Dict[str, Any], network: Optional[Dict[str, Any]] = None) -> Settings:
    """From the authors' flags. What a flag does not tell is left out.

    network: name and options for create_model where the network is known; without it, what the flags say of it.
    """
    devices = flags.get("num_gpus") or max(1, len([gpu for gpu in str(flags.get("gpus", "")).split(",") if gpu]))
    settings: Settings = {"optimizer": flags.get("optimizer", "nag"), "devices": devices}
    direct = {"epochs": "num_epochs", "momentum": "momentum", "precision": "dtype", "start weights": "start"}
    direct["base size"] = "base_size"  # of segmentation
    if network:
        settings.update(_network(network["name"], network["options"]))
    else:
        direct.update(_NETWORK)
        settings.update({"host": str(flags["model"])} if flags.get("model") else {})
        settings.update({"fusion": _fusion(flags["askc_type"])} if flags.get("askc_type") else {})
    settings.update({name: flags[flag] for name, flag in direct.items() if flag in flags})
    settings.setdefault("precision", "float32")
    if "batch_size" in flags:
        settings["images per update"] = flags["batch_size"] * devices
    if "lr" in flags:
        settings.update(_schedule_of_flags(flags) if "fuse_mode" not in flags else {"learning rate": flags["lr"]})
    if "wd" in flags:
        settings.update({"weight decay": flags["wd"], "norms and biases decayed": not flags.get("no_wd", False)})
    settings.update(_augmentation(flags, "published"))
    return settings


def _augmentation(flags: Dict[str, Any], variant: str) -> Settings:
    """``variant``: of AutoAugment, where the flags do not tell."""
    settings: Settings = {}
    if flags.get("mixup"):
        settings["mixup alpha"] = flags.get("mixup_alpha", 1)
        if "mixup_off_epoch" in flags:
            settings["last epochs without mixup"] = flags["mixup_off_epoch"]
    elif "mixup" in flags:
        settings.update({"mixup alpha": "no mixup", "last epochs without mixup": None})
    if "label_smoothing" in flags:
        settings["label smoothing"] = bool(flags["label_smoothing"])
    if "auto_aug" in flags:
        unread = flags.get("auto_aug_input") == "folder" and flags.get("use_rec")
        applied = flags["auto_aug"] and not unread
        settings["AutoAugment"] = flags.get("auto_aug_policy", variant) if applied else "none"
    return settings


def _schedule_of_options(options: Dict[str, Any]) -> Settings:
    from ..training.schedule import decay_epochs, warmup_epochs

    mode, chosen = options["lr_mode"], Namespace(**options)
    warm, decays = warmup_epochs(chosen), decay_epochs(chosen)
    if mode == "step" and options.get("step_timing") == "published":
        warm, decays = 0, [max(epoch - warm, 0) for epoch in decays]
    return _schedule(options["lr"], mode, warm, decays, options["lr_decay"])


def _schedule_of_flags(flags: Dict[str, Any]) -> Settings:
    mode = flags.get("lr_mode") or ("cosine" if flags.get("cosine") else "step")
    decays = [int(epoch) for epoch in str(flags.get("lr_decay_epoch", "")).split(",") if epoch]
    return _schedule(flags["lr"], mode, flags.get("warmup_epochs"), decays, flags.get("lr_decay"))


def _schedule(lr: float, mode: str, warm: Optional[int], decays: List[int], factor: Optional[float]) -> Settings:
    settings: Settings = {"learning rate": lr, "schedule": mode}
    if warm is not None:
        settings["warm-up epochs"] = warm
    stepped = {"decay at epochs": ",".join(map(str, decays)), "decay factor": factor}
    return {**settings, **(stepped if mode == "step" else dict.fromkeys(stepped))}


def _network(name: str, given: Dict[str, Any]) -> Settings:
    """From a registered model's name and options."""
    entry = model_entry(name)
    options, accepted = {**entry.options, **given}, entry.accepts()
    fusion = options.get("fusion", "add")
    settings = {
        "host": _host(name),
        "fusion": _fusion(fusion),
        "r": _ratio(name, fusion, options.get("r")),
        "outputs": options.get("classes"),
    }
    for setting, option in _NETWORK.items():
        if option in given or option in accepted and (option != "deep_stem" or name.startswith("cifar_")):
            settings[setting] = options.get(option, _default(name, option))
    return {name: value for name, value in settings.items() if value is not None or name == "r"}


def _host(name: str) -> str:
    """The network without what the other rows say: 'cifar resnet', 'resnext50 (paper)'."""
    base, _, tag = name.partition(".")
    family = base.replace("cifar_", "cifar ").replace("iaff_", "").replace("aff_", "").replace("acm_", "")
    if "blocks" in model_entry(name).accepts():
        family = family.replace("_32x4d", "").rstrip("0123456789")
    return f"{family} ({tag})" if tag == "paper" else family


def _fusion(name: str) -> str:
    try:
        return canonical_fusion(name)
    except UsageError:
        return name


def _ratio(model: str, fusion: str, r: Optional[int]) -> Optional[int]:
    """The fusion's bottleneck ratio; None for a fusion without one."""
    name = _fusion(fusion)
    if name in list_fusions() and not fusion_class(name).uses_ratio:
        return None
    return r if r is not None else _default(model, "r")


def _default(model: str, option: str) -> Any:
    """What a network's constructor, or the one it hands its options on to, takes for an option that is not given."""
    for kind in model_entry(model).network.__mro__:
        parameter = inspect.signature(kind.__init__).parameters.get(option)  # type: ignore[misc]
        if parameter:
            return parameter.default
    return None
