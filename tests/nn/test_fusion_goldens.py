"""Fusions hold the figures of the authors' blocks: inference, training output, every gradient, running statistics."""

import golden
import mxnet as mx
import pytest

from gluon_aff.nn import create_fusion

FIGURES = golden.load("fusions")
CHANNELS = 64

# Relative to the largest element. A batch of two leaves the global branch two values per channel, which differ little:
# dividing by their deviation amplifies float32 rounding in the gradients behind it.
TOLERANCES = {("float64", 2): 1e-10, ("float64", 8): 1e-10, ("float32", 2): 1e-3, ("float32", 8): 1e-5}


@pytest.mark.parametrize("hybridized", [False, True], ids=["imperative", "hybridized"])
@pytest.mark.parametrize("dtype, batch", TOLERANCES)
@pytest.mark.parametrize("key", FIGURES)
def test_the_authors_block(key, dtype, batch, hybridized):
    figures, tolerance = FIGURES[key][str(batch)], TOLERANCES[dtype, batch]
    block = create_fusion(key, CHANNELS)
    block.initialize()
    block.cast(dtype)
    golden.fill(block)
    if hybridized:
        block.hybridize()
    x, residual = (golden.normal(seed, (batch, CHANNELS, 8, 8), dtype) for seed in (1, 2))
    golden.check("inference", block(x, residual), figures["inference"], tolerance)

    weights = golden.normal(3, x.shape, dtype)
    x.attach_grad()
    residual.attach_grad()
    with mx.autograd.record():
        out = block(x, residual)
        loss = (out * weights).sum()
    loss.backward()
    mx.nd.waitall()
    golden.check("out", out, figures["out"], tolerance)
    assert abs(loss.asscalar() - figures["loss"]) <= tolerance * figures["out"]["l2"]
    golden.check("grad x", x.grad, figures["grad_x"], tolerance)
    golden.check("grad residual", residual.grad, figures["grad_residual"], tolerance)
    parameters = block._collect_params_with_prefix()
    assert set(figures["grad_params"]) == {n for n, p in parameters.items() if p.grad_req != "null"}
    largest = max([figure["absmax"] for figure in figures["grad_params"].values()], default=0)
    for name, figure in figures["grad_params"].items():
        # a bias in front of a norm has no influence, its gradient is rounding alone
        golden.check(name, parameters[name].grad(), figure, tolerance, largest if name.endswith("bias") else 0)
    for name, figure in figures["aux_after"].items():
        golden.check(name, parameters[name].data(), figure, tolerance)
