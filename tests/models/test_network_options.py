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
    "name, options, stages",
    [
        ("cifar_aff_resnet8", NARROW, ["features.2", "features.3", "features.4"]),
        ("cifar_aff_resnext11_32x4d", NARROW, ["features.3", "features.4", "features.5"]),
        ("aff_resnet50", FLAT, ["layer1", "layer2", "layer3", "layer4"]),
        ("aff_resnext50_32x4d", FLAT, ["features.10", "features.11", "features.12", "features.13"]),
        ("aff_resnext50_32x4d.paper", FLAT, ["features.4", "features.5", "features.6", "features.7"]),
    ],
)
def test_start_layer(name, options, stages):
    """Stages from ``start_layer`` on have attention, those before add; one past the last means none."""
    for start in range(1, len(stages) + 2):
        assert stages_with_attention(build_model(name, start_layer=start, **options)) == set(stages[start - 1 :])


@pytest.mark.parametrize(
    "name, first",
    [("cifar_aff_resnet8", 1), ("cifar_aff_resnext11_32x4d", 1)]
    + [(name, 3) for name in ("aff_resnet50", "aff_resnext50_32x4d", "aff_resnet50.paper")],
)
def test_start_layer_by_default(name, first):
    """1 on CIFAR, 3 on ImageNet, as in all published files."""
    options = NARROW if first == 1 else FLAT
    default, explicit = (build_model(name, **options, **more) for more in ({}, {"start_layer": first}))
    assert shapes(default) == shapes(explicit)


@pytest.mark.parametrize(
    "name, options, prefix, expected",
    [
        ("cifar_resnet", {**NARROW, "channel_times": 4}, "features.", {"1": (64, 3, 3, 3)}),
        (
            "cifar_resnet",
            {**NARROW, "channel_times": 4, "deep_stem": True},
            "features.",
            {"1": (32, 3, 3, 3), "4": (32, 32, 3, 3), "7": (64, 32, 3, 3)},
        ),
        ("cifar_resnext", {**NARROW, "channel_times": 4}, "features.", {"0": (64, 3, 3, 3)}),
        (
            "cifar_resnext",
            {**NARROW, "channel_times": 4, "deep_stem": True},
            "features.",
            {"0": (32, 3, 3, 3), "3": (32, 32, 3, 3), "6": (64, 32, 3, 3)},
        ),
        ("resnet50", FLAT, "conv1.", {"0": (32, 3, 3, 3), "3": (32, 32, 3, 3), "6": (64, 32, 3, 3)}),
        ("resnet50.paper", FLAT, "conv1", {"": (64, 3, 7, 7)}),
        ("resnet50", {**FLAT, "deep_stem": False}, "conv1", {"": (64, 3, 7, 7)}),
        (
            "resnet50.paper",
            {**FLAT, "deep_stem": True},
            "conv1.",
            {"0": (32, 3, 3, 3), "3": (32, 32, 3, 3), "6": (64, 32, 3, 3)},
        ),
        (
            "resnext50_32x4d",
            FLAT,
            "features.",
            {"0": (64, 3, 3, 3), "3": (64, 64, 3, 3), "6": (128, 64, 3, 3)},
        ),
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


@pytest.mark.parametrize(
    "name, options",
    [("cifar_resnet", NARROW), ("cifar_resnext", NARROW), ("resnet50", FLAT), ("resnext50_32x4d", FLAT)],
)
def test_a_deep_stem_of_either_kind_runs(name, options):
    sizes = set()
    for deep_stem in (False, True):
        net = gluon_aff.create_model(name, deep_stem=deep_stem, **options)
        sizes.add(net(images(64)).shape)
    assert sizes == {(2, 10)}


def gammas(net):
    """{name: True when it starts at zero} of the norms that end a block's branch, and whether all others are one."""
    last, others = {}, True
    for name, parameter in net._collect_params_with_prefix().items():
        if name.endswith("gamma"):
            value = parameter.data().asnumpy()
            assert len(set(value)) == 1
            if name.endswith(("body.7.gamma", "bn3.gamma")):
                last[name] = value[0] == 0
            else:
                others = others and value[0] == 1
    assert others
    return set(last.values())


@pytest.mark.parametrize(
    "name, options, zero",
    [
        ("aff_resnet50", {}, False),
        ("aff_resnet50", {"last_gamma": False}, False),
        ("aff_resnet50", {"last_gamma": True}, True),
        ("aff_resnext50_32x4d", {}, False),
        ("aff_resnext50_32x4d", {"last_gamma": True}, True),
        ("aff_resnext50_32x4d", {"authors_last_gamma": True}, True),
        ("aff_resnext50_32x4d", {"authors_last_gamma": True, "last_gamma": True}, False),
        ("cifar_aff_resnext11_32x4d", {}, False),
        ("cifar_aff_resnext11_32x4d", {"last_gamma": True}, True),
        ("cifar_aff_resnext11_32x4d", {"authors_last_gamma": True}, True),
        ("cifar_aff_resnext11_32x4d", {"authors_last_gamma": True, "last_gamma": True}, False),
    ],
)
def test_last_gamma(name, options, zero):
    """The right meaning by default; the authors' inverted ResNeXt initialisation by name."""
    assert gammas(gluon_aff.create_model(name, **HOSTS[name], **options)) == {zero}


@pytest.mark.parametrize(
    "name, first", [("cifar_aff_resnext11_32x4d", "features.3.0"), ("aff_resnext50_32x4d", "features.10.0")]
)
def test_use_se(name, first):
    without, net = (gluon_aff.create_model(name, **HOSTS[name], **more) for more in ({}, {"use_se": True}))
    added = {array for array in shapes(net) if array not in shapes(without)}
    assert {array for array in added if array.startswith(first)} == {
        f"{first}.se.{position}.{kind}" for position in (0, 2) for kind in ("weight", "bias")
    }
    assert all(".se." in array for array in added)
    x = images(32)
    assert not np.array_equal(without(x).asnumpy(), net(x).asnumpy())


def test_final_drop():
    """Dropout before the output: in training only, and only when asked for."""
    options = {**FLAT, "layers": (1, 1, 1, 1), "use_global_stats": True}  # nothing else changes in training
    net = gluon_aff.create_model("aff_resnet50", final_drop=0.5, **options)
    without = gluon_aff.create_model("aff_resnet50", **options)
    assert shapes(net) == shapes(without)
    x = images(32)
    with mx.autograd.train_mode():
        assert not np.array_equal(net(x).asnumpy(), net(x).asnumpy())
        assert np.array_equal(without(x).asnumpy(), without(x).asnumpy())
    assert np.array_equal(net(x).asnumpy(), net(x).asnumpy())


@each_host
def test_use_global_stats(name, options):
    """Training uses the running statistics and leaves them alone."""
    net = gluon_aff.create_model(name, use_global_stats=True, **options)
    golden.fill(net)
    net.apply(lambda block: setattr(block, "_rate", 0) if isinstance(block, nn.Dropout) else None)
    x = images(32)
    inferred = net(x).asnumpy()
    before = {n: p.data().asnumpy() for n, p in net._collect_params_with_prefix().items() if "running" in n}
    with mx.autograd.record():
        out = net(x)
        loss = out.sum()
    loss.backward()
    np.testing.assert_allclose(out.asnumpy(), inferred, rtol=1e-4, atol=1e-5 * np.abs(inferred).max())
    for array, values in before.items():
        assert np.array_equal(net._collect_params_with_prefix()[array].data().asnumpy(), values), array


@each_host
def test_running_statistics_move_without_it(name, options):
    """In backward; so never those of a norm on the network's input, behind which nothing needs a gradient.

    The authors' networks are the same: trained on batch statistics, at inference that norm hands its input on.
    """
    net = gluon_aff.create_model(name, **options)
    before = {n: p.data().asnumpy() for n, p in net._collect_params_with_prefix().items() if "running" in n}
    with mx.autograd.record():
        loss = net(images(64, batch=3)).sum()
    loss.backward()
    mx.nd.waitall()
    for array, values in before.items():
        same = np.array_equal(net._collect_params_with_prefix()[array].data().asnumpy(), values)
        assert same == (array.startswith(("features.0.", "stem.0.")) and values.shape == (3,)), array


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


@pytest.mark.parametrize("tag, position, pooled", [("release", 1, True), ("paper", 0, False)])
@pytest.mark.parametrize(
    "name, options, block",
    [
        ("cifar_resnet", NARROW, "features.3.0"),
        ("cifar_resnext", NARROW, "features.3.0"),
        ("resnet50", FLAT, "layer1.0"),
    ],
)
def test_the_tags_tell_themselves_apart_by_the_shortcut_s_position(name, options, block, tag, position, pooled):
    arrays = shapes(build_model(name, tag=tag, **options))
    assert [array for array in arrays if array.startswith(f"{block}.downsample") and array.endswith("weight")] == [
        f"{block}.downsample.{position}.weight"
    ]


def test_the_release_s_imagenet_resnext_does_not_pool_in_its_first_stage():
    arrays = shapes(build_model("resnext50_32x4d", **FLAT))
    assert "features.10.0.downsample.0.weight" in arrays
    assert "features.11.0.downsample.1.weight" in arrays


@each_host
def test_injected_norm_layer(name, options):
    """Every norm of the network is made by the injected class, with the injected settings; names stay."""
    calls = []

    class Norm(nn.BatchNorm):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            calls.append(kwargs)

    net = build_model(name, norm_layer=Norm, norm_kwargs={"epsilon": 0.01, "momentum": 0.5}, **options)
    assert shapes(net) == shapes(build_model(name, **options))
    assert len(calls) == sum(array.endswith("running_mean") for array in shapes(net))
    assert all(call["epsilon"] == 0.01 and call["momentum"] == 0.5 for call in calls)


@each_host
def test_sync_batch_norm(name, options):
    net = gluon_aff.create_model(name, norm_layer=SyncBatchNorm, norm_kwargs={"num_devices": 1}, **options)
    assert shapes(net) == shapes(build_model(name, **options))
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


def test_widths_of_the_inception_blocks():
    for mid_width, expected in (("input", [16, 16, 32]), ("output", [16, 32, 64])):
        net = build_model("cifar_aff_inception14", mid_width=mid_width)
        for stage, middle in zip((2, 3, 4), expected):
            for block in (0, 1):
                array = f"features.{stage}.{block}.conv1.feature_spatial_3.0.weight"
                assert shapes(net)[array][0] == middle, array


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
    net.cast("float64")
    golden.fill(net)
    fused = net.features[1]
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
