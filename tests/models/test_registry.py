"""The register of names: what it answers to names, options and values that are wrong, and what a name stands for."""

import re
import warnings

import mxnet as mx
import pytest

from gluon_aff.errors import UsageError
from gluon_aff.models import (
    FPN,
    CIFARInception,
    CIFARResNet,
    CIFARResNeXt,
    ResNet,
    ResNeXt,
    UNet,
    build_model,
    initializer_of,
    list_models,
    model_entry,
    register_model,
    registry,
)
from gluon_aff.models.common import check_size
from gluon_aff.nn import layers


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("CIFAR_AFF_ResNet23", "cifar_aff_resnet32"),
        ("aff_resnext50", "aff_resnext50_32x4d"),
        ("aff_resnet50.papre", "aff_resnet50.paper"),
    ],
)
def test_unknown_name_lists_near_matches(typed, meant):
    with pytest.raises(UsageError, match=f"unknown model '{typed}': did you mean") as error:
        build_model(typed)
    assert meant in str(error.value).partition("did you mean ")[2].strip("?").split(", ")


def test_a_fusion_is_told_from_an_unknown_model():
    with pytest.raises(UsageError, match="'ASKCFuse': it is the fusion aff"):
        model_entry("ASKCFuse")


def test_release_can_be_spelled_out_where_there_are_generations():
    assert model_entry("aff_resnet50.release") is model_entry("aff_resnet50")
    for name in ("cifar_inception.release", "aff_resnet50.paper.release", ".release"):
        with pytest.raises(UsageError, match="unknown model"):
            model_entry(name)


def test_a_name_registers_once(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    entry = register_model("my_net", CIFARResNet, blocks=2)
    assert model_entry("my_net") is entry
    assert "my_net" in list_models()
    with pytest.raises(UsageError, match="'my_net' is registered already, as CIFARResNet"):
        register_model("my_net", ResNet)
    assert model_entry("my_net").network is CIFARResNet


def test_patterns():
    assert list_models("aff_resnet50*") == ["aff_resnet50", "aff_resnet50.paper"]
    assert list_models("*inception20") == ["cifar_aff_inception20", "cifar_iaff_inception20", "cifar_inception20"]
    assert list_models("nothing*") == []
    assert list_models() == sorted(set(list_models()))


HOSTS = {  # by the name without prefixes: the network, blocks per stage for a depth
    "cifar_resnet": (CIFARResNet, lambda depth: ((depth - 2) // 6,) * 3),
    "cifar_resnext": (CIFARResNeXt, lambda depth: ((depth - 2) // 9,) * 3),
    "cifar_inception": (CIFARInception, lambda depth: ((depth - 2) // 6,) * 3),
    "fpn_resnet": (FPN, lambda depth: ((depth - 2) // 6,) * 3),
    "unet_resnet": (UNet, lambda depth: ((depth - 2) // 6,) * 3),
    "resnet": (ResNet, {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}.get),
    "resnext": (ResNeXt, {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}.get),
}


@pytest.mark.parametrize("name", list_models("*[0-9]*"))
def test_what_a_name_stands_for(name):
    cifar, fusion, host, depth, _, paper = re.fullmatch(
        r"(cifar_)?(i?aff|acm)?_?((?:fpn_|unet_)?[a-z]+)(\d+)(_32x4d)?(\.paper)?", name
    ).groups()
    network, layers = HOSTS[(cifar or "") + host]
    entry = model_entry(name)
    assert (entry.network, entry.fusion, entry.layers) == (network, fusion or "add", layers(int(depth)))
    assert entry.tag == ("" if network in (FPN, UNet, CIFARInception) else "paper" if paper else "release")
    assert set(entry.options) <= {"fusion", "blocks", "layers", "tag"}  # all else as the network has it by default


@pytest.mark.parametrize("name", ["cifar_aff_resnet8", "cifar_iaff_inception8"])
def test_the_prefix_is_only_a_default(name):
    """``fusion=`` overrides it, by either name."""
    for fusion in ("ms_sa", "ResGlobLocaforGlobLocaCha"):
        net = build_model(name, fusion=fusion, channel_times=1)
        arrays = net._collect_params_with_prefix()
        assert any("local_att" in array for array in arrays)
        assert any("local_att2" in array for array in arrays) == (fusion != "ms_sa")


@pytest.mark.parametrize(
    "name", ["cifar_resnet", "cifar_resnext", "cifar_inception", "resnet50", "resnext50_32x4d", "fpn_resnet8"]
)
def test_unknown_option_lists_the_accepted(name):
    with pytest.raises(UsageError, match=f"{name} has no option depth, width: it takes ") as error:
        build_model(name, depth=3, width=2)
    listed = str(error.value).partition("it takes ")[2].split(", ")
    assert listed == model_entry(name).accepts()
    assert {"classes", "fusion", "layers", "norm_kwargs", "norm_layer", "r", "use_global_stats"} <= set(listed)
    assert not {"self", "kwargs", "width"} & set(listed)


@pytest.mark.parametrize(
    "name, option, value, expected",
    [
        ("cifar_resnet", "blocks", 0, "blocks is 0: expected a whole number of at least 1"),
        ("cifar_resnet", "classes", -1, "classes is -1"),
        ("cifar_resnet", "channel_times", 0, "channel_times is 0"),
        ("cifar_resnext", "cardinality", 0, "cardinality is 0"),
        ("cifar_resnext", "bottleneck_width", 0, "bottleneck_width is 0"),
        ("aff_resnext50_32x4d", "r", -1, "bottleneck ratio, is -1"),
        ("cifar_aff_resnet8", "start_layer", 9, "start_layer is 9: expected 1 to 4 for 3 stages"),
        ("aff_resnet50", "start_layer", 6, "start_layer is 6: expected 1 to 5 for 4 stages"),
        ("aff_resnet50", "tag", "x", "unknown tag 'x': choose one of release, paper"),
        ("cifar_resnext", "tag", "v1d", "unknown tag 'v1d'"),
        ("cifar_resnet", "layers", (1, 2), r"layers is \(1, 2\): expected 3 numbers"),
        ("resnet50", "layers", (3, 4, 0, 3), "a stage's number of blocks is 0"),
        ("resnet50", "final_drop", 1, "final_drop is 1: expected a rate"),
        ("cifar_inception", "mid_width", "x", "mid_width is 'x': choose 'input' .* or 'output'"),
        ("cifar_inception", "kernel5", "x", r"kernel5 is 'x': choose 'dilated' \(.*\) or 'true'"),
        ("fpn_resnet8", "stem", "x", r"stem is 'x': choose 'std' \(stride 4\) or 'tiny' \(stride 1\)"),
        ("fpn_resnet8", "decoder", "x", r"decoder is 'x': choose 'reduce' \(.*\) or 'expand'"),
        ("cifar_resnet", "fusion", "afff", "unknown fusion 'afff': did you mean aff"),
        *(
            ("cifar_resnet", option, value, f"{option} is {value}: expected at most")  # what no machine could make
            for option, value in {"classes": 100_001, "blocks": 100_000, "channel_times": 1_000_000}.items()
        ),
    ],
)
def test_bad_values(name, option, value, expected):
    with pytest.raises(UsageError, match=expected):
        build_model(name, **{option: value})


def test_none_keeps_the_default_and_r_zero_means_no_bottleneck():
    def arrays(**options):
        net = build_model("cifar_aff_resnet8", channel_times=1, **options)
        return {name: p.shape for name, p in net._collect_params_with_prefix().items()}

    assert arrays(r=None, classes=None, blocks=None) == arrays() == arrays(r=4, classes=100, blocks=1)
    assert arrays(r=0)["features.2.0.attention.local_att.0.weight"] == (16, 16, 1, 1)
    assert "features.2.0.attention.local_att.3.weight" not in arrays(r=0)


def test_initialisation_of_the_recipes():
    assert isinstance(initializer_of("cifar_aff_resnet32"), mx.init.Xavier)
    assert isinstance(initializer_of("aff_resnet50.paper"), mx.init.MSRAPrelu)
    assert isinstance(initializer_of("aff_fpn_resnet20"), mx.init.MSRAPrelu)


@pytest.mark.parametrize("hybridized", [False, True])
def test_input_that_is_no_image_batch(hybridized):
    net = build_model("cifar_resnet8", channel_times=1)
    net.initialize()
    net.hybridize(hybridized)
    for shape in ((2, 1, 32, 32), (3, 32, 32), (2, 32, 32, 3)):
        with pytest.raises(UsageError, match=r"expected images as \(N, 3, H, W\)") as error:
            net(mx.nd.ones(shape))
        assert str(shape) in str(error.value)


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize(
    "options, times",
    [({"fusion": "aff"}, 1), ({"fusion": "add"}, 0), ({"fusion": "aff", "use_global_stats": True}, 0)],
    ids=["attention", "addition", "use_global_stats"],
)
def test_batch_of_one_is_warned_of_where_it_harms(options, times, hybridized, monkeypatch):
    monkeypatch.setattr(layers, "_warned_of_batch_of_one", False)
    net = build_model("cifar_resnet8", channel_times=1, **options)
    net.initialize()
    net.hybridize(hybridized)
    x = mx.nd.ones((1, 3, 16, 16))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        net(x)
        for _ in range(2):
            with mx.autograd.record():
                net(x)
    assert sum("batch of one" in str(entry.message) for entry in caught) == times


@pytest.mark.parametrize("name", ["cifar_aff_resnet32", "aff_resnet50"])
def test_images_that_are_too_small_are_named(name, capsys):
    net = build_model(name, layers=(1,) * (4 if name == "aff_resnet50" else 3))
    check_size(net, 32, 64)
    with pytest.raises(UsageError, match="images of 1x2 pixels are too small for this network"):
        check_size(net, 1, 2)
    assert capsys.readouterr().out == ""
