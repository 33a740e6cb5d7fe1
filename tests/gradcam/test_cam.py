"""Grad-CAM in closed form, by finite differences, in every mode; what it leaves alone; what it refuses."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

import gluon_aff
from gluon_aff.errors import GluonAFFError, UsageError
from gluon_aff.gradcam import METHODS, default_layer, explain, grad_cam, layer_paths, overlay
from gluon_aff.gradcam.cam import resized_maps


class LinearHead(nn.HybridBlock):
    """Convolutions, global average pool, a dense layer: the network of class activation mapping."""

    def __init__(self, classes=4):
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(nn.Conv2D(6, 3, padding=1, activation="relu"), nn.Conv2D(5, 3, strides=2, padding=1))
            self.pool = nn.GlobalAvgPool2D()
            self.unused = nn.Conv2D(2, 1)
            self.fc = nn.Dense(classes)

    def hybrid_forward(self, F, x):
        return self.fc(self.pool(self.body(x)))


def images(count=3, size=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def linear_head():
    net = LinearHead()
    net.initialize(mx.init.Normal(0.3))
    net(mx.nd.array(images()))
    return net


def small(**options):
    net = gluon_aff.create_model("cifar_resnet", **{"fusion": "aff", "blocks": 1, "channel_times": 1, **options})
    for parameter in net.collect_params(".*running_(mean|var)").values():  # so that norms do something
        parameter.set_data(mx.nd.random.uniform(0.2, 1.5, shape=parameter.shape))
    return net


def test_behind_a_linear_head_it_is_class_activation_mapping():
    net, x = linear_head(), images()
    maps = net.body(mx.nd.array(x)).asnumpy()
    for index in range(4):
        cam = np.maximum(np.einsum("c,nchw->nhw", net.fc.weight.data().asnumpy()[index], maps), 0)
        expected = resized_maps(cam, (16, 16))
        expected /= expected.max(axis=(1, 2), keepdims=True)
        np.testing.assert_allclose(grad_cam(net, x, index, "body"), expected, rtol=1e-4, atol=1e-5)


def foreground_cam(maps, logits_of):
    """Grad-CAM in closed form, at the maps' size: the score is the sum of the positive logits."""
    maps.attach_grad()
    with mx.autograd.record(train_mode=False):
        logits = logits_of(maps)
        score = (logits * (logits > 0)).sum()
    score.backward(train_mode=False)
    weights = maps.grad.asnumpy().mean(axis=(2, 3), keepdims=True)
    return np.maximum((weights * maps.asnumpy()).sum(axis=1), 0)


def test_the_maps_of_a_padded_input_are_cut_back():
    """An AFF-FPN pads images of 18x18 to 32x32. Of the logits that are cut off none counts."""
    net, x = gluon_aff.create_model("aff_fpn_resnet8"), images(1, 18)
    padded = mx.nd.array(np.pad(x, [(0, 0), (0, 0), (0, 14), (0, 14)]))
    first = net.layer1(net.stem(padded))
    second = net.layer2(first)
    maps = net.fuse23(net.layer3(second), second)
    heat = foreground_cam(maps, lambda m: net.resize(net.head(net.fuse12(m, first)), padded)[:, :, :18, :18])
    heat = resized_maps(heat, (32, 32))[:, :18, :18]
    np.testing.assert_allclose(grad_cam(net, x, layer="fuse23"), heat / heat.max(), rtol=1e-4, atol=1e-5)


def test_weights_are_the_gradient_by_finite_differences():
    net, x, layer, index = small(classes=5), images(2, 32), "features.3", 3
    below, above = net.features[:4], net.features[4:]
    maps = below(mx.nd.array(x)).asnumpy().astype(np.float64)

    def logits(changed):
        return net.output(above(mx.nd.array(changed))).asnumpy().astype(np.float64)[:, index]

    weights = np.empty(maps.shape[:2])
    for channel in range(maps.shape[1]):
        step = np.zeros_like(maps)
        step[:, channel] = 0.02
        weights[:, channel] = (logits(maps + step) - logits(maps - step)) / 0.04
    expected = resized_maps(np.maximum(np.einsum("nc,nchw->nhw", weights, maps), 0), (32, 32))
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(grad_cam(net, x, index, layer), expected, atol=0.02)
    assert abs(grad_cam(net, x, 0, layer) - expected).max() > 0.1  # another class has another map


@pytest.mark.parametrize("method", METHODS)
def test_hybrid_and_imperative_are_equal(method):
    net, x = small(), images(3, 32)
    expected = grad_cam(net, x, method=method)
    for flags in ({}, {"static_alloc": True, "static_shape": True}):
        net.hybridize(**flags)
        assert np.array_equal(grad_cam(net, x, method=method), expected)  # before it is compiled
        net(mx.nd.array(x))
        assert np.array_equal(grad_cam(net, x, method=method), expected)
    with mx.autograd.record():
        assert np.array_equal(grad_cam(net, x, method=method), expected)
        assert mx.autograd.is_recording() and mx.autograd.is_training()
    assert not mx.autograd.is_recording() and not mx.autograd.is_training()


def test_plus_plus_is_its_formula():
    net, x = linear_head(), images(1)
    maps = net.body(mx.nd.array(x)).asnumpy()[0].astype(np.float64)
    slope = net.fc.weight.data().asnumpy()[2].astype(np.float64) / maps[0].size  # the same everywhere on a map
    alpha = slope**2 / (2 * slope**2 + maps.sum(axis=(1, 2)) * slope**3)
    weights = maps[0].size * alpha * np.maximum(slope, 0)
    expected = resized_maps(np.maximum(np.einsum("c,chw->hw", weights, maps), 0)[None], (16, 16))
    np.testing.assert_allclose(
        grad_cam(net, x, 2, "body", method="grad_cam++"), expected / expected.max(), rtol=1e-4, atol=1e-5
    )


def test_a_batch_equals_its_images_one_by_one():
    net, x = small(), images(4, 32)
    classes = [1, 0, 7, 7]
    together = grad_cam(net, x, classes)
    single = [grad_cam(net, x[i : i + 1], classes[i])[0] for i in range(4)]
    np.testing.assert_allclose(together, single, atol=1e-4)


def state(net):
    arrays = {name: parameter.data().asnumpy().copy() for name, parameter in net.collect_params().items()}
    trained = {name: parameter for name, parameter in net.collect_params().items() if parameter.grad_req != "null"}
    arrays.update({f"gradient of {name}": p.grad().asnumpy().copy() for name, p in trained.items()})
    blocks = []
    net.apply(blocks.append)
    facts = [(b._active, dict(b._flags), b._cached_op, list(b._forward_hooks.values())) for b in blocks]
    return arrays, {name: p.grad_req for name, p in net.collect_params().items()}, facts


@pytest.mark.parametrize("fail", [False, True])
def test_the_network_is_left_as_it_was(fail):
    net, x = small(), mx.nd.array(images(2, 32))
    net.output.bias.grad_req = "null"
    net.hybridize(static_alloc=True)
    net.features[4].hybridize(False)
    net.features[2].register_forward_hook(lambda *_: None)
    with mx.autograd.record():
        loss = net(x).sum()
    loss.backward()
    before, logits = state(net), net(x).asnumpy()
    if fail:
        with pytest.raises(UsageError):
            grad_cam(net, x, layer="features.8")
    else:
        grad_cam(net, x)
    after = state(net)
    assert before[1:] == after[1:]
    assert all(np.array_equal(before[0][name], after[0][name]) for name in before[0])
    assert any(abs(before[0][name]).max() > 0 for name in before[0] if name.startswith("gradient"))
    assert np.array_equal(net(x).asnumpy(), logits)


def test_frozen_networks_and_any_type_of_input():
    net, x = small(), images(2, 32)
    expected = explain(net, x)
    assert expected.maps.dtype == np.float32 and expected.maps.shape == (2, 32, 32)
    assert expected.maps.min() >= 0 and np.array_equal(expected.maps.max(axis=(1, 2)), [1, 1])
    assert np.array_equal(expected.classes, expected.outputs.argmax(axis=1))
    net.collect_params().setattr("grad_req", "null")
    assert np.array_equal(grad_cam(net, mx.nd.array(x), np.array(expected.classes)), expected.maps)


def test_without_positive_evidence_the_map_is_zero():
    net = linear_head()
    net.fc.weight.set_data(mx.nd.zeros_like(net.fc.weight.data()))
    assert not grad_cam(net, images(), 1, "body").any()


def test_segmentation_counts_the_predicted_foreground():
    net, x = gluon_aff.create_model("aff_fpn_resnet8", stem="tiny"), images(2, 24)
    assert default_layer(net) == "fuse12"
    found = explain(net, x)
    assert found.maps.shape == (2, 24, 24) and found.outputs.shape == (2, 1, 24, 24)
    seen = []
    hook = net.fuse12.register_forward_hook(lambda block, inputs, output: seen.append(output.detach()))
    net(mx.nd.array(x))
    hook.detach()
    expected = foreground_cam(seen[0], net.head)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    net.head.block[4].bias.set_data(mx.nd.array([-1e3]))
    assert not grad_cam(net, x).any()  # no foreground: nothing to explain


def test_segmentation_of_several_classes_needs_one():
    net, x = gluon_aff.create_model("fpn_resnet8", stem="tiny", classes=3), images(1, 16)
    with pytest.raises(UsageError, match=r"segments 3 classes: choose one \(0 to 2\)"):
        grad_cam(net, x)
    assert grad_cam(net, x, 2).shape == (1, 16, 16)


@pytest.mark.parametrize(
    "name, layer",
    [
        ("cifar_aff_resnet14", "features.4"),
        ("cifar_resnet8.paper", "features.4"),
        ("cifar_aff_resnext11_32x4d", "features.5"),
        ("cifar_iaff_inception8", "features.4"),
        ("aff_resnet50", "layer4"),
        ("resnext50_32x4d.paper", "features.7"),
        ("resnext50_32x4d", "features.13"),
    ],
)
def test_the_default_layer_is_the_last_stage(name, layer):
    assert default_layer(gluon_aff.models.build_model(name)) == layer


def test_of_other_libraries_networks():
    net = mx.gluon.model_zoo.vision.resnet18_v1(classes=3)
    assert default_layer(net) == "features.7"
    net.initialize()
    assert grad_cam(net, images(1, 64), layer="features.6.1.body").shape == (1, 64, 64)
    with pytest.raises(UsageError, match="no residual stages: name a layer, choose one of features, features.0"):
        default_layer(mx.gluon.model_zoo.vision.alexnet())


@pytest.mark.parametrize(
    "layer, message",
    [
        ("layer4", "no layer 'layer4' in this CIFARResNet: choose one of features, features.0, "),
        ("features.4.1", "choose one of features.4.0, features.4.0.resfwd, "),
        ("features.6.0", "features.6 has no layers inside"),
    ],
)
def test_unknown_layers_are_answered_with_those_there_are(layer, message):
    net = small()
    assert {"features", "features.4.0", "features.4.0.attention.local_att.1", "output"} <= set(layer_paths(net))
    with pytest.raises(UsageError, match=message):
        grad_cam(net, images(1, 32), layer=layer)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"layer": "fc"}, r"layer fc gives \(3, 4\), which has no extent in space"),
        ({"layer": "pool"}, r"layer pool gives \(3, 5, 1, 1\), which has no extent in space"),
        ({"layer": "unused"}, "layer unused is not used when this"),
        ({"class_index": 4}, r"no class 4: the network has 4 \(0 to 3\)"),
        ({"class_index": [0, -1, 1]}, "no class -1"),
        ({"class_index": [0, 1]}, "or one for each of 3 images"),
        ({"class_index": 0.5}, "expected a class number"),
        ({"method": "cam"}, r"choose one of grad_cam, grad_cam\+\+"),
        ({"x": np.zeros((3, 16, 16))}, r"the input is \(3, 16, 16\): expected a batch"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        grad_cam(linear_head(), **{"x": images(), "layer": "body", **changes})


class Aside(LinearHead):
    def hybrid_forward(self, F, x):
        self.unused(x)
        return super().hybrid_forward(F, x)


def test_networks_that_cannot_be_explained():
    with pytest.raises(UsageError, match="no weights yet"):
        grad_cam(LinearHead(), images(), layer="body")
    net = linear_head()
    net.fc.bias.set_data(mx.nd.array([np.nan] * 4))
    with pytest.raises(GluonAFFError, match="not finite"):
        grad_cam(net, images(), layer="body")
    net = Aside()
    net.initialize()
    with pytest.raises(UsageError, match="does not depend on layer unused"):
        grad_cam(net, images(), layer="unused")
    net = nn.HybridSequential()
    net.add(nn.Dense(3))
    net.initialize()
    with pytest.raises(UsageError, match="has no layer that gives maps of more than one position: name a layer"):
        grad_cam(net, images())


def test_a_network_names_its_layer_itself():
    net = linear_head()
    net.cam_layer = "body.0"
    assert default_layer(net) == "body.0"
    np.testing.assert_array_equal(grad_cam(net, images()), grad_cam(net, images(), layer="body.0"))


def test_resizing_is_bilinear_between_pixel_centres():
    ramp = np.array([[[0.0, 1.0]]], dtype=np.float32)
    np.testing.assert_allclose(resized_maps(ramp, (1, 4))[0, 0], [0, 0.25, 0.75, 1])
    assert np.array_equal(resized_maps(ramp, (1, 2)), ramp)
    np.testing.assert_allclose(resized_maps(np.ones((1, 7, 7), np.float32), (224, 10)), 1, rtol=1e-6)


class Plain(nn.HybridBlock):
    """No residual stages, no sequence: layers one by one, with maps of one position at the end."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.first = nn.Conv2D(4, 3, padding=1)
            self.second = nn.Conv2D(5, 3, strides=2, padding=1)
            self.late = nn.Conv2D(6, 8)
            self.fc = nn.Dense(3)

    def hybrid_forward(self, F, x):
        return self.fc(self.late(F.relu(self.second(F.relu(self.first(x))))))


@pytest.mark.parametrize("hybrid", [False, True])
def test_a_network_of_ones_own_needs_no_layer(hybrid):
    net, x = Plain(), images()
    net.initialize(mx.init.Normal(0.3))
    net.hybridize(hybrid)
    net(mx.nd.array(x))
    np.testing.assert_array_equal(grad_cam(net, x), grad_cam(net, x, layer="second"))
    assert default_layer(linear_head(), mx.nd.array(x)) == "body"
    assert not np.array_equal(grad_cam(net, x), grad_cam(net, x, layer="first"))


def test_overlay_of_any_picture():
    heat = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    colours = overlay(np.zeros((3, 4, 3), np.uint8), heat).astype(int)
    grey = np.full((3, 4), 100, np.uint8)
    np.testing.assert_allclose(overlay(grey, heat), colours + 50, atol=1)
    np.testing.assert_array_equal(overlay(np.full((3, 4, 3), 100 / 255), heat), overlay(grey, heat))
    large = overlay(np.zeros((30, 40, 3), np.uint8), heat)
    assert large.shape == (30, 40, 3) and large[0, 0, 2] > large[0, 0, 0] and large[-1, -1, 0] > large[-1, -1, 2]
    for image, bad in ((images()[0], heat), (grey, 2 * heat), (grey, heat[None]), (grey - 300.0, heat)):
        with pytest.raises(UsageError, match="expected"):
            overlay(image, bad)
