"""What is told of a run while it goes on: forecast, bar, lines in the log, event files."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import mxnet as mx
import pytest

import gluon_aff
from gluon_aff.cli.main import main
from gluon_aff.errors import UsageError
from gluon_aff.training import BatchDone, listeners
from gluon_aff.training.listeners import BatchLog, Progress, duration
from gluon_aff.training.tensorboard import EventLog, check_tensorboard
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


def tell(listener, clock, batches, seconds, epoch=0, loss=False, before=0.0):
    """A pass of ``batches``; ``seconds(batch)`` is how long each takes, ``before`` what lies before the pass."""
    clock.now += before
    listener.pass_begins(epoch, 0)
    for batch in range(batches):
        clock.now += seconds(batch)
        known = 2.0 - batch / batches if loss and batch else None
        listener.batch_done(BatchDone(epoch, batch, 8, 0.1, [], known))
    listener.run_ends()


def test_durations():
    texts = {
        0: "0 s",
        0.42: "0.4 s",
        59.4: "59 s",
        59.9: "1 min",
        200: "3 min 20 s",
        3599.9: "1 h",
        12000: "3 h 20 min",
    }
    texts.update({86400: "1 day", 33 * 86400 + 7 * 3600 + 900: "33 days 7 h"})
    assert {seconds: duration(seconds) for seconds in texts} == texts


def test_a_forecast_leaves_the_warm_up_out_and_is_made_once(clock):
    lines = []
    told = Progress(100, 3, lambda line: lines.append((clock.now, line)), shown=False)
    tell(told, clock, 100, lambda batch: 60.0 if batch < Progress.WARM_UP else 2.5)
    # 8 batches of 2.5 s: 250 s an epoch; 289 of 300 batches are left
    pace = "pace: 3.2 images/s over 8 batches: about 4 min 10 s per epoch, 12 min 2 s in all from here, validation"
    assert lines == [(100.0 + 3 * 60 + 8 * 2.5, f"{pace} not counted")]
    began = clock.now  # of batches of half a minute the fourth tells
    tell(Progress(43, 300, lambda line: lines.append((clock.now, line)), shown=False), clock, 43, lambda batch: 30.0)
    assert lines[1][0] == began + 4 * 30 and "over 1 batch: about 21 min 30 s per epoch" in lines[1][1]


def test_a_short_epoch_makes_its_forecast_at_its_end(clock):
    lines = []
    told = Progress(5, 5, lambda line: lines.append((clock.now, line)), shown=False)
    tell(told, clock, 5, lambda batch: 30.0 if batch < Progress.WARM_UP else 1.0, epoch=1)
    assert [when for when, _ in lines] == [clock.now]
    assert "8 images/s over 2 batches: about 5 s per epoch, 15 s in all" in lines.pop()[1]
    for batches in (2, 3):
        tell(Progress(batches, 5, lines.append, shown=False), clock, batches, lambda batch: 1.0, before=1000)
        assert f"8 images/s over 1 batch: about {batches} s per epoch, {4 * batches} s in all" in lines.pop()
    tell(Progress(3, 1, lines.append, shown=False), clock, 3, lambda batch: 1.0)
    assert lines[0].endswith("about 3 s per epoch, validation not counted")  # none of the run is left


def test_a_line_a_minute_with_rate_loss_and_time_left(clock, capsys):
    lines = []
    tell(Progress(10, 3, lines.append, ranks=2), clock, 10, lambda batch: 25.0, loss=True)
    # 16 images in 25 s; a minute has passed with batches 3, 6 and 9; the warm-up of 3 batches tells no pace
    pace = lines.pop(1)  # of the first batch that counts
    assert lines == [
        "epoch 0, batch 3 of 10: loss 1.8",
        "epoch 0, batch 6 of 10: loss 1.5, 0.64 images/s, 1 min 40 s left of the epoch, 10 min of the run",
        "epoch 0, batch 9 of 10: loss 1.2, 0.64 images/s, 25 s left of the epoch, 8 min 45 s of the run",
    ]
    assert pace.startswith("pace: 0.64 images/s over 1 batch:")
    assert capsys.readouterr() == ("", "")
    lines = []  # less than a minute needs none
    tell(Progress(50, 3, lines.append), clock, 50, lambda batch: 1.0)
    assert [line[:5] for line in lines] == ["pace:"]


def test_lines_between_batches(clock):
    lines = []
    log = BatchLog("accuracy", 2, lines.append)
    log.pass_begins(1, 0)
    for batch in range(6):
        clock.now += 0.5
        right = (mx.nd.array([1, 1]) == mx.nd.array([1, batch % 2])).sum()
        log.batch_done(BatchDone(1, batch, 2, 0.25 * (batch // 2), [(right, 2)]))
    # two batches of two images, each in half a second; three of four of the first ones right
    assert lines[0] == "Epoch[1] Batch [1]\tSpeed: 4.000000 samples/sec\taccuracy=0.750000\tlr=0.000000"
    assert [line.split("\t")[0] for line in lines] == [f"Epoch[1] Batch [{batch}]" for batch in (1, 3, 5)]
    assert lines[2].endswith("\tlr=0.500000")
    log = BatchLog("accuracy", 1, lines.append, ranks=3)
    log.pass_begins(0, 4)
    clock.now += 0.5
    log.batch_done(BatchDone(0, 4, 2, 0.1, [(mx.nd.array([1]), 2)]))
    assert "Speed: 12.000000 samples/sec" in lines[-1]


def test_other_work_tells_a_line_a_minute_in_a_file_and_quiet_means_none(monkeypatch, capsys):
    with console.quietly():
        console.say("line")
        assert list(console.progress([1, 2], 2, "label")) == [1, 2]
    assert capsys.readouterr() == ("", "")
    console.say("line")
    assert capsys.readouterr() == ("line\n", "")
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    for _ in console.progress(range(6), 6, "validation"):
        clock[0] += 30.0
    assert capsys.readouterr() == ("", "validation: batch 2 of 6\nvalidation: batch 4 of 6\n")


def on_a_terminal(command, folder):
    """What a command writes to a terminal of 100 columns, and its exit code."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    with suppress(OSError):  # the other side is closed
        while chunk := os.read(mine, 65536):
            text += chunk
    os.close(mine)
    return text.decode(), done.wait()


def test_a_terminal_shows_a_bar_with_rate_and_loss(tmp_path):
    text, code = on_a_terminal(TRAIN, tmp_path)
    assert code == 0, text
    bars = [part for part in text.split("\r") if part.startswith("epoch 0")]
    assert bars[-1].split("/6")[0][-1] in "56"  # redrawn ten times a second: perhaps not for the last batch
    assert any("loss " in each and "images/s" in each and "batch" in each for each in bars), bars
    assert "CUDA" not in text
    log = (tmp_path / "run" / "train.log").read_text()
    assert "epoch 0:" not in log and "[Epoch 0]" in log and "pace: " in log


def test_quiet_prints_nothing_but_errors_and_logs_everything(tmp_path, capsys):
    text, code = on_a_terminal([*TRAIN, "--blocks", "1", "--channel-times", "1", "--quiet"], tmp_path)
    ours = [line for line in text.splitlines() if "/src/operator/" not in line]  # MXNet's own lines are its own
    assert (ours, code) == ([], 0)
    assert "[Epoch 0]" in (tmp_path / "run" / "train.log").read_text()
    assert console.run(main, ["train", "cifar", *TRAIN[2:], "--quiet", "--resume", str(tmp_path / "nothing")]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: nothing to resume") and err.count("\n") == 1


RECORD = {"epoch": 0, "train": 0.5, "train_metric": "accuracy", "loss": 2.0, "lr": 0.1, "val": 0.4}
RECORD.update(images=9, time=3)


def test_event_files_have_every_epoch_of_the_history_once(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "events.out.tfevents.1").write_text("of the run before it was resumed")
    log = EventLog(tmp_path, [RECORD])
    log.epoch_ends({**RECORD, "epoch": 1, "val_top5": 0.8})
    (path,) = tmp_path.iterdir()  # read while the run is under way
    content = path.read_bytes()
    counts = {"train/accuracy": 2, "train/loss": 2, "validation/val": 2, "validation/top5": 1, "images_per_second": 2}
    assert {name: content.count(name.encode()) for name in counts} == counts


def test_without_tensorboard_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError, match=r"pip install 'gluon_aff\[tensorboard\]'"):
        check_tensorboard()
