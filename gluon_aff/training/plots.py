"""Plots of a run: its curves and its schedule. Drawn without a display."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike, printable
from .schedule import Schedule

_METRIC_NAMES = {
    "accuracy": "training accuracy",
    "rmse": "training RMSE (label, softmax)",
    "iou": "training IoU (mean of batches)",
}
#: What of a record is a validation figure, by its training metric; the first is maximised.
_FIGURES = {"iou": {"val": "validation IoU", "niou": "validation nIoU"}}
_ACCURACY = {"val": "validation accuracy"}


def plot_history(
    records: Sequence[Mapping[str, Any]], title: str, path: PathLike, source: Optional[str] = None
) -> None:
    """Draw validation and training figures against epochs.

    Parameters
    ----------
    records : sequence of dict
        A History's epochs.
    title : str
    path : path
    source : str, optional
        What `source_of` reads from the file.
    """
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in records]
    metric = records[-1]["train_metric"] if records else "accuracy"
    for figure_name, label in _FIGURES.get(metric, _ACCURACY).items():
        left.plot(epochs, [record[figure_name] for record in records], label=label)
    left.plot(epochs, [record["train"] for record in records], label=_METRIC_NAMES.get(metric, metric))
    right.plot(epochs, [record["loss"] for record in records], label="training loss", color="tab:red")
    for axes in (left, right):
        label_axes(axes, "epoch", "")
        axes.legend()
    figure.suptitle(plain(printable(title)))
    write_figure(figure, path, source=source)


def plot_schedule(schedule: Schedule, title: str, path: PathLike, dpi: int = DPI) -> None:
    """Draw the learning rate against epochs, in some 2000 points at most.

    Parameters
    ----------
    schedule : Schedule
    title : str
    path : path
    dpi : int
        Pixels per inch of a PNG.
    """
    updates = schedule.epochs * schedule.updates_per_epoch
    points = range(1, updates + 1, max(1, updates // 2000))
    figure = new_figure(6, 3.5)
    axes = figure.subplots()
    axes.plot([point / schedule.updates_per_epoch for point in points], [schedule(point) for point in points])
    label_axes(axes, "epoch", "learning rate", title)
    write_figure(figure, path, dpi)
