"""Learning curves of several runs in one figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Sequence

from ..training.history import HISTORY, read_records
from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from .learning_curve import ERROR, Curve
from .run_curves import open_curve


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

    Returns
    -------
    list of Curve

    Raises
    ------
    UsageError, GluonAFFError
        As `open_curve` does; UsageError for runs of different metrics.
    """
    curves = [open_curve(run) for run in runs]
    epochs_of = [_epochs(run) for run in runs]
    metric = curves[0].metric
    losses = [{record["epoch"]: record["loss"] for record in records if "loss" in record} for records in epochs_of]
    scale = 100 if metric == ERROR else 1
    figure = new_figure(11 if any(losses) else 7, 4.5)
    left, *right = figure.subplots(1, 2 if any(losses) else 1, squeeze=False)[0]
    for number, (curve, loss) in enumerate(zip(curves, losses)):
        measured = curve.measured_as(metric)
        best = measured.best()
        name = plain(names[number] if names else _short(curve.name))
        epochs, values = zip(*measured.points)
        label = f"{name}, best {scale * best.value:.4f} (epoch {best.epoch})"
        (line,) = left.plot(epochs, [scale * value for value in values], lw=1.2, label=label)
        left.plot(best.epoch, scale * best.value, "o", ms=4, color=line.get_color())
        if loss:
            right[0].plot(list(loss), list(loss.values()), lw=1.2, color=line.get_color(), label=name)
    label_axes(left, "epoch", f"{metric} in %" if metric == ERROR else metric)
    for axes in right:
        label_axes(axes, "epoch", "training loss")
    left.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)  # over no line
    write_figure(figure, path, dpi)
    return curves


def _epochs(run: str) -> List[Dict[str, Any]]:
    """The records of one of our own runs; none for logs and the authors' runs."""
    path = Path(run).expanduser()
    path = path / HISTORY if path.is_dir() else path
    if path.suffix != ".jsonl" or not path.is_file():
        return []
    return [record for record in read_records(path) if record["record"] == "epoch"]


def _short(name: str) -> str:
    return Path(name).name if "/" in name else name
