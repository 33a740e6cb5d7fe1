"""Loading: float16 and float32, what does not fit is named with what to change, and nothing is half-loaded."""

import json
import re
import warnings

import mxnet as mx
import numpy as np
import pytest

from gluon_aff import create_model, facts, published
from gluon_aff.cli.main import main
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.models import build_model

SMALL = {"name": "cifar_aff_resnet8", "channel_times": 1}
FINE, SUPER = "release_cifar100_AFF-ResNet-32_fine_0.8357", "release_cifar100_AFF-ResNet-32_super_0.9078"


def values(net):
    return {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}


def assert_same(net, other, but=()):
    found, expected = values(net), values(other)
    assert found.keys() == expected.keys()
    for name in found:
        if name not in but:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small network of 10 classes and its file."""
    net = create_model(**SMALL, classes=10)
    path = tmp_path_factory.mktemp("saved") / "small.params"
    net.save_parameters(str(path))
    return net, path


def refused(call, *said):
    with pytest.raises(UsageError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for words in said:
        assert words in message, message
    return message


def test_a_file_alone(saved):
    net, path = saved
    loaded = published.load(path)
    assert_same(loaded, net)
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    np.testing.assert_array_equal(loaded(x).asnumpy(), net(x).asnumpy())


def test_into_a_network_and_onto_its_devices(saved):
    net, path = saved
    target = create_model(**SMALL, classes=10, ctx=mx.cpu(1))
    assert published.load(path, target) is target
    assert_same(target, net)
    assert target.output.weight.list_ctx() == [mx.cpu(1)]
    published.load(path, target, ctx=[mx.cpu(0), mx.cpu(2)])
    assert target.output.weight.list_ctx() == [mx.cpu(0), mx.cpu(2)]
    assert published.load(path, ctx=mx.cpu(3)).output.weight.list_ctx() == [mx.cpu(3)]


def test_into_networks_hybridized_and_not_yet_initialised(saved):
    net, path = saved
    assert_same(published.load(path, build_model(**SMALL, classes=10)), net)
    target = create_model(**SMALL, classes=10)
    target.hybridize()
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    target(x)
    published.load(path, target)
    np.testing.assert_allclose(target(x).asnumpy(), net(x).asnumpy(), atol=1e-5)


def test_half_precision_files_and_networks(saved, tmp_path):
    half = create_model(**SMALL, classes=10)
    half.cast("float16")
    half.save_parameters(str(tmp_path / "half"))
    full = create_model(**SMALL, classes=10)
    published.load(tmp_path / "half", full)
    assert full.output.weight.data().dtype == np.float32
    assert_same(full, half)  # float16 is exact in float32
    again = create_model(**SMALL, classes=10)
    again.cast("float16")
    published.load(tmp_path / "half", again)
    assert again.output.weight.data().dtype == np.float16 and again.features[0].gamma.data().dtype == np.float32
    assert_same(again, half)
    published.load(saved[1], again)  # a float32 file into a float16 network
    assert again.output.weight.data().dtype == np.float16
    for name, found in values(again).items():
        np.testing.assert_array_equal(found, values(saved[0])[name].astype(found.dtype))
    assert published.load(tmp_path / "half").output.weight.data().dtype == np.float32


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"name": "cifar_aff_resnet8.paper", "channel_times": 1},
            [
                "downsample.0.weight is missing",
                "release-generation file",
                "create_model('cifar_aff_resnet8', classes=10",
            ],
        ),
        (
            {**SMALL, "r": 2},
            ["local_att.0.weight is (4, 16, 1, 1) in the file, (8, 16, 1, 1)", "it has r=4, the network 2"],
        ),
        ({**SMALL, "start_layer": 2}, ["in the file only", "it has start_layer=1, the network 2"]),
        ({"name": "cifar_aff_resnet8"}, ["it has channel_times=1, the network 4", "more"]),
        ({"name": "cifar_aff_resnet14", "channel_times": 1}, ["it has layers=(1, 1, 1), the network (2, 2, 2)"]),
        ({"name": "cifar_resnet8", "channel_times": 1}, ["it has fusion='aff', the network 'add'"]),
        ({"name": "cifar_resnext11_32x4d"}, ["it has host='CIFARResNet', the network 'CIFARResNeXt'"]),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_change(saved, model, said):
    net = create_model(**model, classes=10)
    before = values(net)
    assert len(refused(lambda: published.load(saved[1], net), *said)) < 1500
    for name, found in values(net).items():
        np.testing.assert_array_equal(found, before[name])


def test_paper_file_into_a_release_network(tmp_path):
    create_model("cifar_aff_resnet8.paper", classes=10).save_parameters(str(tmp_path / "x"))
    refused(
        lambda: create_model("cifar_aff_resnet8", pretrained=tmp_path / "x"),
        "downsample convolutions sit at .0 (strided), so it is a paper-generation file",
        "create_model('cifar_aff_resnet8.paper'",
    )


def test_single_arrays_are_named(saved, tmp_path):
    arrays = mx.nd.load(str(saved[1]))
    missing = {name: array for name, array in arrays.items() if name != "features.5.beta"}
    mx.nd.save(str(tmp_path / "missing"), missing)
    mx.nd.save(str(tmp_path / "extra"), {**arrays, "features.9.weight": mx.nd.ones(1)})
    mx.nd.save(str(tmp_path / "integer"), {**arrays, "output.bias": mx.nd.ones(10, dtype="int32")})
    mx.nd.save(str(tmp_path / "list"), list(arrays.values()))
    net = create_model(**SMALL, classes=10)
    before = values(net)
    refused(lambda: published.load(tmp_path / "missing", net), "features.5.beta is missing")
    refused(lambda: published.load(tmp_path / "extra", net), "features.9.weight is in the file only")
    refused(lambda: published.load(tmp_path / "integer", net), "output.bias is int32")
    refused(lambda: published.load(tmp_path / "list", net), "no names")
    refused(lambda: published.load(tmp_path / "missing"), "features.5.beta is missing", "net=")
    for name, found in values(net).items():
        np.testing.assert_array_equal(found, before[name])


@pytest.mark.parametrize("manifest", [False, True])
def test_what_was_saved_otherwise_is_said_as_inspect_says_it(tmp_path, manifest, capsys):
    """By ``collect_params().save`` or exported, with or without the manifest that an export of ours has."""
    net = create_model(**SMALL, classes=3)
    net.hybridize()
    net(mx.nd.zeros((1, 3, 32, 32)))
    net.collect_params().save(str(tmp_path / "dict.params"))
    net.export(str(tmp_path / "net"))
    if manifest:
        (tmp_path / "manifest.json").write_text("{}")
    exported = "; the manifest.json beside it names the weights that it was made of" if manifest else ""
    for file, said, more in (
        ("dict.params", "as ParameterDict.save writes it", ""),
        ("net-0000.params", "gluon.SymbolBlock.imports", exported),
    ):
        path = tmp_path / file
        with pytest.raises(UsageError) as caught:
            create_model(**SMALL, pretrained=path)
        assert main(["published", "inspect", str(path)]) == 0
        problem = re.search("problem +(.*)", capsys.readouterr().out)[1]
        assert said in problem and str(caught.value) == f"{path}: {problem}{more}"


def test_what_is_neither_id_nor_file(tmp_path):
    refused(lambda: published.load("nothing"), "neither a file nor an id")
    with pytest.raises(GluonAFFError, match="published fetch"):
        published.load(FINE)
    (tmp_path / "x").write_bytes(b"<html>")
    with pytest.raises(GluonAFFError, match="web page"):
        published.load(tmp_path / "x")


def test_classes_follow_the_file_unless_given(saved):
    net, path = saved
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_same(create_model(**SMALL, pretrained=path), net)
        assert_same(create_model(**SMALL, classes=10, pretrained=str(path)), net)


def test_other_classes_replace_the_head_and_say_so(saved):
    net, path = saved
    with pytest.warns(
        UserWarning, match=r"for 10 classes, the network for 5: output\.weight and output\.bias stay"
    ) as said:
        transferred = create_model(**SMALL, classes=5, pretrained=path)
    assert len([warning for warning in said if warning.category is UserWarning]) == 1
    assert transferred.output.weight.shape == (5, 64)
    assert np.abs(transferred.output.weight.data().asnumpy()).max() > 0  # initialised, not zero
    assert_same(transferred, net, but=("output.weight", "output.bias"))
    refused(lambda: published.load(path, create_model(**SMALL, classes=5)), "classes=10, the network 5")
    message = refused(lambda: create_model(**SMALL, r=2, classes=5, pretrained=path), "it has r=4, the network 2")
    assert "has classes" not in message


def test_the_head_of_an_imagenet_network(tmp_path):
    net = create_model("aff_resnet50.paper", layers=(1, 1, 1, 1), classes=20)
    net.cast("float16")
    net.save_parameters(str(tmp_path / "x"))
    with pytest.warns(UserWarning, match="fc.weight and fc.bias stay"):
        moved = create_model("aff_resnet50.paper", layers=(1, 1, 1, 1), classes=3, pretrained=tmp_path / "x")
    assert_same(moved, net, but=("fc.weight", "fc.bias"))
    assert moved(mx.nd.ones((1, 3, 64, 64))).shape == (1, 3)


def test_true_is_the_only_file_of_a_model():
    assert published.id_for("aff_resnet50") == "release_imagenet_AFF-ResNet-50_0.2028"
    assert published.id_for("resnet50.paper", "ResGlobGlobCha") == "paper_imagenet_resnet50_GlobGlob_0.2232"
    assert published.id_for("cifar_iaff_resnext38_32x4d.paper") == "paper_cifar100_resnext38_iAFF_0.8953"
    refused(lambda: create_model("cifar_aff_resnet32", pretrained=True), FINE, SUPER, "fine labels", "coarse labels")
    refused(lambda: create_model("cifar_resnet32", pretrained=True), "no published weights fit cifar_resnet32")
    refused(lambda: create_model("aff_resnet50", fusion="sk", pretrained=True), "with fusion='sk'")
    with pytest.raises(GluonAFFError, match="published fetch"):
        create_model("aff_resnet50", pretrained=True)
    assert create_model(**SMALL, pretrained=False)


def test_an_id_loads_from_the_models_directory(monkeypatch, saved, tmp_path):
    """With a catalogue of one record, of the small network; a changed file loads with a warning."""
    net, path = saved
    record = {**published.record(FINE), "id": "small", "file": "small.params", "classes": 10}
    record["model"] = {"name": SMALL["name"], "options": {"channel_times": 1, "classes": 10}}
    record["git_blob_sha1"] = published.git_blob_sha1(path)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "catalogue.json").write_text(json.dumps([record]), encoding="utf-8")
    monkeypatch.setattr(facts, "_PACKAGE", tmp_path)
    place = published.place_of("small")
    place.parent.mkdir(parents=True)
    place.write_bytes(path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for loaded in (published.load("small"), create_model(**SMALL, pretrained=True)):
            assert_same(loaded, net)
    changed = bytearray(path.read_bytes())
    changed[published.read_container(path).arrays["output.bias"].offset] ^= 1
    place.write_bytes(changed)
    with pytest.warns(UserWarning, match="not the published file of small"):
        assert_same(published.load("small"), net, but=["output.bias"])
