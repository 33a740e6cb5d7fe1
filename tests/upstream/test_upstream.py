"""The authors' names: their arguments, order and defaults, and the networks that `create_model` gives."""

import inspect

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluon_aff
from gluon_aff import upstream
from gluon_aff.errors import UsageError
from gluon_aff.nn import create_fusion
from gluon_aff.upstream import model, utils
from gluon_aff.upstream.model import fusion

NORM = "norm_layer=BatchNorm norm_kwargs=None"
ARGUMENTS = {
    "CIFARAFFResNet": f"askc_type start_layer layers channels classes deep_stem {NORM}",
    "CIFARAFFResNeXt": "askc_type start_layer layers channels cardinality bottleneck_width classes=10 "
    f"deep_stem=False use_se=False {NORM}",
    "AFFResNet": f"askc_type start_layer layers classes=1000 dilated=False {NORM} last_gamma=False deep_stem=True "
    "stem_width=32 avg_down=True final_drop=0.0 use_global_stats=False name_prefix=",
    "AFFResNeXt": "askc_type start_layer layers cardinality bottleneck_width classes=1000 last_gamma=False "
    f"use_se=False deep_stem=True avg_down=True stem_width=64 {NORM}",
    "DirectAddFuse": "",
    "ASKCFuse": "channels=64 r=4",
    "ResGlobLocaforGlobLocaChaFuse": "channels=64 r=4",
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_are_the_authors(name):
    cls, words = getattr(upstream, name), []
    *parameters, rest = inspect.signature(cls).parameters.values()
    for each in parameters:
        default = getattr(each.default, "__name__", each.default)
        words.append(each.name if each.default is each.empty else f"{each.name}={default}")
    assert " ".join(words) == ARGUMENTS[name]
    assert rest.kind is rest.VAR_KEYWORD and {p.kind for p in parameters} <= {rest.POSITIONAL_OR_KEYWORD}
    assert cls is getattr(fusion if name.endswith("Fuse") else model, name)
    assert name[-4:] == "Fuse" or inspect.signature(cls).parameters["norm_layer"].default is nn.BatchNorm


STARTED = {"blocks": 1, "channel_times": 1, "classes": 10, "start_layer": 2, "deep_stem": 1}
NETWORKS = [  # the authors' name and arguments, ours and options
    ("CIFARAFFResNet", (1, [2, 2, 2], [64, 64, 128, 256], 100, False), "cifar_resnet", {"blocks": 2, "classes": 100}),
    ("CIFARAFFResNet", (2, [1, 1, 1], [16, 16, 32, 64], 10, True), "cifar_resnet", STARTED),
    ("CIFARAFFResNeXt", (1, [1, 1, 1], [64, 64, 128, 256], 32, 4, 20), "cifar_resnext", {"blocks": 1, "classes": 20}),
    ("AFFResNet", (3, [1, 1, 1, 1], 10), "resnet50", {"layers": [1, 1, 1, 1], "classes": 10}),
    ("AFFResNeXt", (3, [1, 1, 1, 1], 32, 4, 10, True), "resnext50_32x4d", {"layers": [1, 1, 1, 1], "classes": 10}),
]


@pytest.mark.parametrize("key", ["DirectAdd", "ASKCFuse", "ResGlobLocaforGlobLocaCha"])
@pytest.mark.parametrize("theirs, arguments, name, options", NETWORKS)
def test_networks_are_those_of_create_model(theirs, arguments, name, options, key, tmp_path):
    net = getattr(model, theirs)(key, *arguments, unknown=3)
    assert all(parameter._data is None for parameter in net.collect_params().values()), "it is to be uninitialised"
    if "blocks" in options:
        options = {"channel_times": 4, **options}
    ours = gluon_aff.create_model(name, fusion=key, **options)
    arrays = {name: p.shape for name, p in net._collect_params_with_prefix().items()}
    assert arrays == {name: p.shape for name, p in ours._collect_params_with_prefix().items()}
    ours.save_parameters(str(tmp_path / "x.params"))
    net.load_parameters(str(tmp_path / "x.params"))
    size = 16 if "cifar" in name else 64
    x = mx.nd.random.normal(shape=(2, 3, size, size))
    np.testing.assert_array_equal(net(x).asnumpy(), ours(x).asnumpy())


def test_other_stems_and_shortcuts():
    net = model.AFFResNet("DirectAdd", 3, [1, 1, 1, 1], deep_stem=False, avg_down=False)
    shapes = {name: p.shape for name, p in net._collect_params_with_prefix().items()}
    paper = gluon_aff.create_model("resnet50.paper", layers=[1, 1, 1, 1])
    assert shapes == {name: p.shape for name, p in paper._collect_params_with_prefix().items()}
    started = model.CIFARAFFResNeXt("DirectAdd", 1, [1, 1, 1], [64], 32, 4)
    started.initialize()
    assert started.features[3][0].body[7].gamma.data().sum().asscalar() == 0  # as theirs
    wide = model.AFFResNet("DirectAdd", 3, [1, 1, 1, 1], stem_width=16)
    assert wide.bn1.gamma.shape == (32,) and wide.conv1[0].weight.shape == (16, 3, 3, 3)
    wide = model.AFFResNeXt("DirectAdd", 3, [1, 1, 1, 1], 32, 4, stem_width=16)
    assert wide.features[6].weight.shape == (32, 16, 3, 3)
    with pytest.raises(UsageError, match=r"channels is \(64, 64\): expected four numbers"):
        model.CIFARAFFResNet("ASKCFuse", 1, [1, 1, 1], [64, 64], 10, False)
    with pytest.raises(UsageError, match="unknown fusion 'xxx'"):
        model.CIFARAFFResNet("xxx", 1, [1, 1, 1], [16, 16, 32, 64], 10, False)


@pytest.mark.parametrize("key", ["DirectAddFuse", "ASKCFuse", "ResGlobLocaforGlobLocaChaFuse"])
def test_fusions_are_those_of_create_fusion(key):
    theirs, ours = getattr(fusion, key)(), create_fusion(key, 64)
    theirs.initialize(mx.init.Normal(0.5))
    ours.initialize()
    values = {name: p.data() for name, p in theirs._collect_params_with_prefix().items()}
    assert values.keys() == ours._collect_params_with_prefix().keys()
    for name, parameter in ours._collect_params_with_prefix().items():
        parameter.set_data(values[name])
    x, residual = (mx.nd.random.normal(shape=(2, 64, 5, 3)) for _ in range(2))
    np.testing.assert_array_equal(theirs(x, residual).asnumpy(), ours(x, residual).asnumpy())
    with pytest.raises(UsageError, match="resize or project"):
        theirs(x, residual[:, :, :2])


def test_summary_prints_layers_parameters_and_flops(capsys):
    net = model.CIFARAFFResNet("ASKCFuse", 1, [5, 5, 5], [64, 64, 128, 256], 100, False)
    utils.summary(net, mx.nd.zeros((1, 3, 32, 32)))
    out = capsys.readouterr().out
    assert "7,897,156 trained parameters, 7,917,456 with running statistics" in out
    assert "1,133,120,084 FLOPs as the authors count" in out
    net.initialize()
    net.hybridize()
    utils.summary(net, mx.nd.zeros((1, 3, 32, 32)))
    assert capsys.readouterr().out == out
    fuse = fusion.ASKCFuse(16, 4)
    upstream.summary(fuse, mx.nd.zeros((1, 16, 8, 8)), mx.nd.zeros((1, 16, 8, 8)))
    assert "16x8x8" in capsys.readouterr().out


SCRIPT = """
import mxnet as mx
from mxnet import autograd, gluon
from model import CIFARAFFResNet
from model.fusion import ASKCFuse
from utils import summary

mx.random.seed(0)
ctx = [mx.cpu()]
net = CIFARAFFResNet("ASKCFuse", 1, [1, 1, 1], [16, 16, 32, 64], 10, False)
net.initialize(mx.init.Xavier(), ctx=ctx)
summary(net, mx.nd.zeros((1, 3, 32, 32), ctx=ctx[0]))
net.hybridize()
trainer = gluon.Trainer(net.collect_params(), "nag", {"learning_rate": 0.1, "momentum": 0.9, "wd": 1e-4})
loss_fn = gluon.loss.SoftmaxCrossEntropyLoss()
x, y = mx.nd.random.normal(shape=(8, 3, 32, 32)), mx.nd.arange(8) % 10
for _ in range(3):
    with autograd.record():
        loss = loss_fn(net(x), y)
    loss.backward()
    trainer.step(8)
    print("loss", loss.mean().asscalar())
net.save_parameters("net.params")
again = CIFARAFFResNet("ASKCFuse", 1, [1, 1, 1], [16, 16, 32, 64], 10, False)
again.load_parameters("net.params", ctx=ctx)
assert (again(x) - net(x)).abs().max().asscalar() < 1e-5
fuse = ASKCFuse(channels=16, r=4)
fuse.initialize()
print("fused", fuse(mx.nd.ones((2, 16, 4, 4)), mx.nd.ones((2, 16, 4, 4))).shape)
"""
IMPORTS = {
    "import mxnet as mx\n": "import gluon_aff\nimport mxnet as mx\n",
    "from model import": "from gluon_aff.upstream.model import",
    "from model.fusion import": "from gluon_aff.upstream.model.fusion import",
    "from utils import": "from gluon_aff.upstream.utils import",
}


def test_a_users_script_changes_its_imports_only(tmp_path, monkeypatch, capsys):
    text = SCRIPT
    for theirs, ours in IMPORTS.items():
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    monkeypatch.chdir(tmp_path)
    exec(compile(text, "theirs.py", "exec"), {})
    out = capsys.readouterr().out
    losses = [float(line.split()[1]) for line in out.splitlines() if line.startswith("loss")]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert "trained parameters" in out and "fused (2, 16, 4, 4)" in out
