"""A run of a training script, or one of its checkpoints, opened for use: options, weights, network."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

import mxnet as mx

from .. import published
from ..errors import GluonAFFError, UsageError
from ..training.checkpoint import Damaged, Description, find_checkpoint, read_checkpoint, read_description, weights_in
from ..training.history import HISTORY, History
from .options.config import read_yaml
from .register import get_task, list_tasks
from .task import Task

#: Where weights once came from, and what only concerns training on several devices.
_FRESH = {"resume_from": None, "use_pretrained": None, "sync_bn": False}


@dataclass(frozen=True)
class FinishedRun:
    """``task`` is what it was trained for, ``checkpoint`` a folder, ``weights`` a file in it: the averaged ones
    where the run averages. ``description`` is what these say of themselves; None in runs of earlier versions."""

    task: Task
    checkpoint: Path
    weights: Path
    state: Dict[str, Any]
    options: Namespace
    description: Optional[Description] = None

    def network(self, ctx: Any) -> mx.gluon.HybridBlock:
        """With the checkpoint's weights. Raises UsageError when they do not fit."""
        net = self.task.network(self.options, self.state["data"].get("classes"), ctx)
        published.load(self.weights, net)
        return net


def open_run(path: Path, which: str = "best") -> FinishedRun:
    """The checkpoint that ``path`` is, or a run's best or last one, see `find_checkpoint`.

    Raises GluonAFFError when it has none or it is damaged, UsageError for a checkpoint that no script of ours wrote.
    """
    place = find_checkpoint(path, which)
    if place is None:
        raise GluonAFFError(f"{path} is neither a run with a checkpoint nor a checkpoint of a training script")
    state = read_checkpoint(place).state
    saved, data = state.get("options", {}), state.get("data", {})
    if not isinstance(saved, dict) or not isinstance(data, dict):
        raise Damaged(place, "state.json has options or data that are no list of names and values")
    name = state.get("task", "cifar" if "blocks" in saved else None)
    if not isinstance(name, str) or name not in list_tasks():
        raise UsageError(f"{place} is not a checkpoint of a training script: give its model.params and --model")
    config = config_of(place)
    free = read_yaml(config) if config.is_file() else {}
    task = get_task(name)
    known = task.parser().defaults()
    for values, source in ((free, str(config)), (saved, f"{place}/state.json")):
        if not isinstance(values, dict):
            raise UsageError(f"{source} is not a list of 'option: value' lines")
        task.parser().checked({name: value for name, value in values.items() if name in known}, source)
    options = Namespace(**{**task.parser().defaults(), **free, **saved, **_FRESH})
    weights = weights_in(place)
    return FinishedRun(task, place, weights, state, options, read_description(weights))


def config_of(checkpoint: Path) -> Path:
    """Where the options of a checkpoint's run are."""
    return checkpoint.resolve().parents[1] / "config.yaml"


def commits_of(checkpoint: Path) -> List[str]:
    """What a checkpoint was trained at; empty where its run's history is not there or cannot be read."""
    try:
        return History(config_of(checkpoint).with_name(HISTORY)).commits()
    except GluonAFFError:
        return []
