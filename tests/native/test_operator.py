"""The native operator computes what the blocks compute: values, gradients, running statistics, in every use."""

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.nn import MSCAM, create_fusion, native

BLOCKS = {
    "aff": lambda channels: create_fusion("aff", channels),
    "aff, Eq. 4": lambda channels: create_fusion("aff", channels, weight_on="residual", factor=1),
    "aff, frozen norms": lambda channels: create_fusion("aff", channels, norm_kwargs={"use_global_stats": True}),
    "iaff": lambda channels: create_fusion("iaff", channels),
    "iaff, factor 2": lambda channels: create_fusion("iaff", channels, factor=2),
    "ms_gau": lambda channels: create_fusion("ms_gau", channels),
    "ms_se": lambda channels: create_fusion("ms_se", channels),
    "ms_sa": lambda channels: create_fusion("ms_sa", channels),
    "mscam": MSCAM,
}
# Maps that fill whole vectors and maps that do not, one run of positions and several, one image and several.
SHAPES = [(8, 16, 8, 8), (6, 20, 7, 9), (3, 12, 37, 41), (1, 64, 12, 12)]
# The formula does not depend on the shape: every one at one shape, every shape with one stage, two, and one map.
KINDS = [(kind, shape) for kind in BLOCKS for shape in SHAPES if shape == SHAPES[1] or kind in ("aff", "iaff", "mscam")]
STATIC = {"static_alloc": True, "static_shape": True}


def make(kind, shape, hybrid=None, dtype="float32"):
    """A block with weights and statistics far from their initial ones; x, residual and the gradient of the output."""
    draw = np.random.RandomState(len(kind))
    block = BLOCKS[kind](shape[1])
    block.initialize()
    block.cast(dtype)
    for name, parameter in sorted(block._collect_params_with_prefix().items()):
        positive = name.endswith(("gamma", "running_var"))
        values = draw.uniform(0.5, 1.5, parameter.shape) if positive else draw.normal(0, 0.4, parameter.shape)
        parameter.set_data(mx.nd.array(values.astype("float32"), dtype=dtype))
    if hybrid is not None:
        block.hybridize(**hybrid)
    arrays = [draw.normal(size=shape).astype("float32") for _ in range(2 if kind == "mscam" else 3)]
    *maps, head = (mx.nd.array(array, dtype=dtype) for array in arrays)
    return block, maps, head


def pass_through(kind, shape, training, hybrid=None, times=1, grad_req="write", dtype="float32"):
    """Name -> array of everything that a forward and a backward pass give. In float64 the block computes by itself."""
    block, maps, head = make(kind, shape, hybrid, dtype)
    for parameter in block.collect_params().values():
        if parameter.grad_req != "null":
            parameter.grad_req = grad_req
    for each in maps:
        each.attach_grad(grad_req)
    for _ in range(times):
        with mx.autograd.record(train_mode=training):
            out = block(*maps)
        out.backward(head, train_mode=training)
    found = {"out": out, **{f"gradient of map {number}": each.grad for number, each in enumerate(maps)}}
    for name, parameter in block._collect_params_with_prefix().items():
        found[name] = parameter.data() if parameter.grad_req == "null" else parameter.grad()
    return {name: array.asnumpy() for name, array in found.items()}


def assert_close(found, expected, tolerance, training):
    for name, wanted in expected.items():
        if training and name.endswith("bias"):
            continue  # in front of a norm: without influence, its gradient is rounding alone
        scale = np.abs(wanted).max() + 1e-3
        assert np.abs(found[name] - wanted).max() <= tolerance * scale, name


def uses_operator(block):
    return f'"op": "{native.OPERATOR}"' in block._cached_graph[1].tojson()


@pytest.mark.parametrize("training", [True, False], ids=["training", "recorded inference"])
@pytest.mark.parametrize(
    "kind, shape, hybrid",
    [
        *((*each, None) for each in KINDS),
        *((kind, SHAPES[1], STATIC) for kind in ("aff", "aff, frozen norms", "iaff", "mscam")),
    ],
    ids=str,
)
def test_values_gradients_and_statistics(operator, kind, shape, training, hybrid):
    if training and shape[0] == 1:
        pytest.skip("a norm of one value per channel")
    found = pass_through(kind, shape, training, hybrid)
    assert_close(found, pass_through(kind, shape, training, dtype="float64"), 2e-5, training)
    with native.own_arithmetic():
        assert not np.array_equal(found["out"], pass_through(kind, shape, training)["out"])  # it was the operator's


@pytest.mark.parametrize("kind, shape", KINDS, ids=str)
def test_inference(operator, kind, shape):
    block, maps, _ = make(kind, shape, dtype="float64")
    expected = block(*maps).asnumpy()
    block, maps, _ = make(kind, shape)
    np.testing.assert_allclose(block(*maps).asnumpy(), expected, atol=3e-6 * np.abs(expected).max())
    block.hybridize()
    np.testing.assert_allclose(block(*maps).asnumpy(), expected, atol=3e-6 * np.abs(expected).max())
    assert uses_operator(block)


@pytest.mark.parametrize("hybrid", [None, STATIC], ids=["imperative", "static"])
@pytest.mark.parametrize("kind", ["aff", "iaff", "mscam"])
def test_gradients_that_are_added_up(operator, kind, hybrid):
    """An operator of an extension is not told to add; the block must see to it."""
    once = pass_through(kind, (4, 8, 6, 6), False, hybrid)
    twice = pass_through(kind, (4, 8, 6, 6), False, hybrid, times=2, grad_req="add")
    for name, gradient in once.items():
        if "running" not in name and name != "out":
            np.testing.assert_allclose(twice[name], 2 * gradient, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["aff", "iaff", "mscam", "ms_gau"])
def test_gradients_by_finite_differences(operator, kind):
    """Of each map and each parameter along the gradient's signs, central differences."""
    block, maps, head = make(kind, (6, 8, 5, 5))
    parameters = [p for p in block.collect_params().values() if p.grad_req != "null"]
    places = maps + [parameter.data() for parameter in parameters]
    for each in maps:
        each.attach_grad()

    def loss():
        with mx.autograd.train_mode():
            return (block(*maps).asnumpy().astype("float64") * head.asnumpy()).sum()

    with mx.autograd.record():
        (block(*maps) * head).sum().backward()
    gradients = [each.grad.asnumpy() for each in maps] + [parameter.grad().asnumpy() for parameter in parameters]
    compared = 0
    for place, gradient in zip(places, gradients):
        expected, start, differences = np.abs(gradient).sum(), place.asnumpy(), []
        if expected < 1:
            continue  # rounding alone: a bias in front of a norm
        for step in (1e-3, 3e-4, 1e-4, 3e-5):  # a relu that a step takes across its kink disturbs that step alone
            values = []
            for sign in (1, -1):
                place[:] = mx.nd.array(start + sign * step * np.sign(gradient))
                values.append(loss())
            differences.append((values[0] - values[1]) / (2 * step))
        place[:] = mx.nd.array(start)
        assert min(abs(each - expected) for each in differences) < 0.01 * expected, (expected, differences)
        compared += 1
    assert compared >= len(maps) + 10


def test_bits_repeat(operator):
    first, second = (pass_through("aff", (5, 20, 7, 9), True, STATIC) for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_nan_stays_nan(operator):
    block, (x, residual), _ = make("aff", (2, 8, 6, 6))
    x[1, 3, 2, 2] = np.nan
    fused = block(x, residual).asnumpy()
    assert np.isnan(fused[1]).any() and np.isfinite(fused[0]).all()


def test_maps_of_two_shapes_are_refused_in_graphs_too(operator):
    block, (x, _), _ = make("aff", (2, 8, 6, 6), hybrid={})
    with pytest.raises(mx.MXNetError, match="different shape"):  # the graph alone, without the check before it
        mx.gluon.HybridBlock.forward(block, x, mx.nd.zeros((2, 8, 6, 7)))
