"""What the arrangement of AFF's arithmetic is worth: training and inference beside the literal formulation.

The literal formulation follows the formulas: GlobalAvgPool2D, the sigmoid operator, broadcast products, each product
scaled by 2. Both networks hold the same weights and their outputs are compared first. Steps of the two are interleaved
in one run, so that a drifting machine meets both; the figures are medians.

    python benchmarks/fusion_speed.py --blocks 5 --channel-times 4 --batch-size 32
"""

from __future__ import annotations

import argparse
import statistics
import time
from unittest import mock

import gluon_aff  # before MXNet: it sets the number of threads

# isort: split
import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

from gluon_aff.nn.fusions import AFF


class LiteralAFF(AFF):
    """AFF as the formula is written."""

    def hybrid_forward(self, F, x, residual):
        z = x + residual
        weight = F.sigmoid(F.broadcast_add(self.local_att(z), self.global_att(z)))
        return 2 * F.broadcast_mul(x, weight) + 2 * F.broadcast_mul(residual, 1 - weight)


def build(fusion, pool, options):
    """A CIFAR ResNet with the given fusion class and global pool."""

    def create(name, channels, r=4, **more):
        return fusion(channels, r, **more)

    with mock.patch("gluon_aff.models.common.create_fusion", create), mock.patch(
        "gluon_aff.nn.attention.GlobalAvgPool", pool
    ), mock.patch("gluon_aff.models.cifar_resnet.GlobalAvgPool", pool):
        return gluon_aff.create_model("cifar_resnet", fusion="aff", **options)


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
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--channel-times", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()

    options = {"blocks": args.blocks, "channel_times": args.channel_times, "classes": 100}
    pool = gluon_aff.nn.layers.GlobalAvgPool
    nets = {
        "literal": build(LiteralAFF, nn.GlobalAvgPool2D, options),
        "gluon_aff": build(AFF, pool, options),
        "plain add": gluon_aff.create_model("cifar_resnet", **options),
    }
    source = nets["literal"]._collect_params_with_prefix()
    for name, parameter in nets["gluon_aff"]._collect_params_with_prefix().items():
        parameter.set_data(source[name].data())

    x = mx.nd.random.normal(shape=(args.batch_size, 3, 32, 32))
    labels = mx.nd.zeros((args.batch_size,))
    difference = abs(nets["literal"](x) - nets["gluon_aff"](x)).max().asscalar()
    print(f"largest difference of the two AFF networks' logits: {difference:.2e}")

    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    training, inference = {}, {}
    for name, net in nets.items():
        net.hybridize(static_alloc=True, static_shape=True)
        trainer = gluon.Trainer(net.collect_params(), "nag", {"learning_rate": 1e-4, "momentum": 0.9}, kvstore=None)

        def train(net=net, trainer=trainer):
            with autograd.record():
                value = loss(net(x), labels)
            value.backward()
            trainer.step(args.batch_size)

        training[name] = train
        inference[name] = lambda net=net: net(x)
    speeds = {
        "training": measure(training, args.rounds, args.batch_size),
        "inference": measure(inference, args.rounds, args.batch_size),
    }
    for what, by_name in speeds.items():
        for name, speed in by_name.items():
            print(f"{what:10} {name:10} {speed:8.1f} images/s")
        print(f"{what:10} gluon_aff / literal: {by_name['gluon_aff'] / by_name['literal']:.2f} times")


if __name__ == "__main__":
    main()
