"""A fusion strategy in one class, from outside the package: everything that knows fusions then knows it."""

import json

import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff.cli import main as cli
from gluon_aff.gradcam import fusion_weights
from gluon_aff.nn import Fusion, register_fusion, unregister_fusion
from gluon_aff.nn.attention import context_branch
from gluon_aff.utils import console

NAME = "gated_difference"
DIGITS = ["--dataset", "digits", "--gpus", "", "--batch-size", "16", "--train-images", "32", "--test-images", "20"]


@pytest.fixture
def own():
    @register_fusion(NAME)
    class GatedDifference(Fusion):
        """Y + G(X - Y) X: the shortcut is added where it differs from the branch."""

        weight_on = "residual"

        def _build(self, channels, r, norm_layer, norm_kwargs):
            self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs)

        def hybrid_forward(self, F, x, residual):
            gate = F.sigmoid(self.global_att(F.elemwise_sub(residual, x)))
            return F.elemwise_add(x, F.broadcast_mul(residual, gate))

    yield GatedDifference
    unregister_fusion(NAME)


def run(*argv):
    assert console.run(cli.main, [str(word) for word in argv]) == 0


def test_the_register(own):
    assert NAME in gluon_aff.list_fusions()
    with pytest.raises(gluon_aff.errors.UsageError, match="registered already"):
        register_fusion(NAME)(own)
    fuse = gluon_aff.create_fusion(NAME, channels=8, r=4)
    fuse.initialize()
    x, residual = mx.nd.random.normal(shape=(2, 2, 8, 5, 5))
    assert fuse(x, residual).shape == (2, 8, 5, 5)


@pytest.mark.parametrize(
    ("host", "options", "shape"),
    [
        ("cifar_resnet", {"blocks": 1, "channel_times": 1, "classes": 10}, (2, 3, 32, 32)),
        ("cifar_resnet.paper", {"blocks": 1, "channel_times": 1, "classes": 10}, (2, 3, 32, 32)),
        ("cifar_resnext", {"blocks": 1, "channel_times": 1, "classes": 10}, (2, 3, 32, 32)),
        ("cifar_inception", {"blocks": 1, "channel_times": 1, "classes": 10}, (2, 3, 32, 32)),
        ("resnet50", {"classes": 10, "start_layer": 4}, (2, 3, 64, 64)),
        ("resnext50_32x4d", {"classes": 10, "start_layer": 4}, (2, 3, 64, 64)),
        ("fpn_resnet20", {"blocks": 1}, (2, 3, 32, 32)),
    ],
)
def test_every_host_takes_it_and_its_weights_are_seen(own, host, options, shape):
    net = gluon_aff.create_model(host, fusion=NAME, **options)
    x = np.random.RandomState(0).normal(size=shape).astype(np.float32)
    plain = net(mx.nd.array(x)).asnumpy()
    net.hybridize()
    np.testing.assert_allclose(net(mx.nd.array(x)).asnumpy(), plain, rtol=1e-4, atol=1e-4)
    found = fusion_weights(net, x)
    assert {weights.kind for weights in found} == {"GatedDifference"}
    assert all(weights.on == "residual" and not weights.selects and weights.context is not None for weights in found)


def test_commands_know_it(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("summary", "cifar_resnet8", "--fusion", NAME, "--channel-times", "1")
    assert "87,580 with running statistics" in capsys.readouterr().out
    run("train", "cifar", *DIGITS, "--fusion", NAME, "--num-epochs", "1", "--save-dir", "run")
    assert f"fusion {NAME}" in capsys.readouterr().out
    with open("image.png", "wb") as handle:
        from PIL import Image

        Image.new("RGB", (32, 32), (90, 20, 160)).save(handle, "png")
    run("attention", "--weights", "run", "--image", "image.png", "--gpus", "", "--out", "seen")
    assert list((tmp_path / "seen").glob("*.npz"))

    more = ["--", *DIGITS[2:], "--channel-times", "1"]
    grid = ["--strategies", f"add,{NAME}", "--epochs", "1", "--dataset", "digits", "--out", "grid"]
    run("ablation", "--host", "resnet", *grid, *more)
    rows = json.loads((tmp_path / "grid/report.json").read_text())["rows"]
    assert {(row["strategy"], row["r"]) for row in rows} == {("add", None), (NAME, 4)}
    run("plot", "depth", "grid", "--out", "depth.png")
    assert f"resnet b1 {NAME}: " in capsys.readouterr().out
    assert (tmp_path / "depth.png").is_file()
