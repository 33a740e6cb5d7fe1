"""How fast ImageNet's training images are read, decoded and augmented, beside how fast AFF-ResNet-50 trains on them.

    python benchmarks/imagenet_feed.py --data imagenet/train --sizes 96,224

Images/s of ImageNetTrainLoader for every size, from a folder and from a record file of the same images, with and
without AutoAugment, on one or more threads; and of the network's training on a batch at hand. Per core means divided by
the threads. Every round measures each of them in turn, so that whatever else the machine does falls on all; medians
are printed with their ratio to training. Some images of --data are copied, so that reading them is from memory:
this measures decoding, not the disk. Without --data, smooth noise of ImageNet's usual dimensions is made.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import gluon_aff  # before MXNet: it sets the number of threads

# isort: split
import cv2
import mxnet as mx
import numpy as np

from gluon_aff.data import ImageNetTrainLoader, ImageNetTransform, autoaugment_policy, open_imagenet
from gluon_aff.data.imagenet_batches import normalisation
from gluon_aff.data.records import pack
from gluon_aff.utils.console import run

CLASSES = 1000


def numbers(text):
    return [int(part) for part in text.split(",")]


def parse_args(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="class folders or a zip of them (default: made up)")
    parser.add_argument("--images", type=int, default=128, help="how many are used (default: 128)")
    parser.add_argument("--sizes", type=numbers, default=[96], metavar="N,N", help="(default: 96)")
    parser.add_argument("--workers", type=numbers, default=[1, 2], metavar="N,N", help="threads (default: 1,2)")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--model", default="aff_resnet50")
    parser.add_argument("--seconds", type=float, default=2, help="per measurement")
    parser.add_argument("--rounds", type=int, default=2)
    return parser.parse_args(argv)


def made_up_images(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        image = cv2.resize(rng.integers(0, 256, (47, 63, 3), dtype=np.uint8), (500, 375), interpolation=cv2.INTER_CUBIC)
        yield cv2.imencode(".jpg", image)[1].tobytes()


def some_images(path, count):
    source = open_imagenet(path, (), split="train")
    for number in np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)).tolist():
        yield source.encoded(number).content


def write_folder(folder, contents):
    for number, content in enumerate(contents):
        path = folder / f"class{number % 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def rate(step, seconds):
    """Images/s of calling ``step``, which gives a number of images, for at least so many seconds."""
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += step()
    return count / (time.perf_counter() - start)


class Feed:
    """Measures one loader, pass after pass."""

    def __init__(self, source, size, policy, workers, args):
        transform = ImageNetTransform(size, autoaugment=policy)
        self.loader = ImageNetTrainLoader(
            source, args.batch_size, transform, normalisation("records"), workers=workers, max_bad=None
        )
        self.seconds = args.seconds

    def __call__(self):
        batches = (batch for epoch in itertools.count() for batch in self.loader.batches(epoch))
        next(batches)
        images_per_second = rate(lambda: len(next(batches)[1]), self.seconds)
        batches.close()
        return images_per_second


class Training:
    """Measures steps on a batch at hand, each waited for."""

    def __init__(self, size, args):
        self.net = gluon_aff.create_model(args.model, classes=CLASSES)
        self.net.hybridize(static_alloc=True, static_shape=True)
        self.loss = mx.gluon.loss.SoftmaxCrossEntropyLoss()
        self.trainer = mx.gluon.Trainer(self.net.collect_params(), "nag", {"learning_rate": 0.01, "momentum": 0.9})
        self.x = mx.nd.random.normal(shape=(args.batch_size, 3, size, size))
        self.y = mx.nd.array(np.arange(args.batch_size) % CLASSES)
        self.seconds = args.seconds
        self.step()  # hybridize builds its graph

    def step(self):
        with mx.autograd.record():
            loss = self.loss(self.net(self.x), self.y)
        loss.backward()
        self.trainer.step(len(self.x))
        mx.nd.waitall()
        return len(self.x)

    def __call__(self):
        return rate(self.step, self.seconds)


def measurements(sources, args):
    """(size, row, threads) -> what measures its images/s; the row None is training."""
    policies = {"": None, " + AutoAugment": autoaugment_policy("imagenet")}
    found = {}
    for size in args.sizes:
        found[size, None, 0] = Training(size, args)
        for (kind, source), (suffix, policy), workers in itertools.product(
            sources.items(), policies.items(), args.workers
        ):
            found[size, kind + suffix, workers] = Feed(source, size, policy, workers, args)
    return found


def main(argv=None):
    args = parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        contents = some_images(args.data, args.images) if args.data else made_up_images(args.images)
        source = open_imagenet(write_folder(Path(scratch) / "images", contents), (), split="train")
        records = Path(scratch) / "train.rec"
        pack(source, records, workers=max(args.workers))
        sources = {"files": source, "records": open_imagenet(records, (), split="train")}
        measured = measurements(sources, args)
        results = {place: [] for place in measured}
        for _ in range(args.rounds):
            for place, measure in measured.items():
                results[place].append(measure())
    print(
        f"gluon_aff {gluon_aff.__version__}, MXNet {mx.__version__}, OpenCV {cv2.__version__}, Python "
        f"{platform.python_version()}, {os.cpu_count()} CPUs, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}"
    )
    print(
        f"{len(source)} images of {args.data.name if args.data else 'noise'}, {args.model}, batch {args.batch_size}, "
        f"{args.rounds} rounds of {args.seconds:g} s; images/s: median (lowest to highest)"
    )
    for (size, row, workers), rates in results.items():
        median = statistics.median(rates)
        training = statistics.median(results[size, None, 0])
        name = f"{size} px, training" if row is None else f"{size} px, {row}, {workers} threads"
        more = "" if row is None else f"  {median / workers:7.0f} per core  {median / training:7.1f} x training"
        print(f"{name:<50} {median:8.1f}  ({min(rates):.1f} to {max(rates):.1f}){more}")


if __name__ == "__main__":
    raise SystemExit(run(main))
