"""What a user asks of a score, and what every task's report can do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence

import mxnet as mx

from ..errors import UsageError
from ..utils.files import write_json


@dataclass
class ScoreRequest:
    """How to score a network.

    Attributes
    ----------
    devices : list of Context
    data : dict
        What the user says of the images, under the names of `DataOptions`.
    protocol, passes
        See `score`; for classification.
    batch_size : int or None
        Over all devices; None for the task's own.
    workers : int
        Threads that make batches.
    skip_bad : bool
        Leave unreadable images out.
    environment : dict
        Versions, command and commit for the report.
    """

    devices: List[mx.Context]
    data: Dict[str, Any] = field(default_factory=dict)
    protocol: str = "exact"
    passes: int = 3
    batch_size: Optional[int] = None
    workers: int = 0
    skip_bad: bool = False
    environment: Dict[str, Any] = field(default_factory=dict)

    def refuse(self, task: str, *names: str) -> None:
        """Raise UsageError where the user gave one of ``names``, which ``task`` has not."""
        given = {**self.data, "protocol": self.protocol != "exact", "skip_bad": self.skip_bad}
        for name in names:
            if given.get(name):
                flag = {"size": "input-size"}.get(name, name.replace("_", "-"))
                raise UsageError(f"--{flag} is not for {task}: leave it out")


class Report(Protocol):
    """A score to be read, stored and looked at."""

    def lines(self) -> List[str]:
        """The report for a terminal, line by line."""

    def to_json(self) -> Dict[str, Any]:
        """Every figure."""

    def write(self, directory: Path) -> List[Path]:
        """Files with all there is to know; returns their paths."""


@dataclass
class FigureReport:
    """A report of single figures, for tasks that have no more to tell.

    Attributes
    ----------
    weights, data : str
        What was scored, and on what.
    images : int
    figures : mapping
        Name to value.
    environment : mapping
    """

    weights: str
    data: str
    images: int
    figures: Mapping[str, float]
    environment: Mapping[str, Any] = field(default_factory=dict)

    def lines(self) -> List[str]:
        rows: Sequence = [("weights", self.weights), ("data", self.data), ("images", f"{self.images:,}")]
        rows = [*rows, *((name, f"{value:.4f}") for name, value in self.figures.items())]
        width = max(len(name) for name, _ in rows) + 2
        return [f"{name:<{width}}{value}" for name, value in rows]

    def to_json(self) -> Dict[str, Any]:
        return asdict(self)

    def write(self, directory: Path) -> List[Path]:
        path = directory / "evaluation.json"
        write_json(self.to_json(), path)
        return [path]
