"""Networks of the catalogue against the authors' logits and gradients, for weights that depend on names alone."""

import golden
import mxnet as mx
import numpy as np
import pytest

from gluon_aff import published
from gluon_aff.published import weights

LOGITS = golden.load("logits")


@pytest.fixture(autouse=True)
def uninitialised(monkeypatch):
    """All values are filled in anyway."""
    monkeypatch.setattr(weights, "initializer_of", lambda name: mx.init.Zero())


@pytest.mark.parametrize("identity", LOGITS)
def test_logits(identity):
    figures = LOGITS[identity]
    net = published.build(identity)
    net.cast("float32")
    golden.fill(net, figures["gain"])
    net.hybridize()
    batch = 1 if figures["size"] == 224 else 2  # of the figures' two images
    expected = np.array(figures["logits"])[:batch]
    for dtype, tolerance in (
        ("float32", figures["tolerance_float32"]),
        ("float64", 1e-10 * np.abs(expected).max()),
    ):
        net.cast(dtype)
        logits = net(golden.normal(7, (2, 3, figures["size"], figures["size"]), dtype)[:batch])
        assert logits.shape == (batch, published.record(identity)["classes"])
        np.testing.assert_allclose(
            logits.asnumpy()[:, : expected.shape[1]], expected, rtol=0, atol=tolerance, err_msg=dtype
        )


def train_once(dtype, hybridized):
    figures = golden.load("training")
    net = published.build(figures["id"])
    net.cast(dtype)
    golden.fill(net)
    net.hybridize(hybridized)
    labels = np.random.RandomState(8).randint(0, 100, 8)
    assert list(labels) == figures["labels"]
    with mx.autograd.record():
        logits = net(golden.normal(7, (8, 3, 32, 32), dtype))
        loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()(logits, mx.nd.array(labels, dtype=dtype))
    loss.backward()
    mx.nd.waitall()
    return figures, net._collect_params_with_prefix(), logits.asnumpy(), loss.asnumpy()


def norm_of(gradients):
    return np.sqrt(sum(float((gradient.astype("float64") ** 2).sum()) for gradient in gradients))


@pytest.mark.parametrize("hybridized", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_training_step_in_float64(hybridized):
    """Losses, logits, every gradient and every running statistic of CIFAR AFF-ResNet-32, batch 8."""
    figures, parameters, logits, loss = train_once("float64", hybridized)
    np.testing.assert_allclose(logits, figures["logits"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(loss, figures["loss"], rtol=0, atol=1e-10)
    trained = {name: p.grad().asnumpy() for name, p in parameters.items() if p.grad_req != "null"}
    assert set(trained) == set(figures["grads"])
    assert norm_of(trained.values()) == pytest.approx(figures["global_grad_l2"], rel=1e-10)
    for name, (total, l2) in figures["grads"].items():
        # a bias in front of a norm has no influence: of its gradient there is nothing but rounding
        allowed = 1e-8 * max(l2, 1e-3 if name.endswith("bias") else 0)
        assert abs(np.linalg.norm(trained[name]) - l2) <= allowed, name
        assert abs(trained[name].sum() - total) <= allowed * np.sqrt(trained[name].size), name
    for name, (total, l2) in figures["aux_after"].items():
        array = parameters[name].data().asnumpy()
        assert np.linalg.norm(array) == pytest.approx(l2, rel=1e-10), name
        assert array.sum() == pytest.approx(total, rel=1e-10, abs=1e-10 * l2), name


def test_a_training_step_in_float32():
    """Such weights amplify rounding: no further from float64 than twice the authors' own float32 run."""
    figures, parameters, logits, _ = train_once("float32", hybridized=True)
    np.testing.assert_allclose(logits, figures["logits"], rtol=0, atol=2 * figures["float32_error"])
    gradients = [p.grad().asnumpy() for p in parameters.values() if p.grad_req != "null"]
    assert norm_of(gradients) == pytest.approx(figures["global_grad_l2"], rel=2 * figures["float32_grad_error"])
