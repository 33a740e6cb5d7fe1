"""U-Net and ACM fusions: names, numbers of parameters and arithmetic of "Asymmetric Contextual Modulation"."""

import golden
import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff.errors import UsageError
from gluon_aff.models import build_model
from gluon_aff.models.common import count_parameters
from gluon_aff.nn import LongSkip

FIGURES = golden.load("acm")
NETWORKS = {
    "acm_unet_AsymBi_b4_tiny": ("acm_unet_resnet26", {}),
    "acm_unet_BiGlobal_b1_tiny": ("unet_resnet8", {"fusion": "BiGlobal"}),
    "acm_unet_DirectAdd_b1_tiny": ("unet_resnet8", {}),
    "acm_fpn_AsymBi_b1_tiny": ("fpn_resnet8", {"fusion": "AsymBi"}),
}
KINDS = {"trained": "write", "frozen": "null", "running": "null"}


def arrays(block):
    return {name: (list(p.shape), p.grad_req) for name, p in block._collect_params_with_prefix().items()}


def expected_arrays(figure):
    return {name: (shape, KINDS[kind]) for name, shape, _, kind in figure["arrays"]}


@pytest.mark.parametrize("figure", NETWORKS)
def test_networks(figure):
    """The FPN's resizing has another order of additions, the rest is equal but for rounding."""
    name, options = NETWORKS[figure]
    expected, net = FIGURES[figure], gluon_aff.create_model(name, stem="tiny", **options)
    assert arrays(net) == expected_arrays(expected)
    assert count_parameters(net)[0] == expected["parameters_trained"]
    net.cast("float64")
    golden.fill(net, gain=1)
    logits = net(golden.normal(7, (2, 3, 64, 48))).asnumpy()
    tolerance = 1e-6 if "fpn" in name else 1e-12
    np.testing.assert_allclose(logits[0, 0, 0], expected["logits_row0"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(logits[1, 0, 31], expected["logits_row31"], rtol=0, atol=tolerance)
    np.testing.assert_allclose([logits.sum(), np.linalg.norm(logits)], [expected["sum"], expected["l2"]], rtol=1e-7)


@pytest.mark.parametrize("key", ["AsymBiChaFuse", "TopDownGlobalChaFuse"])
def test_long_skips(key):
    expected, skip = FIGURES[f"acm_fusion_{key}"], LongSkip(64, 64, key, decoder=None)
    assert arrays(skip) == expected_arrays(expected)
    skip.initialize()
    skip.cast("float64")
    golden.fill(skip)
    fused = skip(*(golden.normal(seed, (2, 64, 8, 8)) for seed in (1, 2))).asnumpy()
    np.testing.assert_allclose(fused.ravel()[:64], expected["first64"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(fused), expected["l2"], rtol=1e-12)


@pytest.mark.parametrize(
    "host, fusion, stem, blocks, expected",
    [
        *(("unet", fusion, "tiny", 1, number) for fusion, number in (("concat", 165405), ("sk", 155169))),
        *(("unet", fusion, "tiny", 1, 155309) for fusion in ("TopDownGlobal", "TopDownLocal")),
        ("unet", "acm_local", "tiny", 1, 155525),
        ("unet", "acm", "std", 4, 518413),
        ("fpn", "acm", "tiny", 4, 385637),
        ("fpn", "acm", "std", 4, 387181),
    ],
)
def test_trained_parameters(host, fusion, stem, blocks, expected):
    net = build_model(f"{host}_resnet20", fusion=fusion, stem=stem, blocks=blocks)
    assert count_parameters(net)[0] == expected


@pytest.mark.parametrize("stem, divisor", [("std", 16), ("tiny", 4)])
def test_sizes_that_do_not_divide(stem, divisor):
    """At inference they are padded with zeros and cut back; training refuses them, and names the nearest that does."""
    net = gluon_aff.create_model("aff_unet_resnet8", stem=stem, classes=3)
    golden.fill(net)
    x = golden.normal(7, (2, 3, 29, 35), "float32")
    padded = mx.nd.array(np.pad(x.asnumpy(), ((0, 0), (0, 0), (0, 3), (0, 13))))
    logits = net(x)
    assert logits.shape == (2, 3, 29, 35)
    if stem == "tiny":
        np.testing.assert_array_equal(logits.asnumpy(), net(padded[:, :, :32, :36]).asnumpy()[:, :, :29, :35])
    with mx.autograd.record(), pytest.raises(UsageError, match=f"multiples of {divisor}, the nearest such size is"):
        net(x)


def test_the_deep_map_is_the_learned_branch():
    """AFF's weight is on the map from the transposed convolution: with M = 1 it alone is left, twice."""
    net = gluon_aff.create_model("aff_unet_resnet8")
    skip = net.fuse2
    for branch in (skip.fusion.local_att, skip.fusion.global_att):
        branch[-1].beta.set_data(mx.nd.ones(branch[-1].beta.shape) * 1e3)
    deep, shallow = (golden.normal(seed, (1, 32, 4, 4), "float32") for seed in (1, 2))
    np.testing.assert_allclose(skip(deep, shallow).asnumpy(), skip.post(2 * deep).asnumpy(), rtol=0, atol=1e-5)
