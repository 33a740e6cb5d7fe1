"""Curves of several runs in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

from ..training.history import read_records
from ..utils.files import PathLike
from ..utils.png import new_figure, write_figure
from .curve import ERROR, Curve
from .open import open_run


def draw_runs(runs: Sequence[str], path: PathLike, names: Sequence[str] = ()) -> List[Curve]:
    """Validation figures against epochs of whatever `open_run` opens, and training losses of runs of ours; PNG.

    All are drawn in the metric of the first. ``names`` are for the legend (default: the runs'). Returns the curves.
    Raises UsageError and GluonAFFError as `open_run` does.
    """
    curves = [open_run(run) for run in runs]
    epochs_of = [_epochs(run) for run in runs]
    metric = curves[0].metric
    losses = [{record["epoch"]: record["loss"] for record in records} for records in epochs_of]
    scale = 100 if metric == ERROR else 1
    figure = new_figure(figsize=(11 if any(losses) else 7, 4.5), layout="constrained")
    left, *right = figure.subplots(1, 2 if any(losses) else 1, squeeze=False)[0]
    for number, (curve, loss) in enumerate(zip(curves, losses)):
        measured = curve.measured_as(metric)
        best = measured.best()
        name = names[number] if names else _short(curve.name)
        epochs, values = zip(*measured.points)
        label = f"{name}, best {scale * best.value:.4f} (epoch {best.epoch})"
        (line,) = left.plot(epochs, [scale * value for value in values], lw=1.2, label=label)
        left.plot(best.epoch, scale * best.value, "o", ms=4, color=line.get_color())
        if loss:
            right[0].plot(list(loss), list(loss.values()), lw=1.2, color=line.get_color(), label=name)
    left.set_ylabel(f"{metric} in %" if metric == ERROR else metric)
    for axes in right:
        axes.set_ylabel("training loss")
    for axes in (left, *right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    left.legend(fontsize="small")
    write_figure(figure, path)
    return curves


def _epochs(run: str) -> List[Dict[str, Any]]:
    """The records of a run of ours; none for logs and the authors' runs."""
    path = Path(run).expanduser()
    path = path / "history.jsonl" if path.is_dir() else path
    if path.suffix != ".jsonl" or not path.is_file():
        return []
    return [record for record in read_records(path) if record["record"] == "epoch"]


def _short(name: str) -> str:
    return Path(name).name if "/" in name else name
