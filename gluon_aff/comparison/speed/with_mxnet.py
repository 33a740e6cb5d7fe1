"""Steps of MXNet networks, for `serving`: ``build(specification)``."""

from __future__ import annotations

from typing import Any, Callable, Dict

from gluon_aff.models import build_model  # before MXNet

# isort: split
import mxnet as mx
from mxnet import autograd, gluon

from gluon_aff.comparison.speed.literal import literal_model
from gluon_aff.comparison.speed.measuring import PRODUCT_SIDE


def build(specification: Dict[str, Any]) -> Callable[[], None]:
    """A training step or an inference of ``network`` with ``options`` on ``batch`` images of ``size``.

    ``form`` is "imperative", "hybrid", "static" (hybrid with static memory), "native" (static, with the native
    operator), "literal", "folded" or "int8"; "product" is a large oneDNN product instead of a network.
    """
    form = specification["form"]
    if form == "product":
        return product()
    shape = (specification["batch"], 3, specification["size"], specification["size"])
    make = literal_model if form == "literal" else build_model
    net = make(specification["network"], **specification["options"])
    net.initialize()
    x = mx.nd.random.normal(shape=shape)
    if form == "folded":
        from gluon_aff import deploy

        net(x)
        net = deploy.fold(net)
    if form == "int8":
        from gluon_aff.deploy.graph import graph_of
        from gluon_aff.deploy.inference import InferenceNetwork
        from gluon_aff.deploy.int8_form import quantize

        net(x)
        made = quantize(graph_of(net, resize_as_operator=True), x.asnumpy())
        net = InferenceNetwork(made.symbol, made.values, mx.cpu(), "an int8 network")
    if form != "imperative":
        static = form != "hybrid"
        net.hybridize(static_alloc=static, static_shape=static)
    return training(net, x) if specification["mode"] == "train" else inference(net, x)


def inference(net: gluon.HybridBlock, x: mx.nd.NDArray) -> Callable[[], None]:
    def step() -> None:
        net(x)
        mx.nd.waitall()

    return step


def training(net: gluon.HybridBlock, x: mx.nd.NDArray) -> Callable[[], None]:
    """Forward, backward and update with Nesterov momentum; every output (position) has class 0."""
    trainer = gluon.Trainer(net.collect_params(), "nag", {"learning_rate": 1e-4, "momentum": 0.9}, kvstore=None)
    loss = gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    out = net(x)
    target = mx.nd.zeros(out.shape if out.shape[1] == 1 else (out.shape[0], *out.shape[2:]))
    if out.shape[1] == 1:  # a map of one class against the background
        loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()

    def step() -> None:
        with autograd.record():
            value = loss(net(x), target)
        value.backward()
        trainer.step(x.shape[0])
        mx.nd.waitall()

    return step


def product() -> Callable[[], None]:
    left, right = (mx.nd.random.normal(shape=(PRODUCT_SIDE, PRODUCT_SIDE)) for _ in range(2))

    def step() -> None:
        mx.nd.FullyConnected(left, right, num_hidden=PRODUCT_SIDE, no_bias=True)
        mx.nd.waitall()

    return step
