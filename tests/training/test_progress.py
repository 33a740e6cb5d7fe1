"""Signs of life within an epoch, on a terminal and where there is none."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

import gluon_aff
from gluon_aff.training import BatchDone, listeners
from gluon_aff.training.listeners import Progress
from gluon_aff.utils import console

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
TRAIN = [
    *(sys.executable, str(ROOT / "train_cifar.py"), "--dataset", "digits", "--num-epochs", "1", "--save-dir", "run"),
    *("--train-images", "192", "--test-images", "64", "--batch-size", "32"),
]


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    clock = type("Clock", (), {"now": 100.0})()
    monkeypatch.setattr(listeners.time, "perf_counter", lambda: clock.now)
    return clock


def told_by(clock, batches, seconds, **settings):
    lines = []
    listener = Progress(batches, 3, lines.append, **settings)
    listener.pass_begins(0, 0)
    for batch in range(batches):
        clock.now += seconds
        listener.batch_done(BatchDone(0, batch, 8, 0.1, [], None if batch < 1 else 2.0 - batch / batches))
    listener.run_ends()
    return lines


def test_a_line_a_minute_with_rate_loss_and_time_left(clock, capsys):
    lines = told_by(clock, 10, 25.0, ranks=2)
    # 16 images in 25 s; a minute has passed with batches 3, 6 and 9; the warm-up of 3 batches tells no pace
    assert lines == [
        "epoch 0, batch 3 of 10: loss 1.8",
        "epoch 0, batch 6 of 10: loss 1.5, 0.64 images/s, 1 min 40 s left of the epoch, 10 min of the run",
        "epoch 0, batch 9 of 10: loss 1.2, 0.64 images/s, 25 s left of the epoch, 8 min 45 s of the run",
    ]
    assert capsys.readouterr() == ("", "")


def test_less_than_a_minute_needs_no_line(clock):
    assert told_by(clock, 50, 1.0) == []


def test_quiet_means_no_line_but_in_the_log(capsys):
    with console.quietly():
        console.say("line")
        assert list(console.progress([1, 2], 2, "label")) == [1, 2]
    assert capsys.readouterr() == ("", "")
    console.say("line")
    assert capsys.readouterr() == ("line\n", "")


def test_other_work_tells_a_line_a_minute_in_a_file(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    for _ in console.progress(range(6), 6, "validation"):
        clock[0] += 30.0
    assert capsys.readouterr() == ("", "validation: batch 2 of 6\nvalidation: batch 4 of 6\n")


def on_a_terminal(command, folder, **streams):
    """What a command writes to a terminal of 100 columns, and its exit code."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    streams = {"stdout": theirs, "stderr": theirs, **streams}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, **streams)
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(mine, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        text += chunk
    os.close(mine)
    return text.decode(), done.wait()


def test_a_terminal_shows_a_bar_with_rate_and_loss(tmp_path):
    text, code = on_a_terminal(TRAIN, tmp_path)
    assert code == 0, text
    bars = [part for part in text.split("\r") if part.startswith("epoch 0")]
    assert bars[-1].split("/6")[0][-1] in "56"  # redrawn ten times a second: perhaps not for the last batch
    assert any("loss " in each and "images/s" in each and "batch" in each for each in bars), bars
    assert "MKLDNN" not in text and "CUDA" not in text
    log = (tmp_path / "run" / "train.log").read_text()
    assert "epoch 0:" not in log and "[Epoch 0]" in log and "pace: " in log


def test_quiet_prints_nothing_and_logs_everything(tmp_path):
    text, code = on_a_terminal([*TRAIN, "--quiet"], tmp_path)
    assert (text, code) == ("", 0)
    assert "[Epoch 0]" in (tmp_path / "run" / "train.log").read_text()


def test_quiet_still_prints_errors(tmp_path):
    text, code = on_a_terminal([*TRAIN, "--quiet", "--resume", "nothing"], tmp_path)
    assert code == 2 and text.startswith("error: nothing to resume") and text.count("\n") == 1
