"""The optimizer's state: plain arrays and numbers, complete, and no code in them."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.training import OPTIMIZERS, Updater


def small(optimizer, **options):
    mx.random.seed(1)
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(3, in_units=4), mx.gluon.nn.BatchNorm(in_channels=3))
    net.initialize()
    return net, Updater(net, optimizer, **options)


def step(net, updater, seed):
    x = mx.nd.array(np.random.RandomState(seed).randn(5, 4))
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    updater.step(0.1, 5)


def arrays_of(net):
    return {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_round_trip_through_files(tmp_path, optimizer):
    net, updater = small(optimizer)
    for seed in range(3):
        step(net, updater, seed)
    mx.nd.save(str(tmp_path / "trainer"), {key: array.copy() for key, array in updater.arrays().items()})
    net.save_parameters(str(tmp_path / "net"))
    numbers = updater.numbers()
    assert numbers["num_update"] == 3
    step(net, updater, 3)
    other, fresh = small(optimizer)
    other.load_parameters(str(tmp_path / "net"))
    fresh.load(mx.nd.load(str(tmp_path / "trainer")), numbers)
    step(other, fresh, 3)
    for name, array in arrays_of(net).items():
        np.testing.assert_array_equal(arrays_of(other)[name], array)
    assert fresh.numbers() == updater.numbers()


def test_states_exist_before_the_first_update_and_another_optimizers_is_refused():
    assert sorted(small("adam")[1].arrays())[:2] == ["0.bias:0.0", "0.bias:0.1"]
    net, updater = small("sgd", momentum=0.0)
    step(net, updater, 0)
    assert updater.arrays() == {}
    small("sgd", momentum=0.0)[1].load({}, updater.numbers())
    _, updater = small("nag")
    assert updater.arrays().keys() == {f"{name}:0" for name in ("0.bias", "0.weight", "1.beta", "1.gamma")}
    with pytest.raises(GluonAFFError, match="4 arrays of optimizer nag, this run needs 8 of adam"):
        small("adam")[1].load(updater.arrays(), updater.numbers())
    with pytest.raises(UsageError, match="choose from nag, sgd, adam, adagrad"):
        small("lion")


@pytest.mark.parametrize("decay_all", [True, False])
def test_no_wd_spares_biases_and_norms(decay_all):
    net, updater = small("sgd", momentum=0.0, wd=0.5, decay_all=decay_all)
    for parameter in net.collect_params().values():
        if parameter.grad_req != "null":
            parameter.set_data(mx.nd.ones(parameter.shape))
    with mx.autograd.record():
        loss = (net(mx.nd.zeros((2, 4))) * 0).sum()
    loss.backward()
    updater.step(0.1, 2)
    after = {name: array.ravel()[0] for name, array in arrays_of(net).items()}
    assert after["0.weight"] == pytest.approx(0.95)
    for name in ("0.bias", "1.gamma", "1.beta"):
        assert after[name] == pytest.approx(0.95 if decay_all else 1.0)
