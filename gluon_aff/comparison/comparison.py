"""A run held against a reference, as text and as JSON."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..utils.tables import text_table
from .learning_curve import ERROR, Curve, Matched, Point, matched, sampled
from .settings import differing, side_by_side


class Comparison:
    """A run held against a reference. The run's figures are turned into the reference's metric."""

    def __init__(self, run: Curve, reference: Curve) -> None:
        self.run = run.measured_as(reference.metric)
        self.reference = reference
        self.pairs: List[Matched] = matched(self.run, reference)
        self.settings = side_by_side(run.settings, reference.settings)
        self.goal = reference.goal()
        self.reached = self.run.reached(self.goal)

    def reference_best_so_far(self) -> Optional[Point]:
        """The reference's best among the epochs that the run has done, when the run has done fewer."""
        if not self.pairs or self.run.final().epoch >= self.reference.final().epoch:
            return None
        return self.reference.best(until=self.run.final().epoch)

    def to_json(self) -> Dict[str, Any]:
        theirs = self.reference
        return {
            "run": self.run.name,
            "reference": theirs.name,
            "metric": theirs.metric,
            "epochs_matched": len(self.pairs),
            "matched": [pair._asdict() for pair in self.pairs],
            "best": {"run": self.run.best()._asdict(), "reference": _whole(theirs)},
            "final": {
                "run": self.run.final()._asdict(),
                "reference": theirs.final()._asdict() if theirs.points else None,
            },
            "best_difference": self.run.best().value - self.goal,
            "final_difference": self.run.final().value - theirs.final().value if theirs.points else None,
            "reached_at_epoch": self.reached.epoch if self.reached else None,
            "settings": [row._asdict() for row in self.settings],
            "differing": [row.name for row in differing(self.settings)],
            "notes": [*self.run.notes, *theirs.notes],
        }

    def lines(self, every: Optional[int] = None) -> List[str]:
        """The report, line by line."""
        run, theirs = self.run, self.reference
        better = "lower" if theirs.metric == ERROR else "higher"
        lines = [
            f"run        {run.name}: {_extent(run)}",
            f"reference  {theirs.name}: {_extent(theirs) if theirs.points else 'one figure'}",
            f"metric     {metric_text(theirs)}, {better} is better; difference = run - reference",
        ]
        lines += [f"note       {note}" for note in dict.fromkeys((*self._caveats(), *run.notes, *theirs.notes))]
        if self.pairs:
            rows = [
                (str(p.epoch), self._figure(p.run), self._figure(p.reference), self._figure(p.difference, "+"))
                for p in sampled(self.pairs, every)
            ]
            lines += ["", *text_table(("epoch", "run", "reference", "difference"), rows, left=0)]
        lines += ["", *self._summary()]
        if self.settings:
            marks = {True: "", False: "differs", None: "not known"}
            rows = [(row.name, _shown(row.run), _shown(row.reference), marks[row.same]) for row in self.settings]
            lines += ["", *text_table(("setting", "run", "reference", ""), rows, left=4)]
        return [line.rstrip() for line in lines]

    def _caveats(self) -> List[str]:
        names = [row.name for row in differing(self.settings) if row.name in ("data", "labels")]
        return [f"{' and '.join(names)} differ: the figures cannot be compared"] if names else []

    def _summary(self) -> List[str]:
        run, theirs = self.run, self.reference
        best, final = run.best(), run.final()
        if theirs.points:
            pairs = [("best", best, theirs.best()), ("final", final, theirs.final())]
            so_far = self.reference_best_so_far()
            pairs += [("best so far", best, so_far)] if so_far else []
        else:
            figure = Point(-1, self.goal)
            pairs = [("best", best, figure), ("final", final, figure)]
        rows = [(what, self._at(a), self._at(b), self._figure(a.value - b.value, "+")) for what, a, b in pairs]
        what = "best" if theirs.points else "figure"
        reached = f"reached at epoch {self.reached.epoch}" if self.reached else "not reached"
        return [
            *text_table(("", "run", "reference", "difference"), rows),
            f"the reference's {what}, {self._figure(self.goal)}: {reached}",
        ]

    def _figure(self, value: float, sign: str = "") -> str:
        return value_text(self.reference, value, sign)

    def _at(self, point: Point) -> str:
        return point_text(self.reference, point)


def value_text(curve: Curve, value: float, sign: str = "") -> str:
    """An accuracy as 0.8357, an error in percent as 20.3265: as many digits as the authors' logs have."""
    return f"{100 * value if curve.metric == ERROR else value:{sign}.4f}"


def point_text(curve: Curve, point: Point) -> str:
    """A value with its epoch, where it has one: 0.8357 (epoch 380)."""
    return value_text(curve, point.value) + (f" (epoch {point.epoch})" if point.epoch >= 0 else "")


def metric_text(curve: Curve) -> str:
    """The metric with its unit."""
    return f"{curve.metric} in %" if curve.metric == ERROR else curve.metric


def _extent(curve: Curve) -> str:
    first, last = curve.points[0].epoch, curve.final().epoch
    if curve.planned and last + 1 < curve.planned:
        return f"epochs {first} to {last} of {curve.planned}, not finished"
    return f"epochs {first} to {last}"


def _whole(curve: Curve) -> Dict[str, Any]:
    return curve.best()._asdict() if curve.points else {"epoch": None, "value": curve.value}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
