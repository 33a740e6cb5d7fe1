"""Recognising files by names, shapes and types: every published file, every registered network, every fusion."""

import re
from pathlib import Path

import numpy as np
import pytest

from gluon_aff import create_model, list_fusions, list_models, published
from gluon_aff.models import build_model, model_entry
from gluon_aff.published import recognition
from gluon_aff.utils.container import Container, StoredArray


def table_of(net):
    """What the reader makes of the file that ``net`` would be saved to; tests below show that on real files."""
    parameters = net._collect_params_with_prefix()
    arrays = {name: StoredArray(p.shape, np.dtype(p.dtype).name, 0, 0) for name, p in parameters.items()}
    return Container(Path("saved.params"), arrays, True)


def of_record(identity):
    record = published.record(identity)
    net = build_model(record["model"]["name"], **record["model"]["options"])
    net.cast(record["dtype"])
    return net


def shapes(net):
    return {name: parameter.shape for name, parameter in net._collect_params_with_prefix().items()}


def remade(found):
    """The network of the call that a recognition proposes."""
    return build_model(**found.create_model)


@pytest.mark.parametrize("identity", published.list_published())
def test_every_published_file(identity):
    net = of_record(identity)
    found = published.recognise(table_of(net))
    assert found.problems == []
    assert found.arrays == published.record(identity)["arrays"]
    assert shapes(remade(found)) == shapes(net)
    record = published.record(identity)
    alike = [
        other
        for other in published.list_published()
        if published.record(other)["model"] == record["model"] and published.record(other)["dtype"] == record["dtype"]
    ]
    assert found.candidates == alike
    name = found.create_model["name"]
    assert model_entry(name).tag == ("" if "unet" in name else record["generation"])
    invisible = ("fusion", *recognition.INVISIBLE)
    options = {option: value for option, value in record["model"]["options"].items() if option not in invisible}
    assert {option: found.create_model[option] for option in options} == options


def check_registered(name):
    net = build_model(name)
    found = published.recognise(table_of(net))
    assert found.problems == []
    assert shapes(remade(found)) == shapes(net)
    if re.search(r"\d", name):  # the others are spelt out: cifar_resnet is cifar_resnet20
        assert found.create_model["name"] == name


SMALL = [name for name in list_models() if re.search(r"(8|11)(_32x4d)?(\.paper)?$|[a-z]*aff_resne.*50", name)]


@pytest.mark.parametrize("name", SMALL)
def test_registered_networks(name):
    check_registered(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(list_models()) - set(SMALL)))
def test_all_registered_networks(name):
    check_registered(name)


@pytest.mark.parametrize("fusion", list_fusions())
@pytest.mark.parametrize("r", [0, 16])
@pytest.mark.parametrize("host", ["cifar_resnet8", "fpn_resnet8"])
def test_every_fusion(fusion, r, host):
    net = build_model(host, fusion=fusion, r=r, channel_times=1)
    found = published.recognise(table_of(net))
    assert found.problems == []
    assert shapes(remade(found)) == shapes(net)
    readings = {found.structure.fusion: found.structure.r, **{a.fusion: a.r for a in found.structure.ambiguous_with}}
    assert fusion in readings
    assert readings[fusion] in (r, None)
    for other, ratio in readings.items():  # each reading has the file's arrays, really
        assert shapes(build_model(host, fusion=other, r=ratio, channel_times=1)) == shapes(net)


def test_fusions_that_names_cannot_tell_apart_are_all_named():
    structure = published.recognise(table_of(build_model("cifar_aff_resnet8"))).structure
    assert structure.fusion == "aff"
    assert {reading.fusion for reading in structure.ambiguous_with} == {"ms_gau", "ms_sa", "ms_se"}
    for fusion in ("iaff", "aff_local_local", "aff_global_global", "sk", "concat"):
        assert published.recognise(table_of(build_model("cifar_resnet8", fusion=fusion))).structure.ambiguous_with == ()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cifar_resnet14.paper", {"channel_times": 1, "fusion": "iaff", "start_layer": 2, "classes": 7}),
        ("cifar_resnet8", {"channel_times": 1, "fusion": "aff", "r": 3, "start_layer": 3}),
        ("cifar_resnet8", {"channel_times": 1, "fusion": "aff", "r": 64}),
        ("cifar_resnext11_32x4d", {"channel_times": 8, "fusion": "aff"}),
        ("cifar_inception8", {"fusion": "iaff", "r": 2, "kernel5": "true", "mid_width": "output"}),
        ("cifar_inception14", {"fusion": "XplusAYforY", "channel_times": 2, "classes": 20}),
        ("fpn_resnet14", {"stem": "tiny", "fusion": "Concat", "decoder": "expand", "classes": 3}),
        ("fpn_resnet8", {"stem": "tiny", "fusion": "iaff", "r": 2, "channel_times": 4}),
        ("fpn_resnet8", {"fusion": "aff_local_local", "decoder": "expand", "r": 0}),
    ],
)
def test_options_are_read_off(name, options):
    net = build_model(name, **options)
    found = published.recognise(table_of(net))
    assert found.problems == []
    assert shapes(remade(found)) == shapes(net)


def test_a_plain_network_has_no_start_layer():
    call = published.recognise(table_of(build_model("cifar_resnet8"))).create_model
    assert "start_layer" not in call and "r" not in call


def test_types_belong_to_a_candidate():
    net = of_record("release_imagenet_AFF-ResNet-50_0.2028")
    assert published.recognise(table_of(net)).candidates == ["release_imagenet_AFF-ResNet-50_0.2028"]
    net.cast("float32")
    found = published.recognise(table_of(net))
    assert found.candidates == []
    assert found.create_model["name"] == "aff_resnet50"


def test_a_saved_file(tmp_path):
    net = published.build("release_cifar100_AFF-ResNet-32_fine_0.8357")
    net.save_parameters(str(tmp_path / "x"))
    found = published.recognise(tmp_path / "x")
    assert found.candidates == [
        "release_cifar100_AFF-ResNet-32_fine_0.8357",
        "release_cifar100_AFF-ResNet-32_super_0.9078",
    ]
    assert create_model(**found.create_model, pretrained=tmp_path / "x").output.weight.shape == (100, 256)


@pytest.mark.slow
@pytest.mark.parametrize("identity", published.list_published())
def test_every_published_file_written_by_mxnet(identity, tmp_path):
    net = published.build(identity)
    net.save_parameters(str(tmp_path / "x"))
    assert (tmp_path / "x").stat().st_size == published.record(identity)["bytes"]
    assert identity in published.recognise(tmp_path / "x").candidates
    loaded = published.load(tmp_path / "x")._collect_params_with_prefix()
    for name, parameter in net._collect_params_with_prefix().items():
        np.testing.assert_array_equal(loaded[name].data().asnumpy(), parameter.data().asnumpy(), err_msg=name)


@pytest.fixture(scope="module")
def small():
    return build_model("cifar_aff_resnet8", channel_times=1)


def stored(shape, dtype="float32"):
    return StoredArray(shape, dtype, 0, 0)


BETA = "features.2.0.attention.local_att.1.beta"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.pop(BETA), f"{BETA} is missing"),
        (lambda arrays: arrays.update({"my.weight": stored((1,))}), "my.weight is in the file only"),
        (
            lambda arrays: arrays.update({"features.5.gamma": stored((17,))}),
            "features.5.gamma is (17,) in the file, (64,) in the network",
        ),
        (lambda arrays: arrays.update({"output.weight": stored((100, 64), "int8")}), "output.weight is int8"),
    ],
)
def test_an_array_that_is_missing_extra_misshapen_or_no_floating_point_is_named(small, change, said):
    container = table_of(small)
    change(container.arrays)
    found = published.recognise(container)
    assert found.create_model is None and found.candidates == []
    assert said in " ".join(found.problems)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "no arrays"),
        (["arg:conv0_weight", "aux:bn0_moving_mean"], "SymbolBlock.imports"),
        (["resnet0_conv0_weight"], "ParameterDict.save"),
        (["module.conv1.weight", "module.fc.weight"], "found module.conv1.weight, module.fc.weight"),
        (["features.2.0.resfwd.2.weight", "output.weight"], "in stages of (1,) blocks"),
        (["features.2.0.x", "features.3.0.x", "features.4.0.x", "output.weight"], "match no known network"),
    ],
)
def test_files_of_no_network_here(names, said):
    arrays = {name: StoredArray((16, 3, 3, 3), "float32", 0, 0) for name in names}
    found = published.recognise(Container(Path("x"), arrays, True))
    assert found.create_model is None and found.structure is None
    assert said in found.problems[0]


def test_recognising_leaves_the_names_of_new_blocks_alone():
    before = build_model("cifar_resnet8", channel_times=1).prefix
    published.recognise(table_of(build_model("cifar_resnet8", channel_times=1)))
    after = build_model("cifar_resnet8", channel_times=1).prefix
    number = [int(re.search(r"(\d+)_$", prefix).group(1)) for prefix in (before, after)]
    assert number[1] - number[0] == 2


@pytest.mark.parametrize("shape", [(1, 1 << 62, 1, 1), (1 << 40, 16, 1, 1), (0, 16, 1, 1), (4,), ()])
@pytest.mark.parametrize("name", ["attention.local_att.0.weight", "resfwd.5.weight", "resfwd.2.weight"])
def test_sizes_that_no_network_has(small, name, shape):
    """Every block alike, so that the odd sizes are not outvoted by the others."""
    container = table_of(small)
    for stored in container.arrays:
        if stored.endswith(f".0.{name}"):
            container.arrays[stored] = StoredArray(shape, "float32", 0, 0)
    found = published.recognise(container)
    assert found.create_model is None and found.problems
