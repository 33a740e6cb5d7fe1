"""What an FPN's resizing by matrix products is worth, beside MXNet's BilinearResize2D.

Training and inference of AFF-FPNs with the same weights, steps interleaved in one run, medians. (That gradients repeat
to the bit is what the products are for; tests/models/test_fpn.py looks at it.)

    python benchmarks/resize_speed.py --stem std --size 480 --batch-size 4
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from unittest import mock

import gluon_aff  # before MXNet: it sets the number of threads

# isort: split
import mxnet as mx
from mxnet import autograd, gluon


class Operator(gluon.HybridBlock):
    """In place of ``ResizeLike``."""

    def hybrid_forward(self, F, x, like):
        return F.contrib.BilinearResize2D(x, like, mode="like")


def build(resize, stem):
    with contextlib.ExitStack() as stack:
        for module in ("gluon_aff.nn.blocks", "gluon_aff.models.fpn"):
            stack.enter_context(mock.patch(f"{module}.ResizeLike", resize))
        net = gluon_aff.create_model("aff_fpn_resnet8", stem=stem)
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def measure(steps, rounds, images):
    """Images/s of each named step function: ``rounds`` interleaved rounds after two that do not count."""
    times = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            mx.nd.waitall()
            if number >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: images / statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stem", choices=("std", "tiny"), default="std")
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()

    nets = {"operator": build(Operator, args.stem), "products": build(gluon_aff.nn.ResizeLike, args.stem)}
    x = mx.nd.random.normal(shape=(args.batch_size, 3, args.size, args.size))
    weights = mx.nd.random.normal(shape=(args.batch_size, 1, args.size, args.size))
    for net in nets.values():
        net(x)
    source = nets["operator"]._collect_params_with_prefix()
    for name, parameter in nets["products"]._collect_params_with_prefix().items():
        parameter.set_data(source[name].data())
    one, other = (net(x) for net in nets.values())
    print(
        f"largest difference of the logits: {abs(one - other).max().asscalar():.1e} of {abs(one).max().asscalar():.1f}"
    )

    training, inference = {}, {}
    for name, net in nets.items():

        def train(net=net):
            with autograd.record():
                loss = (net(x) * weights).sum()
            loss.backward()

        training[name] = train
        inference[name] = lambda net=net: net(x)
    for what, steps in (("training", training), ("inference", inference)):
        speeds = measure(steps, args.rounds, args.batch_size)
        for name, speed in speeds.items():
            print(f"{what:10} {name:10} {speed:8.1f} images/s")
        print(f"{what:10} products / operator: {speeds['products'] / speeds['operator']:.2f} times")


if __name__ == "__main__":
    main()
