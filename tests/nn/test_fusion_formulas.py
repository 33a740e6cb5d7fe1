"""Every fusion against its formula in NumPy, from the block's own parameters, at inference.

Y is the learned branch (``x``), X the shortcut (``residual``), as in the paper.
"""

import golden
import numpy as np
import pytest

from gluon_aff.nn import AUTHORS_KEYS, MSCAM, canonical_fusion, create_fusion, list_fusions

CHANNELS = 8
SIZES = [(1, 1), (1, 6), (5, 3), (4, 4), (9, 16)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def pool(z):
    return z.mean(axis=(2, 3), keepdims=True)


class Formulas:
    """The layers and branches of a block, over its parameters as NumPy arrays."""

    def __init__(self, block, bottleneck=True):
        self.values = {name: p.data().asnumpy() for name, p in block._collect_params_with_prefix().items()}
        self.bottleneck = bottleneck

    def conv(self, name, z):
        weight, bias = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        return np.einsum("nchw,oc->nohw", z, weight[:, :, 0, 0]) + bias[None, :, None, None]

    def norm(self, name, z):
        gamma, beta, mean, var = (
            self.values[f"{name}.{kind}"][None, :, None, None]
            for kind in ("gamma", "beta", "running_mean", "running_var")
        )
        return (z - mean) / np.sqrt(var + 1e-5) * gamma + beta

    def branch(self, name, z, pooled):
        first = 1 if pooled else 0  # the pool is the branch's layer 0
        z = pool(z) if pooled else z
        z = self.norm(f"{name}.{first + 1}", self.conv(f"{name}.{first}", z))
        if self.bottleneck:
            z = self.norm(f"{name}.{first + 4}", self.conv(f"{name}.{first + 3}", np.maximum(z, 0)))
        return z

    def M(self, z, suffix="", pools=(False, True)):
        local = self.branch(f"local_att{suffix}", z, pools[0])
        return sigmoid(local + self.branch(f"global_att{suffix}", z, pools[1]))

    def G(self, z):
        return sigmoid(self.branch("global_att", z, True))

    def add(self, X, Y):
        return X + Y

    def concat(self, X, Y):
        return self.conv("fuse.1", self.norm("fuse.0", np.concatenate([Y, X], axis=1)))

    def ms_gau(self, X, Y):
        return self.M(Y) * X + Y

    def ms_se(self, X, Y):
        return X + self.M(Y) * Y

    def ms_sa(self, X, Y):
        return self.M(X + Y) * X + Y

    def highway(self, X, Y):
        return self.G(X) * X + (1 - self.G(X)) * Y

    def se(self, X, Y):
        return X + self.G(Y) * Y

    def gau(self, X, Y):
        self.bottleneck = False
        return self.G(Y) * X + Y

    def gau_local(self, X, Y):
        self.bottleneck = False
        return sigmoid(self.branch("global_att", Y, False)) * X + Y

    def acm(self, X, Y, pools=(True, False)):
        low = sigmoid(self.branch("topdown", Y, pools[0])) * X
        return 2 * low + 2 * sigmoid(self.branch("bottomup", X, pools[1])) * Y

    def acm_global(self, X, Y):
        return self.acm(X, Y, (True, True))

    def acm_local(self, X, Y):
        return self.acm(X, Y, (False, False))

    def sk(self, X, Y):
        scores = self.branch("global_att", X + Y, True)
        powers = np.exp(np.stack([scores[:, :CHANNELS], scores[:, CHANNELS:]]))
        first, second = powers / powers.sum(axis=0)
        return 2 * Y * first + 2 * X * second

    def aff(self, X, Y, pools=(False, True)):
        w = self.M(X + Y, pools=pools)
        return 2 * Y * w + 2 * X * (1 - w)

    def aff_global_global(self, X, Y):
        return self.aff(X, Y, (True, True))

    def aff_local_local(self, X, Y):
        return self.aff(X, Y, (False, False))

    def iaff(self, X, Y):
        w1 = self.M(X + Y)
        z = Y * w1 + X * (1 - w1)
        w2 = self.M(z, "2")
        return Y * w2 + X * (1 - w2)


def made(block):
    block.initialize()
    block.cast("float64")
    golden.fill(block)
    return block


def maps(height=5, width=3):
    return [golden.normal(seed, (2, CHANNELS, height, width)) for seed in (1, 2)]


def assert_equal(out, expected):
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.asnumpy(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("r", [4, None])
@pytest.mark.parametrize("name", list_fusions())
def test_field_s_names_give_the_paper_s_formula(name, r):
    """Without bottleneck there is one convolution per branch."""
    block = made(create_fusion(name, CHANNELS, r=r))
    for size in SIZES:
        x, residual = maps(*size)
        formulas = Formulas(block, bottleneck=r is not None)
        assert_equal(block(x, residual), getattr(formulas, name)(residual.asnumpy(), x.asnumpy()))


@pytest.mark.parametrize("ending", ["", "Fuse", "ChaFuse"])
@pytest.mark.parametrize("key", AUTHORS_KEYS)
def test_authors_keys_give_the_authors_arithmetic(key, ending):
    block = made(create_fusion(key if key.endswith("Fuse") else key + ending, CHANNELS))
    x, residual = maps()
    formulas = Formulas(block, bottleneck=key not in ("AYforXplusY", "XplusAYforY", "AXYforXplusY"))
    assert_equal(block(x, residual), getattr(formulas, canonical_fusion(key))(residual.asnumpy(), x.asnumpy()))


@pytest.mark.parametrize("factor", [None, 1, 2])
@pytest.mark.parametrize("weight_on", ["x", "residual"])
@pytest.mark.parametrize("name", ["aff", "aff_global_global", "aff_local_local", "sk", "iaff"])
def test_weight_and_factor_options(name, weight_on, factor):
    """Both stages of iAFF take the weight on the same operand; only its output is doubled."""
    block = made(create_fusion(name, CHANNELS, weight_on=weight_on, factor=factor))
    x, residual = maps()
    X, Y = residual.asnumpy(), x.asnumpy()
    if weight_on == "residual":
        X, Y = Y, X
    times = (factor or 1) if name == "iaff" else (factor or 2) / 2
    assert_equal(block(x, residual), getattr(Formulas(block), name)(X, Y) * times)


@pytest.mark.parametrize("r", [None, 2, 4])
def test_ms_cam(r):
    block = made(MSCAM(CHANNELS, r))
    for size in SIZES:
        x = maps(*size)[0]
        assert_equal(block(x), x.asnumpy() * Formulas(block, bottleneck=r is not None).M(x.asnumpy()))


def test_what_the_paper_time_fpn_had():
    """iAFF with both stages doubled, MS-SE attending X + Y."""
    x, residual = maps()
    X, Y = residual.asnumpy(), x.asnumpy()
    block = made(create_fusion("iaff", CHANNELS, double_stages=True))
    f, w1 = Formulas(block), Formulas(block).M(X + Y)
    w2 = f.M(2 * (Y * w1 + X * (1 - w1)), "2")
    assert_equal(block(x, residual), 2 * (Y * w2 + X * (1 - w2)))
    block = made(create_fusion("ms_se", CHANNELS, attends="sum"))
    assert_equal(block(x, residual), X + Formulas(block).M(X + Y) * Y)
