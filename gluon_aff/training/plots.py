"""Plots of a run: its curves and its schedule. Drawn without a display."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

from ..utils.figures import DPI, label_axes, new_figure, plain, write_figure
from ..utils.files import PathLike
from .schedule import Schedule

_METRIC_NAMES = {
    "accuracy": "training accuracy",
    "rmse": "training, label against softmax",
    "iou": "training IoU (mean of batches)",
    "miou": "training mIoU (mean of batches)",
}
_AXIS_NAMES = {"rmse": "accuracy", "iou": "IoU", "miou": "mIoU"}
#: What of a record is a validation figure, by its training metric; the first is maximised.
_FIGURES = {"iou": {"val": "validation IoU", "niou": "validation nIoU"}, "miou": {"val": "validation mIoU"}}
_ACCURACY = {"val": "validation accuracy"}


def plot_history(
    records: Sequence[Mapping[str, Any]], title: str, path: PathLike, source: Optional[str] = None
) -> None:
    """Draw validation and training figures, losses and the learning rate against epochs.

    ``records`` are a History's epochs; a task of one's own may have a validation loss in them, as "val_loss".
    ``source`` is what `source_of` reads from the file.
    """
    metric = records[-1].get("train_metric", "accuracy") if records else "accuracy"
    names = {**_FIGURES.get(metric, _ACCURACY), "train": _METRIC_NAMES.get(metric, metric)}
    apart = metric == "rmse"  # of mixed labels: smaller is better, unlike the validation's accuracy
    figure = new_figure(16 if apart else 12, 4)
    figures, *errors, losses, rates = figure.subplots(1, 4 if apart else 3)
    for axes in errors:
        _draw(axes, records, {"train": names.pop("train")}, "RMSE")
    _draw(figures, records, names, _AXIS_NAMES.get(metric, metric))
    _draw(losses, records, {"val_loss": "validation loss", "loss": "training loss"}, "loss")
    _draw(rates, records, {"lr": "of the epoch's last update"}, "learning rate")
    figure.suptitle(plain(title))
    write_figure(figure, path, source=source)


def _draw(axes: Any, records: Sequence[Mapping[str, Any]], names: Mapping[str, str], y: str) -> None:
    """A line for each of ``names`` that the records have, and the legend above them, where it covers none."""
    for key, label in names.items():
        points = [(record["epoch"], record[key]) for record in records if record.get(key) is not None]
        if points:
            axes.plot(*zip(*points), label=label, marker="." if len(points) < 3 else None)
    label_axes(axes, "epoch", y)
    if len(records) == 1:  # an axis of half epochs otherwise
        axes.set_xlim(records[0]["epoch"] - 1, records[0]["epoch"] + 1)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize="small")


def plot_schedule(schedule: Schedule, title: str, path: PathLike, dpi: int = DPI) -> None:
    """Draw the learning rate against epochs, in some 2000 points at most."""
    updates = schedule.epochs * schedule.updates_per_epoch
    points = range(1, updates + 1, max(1, updates // 2000))
    figure = new_figure(6, 3.5)
    axes = figure.subplots()
    axes.plot([point / schedule.updates_per_epoch for point in points], [schedule(point) for point in points])
    label_axes(axes, "epoch", "learning rate", title)
    write_figure(figure, path, dpi)
