"""Event files: with the writer replaced, as the real one is an optional extra."""

import sys
import types

import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training.tensorboard import EventLog, check_installed

RECORD = {
    "epoch": 0,
    "train": 0.5,
    "train_metric": "accuracy",
    "loss": 2.0,
    "lr": 0.1,
    "val": 0.4,
    "images": 10,
    "time": 5,
}


@pytest.fixture
def written(monkeypatch):
    scalars = []

    class SummaryWriter:
        def __init__(self, directory):
            self.directory = directory

        def add_scalar(self, tag, value, step):
            scalars.append((tag, value, step))

        def flush(self):
            scalars.append("flushed")

    package = types.ModuleType("tensorboardX")
    package.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "tensorboardX", package)
    return scalars


def test_every_epoch_of_the_history_is_written_once(written, tmp_path):
    (tmp_path / "events.out.tfevents.1").write_text("of the run before it was resumed")
    log = EventLog(tmp_path, [RECORD])
    assert not list(tmp_path.iterdir())
    assert ("train/accuracy", 0.5, 0) in written
    assert ("train/images_per_second", 2.0, 0) in written
    log.add({**RECORD, "epoch": 1, "val_top5": 0.8})
    assert [entry for entry in written if entry[2] == 1 and entry[0].startswith("validation")] == [
        ("validation/val", 0.4, 1),
        ("validation/top5", 0.8, 1),
    ]
    assert written[-1] == "flushed"


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'gluon_aff\[tensorboard\]'"):
        check_installed()
