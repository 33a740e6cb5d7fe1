"""What users get who initialise a network of create_model, as they are used to from GluonCV."""

import builtins
import warnings

import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff import published
from gluon_aff.errors import UsageError

SMALL = {"blocks": 1, "channel_times": 1, "classes": 10}


def make(**options):
    return gluon_aff.create_model("cifar_resnet", fusion="aff", **SMALL, **options)


def weights(net):
    return np.concatenate([p.data().asnumpy().ravel() for p in net._collect_params_with_prefix().values()])


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def test_random_weights_are_drawn_anew_without_a_warning(no_warnings):
    net = make()
    before = weights(net)
    net.initialize(mx.init.Constant(0.5), ctx=mx.cpu(1))
    assert net.output.weight.data().asnumpy().ravel()[0] == 0.5 and (weights(net) != before).any()
    assert net.output.weight.list_ctx() == [mx.cpu(1)]
    net.initialize()  # once more
    assert len(np.unique(net.output.weight.data().asnumpy())) > 100


def train(net):
    with mx.autograd.record():
        net(mx.nd.ones((2, 3, 32, 32)))


def load(net, path):
    make().save_parameters(str(path))
    net.load_parameters(str(path))


def load_published(net, path):
    make().save_parameters(str(path))
    published.load(str(path), net)


def test_a_file_of_another_depth_is_told_by_its_blocks(tmp_path):
    path = str(tmp_path / "w.params")
    gluon_aff.create_model("cifar_aff_resnet14", classes=10, channel_times=1).save_parameters(path)
    for name, count in (("cifar_aff_resnet8", 1), ("cifar_aff_resnet20", 3)):
        with pytest.raises(UsageError, match=f"2 blocks at features.2 in the file, {count} in the network: .*`blocks`"):
            gluon_aff.create_model(name, classes=10, channel_times=1).load_parameters(path)
    with pytest.raises(AssertionError, match="shape incompatible"):
        gluon_aff.create_model("cifar_aff_resnet14", classes=3, channel_times=1).load_parameters(path)


@pytest.mark.parametrize("touch", [lambda net, path: train(net), load, load_published])
def test_weights_that_were_loaded_or_trained_are_kept_with_one_warning(tmp_path, touch):
    net = make()
    touch(net, tmp_path / "w.params")
    before = weights(net)
    with pytest.warns(UserWarning, match="loaded or trained: they are kept") as caught:
        net.initialize(mx.init.Constant(0.5), ctx=mx.cpu(1))
    assert len(caught) == 1
    np.testing.assert_array_equal(weights(net), before)
    assert net.output.weight.list_ctx() == [mx.cpu(1)]
    net.initialize(mx.init.Constant(0.5), force_reinit=True)
    assert net.output.weight.data().asnumpy().ravel()[0] == 0.5


def test_catalogue_and_file_are_read_once(tmp_path, monkeypatch):
    path = tmp_path / "w.params"
    make().save_parameters(str(path))
    published.catalogue.__globals__["_read"].cache_clear()
    opened, tables = [], []
    real_open, real_read = builtins.open, published.weights.read_container

    def noting(file, *args, **kwargs):
        opened.append(str(file))
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", noting)
    monkeypatch.setattr(published.weights, "read_container", lambda path: tables.append(path) or real_read(path))
    net = make(pretrained=path)
    assert not net.untouched
    assert sum(name.endswith("catalogue.json") for name in opened) == 1
    assert len(tables) == 1 and opened.count(str(path)) == 2  # the table, and all arrays
