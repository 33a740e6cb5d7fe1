"""Norms folded into convolutions: the same logits, which norms stay and why, inference only."""

import golden
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluon_aff
from gluon_aff.deploy import fold
from gluon_aff.errors import UsageError
from gluon_aff.nn import list_fusions

PADS = "the convolution behind it pads with zeros, which are none before the norm"
SHARED = "the convolution before it is read by others, too"


def made(name, **options):
    net = gluon_aff.create_model(name, **options)
    golden.fill(net, gain=1)
    return net


def differences(net, shape):
    """The largest difference of the folded network's logits, in parts of their range; and the folded network."""
    x = golden.normal(1, shape, "float32")
    logits, folded = net(x).asnumpy(), fold(net)
    assert np.ptp(logits) > 0.01
    np.testing.assert_array_equal(net(x).asnumpy(), logits)  # the network itself is unchanged
    return np.abs(folded(x).asnumpy() - logits).max() / np.ptp(logits), folded


@pytest.mark.parametrize(
    ("name", "options", "shape", "kept"),
    [
        # norms that stay: on the input, behind sums, behind the first convolution, which the shortcut reads, too
        ("cifar_aff_resnet8", {"channel_times": 1}, (2, 3, 32, 32), 5),
        ("cifar_resnet8", {"channel_times": 1, "deep_stem": True}, (2, 3, 32, 32), 5),
        ("cifar_aff_resnext11_32x4d", {}, (2, 3, 32, 32), 0),
        ("cifar_iaff_resnext11_32x4d.paper", {}, (2, 3, 32, 32), 0),
        ("cifar_aff_inception8", {}, (2, 3, 32, 32), 8),
        ("aff_resnet50", {"layers": (1, 1, 1, 1)}, (1, 3, 64, 64), 0),
        ("resnext50_32x4d.paper", {"layers": (1, 1, 1, 1), "fusion": "iaff", "use_se": True}, (1, 3, 64, 64), 0),
        ("aff_fpn_resnet8", {}, (2, 3, 45, 61), 3),
        ("aff_fpn_resnet8", {"stem": "tiny", "decoder": "expand"}, (2, 3, 33, 30), 1),
    ],
)
def test_logits_are_the_same(name, options, shape, kept):
    difference, folded = differences(made(name, **options), shape)
    assert difference < 1e-4
    assert len(folded.folding.kept) == kept and folded.folding.folded >= 3


class EveryFusion(nn.HybridBlock):
    """Means over the maps (8, H, W) of every fusion, in the order of their names.

    Each has inputs of its own: MXNet stops at merging what is equal in all of them.
    """

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.conv = nn.Conv2D(8, 3, padding=1, in_channels=3)
            self.grouped = nn.Conv2D(8, 3, padding=1, groups=2, in_channels=8)  # as in a ResNeXt
            for name in list_fusions():
                setattr(self, name, gluon_aff.create_fusion(name, 8))

    def hybrid_forward(self, F, x):
        x = F.contrib.BilinearResize2D(self.grouped(self.conv(x)), height=20, width=12)  # ONNX: by MXNet's translation
        maps = [getattr(self, name)(x * n, F.relu(x) / n) for n, name in enumerate(list_fusions(), 1)]
        return F.flatten(F.Pooling(F.concat(*maps, dim=1), kernel=(1, 1), pool_type="avg", global_pool=True))


def every_fusion():
    net = EveryFusion()
    net.initialize()
    golden.fill(net, gain=1)
    return net


def by_fusion(found, expected):
    """Fusion -> the largest difference of its means, in parts of their range."""
    parts = [np.split(each, len(list_fusions()), axis=1) for each in (found, expected)]
    return {name: np.abs(f - e).max() / np.ptp(e) for name, f, e in zip(list_fusions(), *parts)}


def test_every_fusion():
    net, x = every_fusion(), golden.normal(1, (2, 3, 16, 16), "float32")
    folded = fold(net)
    assert folded.folding.folded > len(list_fusions())
    assert max(by_fusion(folded(x).asnumpy(), net(x).asnumpy()).values()) < 1e-4


def test_why_norms_stay_and_that_it_is_not_trained():
    folded = fold(made("cifar_aff_resnet8", channel_times=1))
    reasons = [norm.reason for norm in folded.folding.kept]
    assert reasons.count(PADS) == 1 and reasons.count(SHARED) == 1
    assert sum(reason.startswith(("it follows a sum", "it follows a fusion")) for reason in reasons) == 3
    number = folded.folding.folded
    assert folded.folding.lines()[0] == f"{number} of {number + 5} norms folded into convolutions"
    with mx.autograd.record(), pytest.raises(UsageError, match="for inference only: train the network that it was"):
        folded(golden.normal(1, (2, 3, 32, 32), "float32"))
    with pytest.raises(UsageError, match=r"gluon_aff\.deploy\.export"):
        folded.save_parameters("folded.params")


class InputNorm(nn.HybridSequential):
    """A norm on the input before a convolution of two groups, which pads or not."""

    def __init__(self, pad):
        super().__init__()
        with self.name_scope():
            self.add(nn.BatchNorm(in_channels=4, scale=False, epsilon=1e-3))
            self.add(nn.Conv2D(6, 3, padding=pad, groups=2, in_channels=4, use_bias=False))


@pytest.mark.parametrize(("pad", "kept"), [(0, 0), (1, 1)])
def test_a_norm_on_the_input_goes_into_a_convolution_without_padding_alone(pad, kept):
    net = InputNorm(pad)
    net.initialize()
    golden.fill(net)
    x = golden.normal(3, (2, 4, 7, 7), "float32")
    expected, folded = net(x).asnumpy(), fold(net)
    assert len(folded.folding.kept) == kept
    np.testing.assert_allclose(folded(x).asnumpy(), expected, rtol=0, atol=1e-5 * np.ptp(expected))
    fresh = InputNorm(pad)
    fresh.initialize()
    golden.fill(fresh, gain=3)
    assert np.abs(fresh(x).asnumpy() - expected).max() > 1e-3 * np.ptp(expected)  # the comparison can fail


class Twice(nn.HybridBlock):
    """One convolution for two norms."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.conv = nn.Conv2D(4, 1, in_channels=4)
            self.first, self.second = nn.BatchNorm(in_channels=4), nn.BatchNorm(in_channels=4)

    def hybrid_forward(self, F, x):
        return self.first(self.conv(x)) + self.second(self.conv(F.relu(x)))


def test_a_convolution_used_twice_is_left_alone():
    net = Twice()
    net.initialize()
    golden.fill(net)
    x = golden.normal(3, (2, 4, 5, 5), "float32")
    folded = fold(net)
    assert {norm.reason for norm in folded.folding.kept} == {"its convolution's weights are used elsewhere, too"}
    np.testing.assert_array_equal(folded(x).asnumpy(), net(x).asnumpy())


def test_what_cannot_be_folded_is_refused(tmp_path):
    bare = gluon_aff.models.build_model("cifar_aff_resnet8")
    with pytest.raises(UsageError, match="no weights yet"):
        fold(bare)

    class Shapes(nn.HybridBlock):
        def hybrid_forward(self, F, x):
            return x.reshape((x.shape[0], -1))

    with pytest.raises(UsageError, match="cannot be traced"):
        fold(Shapes())
