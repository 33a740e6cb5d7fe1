"""Classifiers of GluonCV's zoo with a local file, as baselines beside ours."""

from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.cli.main import main
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.runtime.importing import import_gluoncv
from gluon_aff.tasks.opening import is_zoo_name, open_network, open_teacher


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """GluonCV's smallest CIFAR network with 10 classes, and its file."""
    mx.random.seed(0)
    net = import_gluoncv("gluoncv.model_zoo").get_model("cifar_resnet20_v1")
    net.initialize(mx.init.Xavier())
    net(mx.nd.zeros((1, 3, 32, 32)))
    path = tmp_path_factory.mktemp("zoo") / "baseline.params"
    net.save_parameters(str(path))
    return net, path


def test_a_zoo_network_is_opened_by_name(baseline):
    net, path = baseline
    trained = open_network(str(path), "cifar_resnet20_v1", {}, [mx.cpu()])
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    np.testing.assert_allclose(trained.net(x).asnumpy(), net(x).asnumpy(), atol=1e-5)
    assert (trained.task, trained.outputs, trained.network) == ("cifar", 10, "cifar_resnet20_v1 of GluonCV")


def test_one_that_gluoncv_has_weights_of_needs_no_file(baseline, tmp_path, monkeypatch):
    def get_model(name, pretrained=False, ctx=None):
        if name == "resnet18_v1":
            raise ConnectionError("no way out")
        if name != "cifar_resnet20_v1":
            raise ValueError("a long list of names")
        assert pretrained and ctx == [mx.cpu()]
        return baseline[0]

    monkeypatch.setattr("gluon_aff.tasks.opening.import_gluoncv", lambda name: SimpleNamespace(get_model=get_model))
    for name in ("cifar_resnet20_v1", "gluoncv:cifar_resnet20_v1"):
        assert open_network(name).outputs == 10
    assert open_teacher("cifar_resnet20_v1", 10, 32, [mx.cpu()]) is baseline[0]
    with pytest.raises(UsageError, match="--teacher cifar_resnet20_v1 gives .10,. values per image: a student of 3"):
        open_teacher("cifar_resnet20_v1", 3, 32, [mx.cpu()])
    with pytest.raises(UsageError, match="--teacher resnet51 is neither a file, an id of"):
        open_teacher("resnet51", 3, 32, [mx.cpu()])
    with pytest.raises(GluonAFFError, match="GluonCV cannot give the weights of resnet18_v1: no way out"):
        open_network("resnet18_v1")
    assert main(["export", "cifar_resnet20_v1", "--to", "symbol", "--gpus", "", "--out", str(tmp_path / "out")]) == 0
    with pytest.raises(UsageError, match="several published files fit|no published weights fit"):
        open_network("cifar_aff_resnet20")


def test_it_is_scored_and_explained(baseline, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = ["--weights", str(baseline[1]), "--model", "cifar_resnet20_v1", "--gpus", ""]
    assert main(["evaluate", *given, "--dataset", "digits"]) == 0
    assert "359" in capsys.readouterr().out
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 30, 30)).save("photo.png")
    assert main(["gradcam", *given, "--dataset", "cifar10", "--images", "photo.png", "--out", "out"]) == 0
    assert (tmp_path / "out" / "sheet.png").exists()


def test_what_cannot_be_opened_is_said(baseline):
    path = str(baseline[1])

    def refused(model, message, **options):
        with pytest.raises(UsageError, match=message):
            open_network(path, model, options, [mx.cpu()])

    refused("resnet51", "resnet51 is neither a name of `gluon-aff models` nor one of GluonCV's model zoo")
    refused("cifar_resnet56_v1", "baseline.params does not fit GluonCV's cifar_resnet56_v1: ")
    refused("cifar_resnet20_v1", "does not fit GluonCV's cifar_resnet20_v1: ", classes=7)
    refused("cifar_resnet20_v1", "--blocks: GluonCV's networks take --classes alone", blocks=2)
    assert is_zoo_name("gluoncv:resnext50_32x4d") and not is_zoo_name("resnext50_32x4d")
