"""What every fusion block does: train, hybridize, export, cast, take norms and ratios."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.nn import MSCAM, create_fusion, list_fusions, native

CHANNELS = 16
BLOCKS = [*list_fusions(), "MSCAM"]


def make(name, initialize=True, **options):
    block = MSCAM(CHANNELS, **options) if name == "MSCAM" else create_fusion(name, CHANNELS, **options)
    if initialize:
        block.initialize(mx.init.Xavier())
    return block


def inputs(name, shape=(4, CHANNELS, 5, 3), dtype="float32"):
    return [mx.nd.random.normal(shape=shape, dtype=dtype) for _ in range(1 if name == "MSCAM" else 2)]


def parameters(block):
    return block._collect_params_with_prefix()


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients(name):
    """Finite and non-zero for every input and parameter but a bias in front of a norm, whose influence is zero."""
    block, maps = make(name), inputs(name, dtype="float64")
    block.cast("float64")
    weights = mx.nd.random.normal(shape=maps[0].shape, dtype="float64")
    for array in maps:
        array.attach_grad()
    with mx.autograd.record():
        loss = (block(*maps) * weights).sum()
    loss.backward()
    gradients = {f"input {index}": array.grad.asnumpy() for index, array in enumerate(maps)}
    gradients.update({n: p.grad().asnumpy() for n, p in parameters(block).items() if p.grad_req != "null"})
    for key, gradient in gradients.items():
        assert np.isfinite(gradient).all(), key
        if key.startswith(("local_att", "global_att", "topdown", "bottomup")) and key.endswith("bias"):
            assert np.abs(gradient).max() < 1e-9, key
        else:
            assert np.abs(gradient).max() > 1e-6, key
    assert {n for n, p in parameters(block).items() if p.grad_req == "null"} == {
        n for n in parameters(block) if "running" in n
    }


def inference_and_training(block, maps, weights):
    """Inference output, training output, gradients of inputs and parameters."""
    inferred = block(*maps)
    for array in maps:
        array.attach_grad()
    with mx.autograd.record():
        out = block(*maps)
        loss = (out * weights).sum()
    loss.backward()
    gradients = [p.grad() for p in parameters(block).values() if p.grad_req != "null"]
    return [array.asnumpy() for array in (inferred, out, *(array.grad for array in maps), *gradients)]


@pytest.mark.parametrize("name", BLOCKS)
def test_hybridized_is_imperative(name):
    """Output and gradients; the same hybridized block also for a map size that it has not seen before."""
    block, twin = make(name), make(name)
    twin.hybridize()
    for shape in ((4, CHANNELS, 3, 2), (3, CHANNELS, 2, 1)):
        for mine, other in zip(parameters(block).values(), parameters(twin).values()):
            other.set_data(mine.data())
        maps, weights = inputs(name, shape), mx.nd.random.normal(shape=shape)
        imperative, hybridized = (inference_and_training(each, maps, weights) for each in (block, twin))
        scale = max(np.abs(array).max() for array in imperative)
        for one, two in zip(imperative, hybridized):
            np.testing.assert_allclose(two, one, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("name", BLOCKS)
def test_export_and_import(name, tmp_path):
    block, maps = make(name), inputs(name)
    block.hybridize()
    fused = block(*maps).asnumpy()
    traced = block(*[mx.sym.var(f"data{index}") for index in range(len(maps))])
    assert len(traced.list_inputs()) == len(parameters(block)) + len(maps)
    block.export(str(tmp_path / "block"))
    names = ["data"] if len(maps) == 1 else [f"data{index}" for index in range(len(maps))]
    weights = tmp_path / "block-0000.params"
    imported = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "block-symbol.json"), names, str(weights) if weights.exists() else None
    )
    found = imported(*maps).asnumpy()
    assert np.allclose(found, fused, rtol=1e-5, atol=1e-5)  # by the native operator, if that is there
    with native.own_arithmetic():  # which is what is exported
        block.hybridize()
        assert np.array_equal(found, block(*maps).asnumpy())


@pytest.mark.parametrize("name", BLOCKS)
def test_float16_casts_all_but_the_norms(name):
    """The dtypes of the authors' float16 files. (There is no float16 arithmetic for these layers on CPU.)"""
    block = make(name)
    block.cast("float16")
    for key, parameter in parameters(block).items():
        of_a_norm = key.rpartition(".")[2] in ("gamma", "beta", "running_mean", "running_var")
        assert np.dtype(parameter.dtype) == ("float32" if of_a_norm else "float16"), key


@pytest.mark.parametrize("key", ["AYforXplusY", "XplusAYforY", "AXYforXplusY", "SKFuse", "GAUFuse"])
def test_authors_fixed_bottlenecks_ignore_r(key):
    """Their arithmetic is in test_fusion_formulas.py."""
    two, four = (parameters(make(key, initialize=False, r=r)) for r in (2, 4))
    assert {name: p.shape for name, p in two.items()} == {name: p.shape for name, p in four.items()}


@pytest.mark.parametrize("r, middle", [(1, 16), (2, 8), (3, 5), (16, 1), (100, 1)])
def test_bottleneck_is_channels_by_r_rounded_down_and_at_least_one(r, middle):
    shapes = {name: p.shape for name, p in parameters(make("aff", initialize=False, r=r)).items()}
    assert shapes["local_att.0.weight"] == shapes["global_att.1.weight"] == (middle, 16, 1, 1)


def test_norm_layer_and_its_settings_reach_every_norm():
    for name in BLOCKS:
        made = []

        class Norm(mx.gluon.nn.BatchNorm):
            def __init__(self, made=made, **kwargs):
                super().__init__(**kwargs)
                made.append(kwargs)

        block = make(name, initialize=False, norm_layer=Norm, norm_kwargs={"epsilon": 0.001, "momentum": 0.5})
        assert len(made) == sum(key.endswith("running_mean") for key in parameters(block)), name
        assert all((kwargs["epsilon"], kwargs["momentum"]) == (0.001, 0.5) for kwargs in made), name
