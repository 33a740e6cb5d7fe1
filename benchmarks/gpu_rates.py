"""What only GPUs can show: images/s of training in float32 and float16, on one GPU and on several.

    python benchmarks/gpu_rates.py --model aff_resnet50 --batch-size 128

Training is that of train_imagenet.py without its input: a batch at hand, split over the devices, forward and backward
pass, the sum over the devices, the update; float16 is MXNet's AMP with its loss scale. Every precision is a process of
its own, since AMP stays on once it is. NOT YET RUN: no GPU that MXNet's code fits was to be had where this was written.
On a machine without one it says so and leaves with 1; --cpu tries the script itself, in float32 on two CPU contexts.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import gluon_aff  # before MXNet: it sets the number of threads

# isort: split
import mxnet as mx
import numpy as np
from mxnet import autograd

from gluon_aff.errors import GluonAFFError
from gluon_aff.runtime import devices
from gluon_aff.training import Updater, group
from gluon_aff.training.optim import start_mixed_precision
from gluon_aff.training.state import split_batch
from gluon_aff.utils.console import run


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="aff_resnet50")
    parser.add_argument("--batch-size", type=int, default=128, help="per device (default: 128)")
    parser.add_argument("--size", type=int, default=224, help="of the images (default: 224)")
    parser.add_argument("--updates", type=int, default=50, help="that count, after 10 that do not")
    parser.add_argument("--cpu", action="store_true", help="try the script without a GPU")
    parser.add_argument("--dtype", choices=("float32", "float16"), help=argparse.SUPPRESS)  # a process's own part
    return parser.parse_args(argv)


def rate(args, contexts, mixed):
    """Images/s on all devices together."""
    net = gluon_aff.create_model(args.model, ctx=contexts)
    net.hybridize(static_alloc=True, static_shape=True)
    loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    images = args.batch_size * len(contexts)
    x = np.random.default_rng(0).normal(size=(images, 3, args.size, args.size)).astype(np.float32)
    pairs = list(zip(*split_batch(x, np.arange(images) % 1000, contexts)))
    for data, _ in pairs:
        net(data).wait_to_read()
    updater, ranks = Updater(net, "nag", mixed=mixed), group(contexts)
    for update in range(10 + args.updates):
        if update == 10:
            mx.nd.waitall()
            began = time.perf_counter()
        with autograd.record():
            losses = [loss(net(data), label) for data, label in pairs]
            with updater.scaled(losses) as scaled:
                autograd.backward(scaled)
        updater.sum_gradients(ranks)
        updater.step(0.01, images)
    mx.nd.waitall()
    return images * args.updates / (time.perf_counter() - began)


def measure(args):
    contexts = [mx.cpu(0), mx.cpu(1)] if args.cpu else devices.pick(",".join(map(str, range(devices.count()))))
    mixed = start_mixed_precision(args.dtype, contexts)
    first = rate(args, contexts[:1], mixed)
    print(f"{args.dtype}, 1 device: {first:.1f} images/s", flush=True)
    if len(contexts) > 1:
        together = rate(args, contexts, mixed)
        print(f"{args.dtype}, {len(contexts)} devices: {together:.1f} images/s, {together / first:.2f} times")


def main(argv=None):
    args = parse_args(argv)
    if args.dtype:
        return measure(args)
    if not args.cpu and not devices.count():
        raise GluonAFFError("no GPU here: nothing to measure (--cpu tries the script itself)")
    print(
        f"{args.model}, {args.size}x{args.size}, batch {args.batch_size} per device, MXNet {mx.__version__}", flush=True
    )
    for dtype in ("float32",) if args.cpu else ("float32", "float16"):
        own = sys.argv[1:] if argv is None else argv
        subprocess.run([sys.executable, __file__, *own, "--dtype", dtype], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
