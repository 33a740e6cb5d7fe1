"""A run of a training script, or one of its checkpoints, opened for use: options, weights, network."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict

import mxnet as mx

from .. import published
from ..errors import GluonAFFError, UsageError
from ..training.checkpoint import read_checkpoint
from .options.config import read_yaml
from .register import get_task, list_tasks
from .task import Task

#: Where weights once came from, and what only concerns training on several devices.
_FRESH = {"resume_from": None, "use_pretrained": None, "sync_bn": False}


@dataclass(frozen=True)
class FinishedRun:
    """``task`` is what it was trained for, ``checkpoint`` a folder, ``weights`` a file in it: the averaged ones
    where the run averages."""

    task: Task
    checkpoint: Path
    weights: Path
    state: Dict[str, Any]
    options: Namespace

    def network(self, ctx: Any) -> mx.gluon.HybridBlock:
        """With the checkpoint's weights. Raises UsageError when they do not fit."""
        net = self.task.network(self.options, self.state["data"].get("classes"), ctx)
        published.load(self.weights, net)
        return net


def open_run(path: Path) -> FinishedRun:
    """The checkpoint that ``path`` is, or a run's best one, or its newest before there is a best.

    Raises GluonAFFError when it has none or it is damaged, UsageError for a checkpoint that no script of ours wrote.
    """
    place = _checkpoint_of(path)
    state = read_checkpoint(place).state
    saved = state.get("options", {})
    name = state.get("task", "cifar" if "blocks" in saved else None)
    if name not in list_tasks():
        raise UsageError(f"{place} is not a checkpoint of a training script: give its model.params and --model")
    config = config_of(place)
    free = read_yaml(config) if config.is_file() else {}
    task = get_task(name)
    options = Namespace(**{**task.parser().defaults(), **free, **saved, **_FRESH})
    averaged = place / "ema.params"
    return FinishedRun(task, place, averaged if averaged.is_file() else place / "model.params", state, options)


def config_of(checkpoint: Path) -> Path:
    """Where the options of a checkpoint's run are."""
    return checkpoint.resolve().parents[1] / "config.yaml"


def _checkpoint_of(run: Path) -> Path:
    if (run / "state.json").is_file():
        return run
    if (run / "best").is_dir():
        return run / "best"
    found = sorted((run / "checkpoints").glob("epoch-*-batch-??????")) if (run / "checkpoints").is_dir() else []
    if not found:
        raise GluonAFFError(f"{run} is neither a run with a checkpoint nor a checkpoint of a training script")
    return found[-1]
