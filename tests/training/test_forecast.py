"""How long a run will take, and the lines between those of the epochs."""

import mxnet as mx
import pytest

from gluon_aff.training import BatchDone, listeners
from gluon_aff.training.listeners import BatchLog, Forecast, Pace, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (200, "3 min 20 s"),
        (3599.9, "1 h"),
        (12000, "3 h 20 min"),
        (86400, "1 day"),
        (33 * 86400 + 7 * 3600 + 900, "33 days 7 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    clock = type("Clock", (), {"now": 100.0})()
    monkeypatch.setattr(listeners.time, "perf_counter", lambda: clock.now)
    return clock


def done(epoch, batch, images, lr=0.1, measured=()):
    return BatchDone(epoch, batch, images, lr, list(measured))


def test_a_forecast_leaves_the_warm_up_out_and_is_made_once(clock):
    lines = []
    told = Forecast(100, 3, lambda line: lines.append((batch, line)))
    told.pass_begins(0, 0)
    for batch in range(100):
        clock.now += 60.0 if batch < Pace.WARM_UP else 2.5
        told.batch_done(done(0, batch, 8))
    # 10 batches of 2.5 s: 250 s an epoch; 287 of 300 batches are left
    assert lines == [
        (
            12,
            "pace: 3.2 images/s over 10 batches: about 4 min 10 s per epoch, 11 min 58 s in all from here, "
            "validation not counted",
        )
    ]


def test_a_short_epoch_makes_its_forecast_at_its_end(clock):
    lines = []
    told = Forecast(5, 5, lines.append)
    told.pass_begins(1, 0)
    for batch in range(5):
        assert not lines
        clock.now += 30 if batch < Pace.WARM_UP else 1
        told.batch_done(done(1, batch, 8))
    assert "8 images/s over 2 batches: about 5 s per epoch, 15 s in all" in lines[0]


def test_epochs_shorter_than_the_warm_up_make_it_in_a_later_one_and_leave_out_what_lies_between(clock):
    lines = []
    told = Forecast(2, 5, lines.append)
    for epoch in range(3):
        clock.now += 1000  # validation
        told.pass_begins(epoch, 0)
        for batch in range(2):
            clock.now += 1
            told.batch_done(done(epoch, batch, 8))
        assert len(lines) == int(epoch >= 1)
    assert "8 images/s over 1 batches: about 2 s per epoch, 6 s in all" in lines[0]


def test_lines_between_batches(clock):
    lines = []
    log = BatchLog("accuracy", 2, lines.append)
    log.pass_begins(1, 0)
    for batch in range(6):
        clock.now += 0.5
        right = (mx.nd.array([1, 1]) == mx.nd.array([1, batch % 2])).sum()
        log.batch_done(done(1, batch, 2, lr=0.25 * (batch // 2), measured=[(right, 2)]))
    # two batches of two images, each in half a second; three of four of the first ones right
    assert lines[0] == "Epoch[1] Batch [1]\tSpeed: 4.000000 samples/sec\taccuracy=0.750000\tlr=0.000000"
    assert [line.split("\t")[0] for line in lines] == ["Epoch[1] Batch [1]", "Epoch[1] Batch [3]", "Epoch[1] Batch [5]"]
    assert lines[2].endswith("\tlr=0.500000")


def test_a_line_counts_the_images_of_all_ranks(clock):
    lines = []
    log = BatchLog("accuracy", 1, lines.append, ranks=3)
    log.pass_begins(0, 4)
    clock.now += 0.5
    log.batch_done(done(0, 4, 2, measured=[(mx.nd.array([1]), 2)]))
    assert "Speed: 12.000000 samples/sec" in lines[0]
