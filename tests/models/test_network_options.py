"""What the networks' options do: stems, stages, initial gamma, dropout, dilation, norms."""

import golden
import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from mxnet.gluon.contrib.nn import SyncBatchNorm

import gluon_aff
from gluon_aff.models import build_model

NARROW = {"blocks": 1, "channel_times": 1, "classes": 10}
FLAT = {"layers": (1, 1, 1, 1), "classes": 10}
HOSTS = {
    "cifar_aff_resnet8": NARROW,
    "cifar_aff_resnext11_32x4d": NARROW,
    "cifar_aff_inception8": NARROW,
    "aff_fpn_resnet8": {},
    "aff_resnet50": FLAT,
    "aff_resnext50_32x4d": FLAT,
}
each_host = pytest.mark.parametrize("name, options", HOSTS.items(), ids=HOSTS)


def shapes(net):
    return {name: p.shape for name, p in net._collect_params_with_prefix().items()}


def kernels(net, prefix):
    """Convolution weights whose names start with the prefix and have no deeper child: {position: shape}."""
    found = {}
    for name, shape in shapes(net).items():
        if name.startswith(prefix) and name.endswith(".weight") and len(shape) == 4:
            position = name[len(prefix) : -len(".weight")]
            if "." not in position:
                found[position] = shape
    return found


def images(size=16, batch=2, dtype="float32"):
    return golden.normal(7, (batch, 3, size, size), dtype)


def stages_with_attention(net):
    """The names' stage of each attention array: features.N or layerN."""
    found = set()
    for name in shapes(net):
        if ".attention." in name:
            parts = name.split(".")
            found.add(".".join(parts[:2]) if parts[0] == "features" else parts[0])
    return found


@pytest.mark.parametrize(
    "name, options, stages, default",
    [
        ("cifar_aff_resnet8", NARROW, ["features.2", "features.3", "features.4"], 1),
        ("cifar_aff_resnext11_32x4d", NARROW, ["features.3", "features.4", "features.5"], 1),
        ("aff_resnet50", FLAT, ["layer1", "layer2", "layer3", "layer4"], 3),
        ("aff_resnet50.paper", FLAT, ["layer1", "layer2", "layer3", "layer4"], 3),
        ("aff_resnext50_32x4d", FLAT, ["features.10", "features.11", "features.12", "features.13"], 3),
        ("aff_resnext50_32x4d.paper", FLAT, ["features.4", "features.5", "features.6", "features.7"], 3),
    ],
)
def test_start_layer(name, options, stages, default):
    """Stages from ``start_layer`` on have attention, those before add; one past the last means none."""
    for start in range(1, len(stages) + 2):
        assert stages_with_attention(build_model(name, start_layer=start, **options)) == set(stages[start - 1 :])
    assert stages_with_attention(build_model(name, **options)) == set(stages[default - 1 :])


def deep(first, last, at=0):
    """A deep stem of 3x3 convolutions, the first at position ``at``."""
    return {str(at): (first, 3, 3, 3), str(at + 3): (first, first, 3, 3), str(at + 6): (last, first, 3, 3)}


WIDE = {**NARROW, "channel_times": 4}


@pytest.mark.parametrize(
    "name, options, prefix, expected",
    [
        ("cifar_resnet", WIDE, "features.", {"1": (64, 3, 3, 3)}),
        ("cifar_resnet", {**WIDE, "deep_stem": True}, "features.", deep(32, 64, at=1)),
        ("cifar_resnext", WIDE, "features.", {"0": (64, 3, 3, 3)}),
        ("cifar_resnext", {**WIDE, "deep_stem": True}, "features.", deep(32, 64)),
        ("resnet50", FLAT, "conv1.", deep(32, 64)),
        ("resnet50.paper", FLAT, "conv1", {"": (64, 3, 7, 7)}),
        ("resnet50", {**FLAT, "deep_stem": False}, "conv1", {"": (64, 3, 7, 7)}),
        ("resnet50.paper", {**FLAT, "deep_stem": True}, "conv1.", deep(32, 64)),
        ("resnext50_32x4d", FLAT, "features.", deep(64, 128)),
        ("resnext50_32x4d.paper", FLAT, "features.", {"0": (64, 3, 7, 7)}),
        ("resnext50_32x4d", {**FLAT, "deep_stem": False}, "features.", {"0": (64, 3, 7, 7)}),
    ],
)
def test_stems(name, options, prefix, expected):
    assert kernels(build_model(name, **options), prefix) == expected


@pytest.mark.parametrize(
    "name, options, norms, first_stage",
    [
        ("cifar_resnet", {}, {"0": 3, "5": 64}, "2"),
        ("cifar_resnet", {"deep_stem": True}, {"0": 3, "2": 8, "5": 8, "11": 64}, "8"),
        ("cifar_resnext", {}, {"1": 16}, "3"),
        ("cifar_resnext", {"deep_stem": True}, {"1": 8, "4": 8, "7": 16}, "9"),
    ],
)
def test_what_a_deep_stem_shifts(name, options, norms, first_stage):
    """Positions of the norms (with channels) and of the first stage among ``features``."""
    net = build_model(name, blocks=1, channel_times=1, **options)
    found = {n.split(".")[1]: s[0] for n, s in shapes(net).items() if n.count(".") == 2 and n.endswith("gamma")}
    assert found == norms
    assert min((n.split(".")[1] for n in shapes(net) if n.count(".") > 3), key=int) == first_stage


RESNEXTS = ["cifar_aff_resnext11_32x4d", "aff_resnext50_32x4d"]


@pytest.mark.parametrize(
    "name, options, zero",
    [
        *((name, {}, False) for name in (*RESNEXTS, "aff_resnet50")),
        *((name, {"last_gamma": True}, True) for name in (*RESNEXTS, "aff_resnet50")),
        *((name, {"authors_last_gamma": True}, True) for name in RESNEXTS),
        *((name, {"authors_last_gamma": True, "last_gamma": True}, False) for name in RESNEXTS),
    ],
)
def test_last_gamma(name, options, zero):
    """The right meaning by default; the authors' inverted ResNeXt initialisation by name."""
    net = gluon_aff.create_model(name, **HOSTS[name], **options)
    for array, parameter in net._collect_params_with_prefix().items():
        if array.endswith("gamma"):
            last = array.endswith(("body.7.gamma", "bn3.gamma"))  # of a block's branch
            assert np.all(parameter.data().asnumpy() == (0 if zero and last else 1)), array


@pytest.mark.parametrize("name, stages", [(RESNEXTS[0], (3, 4, 5)), (RESNEXTS[1], (10, 11, 12, 13))])
def test_use_se(name, stages):
    without, net = (build_model(name, **HOSTS[name], **more) for more in ({}, {"use_se": True}))
    assert set(shapes(net)) - set(shapes(without)) == {
        f"features.{stage}.0.se.{layer}" for stage in stages for layer in ("0.weight", "0.bias", "2.weight", "2.bias")
    }


def test_final_drop():
    """Dropout before the output: in training only, and only when asked for."""
    options = {**FLAT, "use_global_stats": True}  # nothing else changes in training
    net = gluon_aff.create_model("aff_resnet50", final_drop=0.5, **options)
    without = gluon_aff.create_model("aff_resnet50", **options)
    assert shapes(net) == shapes(without)
    x = images(32)
    with mx.autograd.train_mode():
        assert not np.array_equal(net(x).asnumpy(), net(x).asnumpy())
        assert np.array_equal(without(x).asnumpy(), without(x).asnumpy())
    assert np.array_equal(net(x).asnumpy(), net(x).asnumpy())


@pytest.mark.parametrize("frozen", [True, False], ids=["use_global_stats", "batch statistics"])
@each_host
def test_running_statistics(name, options, frozen):
    """They move in backward; so never those of a norm on the network's input, behind which nothing needs a gradient.

    The authors' networks are the same: trained on batch statistics, at inference that norm hands its input on. With
    ``use_global_stats`` training uses them and leaves them alone.
    """
    net = gluon_aff.create_model(name, use_global_stats=frozen, **options)
    golden.fill(net)
    net.apply(lambda block: setattr(block, "_rate", 0) if isinstance(block, nn.Dropout) else None)
    x = images(32, batch=3)
    inferred = net(x).asnumpy()
    before = {n: p.data().asnumpy() for n, p in net._collect_params_with_prefix().items() if "running" in n}
    with mx.autograd.record():
        out = net(x)
        loss = out.sum()
    loss.backward()
    mx.nd.waitall()
    if frozen:
        np.testing.assert_allclose(out.asnumpy(), inferred, rtol=1e-4, atol=1e-5 * np.abs(inferred).max())
    for array, values in before.items():
        same = np.array_equal(net._collect_params_with_prefix()[array].data().asnumpy(), values)
        of_the_input = array.startswith(("features.0.", "stem.0.")) and values.shape == (3,)
        assert same == (frozen or of_the_input), array


@pytest.mark.parametrize("dilated, sizes", [(False, [16, 8, 4, 2]), (True, [16, 8, 8, 8])])
@pytest.mark.parametrize("name", ["resnet50", "resnet50.paper"])
def test_dilated_sizes(name, dilated, sizes):
    """With ``dilated`` the output stride is 8 instead of 32."""
    net = build_model(name, dilated=dilated, layers=(1, 1, 2, 2), classes=10)
    x = net.maxpool(net.relu(net.bn1(net.conv1(mx.sym.var("data")))))
    found = []
    for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
        x = layer(x)
        found.append(x.infer_shape(data=(1, 3, 64, 64))[1][0][2:])
    assert found == [(size, size) for size in sizes]


def test_dilations():
    """2 and 4 in stages 3 and 4; a stage's first block dilates as the stage before."""
    net = build_model("resnet50", dilated=True, layers=(2, 2, 2, 2))
    found = [
        [block.conv2._kwargs["dilate"][0] for block in layer]
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4)
    ]
    assert found == [[1, 1], [1, 1], [1, 2], [2, 4]]


@each_host
def test_injected_norm_layer(name, options):
    """Every norm of the network is made by the injected class, with the injected settings; names stay."""
    calls = []

    class Norm(SyncBatchNorm):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            calls.append(kwargs)

    settings = {"epsilon": 0.01, "momentum": 0.5, "num_devices": 1}
    net = gluon_aff.create_model(name, norm_layer=Norm, norm_kwargs=settings, **options)
    assert shapes(net) == shapes(build_model(name, **options))
    assert len(calls) == sum(array.endswith("running_mean") for array in shapes(net))
    assert all(settings.items() <= call.items() for call in calls)
    assert np.isfinite(net(images(32)).asnumpy()).all()


def test_the_norm_of_the_input_is_frozen():
    """scale=False, center=False: gamma counts as one, beta is still added, neither is trained."""
    net = gluon_aff.create_model("cifar_resnet8", channel_times=1)
    frozen = {n for n, p in net._collect_params_with_prefix().items() if p.grad_req == "null" and "running" not in n}
    assert frozen == {"features.0.gamma", "features.0.beta"}
    x = images()
    norm = net.features[0]
    norm.gamma.set_data(mx.nd.array([7, 7, 7]))
    norm.beta.set_data(mx.nd.array([1, 2, 3]))
    expected = x / np.sqrt(1 + 1e-5) + mx.nd.array([1, 2, 3]).reshape((1, 3, 1, 1))
    np.testing.assert_allclose(norm(x).asnumpy(), expected.asnumpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channel_times, cardinality", [(4, 32), (8, 64), (1, 32)])
def test_cardinality_of_the_cifar_resnext(channel_times, cardinality):
    net = build_model("cifar_resnext", blocks=1, channel_times=channel_times)
    group = cardinality * (16 * channel_times * 4 // 64)
    assert shapes(net)["features.3.0.body.3.weight"] == (group, group // cardinality, 3, 3)


@pytest.mark.parametrize("kernel5, size, dilation", [("dilated", 3, 2), ("true", 5, 1)])
def test_the_5x5_branch(kernel5, size, dilation):
    net = gluon_aff.create_model("cifar_aff_inception8", kernel5=kernel5)
    small, large = net.features[1].feature_spatial_3[0], net.features[1].feature_spatial_5[0]
    assert (small.weight.shape[2:], small._kwargs["dilate"]) == ((3, 3), (1, 1))
    assert (large.weight.shape[2:], large._kwargs["dilate"]) == ((size, size), (dilation, dilation))
    assert net(images()).shape == (2, 100)


@pytest.mark.parametrize("fusion", ["add", "aff", "concat", "iaff", "sk"])
def test_fused_convolution_weighs_the_3x3_branch(fusion):
    """X = 3x3 branch carries the weight as in Eq. 4, without a factor 2; addition and concatenation have no norms."""
    net = gluon_aff.create_model("cifar_inception8", fusion=fusion)
    fused = net.features[1]
    fused.cast("float64")
    golden.fill(fused)
    x = images(dtype="float64")
    three, five = fused.feature_spatial_3(x), fused.feature_spatial_5(x)
    assert len(fused.feature_spatial_3) == len(fused.feature_spatial_5) == (1 if fusion in ("add", "concat") else 2)
    if fusion in ("aff", "iaff", "sk"):
        # with all weights at one, what remains is X: the scores of "first" saturate the sigmoid
        for name, parameter in fused.attention._collect_params_with_prefix().items():
            if name.endswith("beta"):
                parameter.set_data(mx.nd.full(parameter.shape, 1e3, dtype="float64"))
        if fusion == "sk":
            beta = fused.attention.global_att[5].beta
            beta.set_data(mx.nd.concat(mx.nd.zeros(16, dtype="float64"), mx.nd.full(16, -1e3, dtype="float64"), dim=0))
            # of the pair the first belongs to whatever is weighed, the 3x3 branch
        np.testing.assert_allclose(fused(x).asnumpy(), three.asnumpy(), rtol=0, atol=1e-9)
    elif fusion == "add":
        assert np.array_equal(fused(x).asnumpy(), (three + five).asnumpy())
