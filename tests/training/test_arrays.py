"""Arrays go into a network completely or not at all, and what is not finite is found."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.training.state import first_not_finite, network_arrays, set_arrays


def net(units=3, bias=True):
    block = mx.gluon.nn.HybridSequential()
    block.add(mx.gluon.nn.Dense(4, in_units=2), mx.gluon.nn.Dense(units, in_units=4, use_bias=bias))
    block.initialize(mx.init.Xavier())
    return block


def test_arrays_of_the_same_network():
    source, target = net(), net()
    set_arrays(target, network_arrays(source), "it")
    for a, b in zip(source.collect_params().values(), target.collect_params().values()):
        np.testing.assert_array_equal(a.data().asnumpy(), b.data().asnumpy())


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ({}, {"bias": False}, r"it does not fit .*: no array missing, 1 array \(1.bias\) unknown to it"),
        ({"bias": False}, {}, r"it does not fit .*: 1 array \(1.bias\) missing, no array unknown to it"),
        ({}, {"units": 5}, r"it does not fit .*: 1.weight is \(3, 4\), expected \(5, 4\) \(and 1 more\)"),
    ],
)
def test_missing_extra_and_misshapen_arrays_are_named(source, target, message):
    block = net(**target)
    before = block[0].weight.data().asnumpy()
    with pytest.raises(UsageError, match=message):
        set_arrays(block, network_arrays(net(**source)), "it")
    np.testing.assert_array_equal(block[0].weight.data().asnumpy(), before)


def test_what_is_not_finite_is_found_among_many_arrays():
    block = mx.gluon.nn.HybridSequential()
    block.add(*(mx.gluon.nn.Dense(1, in_units=1) for _ in range(150)))
    block.initialize()
    assert first_not_finite(block) is None
    block[140].bias.set_data(mx.nd.array([np.nan]))
    assert first_not_finite(block) == "140.bias"
