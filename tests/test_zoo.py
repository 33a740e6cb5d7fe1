"""create_model, the public face: what it builds, initialises, refuses and loads."""

import mxnet as mx
import numpy as np
import pytest

import gluon_aff
from gluon_aff.errors import UsageError

NARROW = {"channel_times": 1, "blocks": 1}


def arrays(net):
    return {name: p.data().asnumpy() for name, p in net._collect_params_with_prefix().items()}


def test_public_names():
    names = {"__version__", "create_fusion", "create_model", "list_fusions", "list_models", "published"}
    assert names <= set(gluon_aff.__all__) and all(hasattr(gluon_aff, name) for name in gluon_aff.__all__)


def test_the_same_seed_gives_the_same_network():
    nets = []
    for _ in range(2):
        mx.random.seed(3)
        nets.append(arrays(gluon_aff.create_model("cifar_aff_resnet8", **NARROW)))
    assert all(np.array_equal(nets[0][name], nets[1][name]) for name in nets[0])


def test_own_initialiser_and_context():
    net = gluon_aff.create_model("cifar_resnet8", init=mx.init.Constant(0.5), ctx=[mx.cpu(0), mx.cpu(1)], **NARROW)
    weight = net.features[1].weight
    assert weight.list_ctx() == [mx.cpu(0), mx.cpu(1)]
    assert np.all(weight.data(mx.cpu(1)).asnumpy() == 0.5)


def test_models_by_task_and_by_weights():
    every = gluon_aff.list_models()
    segmentation = gluon_aff.list_models(task="segmentation")
    assert segmentation == [name for name in every if "fpn" in name or "unet" in name]
    assert gluon_aff.list_models(task="classification") == [name for name in every if name not in segmentation]
    published = gluon_aff.list_models(pretrained=True)
    assert {"aff_resnet50", "iaff_resnext50_32x4d.paper", "cifar_aff_resnet32"} <= set(published) < set(every)
    assert gluon_aff.list_models("*fpn*", pretrained=True) == []
    assert gluon_aff.list_models("iaff*", pretrained=True) == [name for name in published if name.startswith("iaff")]
    with pytest.raises(UsageError, match="no task 'detection': choose one of classification, segmentation"):
        gluon_aff.list_models(task="detection")


def test_classes_by_either_name():
    assert gluon_aff.get_model("cifar_resnet8", num_classes=7, **NARROW)(mx.nd.ones((1, 3, 32, 32))).shape == (1, 7)
    with pytest.raises(UsageError, match="classes=3 and num_classes=4 are the same option"):
        gluon_aff.create_model("cifar_resnet8", classes=3, num_classes=4)


@pytest.mark.parametrize(
    "name, size, options",
    [
        ("cifar_aff_resnet8", 32, {"channel_times": 1}),
        ("cifar_aff_resnet8", 32, {"channel_times": 1, "deep_stem": True}),
        ("cifar_resnext11_32x4d", 32, {"channel_times": 1, "deep_stem": True}),
        ("cifar_aff_inception8", 32, {}),
        ("aff_resnet50", 64, {"layers": (1, 1, 1, 1)}),
        ("aff_resnet50.paper", 64, {"layers": (1, 1, 1, 1)}),
        ("resnext50_32x4d", 64, {"layers": (1, 1, 1, 1)}),
        ("resnext50_32x4d.paper", 64, {"layers": (1, 1, 1, 1)}),
    ],
)
def test_other_stems_and_no_head(name, size, options, tmp_path):
    """What the first and the last layer do not touch is loaded; the features are what the last layer is given."""
    whole = gluon_aff.create_model(name, classes=5, **options)
    file = str(tmp_path / "whole.params")
    whole.save_parameters(file)
    x = mx.nd.random.normal(shape=(2, 3, size, size))
    headless = gluon_aff.create_model(name, classes=0, pretrained=file, **options)
    features = headless(x)
    head = whole.output if hasattr(whole, "output") else whole.fc
    assert features.shape == (2, head.weight.shape[1])
    np.testing.assert_array_equal(head(features).asnumpy(), whole(x).asnumpy())
    with pytest.warns(UserWarning, match="for images of another number of channels: .* stay as initialised") as told:
        grey = gluon_aff.create_model(name, in_channels=1, pretrained=file, **options)
    assert grey(x[:, :1]).shape == (2, 5)
    before, after = arrays(whole), arrays(grey)
    fresh = {key for key in before if before[key].shape != after[key].shape}
    assert fresh and all(key in str(told[0].message) for key in fresh)
    assert all(np.array_equal(before[key], after[key]) for key in before if key not in fresh)
    with pytest.raises(UsageError, match=r"expected images as \(N, 1, H, W\)"):
        grey(x)


def test_a_segmentation_network_on_other_channels_keeps_its_head():
    assert gluon_aff.create_model("fpn_resnet8", in_channels=4)(mx.nd.ones((1, 4, 32, 32))).shape == (1, 1, 32, 32)
    with pytest.raises(UsageError, match="classes is 0"):
        gluon_aff.create_model("fpn_resnet8", classes=0)
