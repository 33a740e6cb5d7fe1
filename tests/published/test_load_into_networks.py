"""Weight files into networks: whole or not at all, of any float type, and what is said of a file that does not fit."""

import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff import published
from gluon_aff.errors import GluonAFFError, UsageError

IDENTITY = "paper_cifar10_resnext29_AFF_0.9705"  # the smallest
HALF = "release_imagenet_AFF-ResNet-50_0.2028"


def narrow(**options):
    return gluon_aff.create_model("cifar_aff_resnet8", channel_times=1, classes=10, **options)


def arrays(net):
    return {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}


def assert_same(left, right):
    assert list(left) == list(right)
    for name, values in left.items():
        assert values.dtype == right[name].dtype, name
        assert np.array_equal(values, right[name]), name


@pytest.fixture
def file(tmp_path):
    """A file of the narrow network, and its arrays."""
    path, net = tmp_path / "narrow.params", narrow()
    net.save_parameters(str(path))
    return path, arrays(net)


def altered(file, **changes):
    """The file with some arrays replaced, added, or, where the value is None, left out. Dots are written __."""
    path, values = file
    values = {**values, **{name.replace("__", "."): value for name, value in changes.items()}}
    mx.nd.save(str(path), {name: mx.nd.array(value) for name, value in values.items() if value is not None})
    return path


def test_by_id(own_mxnet_home):
    """From $MXNET_HOME/models, into a network of its own and into a given one."""
    models = own_mxnet_home / "models"
    models.mkdir(parents=True)
    net = published.build(IDENTITY)
    net.save_parameters(str(models / published.record(IDENTITY)["file"]))
    with pytest.warns(UserWarning, match="is not the published file"):
        assert_same(arrays(published.load(IDENTITY)), arrays(net))
    other = published.build(IDENTITY)
    with pytest.warns(UserWarning, match="is not the published file"):
        assert published.load(IDENTITY, other, mx.cpu()) is other
    assert_same(arrays(other), arrays(net))
    x = mx.nd.random.normal(shape=(2, 3, 32, 32))
    assert np.array_equal(other(x).asnumpy(), net(x).asnumpy())


def test_id_whose_file_is_not_here(own_mxnet_home):
    """Says where it belongs and where the authors keep it."""
    record = published.record(IDENTITY)
    with pytest.raises(GluonAFFError) as error:
        published.load(IDENTITY)
    message = str(error.value)
    assert str(own_mxnet_home / "models" / record["file"]) in message
    assert "YimianDai/open-aff" in message
    assert record["commit"] in message


def test_unknown_id_lists_near_matches():
    with pytest.raises(UsageError, match="no published weights .*: did you mean") as error:
        published.build("paper_cifar10_resnext29_AFF")
    assert IDENTITY in str(error.value)


def test_neither_id_nor_file(tmp_path):
    with pytest.raises(UsageError, match="neither a file nor an id"):
        published.load(tmp_path / "nothing.params", narrow())


def test_a_file_into_a_network(file):
    path, values = file
    for given in (path, str(path)):
        net = narrow()
        assert published.load(given, net) is net
        assert_same(arrays(net), values)


def test_a_file_into_a_network_that_is_not_initialised(file):
    path, values = file
    net = gluon_aff.models.build_model("cifar_aff_resnet8", channel_times=1, classes=10)
    assert_same(arrays(published.load(path, net)), values)


def test_a_float16_file_into_a_float32_network(file):
    """As the authors' ImageNet files, which were saved after cast('float16'): norms stay float32."""
    path, values = file
    half = narrow()
    published.load(path, half)
    half.cast("float16")
    half.save_parameters(str(path))
    net = published.load(path, narrow())
    norms = ("gamma", "beta", "running_mean", "running_var")
    assert_same(
        arrays(net),
        {
            name: value if name.endswith(norms) else value.astype("float16").astype("float32")
            for name, value in values.items()
        },
    )
    assert np.isfinite(net(mx.nd.ones((2, 3, 16, 16))).asnumpy()).all()


def test_a_float32_file_into_a_float16_network(file):
    path, values = file
    net = narrow()
    net.cast("float16")
    loaded = arrays(published.load(path, net))
    assert loaded["output.weight"].dtype == np.float16
    assert loaded["features.5.gamma"].dtype == np.float32
    assert np.array_equal(loaded["output.weight"], values["output.weight"].astype("float16"))


def test_a_float16_id_is_built_as_float16():
    net = gluon_aff.published.build(HALF)
    types = {name.rpartition(".")[2]: np.dtype(p.dtype).name for name, p in net._collect_params_with_prefix().items()}
    assert types == {
        "weight": "float16",
        "bias": "float16",
        **dict.fromkeys(("gamma", "beta", "running_mean", "running_var"), "float32"),
    }


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"output__weight": None}, ["output.weight"]),
        ({"extra__weight": np.zeros(3)}, ["extra.weight"]),
        ({"output__bias": np.zeros(7)}, ["output.bias", "(7,)", "(10,)"]),
        ({"features__2__0__resfwd__2__weight": np.zeros((16, 16, 1, 1))}, ["(16, 16, 1, 1)", "(16, 16, 3, 3)"]),
        ({"output__bias": None, "output__weight": None, "more": np.ones(1)}, ["output.bias", "output.weight", "more"]),
    ],
    ids=["missing", "extra", "shape", "kernel", "several"],
)
def test_arrays_that_do_not_fit_are_named(file, changes, said):
    net = narrow()
    before = arrays(net)
    with pytest.raises(UsageError) as error:
        published.load(altered(file, **changes), net)
    message = str(error.value)
    assert str(file[0]) in message
    assert all(words in message for words in said)
    assert "\n" not in message
    assert_same(arrays(net), before)  # nothing is loaded by half


def test_many_problems_stay_one_line(file):
    net = gluon_aff.create_model("cifar_iaff_resnet8", channel_times=1, classes=10)
    with pytest.raises(UsageError, match=r"and \d+ more") as error:
        published.load(file[0], net)
    assert len(str(error.value)) < 1500


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"hello" * 100, bytes(range(256))], ids=range(4))
def test_a_file_that_holds_no_arrays(tmp_path, content):
    path = tmp_path / "odd.params"
    path.write_bytes(content)
    with pytest.raises(GluonAFFError) as error:
        published.load(path, narrow())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0.3, 0.99])
def test_a_file_that_was_cut_short(file, kept):
    path, _ = file
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    net = narrow()
    before = arrays(net)
    with pytest.raises(GluonAFFError) as error:
        published.load(path, net)
    assert str(path) in str(error.value)
    assert_same(arrays(net), before)


def test_arrays_without_names(tmp_path):
    mx.nd.save(str(tmp_path / "list.params"), [mx.nd.ones(3)])
    with pytest.raises(GluonAFFError, match="names"):
        published.load(tmp_path / "list.params", narrow())
