"""What is scored: a network with its weights, and what is known of the images it is for."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional

import mxnet as mx


@dataclass
class Claim:
    """A figure that was published or logged for these weights. ``epoch``: of the run, counted from 0."""

    by: str
    metric: str
    value: float
    images: int
    dataset: str
    labels: Optional[str] = None
    run: Optional[str] = None
    epoch: Optional[int] = None


@dataclass
class TrainedNetwork:
    """A network with its weights.

    Attributes
    ----------
    name : str
        What the user called it.
    file : Path
        Of its weights.
    task : str
        Name of the task that it was trained for.
    network : str
        What it is, in words.
    net : HybridBlock
    data : dict
        What the weights tell of their images: defaults for `DataOptions`.
    claim : Claim or None
        A figure that is known for it.
    options : Namespace or None
        Of its training, where it is a run of ours.
    """

    name: str
    file: Path
    task: str
    network: str
    net: mx.gluon.HybridBlock
    data: Dict[str, Any] = field(default_factory=dict)
    claim: Optional[Claim] = None
    options: Optional[Namespace] = None
