"""Every registered network: trains, hybridizes, goes out as a symbol and comes back."""

import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff.errors import UsageError
from gluon_aff.models import model_entry
from gluon_aff.models.common import SegmentationNet
from gluon_aff.nn import native

CLASSES = 10


def images(size):
    return mx.nd.random.normal(shape=(3, 3, size, size))


def small(name):
    """The network at its own depth but narrow, or with one block per stage (ImageNet); and images for it."""
    entry = model_entry(name)
    if entry.input_size == 224:
        return gluon_aff.create_model(name, classes=CLASSES, layers=(1, 1, 1, 1)), images(64)
    return gluon_aff.create_model(name, classes=CLASSES, channel_times=1), images(16 if entry.input_size == 32 else 32)


def full(name):
    """The network as it is registered, at a size that leaves the last stage a map."""
    return gluon_aff.create_model(name), images(32 if model_entry(name).input_size == 32 else 128)


def output_shape(name, classes, x):
    """One logit for each class, at each pixel for a segmentation network."""
    segments = issubclass(model_entry(name).network, SegmentationNet)
    return (len(x), classes, *x.shape[2:]) if segments else (len(x), classes)


def check_gradients(net, x):
    with mx.autograd.record():
        out = net(x)
        loss = (out * mx.nd.random.normal(shape=out.shape)).sum()
    loss.backward()
    assert np.isfinite(out.asnumpy()).all()
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter.grad_req == "null":  # statistics, and the norm of the input, which has no weights
            assert "running" in name or name.startswith(("features.0.", "stem.0.")), name
            continue
        gradient = parameter.grad().asnumpy()
        assert np.isfinite(gradient).all(), name
        # a norm takes other biases out again
        if not name.endswith(".bias") or name.startswith(("output", "fc", "head")):
            assert np.abs(gradient).max() > 0, name


def check_name(name, make, tmp_path):
    net, x = make(name)
    imperative = net(x).asnumpy()
    classes = CLASSES if make is small else {32: 100, 224: 1000, 480: 1}[model_entry(name).input_size]
    assert imperative.shape == output_shape(name, classes, x)
    assert np.isfinite(imperative).all()

    net.hybridize()
    hybridized = net(x).asnumpy()
    np.testing.assert_allclose(hybridized, imperative, rtol=0, atol=1e-6 * np.abs(imperative).max())

    net.export(str(tmp_path / "net"))
    imported = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "net-symbol.json"), ["data"], str(tmp_path / "net-0000.params")
    )
    found = imported(x).asnumpy()
    np.testing.assert_allclose(found, hybridized, rtol=0, atol=1e-4 * np.abs(hybridized).max())  # native or not
    with native.own_arithmetic():  # which is what is exported
        net.hybridize()
        assert np.array_equal(found, net(x).asnumpy())
    net.hybridize()

    check_gradients(net, x)


def different_when_small():
    """Of the networks that differ in their numbers of blocks only, one, with two blocks per stage where it is named."""
    names = {}
    for name in gluon_aff.list_models():
        entry = model_entry(name)
        if entry.options.get("blocks", 2) == 2:
            options = {key: value for key, value in entry.options.items() if key not in ("blocks", "layers")}
            names.setdefault((entry.network, *sorted(options.items())), name)
    return sorted(names.values())


def only_slow(name):
    """The paper's generation differs from the release in what stands around the fusion: one fusion tells for all."""
    entry = model_entry(name)
    return entry.tag == "paper" and entry.fusion != "aff"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * only_slow(name)) for name in different_when_small()]
)
def test_small(name, tmp_path):
    check_name(name, small, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", gluon_aff.list_models())
def test_full_size(name, tmp_path):
    check_name(name, full, tmp_path)


def test_the_list_is_complete():
    """The names of the promise: three fusions, two generations, every published depth and the general ones."""
    hosts = [f"cifar_{{}}resnet{depth}" for depth in (8, 14, 20, 26, 32)]
    hosts += [f"cifar_{{}}resnext{depth}_32x4d" for depth in (11, 20, 29, 38, 47)]
    hosts += ["{}resnet50", "{}resnet101", "{}resnet152", "{}resnext50_32x4d", "{}resnext101_32x4d"]
    tagged = [
        "cifar_resnet",
        "cifar_resnext",
        *(host.format(fusion) for host in hosts for fusion in ("", "aff_", "iaff_")),
    ]
    plain = ["cifar_inception"]
    plain += [f"cifar_{fusion}inception{depth}" for depth in (8, 14, 20, 26) for fusion in ("", "aff_", "iaff_")]
    skips = ("", "aff_", "iaff_", "acm_")
    plain += [f"{a}{host}_resnet{b}" for host in ("fpn", "unet") for b in (8, 14, 20, 26) for a in skips]
    assert gluon_aff.list_models() == sorted([*tagged, *(f"{name}.paper" for name in tagged), *plain])


HOSTS = {
    "cifar_resnet": {"blocks": 1, "channel_times": 1},
    "cifar_resnext": {"blocks": 1, "channel_times": 1},
    "cifar_inception": {"blocks": 1},
    "fpn_resnet20": {"blocks": 1},
    "unet_resnet20": {"blocks": 1},
    "resnet50": {"layers": (1, 1, 1, 1)},
    "resnext50_32x4d": {"layers": (1, 1, 1, 1)},
}
SMALL_HOSTS = [host for host in HOSTS if model_entry(host).input_size != 224]


def pairs():
    """Every fusion in one host, and those in all that a host builds differently for; the other pairs are slow tests."""
    for number, fusion in enumerate(gluon_aff.list_fusions()):
        for place, host in enumerate(SMALL_HOSTS):
            fast = fusion in ("add", "concat") or number % len(SMALL_HOSTS) == place
            yield pytest.param(host, fusion, marks=[] if fast else pytest.mark.slow)


@pytest.mark.parametrize("host, fusion", pairs())
def test_any_fusion_in_the_small_hosts(host, fusion):
    net = gluon_aff.create_model(host, fusion=fusion, classes=CLASSES, **HOSTS[host])
    x = images(16)
    with mx.autograd.record():
        out = net(x)
        loss = (out**2).sum()
    loss.backward()
    for name, parameter in net._collect_params_with_prefix().items():
        if parameter.grad_req != "null":
            assert np.isfinite(parameter.grad().asnumpy()).all(), name
    imperative = net(x).asnumpy()
    net.hybridize()
    np.testing.assert_allclose(net(x).asnumpy(), imperative, rtol=0, atol=1e-6 * np.abs(imperative).max())


@pytest.mark.parametrize("host", HOSTS)
def test_rectangular_images_and_float64(host):
    net = gluon_aff.create_model(host, fusion="iaff", classes=CLASSES, **HOSTS[host])
    x = mx.nd.random.normal(shape=(2, 3, 33, 47))
    single = net(x).asnumpy()
    assert single.shape == output_shape(host, CLASSES, x)
    net.cast("float64")
    double = net(x.astype("float64"))
    assert double.dtype == np.float64
    np.testing.assert_allclose(double.asnumpy(), single, rtol=0, atol=1e-4 * np.abs(single).max())


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("host", HOSTS)
def test_images_too_small(host, hybrid):
    """Empty batches, maps without pixels, images of one pixel: our message, not MXNet's."""
    net = gluon_aff.create_model(host, fusion="aff", classes=CLASSES, **HOSTS[host])
    net.hybridize(hybrid)
    for shape in ((0, 3, 32, 32), (2, 3, 0, 32), (2, 3, 32, 0)):
        with mx.util.np_shape(True):  # else MXNet takes a 0 for a size that is not known yet
            x = mx.nd.zeros(shape)
        with pytest.raises(UsageError, match="expected at least one image of at least one pixel"):
            net(x)
    for shape in ((2, 3, 1, 1), (1, 3, 1, 2)):
        try:
            assert net(mx.nd.zeros(shape)).asnumpy().shape[0] == shape[0]
        except UsageError as error:
            assert "too small for this network: take larger ones" in str(error)
    if host == "cifar_resnet":  # the release pools before it projects
        for train in (False, True):
            with mx.autograd.record(train), pytest.raises(UsageError, match="images of 1x1 pixels are too small"):
                net(mx.nd.zeros((2, 3, 1, 1)))
