"""The loop: what a batch goes through, and what stops it."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.training import Diverged, State, Stop, fit, restore, save
from gluon_aff.training.state import evaluating, needs_input_gradient


def train(job, run):
    state = State()
    with Stop() as stop:
        fit(job, state, run, stop)
    return state


def parameters(net):
    return {name: parameter.data().asnumpy() for name, parameter in net._collect_params_with_prefix().items()}


def one_update(job, make_run):
    """What an epoch of one update, without weight decay, adds to every array."""
    job.updater.trainer.optimizer.wd = 0.0
    before = parameters(job.net)
    with make_run() as run:
        assert train(job, run).update == 1
    return {name: array - before[name] for name, array in parameters(job.net).items()}


def test_a_run_learns_and_records_every_epoch(make_job, make_run, capsys):
    job = make_job(epochs=4)
    with make_run() as run:
        state = train(job, run)
        records = run.history.epochs()
    assert (state.epoch, state.update) == (4, 24)
    assert [record["epoch"] for record in records] == [0, 1, 2, 3]
    assert all(record["images"] == 48 and record["val_images"] == 21 for record in records)
    assert records[-1]["loss"] < records[0]["loss"]
    # the norm on the input gets its statistics
    assert needs_input_gradient(job.net) and not needs_input_gradient(job.net[1:4])
    assert np.abs(parameters(job.net)["0.running_mean"]).min() > 0.1
    assert records[-1]["lr"] == 0.0
    assert [record["updates"] for record in records] == [6, 12, 18, 24]
    assert capsys.readouterr().out.splitlines()[1].startswith("[Epoch 1] train=0.")


def test_several_devices_give_what_one_gives(make_job, make_run):
    """Half a batch each: the gradients add up to the whole batch's. Norm statistics are each device's own."""
    one, two = make_job(epochs=1), make_job(epochs=1, devices=2)
    for job in (one, two):
        job.net[8]._rate = 0.0  # dropout draws per device
        for block in (job.net[0], job.net[2], job.net[5]):
            block._kwargs["use_global_stats"] = True
    records = []
    for name, job in (("one", one), ("two", two)):
        with make_run(name) as run:
            train(job, run)
            records += run.history.epochs()
    expected = parameters(one.net)
    for name, parameter in two.net._collect_params_with_prefix().items():
        for copy in parameter.list_data():
            np.testing.assert_allclose(expected[name], copy.asnumpy(), rtol=1e-4, atol=1e-6, err_msg=name)
    first, second = records
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    assert first["train"] == second["train"]
    assert first["val_images"] == second["val_images"] == 21


def test_a_small_validation_batch_counts_and_images_that_the_loader_lost_are_missed(make_job, make_run):
    with make_run() as run:
        train(make_job(epochs=1, devices=3, last_test_batch=2), run)
        assert run.history.epochs()[0]["val_images"] == 18
    with make_run("lost") as run, pytest.raises(GluonAFFError, match="validation saw 21 images of 22"):
        train(make_job(epochs=1, expected_test_images=22), run)


def test_accumulated_batches_are_one_large_batch(make_job, make_run):
    """Two batches of 8 that make one update move the weights as their mean gradient does."""
    job = make_job(epochs=1, accumulate=2)
    job.loader.count = 2
    reference = make_job(epochs=1)
    for net in (job.net, reference.net):
        net[8]._rate = 0.0
    mean = {}
    for x, y in job.loader.batches(0):
        data = mx.nd.array(x)
        data.attach_grad()
        with mx.autograd.record():
            loss = reference.loss(reference.net(data), mx.nd.array(y))
        loss.backward()
        for name, parameter in reference.net._collect_params_with_prefix().items():
            if parameter.grad_req != "null":
                mean[name] = mean.get(name, 0) + parameter.grad().asnumpy() / 16
    moved = one_update(job, make_run)
    for name, gradient in mean.items():  # the first step of Nesterov's momentum: 1.9 times the gradient
        np.testing.assert_allclose(moved[name], -job.schedule(1) * 1.9 * gradient, rtol=2e-3, atol=1e-6)


def test_clipping_limits_the_step(make_job, make_run):
    job = make_job(epochs=1, clip=0.01)
    job.loader.count = 1
    moved = one_update(job, make_run)
    trained = [name for name, p in job.net._collect_params_with_prefix().items() if p.grad_req != "null"]
    length = np.sqrt(sum(np.square(moved[name]).sum() for name in trained))
    assert length == pytest.approx(job.schedule(1) * 1.9 * 0.01, rel=1e-3)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_that_is_not_finite_is_blamed_on_its_batch(make_job, make_run, accumulate):
    job = make_job(accumulate=accumulate)
    loss = job.loss
    poisoned = []

    def poison(output, target):
        poisoned.append(1)
        return loss(output, target) * (float("nan") if len(poisoned) == 10 else 1.0)

    job.loss = poison
    with make_run() as run:
        update = 10 if accumulate == 1 else 4
        with pytest.raises(Diverged, match=rf"loss is nan at update {update} \(epoch 1, batch 3\), learning rate 0\.0"):
            train(job, run)
        assert [path.name for path in run.checkpoints.paths()] == ["epoch-00001-batch-000000"]


def test_a_network_that_is_not_finite_is_never_saved(make_job, make_run):
    job = make_job()
    with make_run() as run:
        job.net[9].bias.set_data(mx.nd.array([0, np.inf, 0, 0]))
        with pytest.raises(Diverged, match="9.bias is not finite after update"):
            save(job, State(), run)
        assert run.checkpoints.paths() == []


def test_evaluation_leaves_the_arrays_alone(make_job):
    job = make_job()
    net = job.net
    average = {name: p.data() + 1 for name, p in net._collect_params_with_prefix().items()}
    before, x = parameters(net), mx.nd.ones((2, 3, 8, 8))
    outside = net(x).asnumpy()
    with evaluating(net):
        np.testing.assert_array_equal(net(x).asnumpy(), outside)
    with evaluating(net, average):
        assert not np.array_equal(net(x).asnumpy(), outside)
        np.testing.assert_array_equal(net[9].bias.data().asnumpy(), before["9.bias"] + 1)
    np.testing.assert_array_equal(net(x).asnumpy(), outside)
    for name, array in parameters(net).items():
        np.testing.assert_array_equal(array, before[name])


def test_ema_is_the_average_of_the_updates_and_what_is_validated(make_job, make_run):
    job = make_job(epochs=1, ema=0.5)
    job.loader.count = 3
    seen, expected = [], parameters(job.net)
    step = job.updater.step

    def watched(lr, images):
        step(lr, images)
        for name, array in parameters(job.net).items():
            expected[name] = 0.5 * expected[name] + 0.5 * array

    job.updater.step = watched
    job.evaluate = lambda net, stop: seen.append(parameters(net)) or {"val": 0.5, "val_images": 1}
    with make_run() as run:
        train(job, run)
    for name, array in expected.items():
        np.testing.assert_allclose(job.updater.ema.arrays[name].asnumpy(), array, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(seen[0][name], job.updater.ema.arrays[name].asnumpy())
    assert not np.array_equal(parameters(job.net)["9.bias"], expected["9.bias"])


def test_every_devices_own_statistics_come_back(make_job, make_run):
    job = make_job(devices=2)
    running = job.net[2].running_mean
    for number, data in enumerate(running.list_data()):
        data[:] = number + 1.0
    with make_run() as run:
        save(job, State(), run)
    again = make_job(devices=2)
    with make_run() as run:
        restore(again, run)
    assert [data.asnumpy()[0] for data in again.net[2].running_mean.list_data()] == [1.0, 2.0]
