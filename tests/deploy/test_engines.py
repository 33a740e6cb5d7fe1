"""Other engines in MXNet's place: the same predictions, the fastest taken, wrong ones refused, what runs each form."""

import json
import sys
import time
from importlib.util import find_spec
from types import SimpleNamespace

import golden
import mxnet as mx
import numpy as np
import pytest
from test_folding import made

import gluon_aff
from gluon_aff import deploy
from gluon_aff.cli.main import main
from gluon_aff.data.pictures import NetworkInput
from gluon_aff.deploy import engines
from gluon_aff.errors import GluonAFFError, UsageError

PIXELS = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3)).astype(np.uint8)
SEEN = NetworkInput(32)


@pytest.fixture(scope="module")
def net():
    return made("cifar_aff_resnet8", channel_times=1, classes=10)


def need(engine):
    for package in ("onnx", "onnxruntime", engine):
        if not find_spec(package):
            pytest.skip(f"{package} is not installed")


def logits(*given, **options):
    return np.stack([each.logits for each in gluon_aff.predict(*given, input=SEEN, batch_size=4, **options)])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_evaluate_and_predict_find_the_same(net, tmp_path, engine):
    need(engine)
    net.save_parameters(str(tmp_path / "net.params"))
    told = ["evaluate", "--weights", tmp_path / "net.params", "--model", "cifar_aff_resnet8", "--channel-times", "1"]
    told += ["--classes", "10", "--dataset", "digits", "--input-size", "32", "--gpus", ""]
    found = {}
    for name in ("mxnet", engine):
        assert main([*map(str, told), "--engine", name, "--json", str(tmp_path / name)]) == 0
        found[name] = json.loads((tmp_path / name).read_text())
        assert found[name]["environment"]["engine"] == {"name": name}
    assert found["mxnet"]["per_class"] == found[engine]["per_class"]
    np.testing.assert_allclose(logits(net, PIXELS, engine=engine), logits(net, PIXELS), atol=1e-4)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_exported_network_is_scored_as_what_it_was_made_of(engine, tmp_path):
    need(engine)
    quick = ["--train-images", "64", "--test-images", "60", "--num-epochs", "1", "--gpus", ""]
    run, found = str(tmp_path / "run"), {}
    assert main(["train", "cifar", "--dataset", "digits", *quick, "--save-dir", run]) == 0
    for name, more in (("plain", []), ("pixels", ["--with-preprocessing"])):
        assert main(["export", run, "--to", "onnx", "--batch", "7", "--out", str(tmp_path / name), *more]) == 0
    for name, more in (("run", []), ("plain", ["--engine", engine])):
        told = ["evaluate", "--weights", str(tmp_path / name), "--gpus", "", *more, "--json", str(tmp_path / "found")]
        assert main(told) == 0
        found[name] = json.loads((tmp_path / "found").read_text())
    assert found["plain"]["per_class"] == found["run"]["per_class"]
    with pytest.raises(UsageError, match="exported without `with_preprocessing`"):
        main(["evaluate", "--weights", str(tmp_path / "pixels"), "--gpus", ""])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_segmentation_network_takes_any_size_and_number(engine):
    need(engine)
    fpn = made("aff_fpn_resnet8", stem="tiny", fusion="iaff", classes=3)
    by_engine = engines.engine_of_net(fpn, engine, True)
    for shape in ((2, 3, 64, 64), (1, 3, 64, 64), (3, 3, 64, 64), (1, 3, 17, 30), (2, 3, 29, 45)):
        x = golden.normal(4, shape, "float32")
        expected, found = fpn(x).asnumpy(), by_engine(x).asnumpy()
        assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-4 * np.ptp(expected)


@pytest.fixture
def fakes(net, monkeypatch):
    """Engines "fast", "wrong", whose logits are not ``net``'s, and "absent", beside MXNet, which sleeps."""

    def run(x):
        return net(mx.nd.array(x)).asnumpy()

    def absent():
        raise UsageError("absent is not installed: pip install absent")

    monkeypatch.setattr(engines, "_LOAD", {"fast": bool, "wrong": bool, "absent": absent})
    monkeypatch.setattr(
        engines, "_COMPILE", {"fast": lambda model: run, "wrong": lambda model: lambda x: 1.001 * run(x)}
    )

    def start(x):
        time.sleep(0.05)
        return lambda: run(x)

    return lambda name: engines.EngineNetwork(start, "mxnet", name, lambda shape: b"model", False)


def test_auto_takes_the_fastest_that_gives_the_same(fakes, net, capsys):
    engine, x = fakes("auto"), mx.nd.array(SEEN.transform(PIXELS))
    np.testing.assert_array_equal(engine(x).asnumpy(), net(x).asnumpy())
    assert engine.about["name"] == "fast" and list(engine.about["images_per_second"]) == ["mxnet", "fast"]
    said = capsys.readouterr().err
    assert said.startswith("engine fast: ") and "absent is not installed" in said and "wrong is left out" in said
    engine(x)
    assert capsys.readouterr().err == ""


def test_an_engine_that_gives_other_logits_is_refused(fakes, net):
    x = mx.nd.array(SEEN.transform(PIXELS))
    expected = net(x).asnumpy()
    with pytest.raises(
        GluonAFFError, match=f"by {0.001 * np.abs(expected).max():.3g} .*range is {np.ptp(expected):.3g}"
    ):
        fakes("wrong")(x)
    with pytest.raises(UsageError, match="pip install absent"):
        fakes("absent")


def test_what_each_form_runs_by(net, tmp_path, capsys):
    need("onnxruntime")
    expected = logits(net, PIXELS)
    for to in ("symbol", "onnx"):
        deploy.export(net, tmp_path / to, to, input=SEEN, batch=3)
    for to, engine in (("symbol", "mxnet"), ("symbol", "auto"), ("onnx", "onnxruntime"), ("onnx", "auto")):
        np.testing.assert_allclose(logits(tmp_path / to, PIXELS, engine=engine), expected, atol=1e-4)
    assert "engine mxnet: the others cannot run the form symbol" in capsys.readouterr().err
    for to, engine in (("symbol", "onnxruntime"), ("onnx", "mxnet")):
        with pytest.raises(UsageError, match="MXNet"):
            logits(tmp_path / to, PIXELS, engine=engine)
    if find_spec("openvino"):
        assert engines.load_openvino() and sys.modules["openvino_telemetry"] is None  # nothing is sent
        np.testing.assert_allclose(logits(tmp_path / "onnx", PIXELS, engine="openvino"), expected, atol=1e-4)


def test_what_cannot_be_run(net, monkeypatch):
    with pytest.raises(UsageError, match="no engine 'tvm'"):
        logits(net, PIXELS, engine="tvm")
    there = SimpleNamespace(list_ctx=lambda: [mx.gpu(1)])
    on_gpu = SimpleNamespace(collect_params=lambda: {"weight": there})
    assert engines.engine_of_net(on_gpu, "auto", False) is None
    with pytest.raises(UsageError, match=r"the network lies on gpu\(1\)"):
        engines.engine_of_net(on_gpu, "onnxruntime", False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"not installed here .*pip install 'gluon_aff\[onnx\]'"):
        logits(net, PIXELS, engine="openvino")
