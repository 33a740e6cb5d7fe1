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
from . import cifar, imagenet, seg
from .options.config import read_yaml

_TASKS = {"cifar": cifar, "imagenet": imagenet, "seg": seg}
#: Where weights once came from, and what only concerns training on several devices.
_FRESH = {"resume_from": None, "use_pretrained": None, "sync_bn": False}


@dataclass(frozen=True)
class FinishedRun:
    """``task`` is "cifar", "imagenet" or "seg", ``checkpoint`` a folder, ``weights`` a file in it: the averaged ones
    where the run averages."""

    task: str
    checkpoint: Path
    weights: Path
    state: Dict[str, Any]
    options: Namespace

    def network(self, ctx: Any) -> mx.gluon.HybridBlock:
        """With the checkpoint's weights. Raises UsageError when they do not fit."""
        classes = [] if self.task == "seg" else [self.state["data"]["classes"]]
        net = _TASKS[self.task].build_network(self.options, *classes, ctx=ctx)
        published.load(self.weights, net)
        return net


def open_run(path: Path) -> FinishedRun:
    """The checkpoint that ``path`` is, or a run's best one, or its newest before there is a best.

    Raises GluonAFFError when it has none or it is damaged, UsageError for a checkpoint that no script of ours wrote.
    """
    place = _checkpoint_of(path)
    state = read_checkpoint(place).state
    saved = state.get("options", {})
    task = state.get("task", "cifar" if "blocks" in saved else None)
    if task not in _TASKS:
        raise UsageError(f"{place} is no checkpoint of a training script: give its model.params and --model")
    config = config_of(place)
    free = read_yaml(config) if config.is_file() else {}
    options = Namespace(**{**_TASKS[task].TASK.parser().defaults(), **free, **saved, **_FRESH})
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
