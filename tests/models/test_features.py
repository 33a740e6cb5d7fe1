"""Networks without heads: maps, channels and strides of every stage; shared weights; under an FPN step of one's own."""

import golden
import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff.errors import UsageError
from gluon_aff.models.features import FeatureMaps

CIFAR, IMAGENET = (1, 2, 4), (4, 8, 16, 32)
FLAT = {"layers": (1, 1, 1, 1)}


@pytest.mark.parametrize(
    ("name", "options", "channels", "strides"),
    [
        ("cifar_aff_resnet8", {}, (64, 128, 256), CIFAR),
        ("cifar_aff_resnet8", {"channel_times": 1, "deep_stem": True}, (16, 32, 64), CIFAR),
        ("cifar_iaff_resnext11_32x4d.paper", {}, (256, 512, 1024), CIFAR),
        ("cifar_aff_inception8", {}, (16, 32, 64), CIFAR),
        ("aff_resnet50", FLAT, (256, 512, 1024, 2048), IMAGENET),
        ("aff_resnet50.paper", {**FLAT, "dilated": True}, (256, 512, 1024, 2048), (4, 8, 8, 8)),
        ("iaff_resnext50_32x4d", FLAT, (256, 512, 1024, 2048), IMAGENET),
        ("aff_fpn_resnet8", {}, (16, 32, 64), (4, 8, 16)),
        ("aff_fpn_resnet8", {"stem": "tiny"}, (16, 32, 64), CIFAR),
    ],
)
def test_channels_and_strides_are_what_comes_out(name, options, channels, strides):
    features = gluon_aff.create_model(name, features_only=True, **options)
    assert isinstance(features, FeatureMaps) and (features.channels, features.strides) == (channels, strides)
    maps = features(mx.nd.zeros((1, 3, 32, 64)))
    expected = [(1, width, 32 // stride, 64 // stride) for width, stride in zip(channels, strides)]
    assert [each.shape for each in maps] == expected


def test_the_maps_are_those_of_the_network(tmp_path):
    net = gluon_aff.create_model("aff_resnet50", classes=7, **FLAT)
    golden.fill(net, gain=1)
    net.save_parameters(str(tmp_path / "net.params"))
    features = gluon_aff.create_model("aff_resnet50", pretrained=tmp_path / "net.params", features_only=True, **FLAT)
    x = golden.normal(2, (1, 3, 64, 64), "float32")
    last = features(x)[-1]
    logits = net.fc(net.flat(net.avgpool(last)))
    np.testing.assert_array_equal(logits.asnumpy(), net(x).asnumpy())
    assert not any("fc" in name or "dense" in name for name in features.collect_params())


def test_some_of_the_maps():
    """The largest first, without the stages behind them."""
    options = {"channel_times": 1, "features_only": True}
    every = gluon_aff.create_model("cifar_aff_resnet8", **options)
    some = gluon_aff.create_model("cifar_aff_resnet8", out_indices=(1, -3), **options)
    for net in (every, some):
        golden.fill(net, gain=2)
    x = golden.normal(2, (1, 3, 32, 32), "float32")
    assert (some.names, some.channels, some.strides) == (("stage1", "stage2"), (16, 32), (1, 2))
    for found, expected in zip(some(x), every(x)[:2]):
        np.testing.assert_array_equal(found.asnumpy(), expected.asnumpy())
    assert not hasattr(some, "stage3")
    for wrong in ((3,), (0, -3), ()):
        with pytest.raises(UsageError, match="choose among the 3 maps"):
            gluon_aff.create_model("cifar_aff_resnet8", out_indices=wrong, **options)
    with pytest.raises(UsageError, match="features_only"):
        gluon_aff.create_model("cifar_aff_resnet8", out_indices=(0,))


class Segments(mx.gluon.HybridBlock):
    """The FPN step of docs/networks.md on the two last maps."""

    def __init__(self, features, width=16):
        super().__init__()
        with self.name_scope():
            self.features = features
            low, high = features.channels[-2:]
            self.top = mx.gluon.nn.Conv2D(width, 1, in_channels=high)
            self.lateral = mx.gluon.nn.Conv2D(width, 1, in_channels=low)
            self.resize = gluon_aff.nn.ResizeLike()
            self.fuse = gluon_aff.create_fusion("aff", width)

    def hybrid_forward(self, F, x):
        *_, low, high = self.features(x)
        low = self.lateral(low)
        return self.fuse(self.resize(self.top(high), low), low)


@pytest.mark.parametrize("hybrid", [False, True])
def test_every_parameter_is_trained_under_a_decoder(hybrid):
    net = Segments(gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, features_only=True))
    for block in (net.top, net.lateral, net.fuse):
        block.initialize()
    if hybrid:
        net.hybridize()
    x = golden.normal(1, (2, 3, 32, 32), "float32")
    with mx.autograd.record():
        loss = (net(x) ** 2).sum()
    loss.backward()
    for name, parameter in net.collect_params().items():
        if parameter.grad_req != "null":
            # a norm takes the bias before it out again: its gradient is rounding alone, or nothing
            assert parameter.grad().asnumpy().any() or name.endswith(("beta", "bias")), name
