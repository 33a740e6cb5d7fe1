"""The learning rate of every update, held to figures of the authors' logs."""

from argparse import Namespace

import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training import Schedule
from gluon_aff.training.schedule import from_options

RELEASE = {"lr": 0.2, "num_epochs": 640, "lr_mode": "cosine", "warmup_epochs": 20, "warmup_lr": 0.0}
RELEASE.update(lr_decay=0.1, lr_decay_period=0, lr_decay_epoch=[300, 450], step_timing="stated", poly_power=2.0)


def logged(updates, **options):
    """Per epoch the rate as a log line shows it."""
    schedule = from_options(Namespace(**{**RELEASE, **options}), updates)
    return [f"{last:f}" for _, _, last in schedule.table()]


def test_cosine_runs_as_logged():
    """The AFF-ResNet-32 super-class run, 97 updates per epoch and a warm-up of 20 epochs; the AFF-ResNeXt-47 run."""
    lr = logged(97)
    assert lr[:6] == ["0.010005", "0.020010", "0.030015", "0.040021", "0.050026", "0.060031"]
    assert lr[18:22] == ["0.190098", "0.200000", "0.199999", "0.199995"]
    assert lr[329] == "0.099997"
    assert lr[636:] == ["0.000011", "0.000005", "0.000001", "0.000000"][-4:]
    lr = logged(97, lr=0.05)
    assert lr[:3] == ["0.002501", "0.005003", "0.007504"]
    assert lr[635:639] == ["0.000005", "0.000003", "0.000001", "0.000000"]


def changes(lr):
    return {epoch: rate for epoch, rate in enumerate(lr) if epoch == 0 or lr[epoch - 1] != rate}


def test_step_decays_at_the_stated_epochs_or_as_logged():
    """The fine-label runs had warmup_epochs 10 and decayed at 290 and 440; those with 20 at 280 and 430."""
    step = {"lr_mode": "step", "warmup_epochs": None}
    published = {**step, "step_timing": "published"}
    for updates, options, first, second in (
        (195, step, 300, 450),
        (195, {**published, "warmup_epochs": 10}, 290, 440),
        (97, {**published, "warmup_epochs": 20}, 280, 430),
        (97, published, 290, 440),
        (10, {**step, "num_epochs": 9, "lr_decay_period": 3}, 3, 6),
    ):
        assert changes(logged(updates, **options)) == {0: "0.200000", first: "0.020000", second: "0.002000"}
    schedule = Schedule("step", 0.2, epochs=6, updates_per_epoch=10, warmup_epochs=2, decay_epochs=[4])
    assert (schedule(40), schedule(41)) == (pytest.approx(0.2), pytest.approx(0.02))


def test_warmup_starts_where_it_is_told_in_every_mode_and_these_end_where_they_say():
    for mode in ("constant", "step", "cosine", "poly"):
        schedule = Schedule(mode, 0.2, epochs=10, updates_per_epoch=5, warmup_epochs=2, warmup_lr=0.1)
        assert schedule(0) == 0.1
        assert 0.1 < schedule(1) < schedule(9) <= 0.2
        assert schedule(10) == pytest.approx(0.2)
    for mode, end in (("constant", 0.2), ("cosine", 0.0), ("poly", 0.0)):
        schedule = Schedule(mode, 0.2, epochs=3, updates_per_epoch=7)
        assert schedule(21) == schedule(1000) == pytest.approx(end)
    assert Schedule("poly", 1.0, epochs=1, updates_per_epoch=11, power=0.5)(5) == pytest.approx(0.5**0.5)


def test_runs_of_one_update_that_end_in_their_warmup_and_that_cannot_be():
    assert Schedule("cosine", 0.2, epochs=1, updates_per_epoch=1)(1) == 0.2
    assert Schedule("cosine", 0.2, epochs=2, updates_per_epoch=1, warmup_epochs=1)(2) == 0.2
    short = Schedule("cosine", 0.2, epochs=3, updates_per_epoch=97, warmup_epochs=20)
    assert [f"{last:f}" for _, _, last in short.table()] == ["0.010005", "0.020010", "0.030015"]
    with pytest.raises(UsageError, match="choose from constant, step"):
        Schedule("linear", 0.2, 1, 1)
    with pytest.raises(UsageError, match="nothing to schedule"):
        Schedule("cosine", 0.2, 0, 10)
