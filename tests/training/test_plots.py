"""Plots are PNG files in directories that are made."""

import pytest

from gluon_aff.training import plots
from gluon_aff.training.plots import plot_history


def axes_of(monkeypatch, records):
    kept = []
    monkeypatch.setattr(plots, "write_figure", lambda figure, *arguments, **settings: kept.append(figure))
    plot_history(records, "run", "curves.png")
    return kept[0].axes


def some(count, **others):
    return [{"epoch": epoch, "val": 0.1, "train": 0.2, "loss": 1.0, **others} for epoch in range(count)]


def test_curves_name_their_axes_show_the_learning_rate_and_a_validation_loss_where_there_is_one(monkeypatch):
    records = some(2, lr=0.1, train_metric="accuracy")
    figures, losses, rates = axes_of(monkeypatch, records)
    assert [axes.get_ylabel() for axes in (figures, losses, rates)] == ["accuracy", "loss", "learning rate"]
    assert [len(axes.lines) for axes in (figures, losses, rates)] == [2, 1, 1]
    _, losses, _ = axes_of(monkeypatch, [{**record, "val_loss": 2.0} for record in records])
    assert [line.get_label() for line in losses.lines] == ["validation loss", "training loss"]


@pytest.mark.parametrize(("metric", "name"), [("accuracy", "accuracy"), ("iou", "IoU"), ("miou", "mIoU")])
def test_figures_go_by_the_name_of_the_runs_metric(monkeypatch, metric, name):
    axes, *_ = axes_of(monkeypatch, some(3, train_metric=metric))
    assert axes.get_ylabel() == name and axes.lines[0].get_label() == f"validation {name}"


def test_epochs_are_whole_and_legends_lie_above_the_lines(monkeypatch):
    for count in (1, 2, 3, 11):
        for axes in axes_of(monkeypatch, some(count, train_metric="iou")):
            ticks = axes.get_xticks()
            assert len(ticks) and all(tick == round(tick) for tick in ticks)
            if axes.get_legend():
                axes.figure.draw_without_rendering()
                assert axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 - 1
