"""A task of one's own: do two pictures show the same digit? ``python own_task.py train same``"""

from gluon_aff import create_fusion  # before MXNet, which it makes importable

import mxnet as mx  # isort: skip
import numpy as np
from mxnet.gluon import nn

from gluon_aff.cli.main import entry
from gluon_aff.data import load_image_set
from gluon_aff.evaluation import FigureReport
from gluon_aff.tasks import Data, Task, make_job, options, own_network, register_task
from gluon_aff.training import accuracy, hits


class SameNet(nn.HybridBlock):
    """Pairs (N, 2, 16, 16) to logits (N, 2): the maps of both pictures, fused."""

    def __init__(self, fusion, r):
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential()
            for channels in (16, 32):
                self.body.add(nn.Conv2D(channels, 3, 2, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
            self.fuse = create_fusion(fusion, 32, r=r)
            self.head = nn.HybridSequential()
            self.head.add(nn.GlobalAvgPool2D(), nn.Dense(2))

    def hybrid_forward(self, F, x):
        maps = self.body(F.reshape(x, (-1, 1, 16, 16)))  # (2 N, 32, 4, 4)
        one, other = F.split(F.reshape(maps, (-4, -1, 2, -2)), num_outputs=2, axis=1, squeeze_axis=True)
        return self.head(self.fuse(one, other))  # each (N, 32, 4, 4)


class Pairs:
    """Batches of pairs (B, 2, 16, 16) and whether they are of one class (B,); others in every epoch of training."""

    def __init__(self, split, count, batch_size, seed, shard):
        self.digits = load_image_set("digits", split, resize=16)
        self.count, self.batch_size, self.seed, self.fixed = count, batch_size, seed, split == "test"
        self.rank, self.ranks = shard

    def __len__(self):
        return self.count // (self.batch_size * self.ranks)

    def batches(self, epoch, start=0):
        for batch in range(start, len(self)):
            key = [self.seed, 0 if self.fixed else epoch + 1, batch, self.rank]
            random = np.random.RandomState(np.array(key, np.uint32))
            first = random.randint(0, len(self.digits), self.batch_size)
            second = random.randint(0, len(self.digits), self.batch_size)
            for i in range(0, self.batch_size, 2):  # every other pair is of one class
                second[i] = random.choice(np.flatnonzero(self.digits.labels == self.digits.labels[first[i]]))
            images = np.stack([self.digits.images[places][..., 0] for places in (first, second)], axis=1)
            same = self.digits.labels[first] == self.digits.labels[second]
            yield images.astype(np.float32) / 255 - 0.5, same.astype(np.int64)


class SameDigit(Task):
    """Two classes of pairs of pictures."""

    name = "same"
    description = "Train a network to tell whether two pictures show the same digit."

    def add_options(self, parser):
        options.data_options(parser, self.datasets(), "digit_pairs")
        options.model_options(parser, ("pairs",))
        options.optimisation_options(parser)
        options.run_options(parser)
        parser.set_defaults(num_epochs=5, lr=0.05, batch_size=32, train_images=640, test_images=320)

    def datasets(self):
        return ("digit_pairs",)

    def model_name(self, options):
        return f"same_{options.fusion}"

    def data(self, options, setup):
        rest = options.batch_size * setup.parts, options.seed, setup.shard
        loader, self.val = Pairs("train", options.train_images, *rest), Pairs("test", options.test_images, *rest)
        facts = {"name": "digit_pairs", "train": options.train_images, "test": options.test_images}
        return Data(loader, facts, None)

    def network(self, options, outputs=None, ctx=None):
        return own_network(lambda: SameNet(options.fusion, options.r or 4), options, self.input_shape(options), ctx)

    def input_shape(self, options):
        return (1, 2, 16, 16)

    def batches_per_epoch(self, options, devices):
        return options.train_images // (options.batch_size * devices)

    def job(self, options, setup, data, net):
        count = len(self.val) * self.val.batch_size * setup.group.size
        return make_job(
            options,
            setup,
            net,
            data.loader,
            targets=lambda pairs, same, epoch, batch: list(zip(pairs, same)),
            loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(),
            metric=hits,
            metric_name="accuracy",
            evaluate=lambda net, stop: accuracy(net, self.val, count, setup.devices, stop, setup.group),
        )

    def score(self, trained, request):
        pairs = Pairs("test", 320, 32, trained.options.seed, (0, 1))
        found = accuracy(trained.forward, pairs, 320, request.devices)
        return FigureReport(trained.name, "digit_pairs", 320, {"accuracy": found["val"]}, request.environment)


register_task(SameDigit())

if __name__ == "__main__":
    entry()
