"""The programs of examples/ run, with tiny settings, and leave what they say."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from mxnet.gluon import nn
from script_runs import ROOT, load_script

import gluon_aff
from gluon_aff.cli import main as cli
from gluon_aff.comparison import open_curve
from gluon_aff.errors import UsageError
from gluon_aff.tasks import task
from gluon_aff.utils import console

pytestmark = pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="only in a clone")


def test_the_plain_loop(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    argv = ["--epochs", "3", "--images", "480"]
    monkeypatch.setattr(sys, "argv", ["train_plain.py", *argv])
    load_script("examples/train_plain").main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "480 training and 359 test images of 10 classes" and len(lines) == 5
    assert float(lines[3].split("training accuracy ")[1].split(",")[0]) > 0.5
    net = gluon_aff.create_model("cifar_aff_resnet8", pretrained="digits.params", channel_times=1)
    assert net.output.weight.shape == (10, 64)
    assert abs(net.features[0].running_mean.data()).max() > 0.1  # the input's norm has learnt, too


@pytest.fixture
def own(tmp_path, monkeypatch, capsys):
    """Run a command of the example in an empty folder, in this process: its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(task, "_TASKS", dict(task.load_built_in()))
    example = load_script("examples/own_segmentation_network")

    def run(*argv, code=0):
        assert console.run(cli.main, list(argv)) == code
        out, err = capsys.readouterr()
        return err if code else out

    run.example = example
    return run


TRAIN = ["train", "own_unet", "--dataset", "shapes", "--train-images", "16", "--test-images", "4", "--gpus", ""]
TRAIN += ["--num-epochs", "1", "--batch-size", "8", "--base-size", "32", "--crop-size", "32"]


def test_an_own_segmentation_network(own, tmp_path):
    out = own(*TRAIN, "--save-dir", "run")
    assert "model: own_unet_aff, fusion aff; 47,257 parameters" in out and "recipe quick" in out
    report = json.loads(own("evaluate", "--weights", "run", "--gpus", "", "--json", "-"))
    assert report["iou"] == json.loads((tmp_path / "run/history.jsonl").read_text().splitlines()[-1])["val"]
    assert open_curve("run").settings["host"] == "own_unet_aff"  # not fpn, which --model would choose
    form = "onnx" if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime") else "symbol"
    own("export", "run", "--to", form, "--out", "exported")
    image = np.random.RandomState(0).randint(0, 255, (32, 32, 3)).astype(np.uint8)
    (before,), (after,) = gluon_aff.predict("run", image), gluon_aff.predict("exported", image)
    assert before.logits.shape == (1, 32, 32)
    np.testing.assert_allclose(after.logits, before.logits, atol=1e-3)
    task._TASKS.pop("own_unet")
    for open_ in (gluon_aff.load_run, open_curve):
        with pytest.raises(UsageError, match="is of task own_unet, which is not registered here"):
            open_("run")


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"kernel_size": 99}, "this Conv2D cannot take an input of (1, 3, 32, 32)"),
        ({"kernel_size": 3}, "--crop-size 32: the network gives (1, 1, 30, 30) for an image of this size, expected"),
    ],
)
def test_an_own_network_that_does_not_fit(layer, message, own, monkeypatch):
    monkeypatch.setattr(own.example, "UNet", lambda classes, fusion, r: nn.Conv2D(classes, **layer))
    assert message in own(*TRAIN, code=2)
