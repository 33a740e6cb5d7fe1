"""N epochs are k epochs, a stop, and the rest: to the bit, wherever the stop falls."""

import signal

import numpy as np
import pytest

from gluon_aff.training import State, Stop, fit, restore


def figures(job, run):
    """All that a run has to show: arrays of network, optimizer and EMA, update counts, history without times."""
    arrays = {name: parameter.data().asnumpy() for name, parameter in job.net._collect_params_with_prefix().items()}
    arrays.update({name: array.asnumpy() for name, array in job.updater.arrays().items()})
    if job.updater.ema:
        arrays.update({f"ema {name}": array.asnumpy() for name, array in job.updater.ema.arrays.items()})
    history = [{key: value for key, value in record.items() if key != "time"} for record in run.history.epochs()]
    return arrays, job.updater.numbers(), history


def assert_equal(first, second):
    for name in first[0]:
        np.testing.assert_array_equal(first[0][name], second[0][name], err_msg=name)
    assert first[0].keys() == second[0].keys()
    assert first[1] == second[1]
    assert first[2] == second[2]


def trained(job, run, resumed=False):
    """The figures of a run without a stop, or of the rest of one."""
    with run, Stop() as stop:
        fit(job, restore(job, run) if resumed else State(), run, stop)
        return figures(job, run)


KNOWN = {}  # options -> figures of a run without a stop


def straight(make_job, make_run, **options):
    if str(options) not in KNOWN:
        KNOWN[str(options)] = trained(make_job(**options), make_run("straight"))
    return KNOWN[str(options)]


def in_parts(make_job, make_run, places, **options):
    """Train, being asked to stop before each (epoch, batch) of ``places`` is handed out, and resumed after it."""
    for place in [*places, None]:
        job = make_job(**options)
        with make_run("parts") as run, Stop() as stop:
            state = restore(job, run)

            def after(epoch, index, place=place, stop=stop):
                if (epoch, index) == place:
                    stop.request(signal.SIGTERM)

            job.loader.after = after
            fit(job, state, run, stop)
            assert (state.epoch < job.epochs) == (place is not None)
            result = figures(job, run)
    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": "sgd", "accumulate": 4},
        {"optimizer": "adam", "lr": 0.003, "mixup": 1.0, "smoothing": True, "ema": 0.9, "clip": 1.0},
        {"optimizer": "adagrad", "rounds": 3, "mixup": 1.0},
        {"devices": 2, "rounds": 2},
    ],
    ids=lambda options: "-".join(map(str, options)) or "plain",
)
def test_stopping_anywhere_changes_nothing(make_job, make_run, options):
    whole = straight(make_job, make_run, **options)
    assert [record["epoch"] for record in whole[2]] == [0, 1, 2]
    assert_equal(whole, in_parts(make_job, make_run, [(0, 2), (1, 0), (1, 5), (2, 3)], **options))


def test_two_runs_are_equal_and_another_seed_is_not(make_job, make_run):
    first = straight(make_job, make_run)
    assert_equal(first, trained(make_job(), make_run("again")))
    assert trained(make_job(seed=1), make_run("other"))[2] != first[2]  # another dropout


def test_a_stop_during_validation_is_taken_up_by_validating(make_job, make_run):
    whole = straight(make_job, make_run)
    job = make_job()
    evaluate = job.evaluate
    with make_run("parts") as run, Stop() as stop:

        def stopped(net, stop):
            stop.request()
            return evaluate(net, stop)

        job.evaluate = stopped
        state = State()
        fit(job, state, run, stop)
        assert (state.epoch, state.batch) == (0, 6)
        assert run.history.epochs() == []
    assert_equal(whole, trained(make_job(), make_run("parts"), resumed=True))


def test_a_crash_between_record_and_checkpoint_leaves_no_double_record(make_job, make_run, monkeypatch):
    whole = straight(make_job, make_run)
    job = make_job()
    with make_run("parts") as run, Stop() as stop:
        save = run.checkpoints.save

        def crash(epoch, *args):
            if epoch == 2:
                raise KeyboardInterrupt
            return save(epoch, *args)

        run.checkpoints.save = crash
        with pytest.raises(KeyboardInterrupt):
            fit(job, State(), run, stop)
        assert len(run.history.epochs()) == 2
    job = make_job()
    with make_run("parts") as run, Stop() as stop:
        state = restore(job, run)
        assert state.epoch == 1
        run.history.resume(state.epoch, {})
        fit(job, state, run, stop)
        assert_equal(whole, figures(job, run))


def test_hybrid_and_imperative_runs_learn_the_same(make_job, make_run):
    hybrid = straight(make_job, make_run)[2]
    job = make_job()
    job.net.hybridize(False)
    imperative = trained(job, make_run("imperative"))[2]
    np.testing.assert_allclose([r["loss"] for r in hybrid], [r["loss"] for r in imperative], rtol=1e-3)
