"""Every form of export: the same outputs, what the manifest says, what plain MXNet and ONNX Runtime make of it."""

import json
import os
import shutil
from pathlib import Path

import golden
import mxnet as mx
import numpy as np
import pytest
from sklearn.datasets import load_sample_image
from test_folding import by_fusion, every_fusion, made

import gluon_aff
from gluon_aff import deploy
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.data.registry import ClassNames
from gluon_aff.deploy import exported, exporting
from gluon_aff.deploy.symbol import FILES
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.runtime import threads

CIFAR = NetworkInput(32, classes=ClassNames([f"kind {number}" for number in range(10)]))
SEG = NetworkInput(64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
TINY = {"stem": "tiny", "decoder": "expand", "fusion": "concat"}
PIXELS = np.random.RandomState(0).randint(0, 256, (4, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def net():
    return made("cifar_aff_resnet8", channel_times=1, classes=10)


def need_onnx():
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    return pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


def export(net, place, to="symbol", **options):
    if to == "onnx":
        need_onnx()
    return deploy.export(net, place, to, **{"input": CIFAR, **options})


def relative(found, expected):
    return np.abs(found - expected).max() / np.ptp(expected)


@pytest.mark.parametrize(
    ("to", "batch", "inside", "fold"),
    [
        *(("symbol", "dynamic", inside, fold) for inside in (False, True) for fold in (False, True)),
        *(("onnx", "dynamic", both, both) for both in (False, True)),
        *(("onnx", 3, inside, not inside) for inside in (False, True)),
    ],
)
def test_the_outputs_are_the_networks(net, tmp_path, to, batch, inside, fold):
    """For four pictures, also where the batch is fixed; plain MXNet and ONNX read what was written."""
    place = export(net, tmp_path / "out", to, fold=fold, with_preprocessing=inside, batch=batch).directory
    opened = deploy.open_exported(place)
    assert opened.takes_pixels == inside and opened.batch == (None if batch == "dynamic" else batch)
    expected, x = net(mx.nd.array(CIFAR.transform(PIXELS))).asnumpy(), opened.prepared(PIXELS)
    assert relative(opened.run(x), expected) < (1e-6 if to == "symbol" and not fold else 1e-4)
    assert relative(opened.run(opened.prepared(255 - PIXELS)), expected) > 1e-3  # the comparison can fail
    if to == "symbol":
        block = mx.gluon.SymbolBlock.imports(f"{place}/model-symbol.json", ["data"], f"{place}/model-0000.params")
        for found in (block(mx.nd.array(x, dtype=x.dtype)).asnumpy(), through_module(place, x)):
            assert relative(found, expected) < 1e-4
    else:
        check_onnx(place / "model.onnx", "N" if batch == "dynamic" else batch)


def through_module(place, *batches):
    """What ``mx.mod.Module`` gives for the last batch; it is bound for the first and takes the others as they are."""
    symbol, arguments, states = mx.model.load_checkpoint(f"{place}/model", 0)
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind([mx.io.DataDesc("data", batches[0].shape, batches[0].dtype)], for_training=False)
    module.set_params(arguments, states)
    for batch in batches:
        module.forward(mx.io.DataBatch([mx.nd.array(batch, dtype=batch.dtype)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def check_onnx(file, batch):
    import onnx

    model = onnx.load(str(file))
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["data"]
    assert [value.name for value in model.graph.output] == ["logits"]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    lengths = model.graph.output[0].type.tensor_type.shape.dim
    assert [axis.dim_param or axis.dim_value for axis in lengths] == [batch, 10]


@pytest.mark.parametrize(
    ("to", "options"),
    [
        ("symbol", TINY),
        ("symbol", {"fusion": "iaff", "classes": 3}),
        ("onnx", TINY),
        ("onnx", {}),
        ("int8", {"fusion": "iaff", "classes": 3}),
        pytest.param("int8", TINY, marks=pytest.mark.slow),
    ],
)
def test_a_segmentation_network_takes_any_size(tmp_path, to, options):
    """MXNet's executor, too, which fails on the products by which the network itself resizes its maps."""
    fpn = made("aff_fpn_resnet8", **options)
    done = export(fpn, tmp_path / "out", to, input=SEG, segments=True, fold=options is not TINY)
    opened = deploy.open_exported(tmp_path / "out")
    assert opened.segments and opened.manifest["input"]["shape"] == ["N", 3, "H", "W"]
    xs = [golden.normal(4, shape, "float32") for shape in ((2, 3, 64, 64), (1, 3, 17, 30), (1, 3, 29, 45))]
    for x in xs:
        expected, found = fpn(x).asnumpy(), opened.run(x.asnumpy())
        assert found.shape == expected.shape and relative(found, expected) < (0.5 if to == "int8" else 1e-4)
    assert '"dot"' in fpn(mx.sym.var("data")).tojson()  # in training maps are still resized by products
    if to == "onnx":
        return
    by_module = through_module(tmp_path / "out", xs[0].asnumpy(), xs[2].asnumpy())
    np.testing.assert_allclose(by_module, found, atol=1e-4 * np.ptp(expected))
    if to == "symbol":
        symbol, arguments, states = mx.model.load_checkpoint(f"{tmp_path}/out/model", 0)
        bound = symbol.bind(mx.cpu(), {**arguments, "data": xs[2]}, grad_req="null", aux_states=states)
        assert relative(bound.forward(is_train=False)[0].asnumpy(), expected) < 1e-4
    else:
        assert done.manifest["quantization"]["int8"]["_sg_mkldnn_conv"] > 10
        assert 0 < done.manifest["check"]["rms_difference"] < 0.05 * done.manifest["check"]["range"]


@pytest.mark.parametrize(
    ("to", "classes"), [("symbol", None), ("onnx", None), ("int8", None), ("symbol", 3), ("onnx", 1), ("onnx", 3)]
)
def test_probabilities(net, tmp_path, to, classes):
    """Softmax of a classifier (None) and several classes of pixels, sigmoid of one; predict applies neither again."""
    segments = classes is not None
    net = made("aff_fpn_resnet8", classes=classes, **TINY) if segments else net
    seen = SEG if segments else CIFAR
    done = export(net, tmp_path / "out", to, input=seen, segments=segments, probabilities=True, with_preprocessing=True)
    assert done.manifest["probabilities"] and "probabilities (N, classes" in done.manifest["output"]
    photograph = load_sample_image("china.jpg")
    pixels = seen.fitted(photograph)[None]
    logits = net(mx.nd.array(seen.transform(pixels)))
    expected = (mx.nd.sigmoid(logits) if classes == 1 else mx.nd.softmax(logits, axis=1)).asnumpy()
    if to == "onnx":
        session = need_onnx().InferenceSession(f"{tmp_path}/out/model.onnx", providers=["CPUExecutionProvider"])
        (found,) = session.run(["probabilities"], {"data": pixels})
    else:
        found = deploy.open_exported(tmp_path / "out").run(pixels)
    assert np.ptp(expected) > 0.05 and np.abs(found - expected).max() < (0.5 if to == "int8" else 1e-4)
    (own,), (theirs,) = gluon_aff.predict(net, photograph, input=seen), gluon_aff.predict(tmp_path / "out", photograph)
    wanted, given = ((each.probability if segments else each.scores) for each in (own, theirs))
    assert np.abs(given - wanted).max() < (0.5 if to == "int8" else 1e-3)


@pytest.mark.parametrize(("to", "fold"), [("symbol", False), ("onnx", True), ("int8", False)])
def test_feature_maps(tmp_path, to, fold):
    """ONNX names the chosen maps; predict has no classes to tell."""
    net = gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, features_only=True, out_indices=(-1, 0))
    golden.fill(net, gain=2)
    done = export(net, tmp_path / "out", to, fold=fold)
    assert [(each["name"], each["channels"], each["stride"]) for each in done.manifest["features"]] == [
        ("stage1", 16, 1),
        ("stage3", 64, 4),
    ]
    x = CIFAR.transform(PIXELS)
    expected = [each.asnumpy() for each in net(mx.nd.array(x))]
    opened = deploy.open_exported(tmp_path / "out")
    results = [opened.run(x)]
    if to == "onnx":
        session = need_onnx().InferenceSession(f"{tmp_path}/out/model.onnx", providers=["CPUExecutionProvider"])
        results.append(session.run(["stage1", "stage3"], {"data": x}))
    for found in results:
        assert [each.shape for each in found] == [(4, 16, 32, 32), (4, 64, 8, 8)]
        assert max(map(relative, found, expected)) < (0.5 if to == "int8" else 1e-4)
    for each in (tmp_path / "out", net):
        with pytest.raises(UsageError, match="no classes to predict"):
            gluon_aff.predict(each, PIXELS)
    with pytest.raises(UsageError, match="no logits"):
        export(net, tmp_path / "out", probabilities=True)


def test_every_fusion_in_onnx(tmp_path):
    net, x = every_fusion(), CIFAR.transform(PIXELS)
    export(net, tmp_path / "out", "onnx", pixels=PIXELS)
    found, expected = deploy.open_exported(tmp_path / "out").run(x), net(mx.nd.array(x)).asnumpy()
    assert max(by_fusion(found, expected).values()) < 1e-4
    assert min(by_fusion(-found, expected).values()) > 1e-3  # the comparison can fail


@pytest.mark.parametrize(
    "name",
    [
        "cifar_resnet8",
        "cifar_aff_inception8",
        pytest.param("cifar_iaff_resnext11_32x4d", marks=pytest.mark.slow),
        pytest.param("cifar_aff_resnext11_32x4d.paper", marks=pytest.mark.slow),
    ],
)
def test_every_host_in_onnx(tmp_path, name):
    """Exporting compares the outputs."""
    export(made(name, classes=10), tmp_path / "out", "onnx", pixels=PIXELS[:2], fold=True)


def test_int8(net, tmp_path):
    """With preprocessing it is int8 of normalised pixels."""
    pixels = np.concatenate([PIXELS] * 3)
    done = export(net, tmp_path / "outside", "int8", pixels=pixels)
    outside, speed = done.manifest, done.manifest["check"]["speed"]
    assert speed["cpu"] == threads.processor_name() and speed["ratio"] == speed["after"] / speed["before"]
    (said,) = [line for line in done.lines if f"int8 runs at {speed['ratio']:.2f} times float32's speed" in line]
    assert ("float32 is the better choice" in said) == (speed["ratio"] <= 1)
    made_of = outside["quantization"]
    assert made_of["int8"]["_sg_mkldnn_conv"] > 10 and made_of["calibration"] == "naive"
    assert "sigmoid" in made_of["float"]["Activation"]["reason"]
    assert all(entry["reason"] for entry in made_of["float"].values())
    arrays = mx.nd.load(str(tmp_path / "outside/model-0000.params"))
    assert any(array.dtype == np.int8 for array in arrays.values())
    opened = deploy.open_exported(tmp_path / "outside")
    assert opened.net.collect_params()  # arrays of its own
    found = opened.run(CIFAR.transform(PIXELS))
    assert 0 < relative(found, net(mx.nd.array(CIFAR.transform(PIXELS))).asnumpy()) < 0.2

    inside = export(net, tmp_path / "inside", "int8", pixels=pixels, with_preprocessing=True).manifest
    assert inside["quantization"]["int8"] == made_of["int8"]
    assert "normalisation" in inside["quantization"]["float"]["Cast"]["reason"]
    assert inside["input"]["type"] == "uint8" and inside["input"]["shape"] == ["N", 32, 32, 3]
    opened = deploy.open_exported(tmp_path / "inside")
    np.testing.assert_allclose(opened.run(opened.prepared(PIXELS)), found, atol=1e-5 * np.ptp(found))
    np.testing.assert_allclose(through_module(tmp_path / "inside", PIXELS), found, atol=1e-5 * np.ptp(found))


def test_the_manifest(net, tmp_path):
    source = deploy.Source("a network", "cifar", "best.params", "0" * 64, "accuracy 0.9", {"dataset": "folder"})
    labels = net(mx.nd.array(CIFAR.transform(PIXELS))).asnumpy().argmax(1).tolist()
    labels[0] += 1
    done = export(net, tmp_path / "out", fold=True, pixels=PIXELS, truth=labels, source=source)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest == done.manifest
    assert manifest["kind"] == "symbol" and manifest["source"]["weights"] == "best.params"
    assert manifest["input"]["layout"] == "NCHW" and manifest["input"]["channels"] == "RGB"
    assert manifest["preprocessing"] == CIFAR.to_json()
    assert manifest["check"]["figures"] == {"metric": "top-1 accuracy", "images": 4, "before": 0.75, "after": 0.75}
    assert manifest["check"]["maximum_difference"] < 1e-4 * manifest["check"]["range"]
    assert len(manifest["folding"]["kept"]) == 5
    assert deploy.open_exported(tmp_path / "out").input == CIFAR
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "model-0000.params", "model-symbol.json"]


def test_a_failed_check_leaves_nothing(net, tmp_path, monkeypatch):
    monkeypatch.setitem(exporting.TOLERANCES, "symbol", -1.0)
    with pytest.raises(GluonAFFError, match="so nothing was written"):
        export(net, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "tflite"}, "choose one of"),
        ({"batch": 0}, "at least 1"),
        ({"batch": "many"}, "dynamic"),
        ({"input": None}, "input_size"),
        ({"input": None, "input_size": 32, "with_preprocessing": True}, "normalised"),
        ({"pixels": PIXELS[:, :30]}, "32x32"),
        ({"pixels": PIXELS.astype(float)}, "uint8"),
    ],
)
def test_wrong_calls(net, tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        export(net, tmp_path / "out", **options)


@pytest.fixture(scope="module")
def made_once(net, tmp_path_factory):
    return export(net, tmp_path_factory.mktemp("made") / "out").directory


@pytest.fixture
def folder(made_once, tmp_path):
    return shutil.copytree(made_once, tmp_path / "out")


def rewrite(folder, change, name="manifest.json"):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))
    if name != "manifest.json":  # as one who forges it would
        exported.write_manifest(folder, json.loads((folder / "manifest.json").read_text()), FILES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format=2), "format 2"),
        (lambda m: m.update(kind="pickle"), "kind is 'pickle'"),
        (lambda m: m.update(files={}), "lists no files"),
        (lambda m: m.update(files={"../model-symbol.json": {"sha256": "0"}}), "names of files beside it"),
        (lambda m: m.pop("source"), "made of"),
        (lambda m: m.pop("input"), "type is None"),
        (lambda m: m["input"].update(shape=["N", 3, 10**9, 32]), "shape is"),
        (lambda m: m["input"].update(shape=["N", 4, 32, 32]), r"float32 \['N', 4, 32, 32\], expected \(N, 3, H, W\)"),
        (lambda m: m["input"].update(shape=["N", 3, 32, 48]), "pictures of size 32"),
        (lambda m: m["input"].update(type="object"), "type is 'object'"),
        (lambda m: m["input"].update(type="uint8"), r"expected pixels \(N, H, W, 3\)"),
        (lambda m: m["input"].update(type="uint8", shape=["N", 32, 32, 3]), "does not belong"),
        (lambda m: m.pop("preprocessing"), "no preprocessing"),
        (lambda m: m.update(preprocessing=[]), "cannot be understood"),
        (lambda m: m["preprocessing"].update(std=[0, 0, 0]), "cannot be understood"),
        (lambda m: m["preprocessing"].update(mean=[float("nan"), 0, 0]), "mean .*nan.* finite"),
        (lambda m: m["preprocessing"].update(size=1), "pictures of size 1, its input is"),
        (lambda m: m["preprocessing"].update(NetworkInput(32, "crop", 1e-6).to_json()), "crop_ratio 1e-06"),
        (lambda m: m["preprocessing"].update(interpolation="bicubic"), "interpolation 'bicubic', where .* 'bilinear'"),
        (lambda m: m["preprocessing"].update(crop_ratio=float("nan")), "crop_ratio nan"),
        (lambda m: m.update(outputs="many"), "what the outputs are"),
        (lambda m: m.update(probabilities="yes"), "what the outputs are"),
        (lambda m: m.update(features=[{"name": "stage1"}]), "what the outputs are"),
        (
            lambda m: m.update(outputs=0, features=[{"name": "a", "channels": 10}]),
            r"feature maps; .* gives \[1, 10\]",
        ),
        (lambda m: m.update(outputs=11), r"11 outputs.*gives \[1, 10\]"),
        (lambda m: m.update(segments=True), r"segments True.*gives \[1, 10\]"),
        (lambda m: m["files"]["model-0000.params"].update(sha256="0" * 64), "is not what"),
    ],
)
def test_a_wrong_manifest_is_named(folder, change, message, capfd):
    rewrite(folder, change)
    with pytest.raises(GluonAFFError, match=message) as told:
        deploy.open_exported(folder)
    assert told.value.exit_code == 1 and ("export" in str(told.value) or "copy" in str(told.value))
    assert not capfd.readouterr().out  # MXNet prints the shapes that it refuses


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, "\xff", "{}"])
def test_no_manifest_at_all(folder, text):
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(GluonAFFError):
        deploy.open_exported(folder)


def first(document, op):
    return next(node for node in document["nodes"] if node["op"] == op)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: first(d, "Convolution").update(op="Custom"), "Custom"),
        (lambda d: first(d, "Convolution").update(op="_Native"), "_Native"),
        (lambda d: first(d, "Convolution").update(inputs=[[99999, 0, 0]]), "earlier node"),
        (lambda d: first(d, "Convolution").update(inputs=[[-1, 0, 0]]), "output of a node"),
        (lambda d: first(d, "Convolution").update(subgraphs=[{}]), "graph of its own"),
        (lambda d: first(d, "Convolution")["attrs"].update(num_filter="999999999"), "does not belong"),
        (lambda d: first(d, "Convolution")["attrs"].update(kernel=[3, 3]), "no text"),
        (lambda d: d.update(heads=[]), "0 outputs"),
        (lambda d: d.update(arg_nodes=[0]), "variables"),
        (lambda d: d.update(nodes=[]), "0 nodes"),
        (lambda d: first(d, "FullyConnected")["attrs"].update(num_hidden="11"), "does not belong"),
    ],
)
def test_a_forged_graph_is_refused(folder, change, message):
    rewrite(folder, change, "model-symbol.json")
    with pytest.raises(GluonAFFError, match=message):
        deploy.open_exported(folder)


def test_forged_arrays_are_refused(folder):
    place = str(folder / "model-0000.params")
    arrays = mx.nd.load(place)
    name = next(name for name in arrays if name.endswith("conv0_weight"))
    for changed in ({**arrays, "arg:extra": mx.nd.zeros(1)}, {**arrays, name: mx.nd.zeros((1, 2, 3))}):
        mx.nd.save(place, changed)
        rewrite(folder, lambda document: None, "model-symbol.json")
        with pytest.raises(GluonAFFError, match="does not belong"):
            deploy.open_exported(folder)
    Path(place).write_bytes(Path(place).read_bytes()[:1000])
    rewrite(folder, lambda document: None, "model-symbol.json")
    with pytest.raises(GluonAFFError, match="damaged or cut short"):
        deploy.open_exported(folder)


def test_damaged_onnx_is_refused(net, tmp_path):
    out = export(net, tmp_path / "out", "onnx").directory
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes()[:5000])
    with pytest.raises(GluonAFFError, match="is not what"):
        deploy.open_exported(out)
    exported.write_manifest(out, json.loads((out / "manifest.json").read_text()), ["model.onnx"])
    with pytest.raises(GluonAFFError, match="ONNX Runtime cannot read"):
        deploy.open_exported(out)


def test_an_exported_network_is_not_trained(folder, tmp_path):
    opened = deploy.open_exported(folder)
    with mx.autograd.record(), pytest.raises(UsageError, match="train the network that it was made of"):
        opened.net(mx.nd.zeros((2, 3, 32, 32)))
    with pytest.raises(UsageError, match="HybridBlock.export .* manifest.json beside it names the weights"):
        gluon_aff.create_model("cifar_aff_resnet8", pretrained=folder / "model-0000.params", classes=10)


def test_onnx_that_is_too_new_or_missing(net, tmp_path, monkeypatch):
    need_onnx()
    import sys

    monkeypatch.setitem(sys.modules, "onnx.mapping", None)
    import onnx

    monkeypatch.delattr(onnx, "mapping", raising=False)
    with pytest.raises(UsageError, match=r"too new.*gluon_aff\[onnx\]"):
        export(net, tmp_path / "out", "onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"not installed.*gluon_aff\[onnx\]"):
        deploy.export(net, tmp_path / "out", "onnx", input=CIFAR)


def test_pixels_that_do_not_count_are_not_in_the_figure():
    truth = np.array([[[0, 1, 1, 255, 255]]])
    logits = np.array([-1.0, 1, -1, 1, -1]).reshape(1, 1, 1, 5)
    assert exporting._figure(logits, truth, segments=True) == 0.5
