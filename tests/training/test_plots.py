"""Plots are PNG files in directories that are made."""

from gluon_aff.training import Schedule
from gluon_aff.training.plots import plot_history, plot_schedule

PNG = b"\x89PNG"


def test_history(tmp_path):
    records = [{"epoch": e, "val": 0.1 * e, "train": 0.2, "loss": 1.0, "train_metric": "rmse"} for e in range(3)]
    plot_history(records, "run", tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").read_bytes()[:4] == PNG


def test_schedule(tmp_path):
    plot_schedule(Schedule("cosine", 0.2, 640, 390, warmup_epochs=10), "release", tmp_path / "schedule.png")
    assert (tmp_path / "schedule.png").read_bytes()[:4] == PNG
