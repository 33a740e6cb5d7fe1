"""A small job for the loop: a network with dropout and batch norm on random images. No data set, no model of ours."""

from dataclasses import dataclass

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluon_aff.training import Job, Run, Targets, Updater, accuracy, hits, soft_rmse
from gluon_aff.training.optim import EMA
from gluon_aff.training.schedule import Schedule

CLASSES = 4


@dataclass
class Batches:
    """Random batches of 3x8x8 images, a function of (seed, epoch, batch index); the last one of a set is smaller."""

    count: int = 6
    size: int = 8
    last: int = 8
    after: object = None  # called with (epoch, index) before a batch is handed out

    def __len__(self):
        return self.count

    def batches(self, epoch, start=0):
        for index in range(start, self.count):
            if self.after:
                self.after(epoch, index)
            random = np.random.RandomState([7, epoch, index])
            y = random.randint(0, CLASSES, self.last if index == self.count - 1 else self.size)
            x = random.randn(len(y), 3, 8, 8) + y[:, None, None, None]
            yield x.astype(np.float32), y.astype(np.int64)


def small_net(devices, dropout=0.5):
    mx.random.seed(3)
    net = nn.HybridSequential()
    net.add(nn.BatchNorm(in_channels=3, scale=False, center=False))
    net.add(nn.Conv2D(8, 3, padding=1, in_channels=3), nn.BatchNorm(in_channels=8), nn.Activation("relu"))
    net.add(nn.Conv2D(8, 3, padding=1, in_channels=8), nn.BatchNorm(in_channels=8), nn.Activation("relu"))
    net.add(nn.Flatten(), nn.Dropout(dropout), nn.Dense(CLASSES, in_units=512))
    net.initialize(mx.init.Xavier(), ctx=devices)
    net.hybridize(static_alloc=True, static_shape=True)
    return net


@pytest.fixture
def make_job():
    def make(
        optimizer="nag",
        epochs=3,
        mixup=0.0,
        smoothing=False,
        ema=None,
        clip=None,
        accumulate=1,
        devices=1,
        lr=0.05,
        loader=None,
        seed=0,
        last_test_batch=5,
        expected_test_images=None,
        rounds=1,
        dropout=0.5,
    ):
        devices = [mx.cpu(number) for number in range(devices)]
        net = small_net(devices, dropout)
        loader = loader or Batches()
        targets = Targets(CLASSES, smoothing=smoothing, mixup_alpha=mixup, epochs=epochs, mixup_off_epoch=1, seed=seed)
        test = Batches(count=3, size=8, last=last_test_batch)
        test_images = expected_test_images or 16 + last_test_batch
        return Job(
            net=net,
            loader=loader,
            devices=devices,
            targets=targets,
            loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=targets.sparse),
            metric=soft_rmse if mixup else hits,
            metric_name="rmse" if mixup else "accuracy",
            updater=Updater(
                net,
                optimizer,
                wd=1e-4,
                clip=clip,
                accumulate=accumulate > 1 or rounds > 1,
                ema=EMA(net, ema) if ema else None,
            ),
            schedule=Schedule("cosine", lr, epochs, -(-len(loader) // accumulate)),
            evaluate=lambda net, stop: accuracy(net, test, test_images, devices, stop),
            epochs=epochs,
            accumulate=accumulate,
            seed=seed,
            rounds=rounds,
        )

    return make


@pytest.fixture
def make_run(tmp_path):
    """A run's directory by name; ``make_run("a")`` again opens the same one, once it is closed."""

    def make(name="run", **options):
        run = Run(tmp_path / name, {}, **options)
        if not run.history.path.exists():
            run.history.start({})
        return run

    return make
