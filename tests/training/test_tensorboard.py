"""Event files, where the optional extra that writes them is installed; what is said where it is not."""

import sys

import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training.listeners import EventLog, check_installed

RECORD = {
    "epoch": 0,
    "train": 0.5,
    "train_metric": "accuracy",
    "loss": 2.0,
    "lr": 0.1,
    "val": 0.4,
    "images": 9,
    "time": 3,
}


def test_every_epoch_of_the_history_is_written_once(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "events.out.tfevents.1").write_text("of the run before it was resumed")
    log = EventLog(tmp_path, [RECORD])
    log.epoch_ends({**RECORD, "epoch": 1, "val_top5": 0.8})
    (path,) = tmp_path.iterdir()  # read while the run is under way
    content = path.read_bytes()
    counts = {"train/accuracy": 2, "train/loss": 2, "validation/val": 2, "validation/top5": 1, "images_per_second": 2}
    assert {name: content.count(name.encode()) for name in counts} == counts


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'gluon_aff\[tensorboard\]'"):
        check_installed()
