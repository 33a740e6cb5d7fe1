"""Weights go into a network completely or not at all."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.training.arrays import first_not_finite, load_weights


def net(units=3, bias=True):
    block = mx.gluon.nn.HybridSequential()
    block.add(mx.gluon.nn.Dense(4, in_units=2), mx.gluon.nn.Dense(units, in_units=4, use_bias=bias))
    block.initialize(mx.init.Xavier())
    return block


def test_weights_of_the_same_network(tmp_path):
    source, target = net(), net()
    source.save_parameters(str(tmp_path / "w.params"))
    load_weights(target, tmp_path / "w.params")
    for a, b in zip(source.collect_params().values(), target.collect_params().values()):
        np.testing.assert_array_equal(a.data().asnumpy(), b.data().asnumpy())


def test_half_precision_and_symbol_files_are_taken(tmp_path):
    arrays = {f"arg:{name}": p.data().astype("float16") for name, p in net()._collect_params_with_prefix().items()}
    mx.nd.save(str(tmp_path / "w.params"), arrays)
    target = net()
    load_weights(target, tmp_path / "w.params")
    assert target[1].weight.data().dtype == np.float32
    np.testing.assert_array_equal(target[1].weight.data().asnumpy(), arrays["arg:1.weight"].asnumpy())


def test_missing_extra_and_misshapen_arrays_are_named(tmp_path):
    net().save_parameters(str(tmp_path / "w.params"))
    with pytest.raises(UsageError, match=r"no array missing, 1 array \(1.bias\) that it has no place for"):
        load_weights(net(bias=False), tmp_path / "w.params")
    net(bias=False).save_parameters(str(tmp_path / "w.params"))
    with pytest.raises(UsageError, match=r"1 array \(1.bias\) missing, no array that"):
        load_weights(net(), tmp_path / "w.params")
    before = net(units=5)
    kept = before[0].weight.data().asnumpy()
    with pytest.raises(UsageError, match=r"1.weight is \(3, 4\), expected \(5, 4\)"):
        load_weights(net(units=5, bias=False), tmp_path / "w.params")
    np.testing.assert_array_equal(before[0].weight.data().asnumpy(), kept)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="cannot read weights .*: No such file"):
        load_weights(net(), tmp_path / "none.params")
    (tmp_path / "text.params").write_text("not arrays")
    with pytest.raises(GluonAFFError, match="not a parameter file of MXNet"):
        load_weights(net(), tmp_path / "text.params")
    mx.nd.save(str(tmp_path / "list.params"), [mx.nd.ones((2,))])
    with pytest.raises(GluonAFFError, match="arrays without names"):
        load_weights(net(), tmp_path / "list.params")


def test_what_is_not_finite_is_found_among_many_arrays():
    block = mx.gluon.nn.HybridSequential()
    block.add(*(mx.gluon.nn.Dense(1, in_units=1) for _ in range(150)))
    block.initialize()
    assert first_not_finite(block) is None
    block[140].bias.set_data(mx.nd.array([np.nan]))
    assert first_not_finite(block) == "140.bias"
