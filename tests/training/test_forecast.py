"""How long a run will take, and the lines between those of the epochs."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.training import Schedule, forecast
from gluon_aff.training.forecast import Forecast, WatchedLoader, duration


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
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: clock.now)
    return clock


def test_a_forecast_leaves_the_first_batch_out_and_is_made_once(clock):
    told = Forecast(batches=100, epochs=3)
    told.begin()
    lines = []
    for done in range(1, 101):
        clock.now += 60.0 if done == 1 else 2.5
        lines.append(told.add(8, 0, done))
    assert [number for number, line in enumerate(lines, 1) if line] == [11]
    # 10 batches of 2.5 s: 250 s an epoch; 289 of 300 batches are left
    assert lines[10] == (
        "pace: 3.2 images/s over 10 batches: about 4 min 10 s per epoch, 12 min 2 s in all from here, "
        "validation not counted"
    )


def test_a_short_epoch_makes_its_forecast_at_its_end(clock):
    told = Forecast(batches=2, epochs=5)
    told.begin()
    clock.now += 30
    assert told.add(8, 1, 1) is None
    clock.now += 1
    assert "8 images/s over 1 batches: about 2 s per epoch, 6 s in all" in told.add(8, 1, 2)


class Six:
    """Six batches of two images; the last one has none when ``short``."""

    def __init__(self, short=False):
        self.short = short

    def __len__(self):
        return 6

    def batches(self, epoch, start=0):
        return (np.zeros((0 if self.short and index == 5 else 2, 3)) for index in range(start, 6))


def watched(lines, short=False, every=2):
    pairs = Six(short)
    pairs.batches = lambda epoch, start=0: ((x, x) for x in Six.batches(pairs, epoch, start))
    return WatchedLoader(
        pairs,
        lambda output, target: ((output == target).sum(), len(target)),
        "accuracy",
        Schedule("cosine", 1.0, 3, 3),
        3,
        accumulate=2,
        every=every,
        planned=lambda start: (12 - 2 * start, 12 - 2 * start),
        log=lines.append,
    )


def test_lines_between_batches(clock):
    lines = []
    loader = watched(lines)
    for index, _ in enumerate(loader.batches(1)):
        clock.now += 0.5
        loader.measure(mx.nd.array([1, 1]), mx.nd.array([1, index % 2]))
    lines = [line for line in lines if line.startswith("Epoch")]
    schedule = Schedule("cosine", 1.0, 3, 3)
    # batches 0 and 1 of epoch 1 make update 4, two images each in half a second, three of four of them right
    assert lines[0] == f"Epoch[1] Batch [1]\tSpeed: 4.000000 samples/sec\taccuracy=0.750000\tlr={schedule(4):f}"
    assert [line.split("\t")[0] for line in lines] == ["Epoch[1] Batch [1]", "Epoch[1] Batch [3]", "Epoch[1] Batch [5]"]
    assert lines[2].endswith(f"\tlr={schedule(6):f}")


def test_an_epoch_with_another_number_of_images_ends_the_run():
    assert len(list(watched([]).batches(0, 2))) == 4
    with pytest.raises(GluonAFFError, match="epoch 0 had 10 images, not 12"):
        list(watched([], short=True).batches(0))
    next(iter(watched([], short=True).batches(0)))  # not finished, not judged


def test_no_interval_means_no_lines():
    lines = []
    loader = watched(lines, every=0)
    for _ in loader.batches(0):
        loader.measure(mx.nd.zeros(2), mx.nd.zeros(2))
    assert [line.split(":")[0] for line in lines] == ["pace"]
