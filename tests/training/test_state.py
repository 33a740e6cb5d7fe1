"""A network's arrays are taken out and put back whole; parts of a batch one after another are as on a device each."""

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from gluon_aff.errors import UsageError
from gluon_aff.training import State, Stop, fit
from gluon_aff.training.state import first_not_finite, micro_batches, network_arrays, set_arrays


def dense(units=3, bias=True):
    block = nn.HybridSequential()
    block.add(nn.Dense(4, in_units=2), nn.Dense(units, in_units=4, use_bias=bias))
    block.initialize(mx.init.Xavier())
    return block


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ({}, {"bias": False}, r"it does not fit .*: 1.bias is \(3,\), expected no such array$"),
        ({"bias": False}, {}, r"it does not fit .*: 1.bias is missing, expected \(3,\)$"),
        ({}, {"units": 5}, r"it does not fit .*: 1.bias is \(3,\), expected \(5,\) \(and 1 more\)$"),
    ],
)
def test_missing_extra_and_misshapen_arrays_are_named(source, target, message):
    block, other = dense(**target), dense(**source)
    before = block[0].weight.data().asnumpy()
    with pytest.raises(UsageError, match=message):
        set_arrays(block, network_arrays(other), "it")
    np.testing.assert_array_equal(block[0].weight.data().asnumpy(), before)
    again = dense(**source)
    set_arrays(again, network_arrays(other), "it")
    for a, b in zip(other.collect_params().values(), again.collect_params().values()):
        np.testing.assert_array_equal(a.data().asnumpy(), b.data().asnumpy())


def test_what_is_not_finite_is_found_among_many_arrays():
    block = nn.HybridSequential()
    block.add(*(nn.Dense(1, in_units=1) for _ in range(150)))
    block.initialize()
    assert first_not_finite(block) is None
    block[140].bias.set_data(mx.nd.array([np.nan]))
    assert first_not_finite(block) == "140.bias"


def trained(make_job, run, **options):
    job = make_job(dropout=0.0, epochs=2, **options)
    with run, Stop() as stop:
        fit(job, State(), run, stop)
    records = [{k: v for k, v in record.items() if k != "time"} for record in run.history.epochs()]
    return {name: array.asnumpy() for name, array in network_arrays(job.net).items()}, records


@pytest.mark.parametrize(
    ("devices", "rounds", "options"),
    [
        (2, 2, {"mixup": 1.0, "smoothing": True}),
        (4, 4, {"optimizer": "adagrad"}),
        (4, 2, {"clip": 1.0, "ema": 0.9, "accumulate": 2}),
    ],
)
def test_rounds_are_devices(make_job, make_run, devices, rounds, options):
    arrays, records = trained(make_job, make_run("devices"), devices=devices, **options)
    again, others = trained(make_job, make_run("rounds"), devices=devices // rounds, rounds=rounds, **options)
    assert arrays.keys() == again.keys()
    for name in arrays:
        np.testing.assert_allclose(again[name], arrays[name], rtol=2e-4, atol=2e-6, err_msg=name)
    for record, other in zip(records, others):
        assert (record["images"], record["updates"], record["lr"]) == (other["images"], other["updates"], other["lr"])
        assert other["loss"] == pytest.approx(record["loss"], rel=1e-4)
        assert other["train"] == pytest.approx(record["train"], rel=1e-3)


def test_rounds_are_not_one_large_batch(make_job, make_run):
    """The comparison above could not fail if nothing were normalised part by part."""
    whole, _ = trained(make_job, make_run("whole"))
    parts, _ = trained(make_job, make_run("parts"), rounds=2)
    assert max(np.abs(whole[name] - parts[name]).max() for name in whole) > 1e-2


def sizes(images, devices, rounds):
    net = nn.BatchNorm(in_channels=3)
    contexts = [mx.cpu(number) for number in range(devices)]
    net.initialize(ctx=contexts)
    x = np.arange(images, dtype=np.float32).reshape(-1, 1, 1, 1)
    found, seen = [], []
    for parts, labels in micro_batches(net, contexts, rounds, x, x.ravel()):
        found.append([len(part) for part in parts])
        seen += [label for part in labels for label in part.asnumpy()]
        assert [part.context for part in parts] == contexts[: len(parts)]
    assert seen == x.ravel().tolist()
    return found


def test_every_image_has_its_part():
    assert sizes(8, 1, 1) == [[8]]
    assert sizes(8, 1, 4) == [[2], [2], [2], [2]]
    assert sizes(9, 2, 2) == [[3, 2], [2, 2]]
    assert sizes(7, 1, 4) == [[3], [2], [2]]  # no part of one image
    assert sizes(5, 2, 2) == [[3, 2]]
    assert sizes(1, 1, 2) == [[1]]


def test_statistics_are_the_mean_over_the_parts():
    net = nn.BatchNorm(in_channels=1)
    net.initialize(ctx=mx.cpu())
    x = np.array([1, 3, 11, 13], dtype=np.float32).reshape(4, 1, 1, 1)
    for part, _ in micro_batches(net, [mx.cpu()], 2, x, x.ravel()):
        part[0].attach_grad()
        with mx.autograd.record():
            net(part[0]).sum().backward()
    # means 2 and 12, variances 1 and 1; momentum 0.9 from 0 and 1, once
    assert net.running_mean.data().asscalar() == pytest.approx(0.7)
    assert net.running_var.data().asscalar() == pytest.approx(1.0)
