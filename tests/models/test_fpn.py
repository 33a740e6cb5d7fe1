"""AFF-FPN: names, arithmetic, sizes, symbols. What all networks do is in test_every_model.py."""

import re

import golden
import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff import published
from gluon_aff.cli import main as cli
from gluon_aff.errors import UsageError
from gluon_aff.models import build_model
from gluon_aff.nn import LongSkip, create_fusion, native

VARIANTS = [(stem, decoder) for stem in ("std", "tiny") for decoder in ("reduce", "expand")]
CASES = [
    *((stem, decoder, "aff") for stem, decoder in VARIANTS),
    ("std", "reduce", "concat"),
    ("tiny", "expand", "concat"),
]
each_case = pytest.mark.parametrize("stem, decoder, fusion", CASES, ids=map("-".join, CASES))
each_variant = pytest.mark.parametrize("stem, decoder", VARIANTS, ids=map("-".join, VARIANTS))


def made(**options):
    net = gluon_aff.create_model("fpn_resnet8", **options)
    golden.fill(net)
    return net


def places(net):
    """The layers with parameters, by structural name."""
    return {name.rpartition(".")[0] for name in net._collect_params_with_prefix()}


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(found.asnumpy(), expected.asnumpy(), rtol=0, atol=tolerance)


STEMS = {"std": (0, 1, 2, 4, 5, 7, 8), "tiny": (0, 1, 2)}
ATTENTION = [*(f"local_att.{layer}" for layer in (0, 1, 3, 4)), *(f"global_att.{layer}" for layer in (1, 2, 4, 5))]


@each_variant
@pytest.mark.parametrize("fusion, inner", [("aff", ATTENTION), ("add", []), ("concat", [])])
def test_structural_names(stem, decoder, fusion, inner):
    projection = "feature_high" if decoder == "reduce" else "feature_low"
    expected = {f"stem.{layer}" for layer in STEMS[stem]}
    for stage in (1, 2, 3):
        expected |= {f"layer{stage}.{block}.body.{layer}" for block in (0, 1) for layer in (0, 1, 3, 4)}
        expected |= {f"layer{stage}.0.downsample.{layer}" for layer in (0, 1) if stage > 1}
    for skip in ("fuse23", "fuse12"):
        expected |= {f"{skip}.{name}.{layer}" for name in (projection, "post") for layer in (0, 1)}
        expected |= {f"{skip}.{name}" for name in inner}
    expected |= {f"head.block.{layer}" for layer in (0, 1, 4)}
    net = build_model("fpn_resnet14", fusion=fusion, stem=stem, decoder=decoder)
    assert places(net) == expected
    assert not [name for name in net._collect_params_with_prefix() if re.search(r"(layer|stem|block\.0).*bias", name)]


@pytest.mark.parametrize("stem, strides", [("std", (4, 8, 16)), ("tiny", (1, 2, 4))])
@pytest.mark.parametrize("decoder, widths", [("reduce", (32, 16, 4)), ("expand", (64, 64, 16))])
def test_sizes_and_widths_of_the_maps(stem, strides, decoder, widths):
    net = build_model("fpn_resnet8", stem=stem, decoder=decoder, fusion="aff", channel_times=2)
    x = mx.sym.var("data")
    first = net.layer1(net.stem(x))
    second = net.layer2(first)
    third = net.layer3(second)
    fused = net.fuse23(third, second)
    maps = [first, second, third, fused, net.fuse12(fused, first), net.head.block[0](net.fuse12(fused, first))]
    shapes = [m.infer_shape(data=(1, 3, 64, 96))[1][0] for m in maps]
    channels = [2 * width for width in (16, 32, 64, *widths)]
    sizes = [(64 // stride, 96 // stride) for stride in (*strides, strides[1], strides[0], strides[0])]
    assert shapes == [(1, width, *size) for width, size in zip(channels, sizes)]


@pytest.mark.parametrize(
    "fusion", ["add", "concat", "aff", "aff_global_global", "aff_local_local", "iaff", "sk", "ms_se", "gau"]
)
@pytest.mark.parametrize("decoder", ["reduce", "expand"])
def test_a_long_skip_by_its_formula(fusion, decoder):
    """Y is resized before it is projected here, and the fusion stands beside the block, not in it."""
    skip = LongSkip(12, 8, fusion, r=2, decoder=decoder)
    skip.initialize()
    skip.cast("float64")
    golden.fill(skip)
    high, low = golden.normal(1, (2, 12, 4, 5)), golden.normal(2, (2, 8, 7, 9))
    y = mx.nd.contrib.BilinearResize2D(high, height=7, width=9)
    if decoder == "reduce":
        y, x = skip.feature_high(y), low
    else:
        x = skip.feature_low(low)
    if fusion == "concat":
        z = mx.nd.concat(y, x, dim=1)
    else:
        block = create_fusion(fusion, x.shape[1], r=2)
        block.initialize()
        block.cast("float64")
        arrays = skip._collect_params_with_prefix()
        for name, parameter in block._collect_params_with_prefix().items():
            parameter.set_data(arrays[name].data())  # without a name of its own in between
        z = block(y, x)
    out = skip(high, low)
    assert out.shape == (2, skip.out_channels, 7, 9) == (2, 8 if decoder == "reduce" else 12, 7, 9)
    close(out, skip.post(z))


def test_long_skip_refuses_what_it_does_not_know():
    with pytest.raises(UsageError, match="unknown fusion 'afff'"):
        LongSkip(4, 4, "afff")
    with pytest.raises(UsageError, match="low_channels is 0"):
        LongSkip(4, 0)
    skip = LongSkip(4, 2)
    skip.initialize()
    with pytest.raises(UsageError, match=r"low is \(1, 4, 8, 8\): this LongSkip takes it as \(N, 2, H, W\)"):
        skip(mx.nd.ones((1, 4, 4, 4)), mx.nd.ones((1, 4, 8, 8)))


@each_case
def test_any_size_at_inference_as_a_symbol_too(stem, decoder, fusion, tmp_path):
    """Whichever size the symbol was made at."""
    net = made(stem=stem, decoder=decoder, fusion=fusion)
    inputs = [golden.normal(3, (2, 3, *size), "float32") for size in ((32, 48), (33, 61), (3, 17), (1, 1))]
    imperative = [net(x) for x in inputs]
    net.hybridize()
    hybridized = [net(x) for x in inputs]
    net.export(str(tmp_path / "net"))
    imported = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    )
    with native.own_arithmetic():  # which is what is exported
        net.hybridize()
        exported = [net(x) for x in inputs]
    net.hybridize()
    for x, first, second, third in zip(inputs, imperative, hybridized, exported):
        padding = [(0, 0), (0, 0), *((0, -length % net.divisor) for length in x.shape[2:])]
        padded = net(mx.nd.array(np.pad(x.asnumpy(), padding)))
        assert first.dtype == np.float32 and first.shape == (2, 1, *x.shape[2:])
        close(first, padded[:, :, : x.shape[2], : x.shape[3]], 1e-6)
        assert np.isfinite(first.asnumpy()).all()
        close(second, first, 1e-6 * max(np.abs(first.asnumpy()).max(), 1))
        close(third, second, 1e-4 * max(np.abs(second.asnumpy()).max(), 1))  # by the native operator, if that is there
        assert np.array_equal(imported(x).asnumpy(), third.asnumpy())


@pytest.mark.parametrize("hybridized", [False, True])
@pytest.mark.parametrize(
    "stem, size, nearest",
    [
        ("std", (33, 71), "32x64"),
        ("std", (7, 144), "16x144"),
        ("tiny", (33, 71), "32x72"),
        ("tiny", (48, 2), "48x4"),
    ],
)
def test_sizes_to_train_at(stem, size, nearest, hybridized):
    net = made(stem=stem)
    net.hybridize(hybridized)
    x = mx.nd.ones((2, 3, *size))
    assert net(x).shape == (2, 1, *size)
    with mx.autograd.record(), pytest.raises(UsageError, match=f"multiples of .* nearest such size is {nearest}$"):
        net(x)
    good = mx.nd.ones((2, 3, *map(int, nearest.split("x"))))
    with mx.autograd.record():
        assert net(good).shape == (2, 1, *good.shape[2:])
    with mx.autograd.record(train_mode=False):
        assert net(x).shape == (2, 1, *size)


@each_case
def test_gradients_of_the_variants(stem, decoder, fusion):
    net = gluon_aff.create_model("fpn_resnet8", stem=stem, decoder=decoder, fusion=fusion)
    net.hybridize()
    with mx.autograd.record():
        out = net(mx.nd.random.normal(shape=(3, 3, 32, 48)))
        loss = (out * mx.nd.random.normal(shape=out.shape)).sum()
    loss.backward()
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter.grad_req != "null" and (not name.endswith("bias") or name == "head.block.4.bias"):
            assert np.abs(parameter.grad().asnumpy()).max() > 0, name


@pytest.mark.parametrize("stem", ["std", "tiny"])
def test_gradients_repeat_to_the_bit(stem):
    """MXNet's own resizing adds up its gradient from all threads, in whichever order they come: every other time in
    this network, with two threads."""
    net = made(stem=stem, fusion="aff")
    x, weights = (golden.normal(number, (4, channels, 32, 32), "float32") for number, channels in ((1, 3), (2, 1)))
    trained = {name: p for name, p in net._collect_params_with_prefix().items() if p.grad_req != "null"}
    found = []
    for _ in range(5):
        mx.random.seed(1)  # of the dropout
        with mx.autograd.record():
            loss = (net(x) * weights).sum()
        loss.backward()
        found.append({name: parameter.grad().asnumpy() for name, parameter in trained.items()})
    for name, first in found[0].items():
        assert all(np.array_equal(first, again[name]) for again in found), name


def test_another_number_of_classes_keeps_a_fresh_head(tmp_path):
    net = made()
    net.save_parameters(str(tmp_path / "x.params"))
    with pytest.warns(UserWarning, match="head.block.4.weight and head.block.4.bias stay as initialised"):
        other = gluon_aff.create_model("fpn_resnet8", classes=3, pretrained=tmp_path / "x.params")
    assert other(mx.nd.ones((1, 3, 16, 16))).shape == (1, 3, 16, 16)
    close(other.fuse12.post[0].weight.data(), net.fuse12.post[0].weight.data(), 0)


def test_a_file_of_another_stem_says_what_to_change(tmp_path):
    made(stem="tiny").save_parameters(str(tmp_path / "x.params"))
    with pytest.raises(UsageError, match="it has stem='tiny', the network 'std'"):
        published.load(tmp_path / "x.params", made())


def test_summary_on_the_command_line(capsys):
    options = ["--stem", "tiny", "--decoder", "expand", "--input-size", "32"]
    assert cli.main(["summary", "aff_fpn_resnet8", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    layers = {line.split()[0]: line.split()[1:4] for line in lines[2:-3]}
    assert set(layers) == places(build_model("aff_fpn_resnet8", stem="tiny", decoder="expand"))
    assert layers["fuse12.feature_low.0"] == ["Convolution", "64x32x32", f"{16 * 64 + 64:,}"]
    assert layers["head.block.4"] == ["Convolution", "1x32x32", "17"]
