"""How fast batches are made, beside how fast a small network trains: does the input pipeline keep up?

    python benchmarks/feed_rate.py

Measures images/s of BatchLoader (batch 128, made-up 32x32 images) without augmentation, with crop and mirror, and with
AutoAugment before them in both of its variants, at 0, 1 and 2 workers; and of training AFF-ResNet-20 (x1), once on a
batch that is there already and once fed by the loader with AutoAugment. Every round measures each of them in turn, so
that whatever else the machine does falls on all; the medians over rounds are printed with their ratio to training on
the batch at hand.
The goals on two cores: crop and mirror at least 10 times, AutoAugment at least 2 times.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import time

import gluon_aff  # before MXNet: it sets the number of threads

# isort: split
import mxnet as mx
import numpy as np

from gluon_aff.data import BatchLoader, EvalTransform, ImageSet, TrainTransform, autoaugment_policy

CLASSES = 100
AUTOAUGMENT = "AutoAugment + crop + mirror"
TRANSFORMS = {
    "none": EvalTransform(),
    "crop + mirror": TrainTransform(),
    AUTOAUGMENT: TrainTransform(autoaugment=autoaugment_policy("cifar10")),
    "paper's " + AUTOAUGMENT: TrainTransform(autoaugment=autoaugment_policy("cifar10", "paper")),
}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=20000)
    parser.add_argument("--seconds", type=float, default=3, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def made_up_images(count):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(CLASSES, size=count)
    return ImageSet(images, labels, tuple(str(label) for label in range(CLASSES)), "made-up", "memory")


def endless_batches(loader):
    for epoch in itertools.count():
        yield from loader.batches(epoch)


def rate(step, batch_size, seconds):
    """Images/s of calling ``step`` for at least so many seconds."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        count += 1
    return count * batch_size / (time.perf_counter() - start)


class Training:
    """One step of training at a time, waiting for it to end."""

    def __init__(self):
        self.net = gluon_aff.create_model("cifar_resnet", fusion="aff", blocks=3, channel_times=1, classes=CLASSES)
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
        self.trainer = mx.gluon.Trainer(self.net.collect_params(), "nag", {"learning_rate": 0.01, "momentum": 0.9})

    def step(self, x, y):
        with mx.autograd.record():
            loss = self.loss(self.net(mx.nd.array(x)), mx.nd.array(y))
        loss.backward()
        self.trainer.step(len(x))
        loss.wait_to_read()
        mx.nd.waitall()


def measurements(args):
    """Names and functions that measure images/s for the given seconds."""
    image_set = made_up_images(args.images)

    def loader(transform, workers):
        return BatchLoader(image_set, args.batch_size, transform, shuffle=True, drop_last=True, workers=workers)

    def feed(transform, workers):
        batches = endless_batches(loader(transform, workers))
        next(batches)
        images_per_second = rate(lambda: next(batches), args.batch_size, args.seconds)
        batches.close()
        return images_per_second

    training = Training()
    fixed = next(endless_batches(loader(TRANSFORMS["none"], 0)))

    def train():
        return rate(lambda: training.step(*fixed), args.batch_size, args.seconds)

    def train_fed(workers):
        batches = endless_batches(loader(TRANSFORMS[AUTOAUGMENT], workers))
        images_per_second = rate(lambda: training.step(*next(batches)), args.batch_size, args.seconds)
        batches.close()
        return images_per_second

    train()  # warm-up: hybridize builds its graph
    yield "training, batch at hand", train
    for workers in (0, 1):
        yield f"training, fed by {AUTOAUGMENT}, {workers} workers", lambda workers=workers: train_fed(workers)
    for name, transform in TRANSFORMS.items():
        for workers in (0, 1, 2):
            yield f"{name}, {workers} workers", lambda t=transform, w=workers: feed(t, w)


def main():
    args = parse_args()
    measured = dict(measurements(args))
    results = {name: [] for name in measured}
    for _ in range(args.rounds):
        for name, measure in measured.items():
            results[name].append(measure())
    print(
        f"gluon_aff {gluon_aff.__version__}, MXNet {mx.__version__}, NumPy {np.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} CPUs, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}"
    )
    print(f"batch {args.batch_size}, {args.rounds} rounds of {args.seconds:g} s; images/s: median (lowest to highest)")
    training = statistics.median(results["training, batch at hand"])
    for name, rates in results.items():
        median = statistics.median(rates)
        print(f"{name:<58} {median:9.0f}  ({min(rates):.0f} to {max(rates):.0f})  {median / training:6.1f} x training")


if __name__ == "__main__":
    main()
