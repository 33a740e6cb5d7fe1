"""Steps of MXNet networks, for contender.py: ``build(specification)``; and where a step's time goes: ``profile``."""

import json
import os
import tempfile
from contextlib import nullcontext
from unittest import mock

from gluon_aff.models import build_model  # before MXNet

# isort: split
import mxnet as mx
from mxnet import autograd, gluon

from gluon_aff import deploy
from gluon_aff.deploy.engines import engine_of_net
from gluon_aff.deploy.int8 import quantize
from gluon_aff.deploy.symbol import InferenceNetwork, graph_of
from gluon_aff.nn import AFF, native
from gluon_aff.utils.tables import text_table

PRODUCT_SIDE = 2048  # of the square matrices whose product says what this machine can do
NATIVE = ("native", "folded")  # forms that may use the native operator
ENGINES_OF_OURS = ("onnxruntime", "openvino")  # forms that `gluon-aff predict --engine` gives to these


class LiteralAFF(AFF):
    """2 x w + 2 residual (1 - w), w = sigmoid(L + g), by broadcast operators and MXNet's ``sigmoid``."""

    def hybrid_forward(self, F, x, residual):
        z = x + residual
        weight = F.sigmoid(F.broadcast_add(self.local_att(z), self.global_att(z)))
        return 2 * F.broadcast_mul(x, weight) + 2 * F.broadcast_mul(residual, 1 - weight)


def literal_model(name, **options):
    """A network with AFF and global pools as they are written, without any rearrangement for speed."""

    def create(fusion, channels, r=4, **more):
        return LiteralAFF(channels, r, **more)

    pool = gluon.nn.GlobalAvgPool2D
    with mock.patch("gluon_aff.models.common.create_fusion", create), mock.patch(
        "gluon_aff.nn.attention.GlobalAvgPool", pool
    ), mock.patch("gluon_aff.models.cifar_resnet.GlobalAvgPool", pool):
        return build_model(name, **options)


def build(specification):
    """A training step or an inference of ``network`` with ``options`` on ``batch`` images of ``size``.

    ``form`` is "imperative", "hybrid", "static" (hybrid with static memory), "native" (static, with the native
    operator), "literal", "folded", "int8" or one of ENGINES_OF_OURS; "product" is a large oneDNN product instead of a
    network.
    """
    form = specification["form"]
    if form == "product":
        return product()
    make = literal_model if form == "literal" else build_model
    net = make(specification["network"], **specification["options"])
    net.initialize()
    x = mx.nd.random.normal(shape=(specification["batch"], 3, specification["size"], specification["size"]))
    if form in ENGINES_OF_OURS:
        engine, pixels = engine_of_net(net, form, False), x.asnumpy()
        return lambda: engine.start(pixels)
    if form in ("folded", "int8"):
        net(x)
        net = deploy.fold(net) if form == "folded" else int8(net, x)
    if form != "imperative":
        net.hybridize(static_alloc=form != "hybrid", static_shape=form != "hybrid")
    return training(net, x) if specification["mode"] == "train" else inference(net, x)


def int8(net, x):
    symbol, values = quantize(graph_of(net), x.asnumpy())
    return InferenceNetwork(symbol, values, mx.cpu(), "an int8 network")


def inference(net, x):
    def step():
        net(x)
        mx.nd.waitall()

    return step


def training(net, x):
    """Forward, backward and update with Nesterov momentum; every output (position) has class 0."""
    trainer = gluon.Trainer(net.collect_params(), "nag", {"learning_rate": 1e-4, "momentum": 0.9}, kvstore=None)
    loss = gluon.loss.SoftmaxCrossEntropyLoss(axis=1)
    out = net(x)
    target = mx.nd.zeros(out.shape if out.shape[1] == 1 else (out.shape[0], *out.shape[2:]))
    if out.shape[1] == 1:  # a map of one class against the background
        loss = gluon.loss.SigmoidBinaryCrossEntropyLoss()

    def step():
        with autograd.record():
            value = loss(net(x), target)
        value.backward()
        trainer.step(x.shape[0])
        mx.nd.waitall()

    return step


def product():
    left, right = (mx.nd.random.normal(shape=(PRODUCT_SIDE, PRODUCT_SIDE)) for _ in range(2))

    def step():
        mx.nd.FullyConnected(left, right, num_hidden=PRODUCT_SIDE, no_bias=True)
        mx.nd.waitall()

    return step


def profile(specification, steps):
    """Lines of a table: milliseconds a step and calls a step by operator, the longest first.

    Operators run one by one, not in MXNet's bulks, so the sum is a little more than a step takes.
    """
    os.environ["MXNET_EXEC_BULK_EXEC_TRAIN"] = os.environ["MXNET_EXEC_BULK_EXEC_INFERENCE"] = "0"
    with nullcontext() if specification["form"] in NATIVE else native.own_arithmetic():
        step = build(specification)
        for _ in range(2):
            step()
        figures = json.loads(profiled(step, steps))["Time"].get("operator", {})
    times = sorted(
        ((each["Total"] / steps, each["Count"] / steps, name) for name, each in figures.items()), reverse=True
    )
    rows = [(name, f"{total:.2f}", f"{count:.0f}") for total, count, name in times]
    return text_table(("operator", "ms", "calls"), [*rows, ("all", f"{sum(t for t, *_ in times):.2f}", "")], left=1)


def profiled(step, steps):
    """MXNet's statistics of so many steps, as JSON; its trace, which it writes whether wanted or not, goes away."""
    with tempfile.TemporaryDirectory() as folder:
        trace = os.path.join(folder, "trace.json")
        mx.profiler.set_config(filename=trace, profile_symbolic=True, profile_imperative=True, aggregate_stats=True)
        mx.profiler.set_state("run")
        for _ in range(steps):
            step()
        mx.profiler.set_state("stop")
        statistics = mx.profiler.dumps(reset=True, format="json")
        mx.profiler.dump()  # here, for otherwise it comes at the end of the process
    return statistics
