"""What workers run in tests/training/test_ranks.py: ``python rank_programs.py DIRECTORY``, one program after the other.

Each leaves its findings in the directory, as ``<program>-rank-<n>.json`` or as arrays, for the tests to judge.
"""

import json
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import gluon_aff  # noqa: F401

import mxnet as mx  # isort: skip
import numpy as np
from mxnet.gluon import nn

from gluon_aff.data import BatchLoader, ImageSet
from gluon_aff.errors import GluonAFFError
from gluon_aff.training import Job, Run, Stop, Targets, Updater, accuracy, fit, group, hits, restore
from gluon_aff.training.optim import EMA
from gluon_aff.training.schedule import Schedule

CLASSES = 4


def images(count, seed):
    random = np.random.RandomState(seed)
    labels = random.randint(0, CLASSES, count)
    pixels = random.randint(0, 100, (count, 8, 8, 3)) + 30 * labels[:, None, None, None]
    return ImageSet(pixels.astype(np.uint8), labels.astype(np.int64), tuple("abcd"), "made up", "nowhere")


def scaled(pixels, rng):
    return pixels.transpose(0, 3, 1, 2).astype(np.float32) / 128 - 1


def small_net(frozen, drop):
    """Convolutions and norms; ``frozen`` norms use their global statistics, as equal parts of a batch then do."""
    norm = {"use_global_stats": frozen, "in_channels": 8}
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, padding=1, in_channels=3), nn.BatchNorm(**norm), nn.Activation("relu"))
    net.add(nn.Conv2D(8, 3, padding=1, in_channels=8), nn.BatchNorm(**norm), nn.Activation("relu"))
    net.add(nn.Flatten(), nn.Dropout(drop), nn.Dense(CLASSES, in_units=512))
    return net


def make_job(ranks, batch_size, *, epochs=2, frozen=False, drop=0.5, ema=None, accumulate=1, clip=None, devices=1):
    """``batch_size`` is a rank's; 70 training and 21 test images, divided by nothing here."""
    mx.random.seed(3)
    contexts = [mx.cpu(number) for number in range(devices)]
    net = small_net(frozen, drop)
    net.initialize(mx.init.Xavier(), ctx=contexts)
    net.hybridize(static_alloc=True, static_shape=True)
    shard = (ranks.rank, ranks.size)
    loader = BatchLoader(images(70, 0), batch_size, scaled, shuffle=True, drop_last=True, seed=5, shard=shard)
    test = BatchLoader(images(21, 1), 4, scaled, shuffle=False, drop_last=False, shard=shard)
    return Job(
        net=net,
        loader=loader,
        devices=contexts,
        targets=Targets(CLASSES),
        loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(),
        metric=hits,
        metric_name="accuracy",
        updater=Updater(net, "nag", wd=1e-3, clip=clip, accumulate=accumulate > 1, ema=EMA(net, ema) if ema else None),
        schedule=Schedule("cosine", 0.1, epochs, -(-len(loader) // accumulate)),
        evaluate=lambda net, stop: accuracy(net, test, 21, contexts, stop, ranks),
        epochs=epochs,
        accumulate=accumulate,
        group=ranks,
    )


def train(job, directory, ask=None):
    """A run in ``directory``, or the rest of it; ``ask(epoch, batch)`` -> whether this rank is to be asked to stop."""
    run = None if job.group.rank else Run(directory, {})
    if run and not run.history.path.exists():
        run.history.start({})
    with run or nullcontext(), Stop() as stop:
        state = restore(job, run)
        batches = job.loader.batches

        def watched(epoch, start=0):
            for index, batch in enumerate(batches(epoch, start), start):
                if ask and ask(epoch, index):
                    stop.request(signal.SIGTERM)
                yield batch

        job.loader.batches = watched
        fit(job, state, run, stop)
    return state, stop, run


def weights(job):
    return {name: p.list_data()[0].asnumpy() for name, p in job.net._collect_params_with_prefix().items()}


def everything(job):
    """All that a run leads to: arrays of network, optimizer and average."""
    arrays = {**weights(job), **{name: array.asnumpy() for name, array in job.updater.arrays().items()}}
    if job.updater.ema:
        arrays.update({f"ema {name}": array.asnumpy() for name, array in job.updater.ema.arrays.items()})
    return arrays


def report(ranks, directory, program, **findings):
    (Path(directory) / f"{program}-rank-{ranks.rank}.json").write_text(json.dumps(findings))


def failure(call, *arguments):
    try:
        call(*arguments)
    except GluonAFFError as error:
        return str(error)
    return None


def talk(ranks, directory):
    a, b = mx.nd.ones((2, 3)) * (ranks.rank + 1), mx.nd.arange(4) * ranks.rank
    sums = ranks.sum([a, b], [2**20 + ranks.rank])
    rows = ranks.gather_arrays({"x": mx.nd.array([[ranks.rank, 0.5]])})
    told = mx.nd.array([1 / 3, ranks.rank])
    ranks.broadcast([told])
    ranks.broadcast([])  # a run without EMA
    ranks.self_check()
    ranks.check_equal({"a": a}, "now")
    findings = {
        "place": [ranks.rank, ranks.size],
        "sums": [sums, a.asnumpy().tolist(), b.asnumpy().tolist()],
        "numbers": ranks.sum_numbers([0.1 * (ranks.rank + 1), 2**52]),
        "gathered": ranks.gather([ranks.rank / 3]),
        "rows": [row["x"].asnumpy().tolist() for row in rows],
        "objects": ranks.gather_object({"rank": ranks.rank, "third": 1 / 3, "text": "ä" * 40 * ranks.rank}),
        "told": [told.asnumpy().tolist(), ranks.broadcast_object([ranks.rank, None])],
        "different": failure(ranks.check_equal, {"a": a + 1e-6 * ranks.rank}, "after epoch 7"),
    }
    pull = ranks._store.pull
    ranks._store.pull = lambda key, out: [pull(key, out=out), out.__iadd__(1)]  # what must be noticed
    findings["wrong sums"] = failure(ranks.self_check)
    ranks._store.pull = pull
    report(ranks, directory, "talk", **findings)


def equal(ranks, directory):
    for name, options in (("plain", {}), ("accumulated", {"accumulate": 2, "clip": 0.5, "devices": 2})):
        job = make_job(ranks, 8, frozen=True, drop=0.0, **options)
        train(job, Path(directory) / name)
        np.savez(Path(directory) / f"{name}-rank-{ranks.rank}.npz", **weights(job))


def resume(ranks, directory):
    """A run in one go, and the same in three: one rank asked in an epoch's middle, the other before its last batch."""
    whole = make_job(ranks, 8, epochs=3, ema=0.9)
    train(whole, Path(directory) / "whole")
    stops = []
    for asked in ((0, 0, 1), (1, 1, 3), None):
        job = make_job(ranks, 8, epochs=3, ema=0.9)
        state, stop, _ = train(
            job, Path(directory) / "parts", asked and (lambda *place, asked=asked: (ranks.rank, *place) == asked)
        )
        stops.append([state.epoch, state.batch, stop.exit_code])
    first, second = everything(whole), everything(job)
    different = [name for name in first if not np.array_equal(first[name], second[name])]
    report(ranks, directory, "resume", stops=stops, different=different, count=len(first))


if __name__ == "__main__":
    both = group()
    for program in (talk, equal, resume):
        program(both, sys.argv[1])
