"""A validation figure over the epochs of a run, and how two of them compare."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import UsageError

ACCURACY, ERROR = "accuracy", "top-1 error"


class Point(NamedTuple):
    epoch: int
    value: float


@dataclass(frozen=True)
class Curve:
    """Validation figures of one run, or a single figure without epochs (``points`` empty, ``value`` set).

    Attributes
    ----------
    name : str
        For headings.
    metric : str
        ACCURACY, ERROR or another task's; from 0 to 1.
    points : tuple of Point
        In the order of epochs, which count from 0.
    settings : dict
        Hyper-parameters under `settings.NAMES`.
    planned : int or None
        Epochs that the run is to have.
    notes : tuple of str
        What a reader of a comparison must know.
    """

    name: str
    metric: str
    points: Tuple[Point, ...] = ()
    value: Optional[float] = None
    settings: Dict[str, Any] = field(default_factory=dict)
    planned: Optional[int] = None
    notes: Tuple[str, ...] = ()

    def best(self, until: Optional[int] = None) -> Point:
        """The best point, the first of equal ones, up to and including epoch ``until``."""
        points = [point for point in self.points if until is None or point.epoch <= until]
        return max(points, key=lambda point: (self._goodness(point.value), -point.epoch))

    def final(self) -> Point:
        return self.points[-1]

    def goal(self) -> float:
        """The figure that stands for the whole: the best one, or the only one there is."""
        if self.points:
            return self.best().value
        assert self.value is not None
        return self.value

    def reached(self, value: float) -> Optional[Point]:
        """The first point at least as good as ``value``."""
        goal = self._goodness(value)
        return next((point for point in self.points if self._goodness(point.value) >= goal), None)

    def measured_as(self, metric: str) -> Curve:
        """The same with accuracies turned into errors, or back. Raises UsageError for other metrics."""
        if metric == self.metric:
            return self
        if {metric, self.metric} != {ACCURACY, ERROR}:
            raise UsageError(
                f"{self.name} is measured by {self.metric}, the other by {metric}: they cannot be compared"
            )
        points = tuple(Point(point.epoch, 1 - point.value) for point in self.points)
        return replace(self, metric=metric, points=points, value=None if self.value is None else 1 - self.value)

    def by_epoch(self) -> Dict[int, float]:
        return dict(self.points)

    def _goodness(self, value: float) -> float:
        if math.isnan(value):
            return -math.inf
        return -value if self.metric == ERROR else value


class Matched(NamedTuple):
    epoch: int
    run: float
    reference: float

    @property
    def difference(self) -> float:
        return self.run - self.reference


def matched(run: Curve, reference: Curve) -> List[Matched]:
    """The epochs that both have."""
    theirs = reference.by_epoch()
    return [Matched(epoch, value, theirs[epoch]) for epoch, value in run.points if epoch in theirs]


def sampled(pairs: List[Matched], every: Optional[int] = None, most: int = 14) -> List[Matched]:
    """Every ``every``-th epoch (default: a round number that leaves at most ``most``), and the last."""
    if not pairs:
        return []
    if every is None:
        span = pairs[-1].epoch - pairs[0].epoch + 1
        every = next(
            step * 10**power for power in range(9) for step in (1, 2, 5) if span / (step * 10**power) <= most - 1
        )
    return [pair for pair in pairs if pair.epoch % every == 0 or pair is pairs[-1]]
