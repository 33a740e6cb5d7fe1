"""Where blocks use the operator, and where they must compute by themselves."""

import mxnet as mx
import numpy as np
import pytest
from test_operator import uses_operator

import gluon_aff
from gluon_aff.nn import MSCAM, create_fusion, native


def graph_of(block, *maps):
    block.hybridize()
    block(*maps)
    return uses_operator(block)


@pytest.fixture
def maps():
    return [mx.nd.random.normal(shape=(2, 8, 6, 6)) for _ in range(2)]


@pytest.mark.parametrize(
    "name, options, dtype, uses",
    [
        *((name, {}, "float32", True) for name in ("aff", "iaff", "ms_gau", "ms_se", "ms_sa")),
        ("aff", {}, "float64", False),
        ("aff", {"r": None}, "float32", False),  # no bottleneck
        ("aff", {"norm_layer": mx.gluon.nn.InstanceNorm}, "float32", False),
        ("aff", {"norm_kwargs": {"scale": False}}, "float32", False),
        *((name, {}, "float32", False) for name in ("aff_global_global", "aff_local_local", "se")),
    ],
)
def test_what_it_does_not_know_is_computed_by_the_block(operator, maps, name, options, dtype, uses):
    block = create_fusion(name, 8, **options)
    block.initialize()
    block.cast(dtype)
    assert graph_of(block, *[each.astype(dtype) for each in maps]) == uses
    assert native.OPERATOR not in block(mx.sym.var("x"), mx.sym.var("residual")).tojson()


def test_hooks_on_the_branches_see_their_layers(operator, maps):
    """Attention maps and `summary` read the branches' outputs."""
    block, seen = create_fusion("aff", 8), []
    block.initialize()
    handle = block.local_att.register_forward_hook(lambda *_: seen.append(1))
    block(*maps)
    assert seen == [1]
    handle.detach()
    block(*maps)
    assert seen == [1]
    assert graph_of(block, *maps)


@pytest.mark.parametrize("own_network", [False, True], ids=["ours", "a user's"])
def test_exported_graphs_are_without_it(operator, tmp_path, own_network):
    if own_network:
        net = mx.gluon.nn.HybridSequential()
        net.add(mx.gluon.nn.Conv2D(8, 3, in_channels=3), MSCAM(8))
    else:
        net = gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, classes=10)
    net.initialize()
    net.hybridize()
    x = mx.nd.random.normal(shape=(2, 3, 16, 16))
    expected = net(x).asnumpy()
    assert uses_operator(net)
    net.export(str(tmp_path / "net"))
    assert native.OPERATOR not in (tmp_path / "net-symbol.json").read_text()
    assert uses_operator(net)  # as before
    imported = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    )
    np.testing.assert_allclose(imported(x).asnumpy(), expected, atol=1e-4 * np.abs(expected).max())


def test_switching_it_off_holds_for_blocks_called_from_then_on(operator, maps):
    block = create_fusion("aff", 8)
    block.initialize()
    with operator.own_arithmetic():
        assert operator.active() is None
        assert not graph_of(block, *maps)
    assert operator.active() == operator.identity
