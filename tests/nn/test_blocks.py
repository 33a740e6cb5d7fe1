"""Residual blocks: what they compute around the fusion, where their layers stand, and what can be injected."""

import golden
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import SyncBatchNorm

from gluon_aff.nn import Fusion, create_fusion
from gluon_aff.nn.blocks import Bottleneck, PreActBlock, ResNeXtBlock, shrink
from gluon_aff.nn.layers import GlobalAvgPool, ResizeLike


class Branch(Fusion):
    """Hands on the learned branch."""

    def hybrid_forward(self, F, x, residual):
        return F.identity(x)


class Shortcut(Fusion):
    def hybrid_forward(self, F, x, residual):
        return F.identity(residual)


def aff(channels):
    return create_fusion("aff", channels)


def preact(make_fusion=aff, stride=2, in_channels=8, channels=16, **options):
    return PreActBlock(channels, in_channels, stride, make_fusion, **options)


def resnext(make_fusion=aff, stride=2, in_channels=8, width=16, project=True, **options):
    return ResNeXtBlock(width, in_channels, stride, make_fusion, project=project, **options)


def bottleneck(make_fusion=aff, stride=2, in_channels=8, width=4, **options):
    return Bottleneck(width, in_channels, stride, make_fusion, **options)


BLOCKS = {"preact": preact, "resnext": resnext, "bottleneck": bottleneck}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def made(block):
    block.initialize()
    block.cast("float64")
    golden.fill(block)
    return block


def names(block):
    return {name: p.shape for name, p in block._collect_params_with_prefix().items()}


def images(channels=8, height=6, width=6):
    return golden.normal(7, (2, channels, height, width))


@each_block
def test_the_fusion_gets_branch_and_shortcut_in_the_authors_order(block):
    """attention(x = branch, residual = shortcut); a ReLU follows in all but the pre-activation block."""
    x, relu = images(), block is not preact
    for fusion in (Branch, Shortcut):
        net = made(block(fusion))
        inner = {Branch: net.resfwd if block is preact else getattr(net, "body", None), Shortcut: net.downsample}
        if block is bottleneck and fusion is Branch:
            expected = net.bn3(net.conv3(mx.nd.relu(net.bn2(net.conv2(mx.nd.relu(net.bn1(net.conv1(x))))))))
        else:
            expected = inner[fusion](x)
        assert expected.min().asscalar() < 0
        assert np.array_equal(net(x).asnumpy(), (mx.nd.relu(expected) if relu else expected).asnumpy())


@pytest.mark.parametrize(
    "net",
    [
        preact(Shortcut, 1, 16, 16),
        resnext(Shortcut, 1, 64, project=False),
        bottleneck(Shortcut, 1, 16, 4),
    ],
    ids=BLOCKS,
)
def test_the_shortcut_is_the_input_where_nothing_changes(net):
    assert not any(name.startswith("downsample") for name in names(net))
    x = images(names(net)["resfwd.0.gamma"][0] if "resfwd.0.gamma" in names(net) else net.attention._channels)
    expected = x if isinstance(net, PreActBlock) else mx.nd.relu(x)
    assert np.array_equal(made(net)(x).asnumpy(), expected.asnumpy())


@pytest.mark.parametrize("height, width", [(5, 7), (2, 3)])
@pytest.mark.parametrize("pool", [True, False], ids=["release", "paper"])
@each_block
def test_shortcut_of_both_generations(block, pool, height, width):
    """Release: average (rounding up, padding not counted), then a 1x1 convolution. Paper: strided convolution.

    The fusion takes no branch of another size.
    """
    net = made(block(Shortcut, pool_shortcut=pool))
    x = images(8, height, width)
    small = x.asnumpy()[:, :, ::2, ::2].copy()
    if pool:
        for i, j in np.ndindex(small.shape[2:]):
            small[:, :, i, j] = x.asnumpy()[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(2, 3))
    weight = net._collect_params_with_prefix()[f"downsample.{int(pool)}.weight"].data().asnumpy()
    out = np.einsum("nchw,oc->nohw", small, weight[:, :, 0, 0])
    if block is not preact:
        kinds = ("gamma", "beta", "running_mean", "running_var")
        gamma, beta, mean, var = (
            getattr(net.downsample[int(pool) + 1], kind).data().asnumpy()[None, :, None, None] for kind in kinds
        )
        out = np.maximum((out - mean) / np.sqrt(var + 1e-5) * gamma + beta, 0)
    np.testing.assert_allclose(net(x).asnumpy(), out, rtol=0, atol=1e-12)


def test_shrink_by_one_is_no_pool_but_has_a_place():
    net = resnext(stride=1)
    assert "downsample.1.weight" in names(net)
    x = images()
    assert np.array_equal(shrink(1)(x).asnumpy(), x.asnumpy())


@pytest.mark.parametrize(
    "width, cardinality, bottleneck_width, grouped",
    [(64, 32, 4, 128), (128, 32, 4, 256), (64, 64, 4, 256), (16, 32, 4, 32), (24, 8, 4, 8), (64, 1, 64, 64)],
)
def test_widths_of_the_resnext_block(width, cardinality, bottleneck_width, grouped):
    """D = floor(width x bottleneck_width / 64) channels in each of the groups."""
    net = resnext(width=width, cardinality=cardinality, bottleneck_width=bottleneck_width)
    shapes = {n: s for n, s in names(net).items() if not n.startswith("attention") and n.endswith("weight")}
    assert shapes == {
        "body.0.weight": (grouped, 8, 1, 1),
        "body.3.weight": (grouped, grouped // cardinality, 3, 3),
        "body.6.weight": (4 * width, grouped, 1, 1),
        "downsample.1.weight": (4 * width, 8, 1, 1),
    }


def test_squeeze_and_excitation():
    """branch * sigmoid(W2 relu(W1 mean(branch))), r 16, in the child ``se``."""
    plain, net = resnext(Branch), made(resnext(Branch, use_se=True))
    assert {n: s for n, s in names(net).items() if n not in names(plain)} == {
        "se.0.weight": (4, 64, 1, 1),
        "se.0.bias": (4,),
        "se.2.weight": (64, 4, 1, 1),
        "se.2.bias": (64,),
    }
    x = images()
    branch = net.body(x).asnumpy()
    values = {n: p.data().asnumpy() for n, p in net.se._collect_params_with_prefix().items()}
    hidden = np.maximum(branch.mean(axis=(2, 3)) @ values["0.weight"][:, :, 0, 0].T + values["0.bias"], 0)
    weight = 1 / (1 + np.exp(-(hidden @ values["2.weight"][:, :, 0, 0].T + values["2.bias"])))
    np.testing.assert_allclose(net(x).asnumpy(), np.maximum(branch * weight[:, :, None, None], 0), rtol=0, atol=1e-12)


@each_block
def test_sync_batch_norm(block):
    """On one device it trains as BatchNorm does."""
    x, losses, gradients = images().astype("float32"), [], []
    for norms in ({}, {"norm_layer": SyncBatchNorm, "norm_kwargs": {"num_devices": 1}}):
        net = block(lambda channels, norms=norms: create_fusion("aff", channels, **norms), **norms)
        net.initialize()
        golden.fill(net)
        with mx.autograd.record():
            loss = (net(x) ** 2).sum()
        loss.backward()
        losses.append(loss.asscalar())
        gradients.append(net.attention.local_att[0].weight.grad().asnumpy())
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0, atol=1e-3 * np.abs(gradients[0]).max())


@pytest.mark.parametrize("size", [(1, 1), (7, 5)], ids=str)
def test_global_average_pool(size):
    """Equal to Gluon's, whose backward is slow, in value and gradient."""
    outcomes = []
    for pool in (GlobalAvgPool(), nn.GlobalAvgPool2D()):
        x = golden.normal(1, (2, 3, *size))
        x.attach_grad()
        with mx.autograd.record():
            out = pool(x)
        out.backward(golden.normal(2, out.shape))
        outcomes.append((out.asnumpy(), x.grad.asnumpy()))
    for mine, theirs in zip(*outcomes):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(
    "old, new", [((4, 5), (7, 9)), ((15, 8), (30, 31)), ((9, 7), (4, 3)), ((3, 1), (1, 4))], ids=str
)
def test_resizing(old, new, hybrid):
    """Along each axis the first and the last position stay, what lies between is interpolated; and its gradient."""
    x, like = golden.normal(1, (2, 3, *old)), mx.nd.zeros((1, 1, *new))
    x.attach_grad()
    resize = ResizeLike()
    resize.cast("float64")
    if hybrid:
        resize.hybridize()
    with mx.autograd.record():
        y = resize(x, like)
    weights = golden.normal(2, y.shape)
    y.backward(weights)
    rows, columns = (
        np.stack([np.interp(np.linspace(0, a - 1, b), np.arange(a), one) for one in np.eye(a)], axis=1)
        for a, b in zip(old, new)
    )
    expected = np.einsum("Hh,Ww,nchw->ncHW", rows, columns, x.asnumpy())
    gradient = np.einsum("Hh,Ww,ncHW->nchw", rows, columns, weights.asnumpy())
    np.testing.assert_allclose(y.asnumpy(), expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(x.grad.asnumpy(), gradient, rtol=0, atol=1e-13)
    theirs = mx.nd.contrib.BilinearResize2D(x.astype("float32"), height=new[0], width=new[1])
    np.testing.assert_allclose(y.asnumpy(), theirs.asnumpy(), rtol=0, atol=1e-5)
