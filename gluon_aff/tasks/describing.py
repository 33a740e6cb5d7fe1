"""What the weights of a run are to say of themselves, see `training.checkpoint`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Dict, Optional

import mxnet as mx

from .._version import __version__
from ..errors import UsageError
from ..evaluation.trained_network import head_width
from ..training.checkpoint import Description
from .definition import Options, TaskDefinition
from .parts import Data


def describe_run(task: TaskDefinition, options: Namespace, data: Data, net: mx.gluon.HybridBlock) -> Description:
    """The description of a run's weights, but for their figure.

    Its entries: gluon_aff (version), task, name (of the network, for people), network (for ``create_model``; None for
    one of the task's own), data (under the names of `DataOptions`, without the place), input (of `NetworkInput`; None
    where the task shows its networks no pictures) and metric.
    """
    known = {**task.data_facts(options), **task.loaded_data_facts(data)}
    outputs = data.outputs or head_width(net)
    return {
        "gluon_aff": __version__,
        "task": task.name,
        "name": task.model_name(options),
        "network": getattr(net, "call", None),
        "data": {name: value for name, value in known.items() if name not in ("data", "ground_truth", "classes")},
        "input": None if outputs is None else _input(task, known, outputs),
        "metric": task.metric_of(options),
    }


def _input(task: TaskDefinition, known: Options, outputs: int) -> Optional[Dict[str, Any]]:
    try:
        return task.network_input(known, outputs).to_json()
    except UsageError:  # of a task without `network_input`
        return None
