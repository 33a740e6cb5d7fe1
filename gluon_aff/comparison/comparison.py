"""A run held against a reference, as text, JSON and a drawing; and several runs drawn over each other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from ..training.history import HISTORY, read_records
from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from ..utils.tables import text_table
from .curves import ERROR, Curve, Point, open_curve
from .settings import side_by_side

_SHORT = 0.7  # of the reference's epochs: a run that has fewer gets a panel of its own epochs


class Matched(NamedTuple):
    """An epoch that both have."""

    epoch: int
    run: float
    reference: float

    @property
    def difference(self) -> float:
        return self.run - self.reference


class Comparison:
    """A run held against a reference. The run's figures are turned into the reference's metric."""

    def __init__(self, run: Curve, reference: Curve) -> None:
        self.run = run.measured_as(reference.metric)
        self.reference = reference
        theirs = dict(reference.points)
        self.pairs = [Matched(epoch, value, theirs[epoch]) for epoch, value in self.run.points if epoch in theirs]
        self.settings = side_by_side(run.settings, reference.settings)
        self.differing = [row.name for row in self.settings if row.same is False]
        self.goal = reference.goal()
        self.reached = self.run.reached(self.goal)

    def reference_best_so_far(self) -> Optional[Point]:
        """Return the reference's best among the epochs that the run has done, when the run has done fewer."""
        if not self.pairs or self.run.final().epoch >= self.reference.final().epoch:
            return None
        return self.reference.best(until=self.run.final().epoch)

    def to_json(self) -> Dict[str, Any]:
        run, theirs = self.run, self.reference
        last = theirs.final() if theirs.points else None
        best = theirs.best()._asdict() if theirs.points else {"epoch": None, "value": theirs.value}
        return {
            "run": run.name,
            "reference": theirs.name,
            "metric": theirs.metric,
            "epochs_matched": len(self.pairs),
            "matched": [pair._asdict() for pair in self.pairs],
            "best": {"run": run.best()._asdict(), "reference": best},
            "final": {"run": run.final()._asdict(), "reference": last and last._asdict()},
            "best_difference": run.best().value - self.goal,
            "final_difference": last and run.final().value - last.value,
            "reached_at_epoch": self.reached.epoch if self.reached else None,
            "settings": [row._asdict() for row in self.settings],
            "differing": self.differing,
            "notes": [*run.notes, *theirs.notes],
        }

    def lines(self, every: Optional[int] = None) -> List[str]:
        """Return the report, line by line, with every ``every``-th epoch (default: about 14 in all)."""
        run, theirs = self.run, self.reference
        better = "lower" if theirs.metric == ERROR else "higher"
        lines = [
            f"run        {run.name}: {_epochs(run)}",
            f"reference  {theirs.name}: {_epochs(theirs) if theirs.points else 'one figure'}",
            f"metric     {_metric(theirs)}, {better} is better; difference = run - reference",
        ]
        other = [name for name in self.differing if name in ("data", "labels")]
        caveats = [f"{' and '.join(other)} differ: the figures cannot be compared"] if other else []
        if not other and "validation images" in self.differing:
            mine, others = next(row[1:3] for row in self.settings if row.name == "validation images")
            caveats = [f"validated on {mine:,} images, the reference on {others:,}: the figures are of other images"]
        lines += [f"note       {note}" for note in dict.fromkeys((*caveats, *run.notes, *theirs.notes))]
        if self.pairs:
            rows = [
                (pair.epoch, *(_value(theirs, value) for value in pair[1:]), _value(theirs, pair.difference, "+"))
                for pair in sampled(self.pairs, every)
            ]
            lines += ["", *text_table(("epoch", "run", "reference", "difference"), rows, left=0)]
        lines += ["", *self._summary()]
        if self.settings:
            marks = {True: "", False: "differs", None: "not known"}
            rows = [(row.name, _shown(row.run), _shown(row.reference), marks[row.same]) for row in self.settings]
            lines += ["", *text_table(("setting", "run", "reference", ""), rows, left=4)]
        return [line.rstrip() for line in lines]

    def _summary(self) -> List[str]:
        run, theirs = self.run, self.reference
        best, final = (theirs.best(), theirs.final()) if theirs.points else [Point(-1, self.goal)] * 2
        pairs = [("best", run.best(), best), ("final", run.final(), final)]
        so_far = self.reference_best_so_far()
        pairs += [("best so far", run.best(), so_far)] if so_far else []
        rows = [
            (name, *(_point(theirs, p) for p in two), _value(theirs, two[0].value - two[1].value, "+"))
            for name, *two in pairs
        ]
        what = "best" if theirs.points else "figure"
        reached = f"reached at epoch {self.reached.epoch}" if self.reached else "not reached"
        return [
            *text_table(("", "run", "reference", "difference"), rows),
            f"the reference's {what}, {_value(theirs, self.goal)}: {reached}",
        ]


def sampled(pairs: List[Matched], every: Optional[int] = None, most: int = 14) -> List[Matched]:
    """Take every ``every``-th epoch (default: a round number that leaves at most ``most``), and the last."""
    if not pairs:
        return []
    if every is None:
        span = pairs[-1].epoch - pairs[0].epoch + 1
        every = next(
            step * 10**power for power in range(9) for step in (1, 2, 5) if span / (step * 10**power) <= most - 1
        )
    return [pair for pair in pairs if pair.epoch % every == 0 or pair is pairs[-1]]


def _value(curve: Curve, value: float, sign: str = "") -> str:
    """An accuracy as 0.8357, an error in percent as 20.3265: as many digits as the authors' logs have."""
    return f"{_scale(curve) * value:{sign}.4f}"


def _point(curve: Curve, point: Point) -> str:
    """A value with its epoch, where it has one: 0.8357 (epoch 380)."""
    return _value(curve, point.value) + (f" (epoch {point.epoch})" if point.epoch >= 0 else "")


def _metric(curve: Curve) -> str:
    return f"{curve.metric} in %" if curve.metric == ERROR else curve.metric


def _scale(curve: Curve) -> int:
    return 100 if curve.metric == ERROR else 1


def _epochs(curve: Curve) -> str:
    first, last = curve.points[0].epoch, curve.final().epoch
    unfinished = curve.planned and last + 1 < curve.planned
    return f"epochs {first} to {last}" + (f" of {curve.planned}, not finished" if unfinished else "")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


# Drawings


def draw_comparison(comparison: Comparison, path: PathLike, dpi: int = DPI) -> None:
    """Draw both curves over the run's epochs, and below them their difference where epochs match.

    Where the run has fewer epochs than the reference, a second panel shows all of the reference's.
    """
    run, reference, pairs = comparison.run, comparison.reference, comparison.pairs
    short = bool(reference.points) and run.final().epoch < _SHORT * reference.final().epoch
    figure = new_figure(13 if short else 9, 6 if pairs else 4.5)
    heights = (3, 1) if pairs else (1,)
    grid = figure.add_gridspec(len(heights), 1 + short, height_ratios=heights, width_ratios=(3, 2)[: 1 + short])
    upper = figure.add_subplot(grid[0, 0])
    _draw_curve(upper, reference, "tab:orange", run.final().epoch if short else math.inf)
    _draw_curve(upper, run, "tab:blue")
    label_axes(upper, "" if pairs else "epoch", _metric(reference), "the run's epochs" if short else "")
    upper.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.08 if short else 1.0), frameon=False)
    if pairs:
        lower = figure.add_subplot(grid[1, 0], sharex=upper)
        lower.axhline(0, color="black", lw=0.8)
        differences = [_scale(reference) * pair.difference for pair in pairs]
        lower.plot([pair.epoch for pair in pairs], differences, color="tab:blue", lw=1.0, marker=_marker(pairs))
        label_axes(lower, "epoch", "run - reference")
    if short:
        whole = figure.add_subplot(grid[:, 1])
        _draw_curve(whole, reference, "tab:orange")
        _draw_curve(whole, run, "tab:blue")
        whole.axvspan(run.points[0].epoch, run.final().epoch, color="tab:blue", alpha=0.12, lw=0)
        label_axes(whole, "epoch", _metric(reference), "all of the reference's epochs")
    write_figure(figure, path, dpi)


def _draw_curve(axes: Any, curve: Curve, colour: str, until: float = math.inf) -> None:
    """A line up to epoch ``until`` with its best point marked; a dashed level for a single figure."""
    scale = _scale(curve)
    if not curve.points:
        label = plain(f"{curve.name}, {_value(curve, curve.goal())}")
        axes.axhline(scale * curve.goal(), color=colour, ls="--", lw=1.2, label=label)
        return
    points = [point for point in curve.points if point.epoch <= until]
    if not points:
        return
    best = curve.best(until)
    epochs, values = zip(*points)
    scaled = [scale * value for value in values]
    axes.plot(epochs, scaled, color=colour, lw=1.2, marker=_marker(points), label=plain(curve.name))
    label = f"its best{'' if until == math.inf else ' so far'}, {_point(curve, best)}"
    axes.plot(best.epoch, scale * best.value, "o", ms=5, color=colour, label=label)


def _marker(points: Sequence[object]) -> Optional[str]:
    return "." if len(points) < 3 else None


def draw_runs(runs: Sequence[str], path: PathLike, names: Sequence[str] = (), dpi: int = DPI) -> List[Curve]:
    """Draw the validation figures of several runs against epochs, and the training losses of our own runs.

    All are drawn in the metric of the first.

    Parameters
    ----------
    runs : sequence of str
        Whatever `open_curve` opens.
    path : path
        Of the figure.
    names : sequence of str
        For the legend (default: the runs').
    dpi : int
        Pixels per inch.

    Raises
    ------
    UsageError, GluonAFFError
        As `open_curve` does; UsageError for runs of different metrics.
    """
    curves, losses = [open_curve(run) for run in runs], [_losses(run) for run in runs]
    scale = _scale(curves[0])
    figure = new_figure(11 if any(losses) else 7, 4.5)
    left, *right = figure.subplots(1, 2 if any(losses) else 1, squeeze=False)[0]
    for number, (curve, loss) in enumerate(zip(curves, losses)):
        measured = curve.measured_as(curves[0].metric)
        best = measured.best()
        name = plain(names[number] if names else Path(curve.name).name or curve.name)
        epochs, values = zip(*measured.points)
        label = f"{name}, best {scale * best.value:.4f} (epoch {best.epoch})"
        (line,) = left.plot(epochs, [scale * value for value in values], lw=1.2, label=label)
        left.plot(best.epoch, scale * best.value, "o", ms=4, color=line.get_color())
        if loss:
            right[0].plot(list(loss), list(loss.values()), lw=1.2, color=line.get_color(), label=name)
    label_axes(left, "epoch", _metric(curves[0]))
    for axes in right:
        label_axes(axes, "epoch", "training loss")
    left.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)  # over no line
    write_figure(figure, path, dpi)
    return curves


def _losses(run: str) -> Dict[int, float]:
    """Training loss by epoch of one of our own runs; none for logs and the authors' runs."""
    path = Path(run).expanduser()
    path = path / HISTORY if path.is_dir() else path
    records = read_records(path) if path.suffix == ".jsonl" and path.is_file() else []
    return {record["epoch"]: record["loss"] for record in records if record["record"] == "epoch" and "loss" in record}
