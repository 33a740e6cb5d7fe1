"""The weights that are shown are those that the fusions use."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluon_aff
from gluon_aff.errors import UsageError
from gluon_aff.gradcam import fusion_weights
from gluon_aff.nn import MSCAM, create_fusion, list_fusions

#: fused = f(x, residual, M) in the fusion's own arithmetic
FORMULAS = {
    "aff": lambda x, residual, m: 2 * x * m + 2 * residual * (1 - m),
    "highway": lambda x, residual, m: residual * m + x * (1 - m),
    "ms_gau": lambda x, residual, m: m * residual + x,
    "ms_se": lambda x, residual, m: residual + m * x,
    "ms_sa": lambda x, residual, m: m * residual + x,
    "se": lambda x, residual, m: residual + m * x,
    "gau": lambda x, residual, m: m * residual + x,
    "gau_local": lambda x, residual, m: m * residual + x,
}
ACM = ("acm", "acm_global", "acm_local")
FORMULAS.update(dict.fromkeys(("aff_global_global", "aff_local_local", "sk"), FORMULAS["aff"]))


class Host(nn.HybridBlock):
    """x and residual are the two halves of the channels."""

    def __init__(self, fusion):
        super().__init__()
        with self.name_scope():
            self.fuse = fusion

    def hybrid_forward(self, F, both):
        return self.fuse(*F.split(both, num_outputs=2, axis=1))


def host(name, channels=6, **options):
    net = Host(create_fusion(name, channels, 2, **options))
    net.initialize(mx.init.Normal(1.0))
    for parameter in net.collect_params(".*running_mean").values():
        parameter.set_data(mx.nd.random.normal(shape=parameter.shape))
    return net


def batch(channels=12, size=5):
    return np.random.default_rng(0).normal(size=(2, channels, size, size)).astype(np.float32)


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_weights_give_the_fusions_output(name, hybrid):
    net, x = host(name), batch()
    if hybrid:
        net.hybridize()
    (found,) = fusion_weights(net, x)
    halves = x[:, :6], x[:, 6:]
    np.testing.assert_allclose(
        FORMULAS[name](*halves, found.weight), net(mx.nd.array(x)).asnumpy(), rtol=1e-4, atol=1e-4
    )
    assert (found.path, found.stage) == ("fuse", 1)
    # the label says what the formula does: all of what it names passes where M is 1
    everywhere = np.ones_like(halves[0])
    named, other = halves if found.on == "x" else halves[::-1]
    ones, zeros = (FORMULAS[name](*halves, m * everywhere) for m in (1, 0))
    factor = 2 if name in ("aff", "sk", "aff_global_global", "aff_local_local") else 1
    np.testing.assert_allclose(ones - zeros, factor * (named - (other if found.selects else 0)), rtol=1e-4, atol=1e-5)


def test_every_fusion_is_covered():
    assert set(list_fusions()) == {*FORMULAS, *ACM, "iaff", "add", "concat"}


def test_both_stages_of_iaff():
    net, x = host("iaff"), batch()
    first, second = fusion_weights(net, x)
    assert (first.stage, second.stage) == (1, 2)
    halves = x[:, :6], x[:, 6:]
    np.testing.assert_allclose(
        halves[0] * second.weight + halves[1] * (1 - second.weight), net(mx.nd.array(x)).asnumpy(), atol=1e-5
    )
    z = mx.nd.array(halves[0] * first.weight + halves[1] * (1 - first.weight))
    logits = net.fuse.local_att2(z) + net.fuse.global_att2(z)
    np.testing.assert_allclose(second.weight, logits.sigmoid().asnumpy(), atol=1e-5)


@pytest.mark.parametrize("name", ACM)
def test_both_weights_of_acm(name):
    net, x = host(name), batch()
    topdown, bottomup = fusion_weights(net, x)
    assert [(w.label, w.stage, w.on, w.selects) for w in (topdown, bottomup)] == [
        ("topdown", 1, "residual", False),
        ("bottomup", 2, "x", False),
    ]
    assert [w.local is None for w in (topdown, bottomup)] == [name != "acm_local", name == "acm_global"]
    fused = 2 * topdown.weight * x[:, 6:] + 2 * bottomup.weight * x[:, :6]
    np.testing.assert_allclose(fused, net(mx.nd.array(x)).asnumpy(), atol=1e-4)


def test_parts_add_up_below_the_sigmoid():
    net, x = host("aff"), batch()
    (found,) = fusion_weights(net, x)
    assert found.local.shape == (2, 6, 5, 5) and found.context.shape == (2, 6, 1, 1)
    np.testing.assert_allclose(found.weight, 1 / (1 + np.exp(-found.local - found.context)), atol=1e-5)
    for name, parts in (
        ("aff_local_local", (True, False)),
        ("aff_global_global", (False, True)),
        ("se", (False, True)),
    ):
        (found,) = fusion_weights(host(name), batch(size=1))  # one pixel: the shapes alone would not tell
        assert (found.local is not None, found.context is not None) == parts


def test_the_papers_order_is_said():
    (found,) = fusion_weights(host("aff", weight_on="residual"), batch())
    assert found.on == "residual" and found.selects


def test_shallow_to_deep_and_the_network_stays_as_it_was():
    net = gluon_aff.create_model("cifar_iaff_resnet14", channel_times=1)
    net.hybridize(static_alloc=True)
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    before = net(x).asnumpy()
    compiled = net._cached_op
    found = fusion_weights(net, x)
    assert [(w.path, w.stage) for w in found[:4]] == [
        ("features.2.0.attention", 1),
        ("features.2.0.attention", 2),
        ("features.2.1.attention", 1),
        ("features.2.1.attention", 2),
    ]
    assert [w.weight.shape[2] for w in found] == [32] * 4 + [16] * 4 + [8] * 4
    assert net._cached_op is compiled and net._active and np.array_equal(net(x).asnumpy(), before)


def test_ms_cam_in_a_users_network():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), MSCAM(4))
    net.initialize()
    (found,) = fusion_weights(net, batch(3))
    assert (found.path, found.kind, found.selects) == ("1", "MSCAM", False)
    np.testing.assert_allclose(
        (net[0](mx.nd.array(batch(3))) * mx.nd.array(found.weight)).asnumpy(),
        net(mx.nd.array(batch(3))).asnumpy(),
        atol=1e-5,
    )


def test_long_skips_have_weights_too():
    net = gluon_aff.create_model("aff_fpn_resnet8", stem="tiny")
    found = fusion_weights(net, batch(3, 16))
    assert [w.path for w in found] == ["fuse23.fusion", "fuse12.fusion"]
    assert {(w.weighed, w.other) for w in found} == {("high-level map", "low-level map")}


def test_the_inception_host_keeps_the_papers_order():
    found = fusion_weights(gluon_aff.create_model("cifar_aff_inception8"), batch(3, 16))
    assert {(w.weighed, w.other) for w in found} == {("3x3 branch", "5x5 branch")}


def test_nothing_to_show():
    with pytest.raises(UsageError, match=r"no fusion of this CIFARResNet has weights \(fusions: Add\)"):
        fusion_weights(gluon_aff.create_model("cifar_resnet8"), batch(3, 32))
    with pytest.raises(UsageError, match="fusions: none"):
        fusion_weights(nn.Dense(2), batch())
