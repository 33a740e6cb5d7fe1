import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gluon_aff.data import BatchLoader, ImageSet, TrainTransform, autoaugment_policy, check_labels
from gluon_aff.data.loader import Batches
from gluon_aff.errors import UsageError


def image_set(count=50, classes=5):
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(count)
    names = tuple("abcdefghij"[:classes])
    return ImageSet(images, np.arange(count, dtype=np.int64) % classes, names, "made-up", "memory")


def keep(images, rng):
    return images.transpose(0, 3, 1, 2).astype(np.float32)


def loader(transform=keep, batch_size=8, shuffle=True, drop_last=False, **options):
    return BatchLoader(image_set(), batch_size, transform, shuffle=shuffle, drop_last=drop_last, **options)


def indices(batches):
    return [x[:, 0, 0, 0].astype(int).tolist() for x, _ in batches]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("batch")]


def equal(left, right):
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        np.array_equal(a, b) for pair in zip(left, right) for a, b in zip(pair[0], pair[1])
    )


def test_every_image_once_with_its_label_in_an_order_of_seed_and_epoch():
    made = loader()
    seen = [(i, int(y)) for x, labels in made.batches(0) for i, y in zip(x[:, 0, 0, 0].astype(int), labels)]
    assert sorted(seen) == [(i, i % 5) for i in range(50)]
    assert len(made) == 7 and sum(map(made.size_of, range(7))) == 50
    first = indices(loader(seed=1).batches(3))
    assert first == indices(loader(seed=1).batches(3))
    assert first != indices(loader(seed=1).batches(4)) and first != indices(loader(seed=2).batches(3))
    assert indices(loader(shuffle=False).batches(0))[0] == list(range(8))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_do_not_depend_on_workers_nor_on_where_one_starts(workers):
    transform = TrainTransform(autoaugment=autoaugment_policy("cifar10"))
    reference = list(loader(transform, seed=4).batches(2))
    made = loader(transform, seed=4, workers=workers)
    assert equal(made.batches(2), reference)
    assert equal(made.batches(2, start=5), reference[5:])
    assert list(made.batches(2, start=7)) == []
    x, y = reference[0]
    assert x.shape == (8, 3, 8, 8) and x.dtype == np.float32 and x.flags.c_contiguous
    assert y.shape == (8,) and y.dtype == np.int64


def test_random_streams_of_order_and_batches_are_all_different():
    draws = []

    def record(images, rng):
        draws.append(tuple(rng.integers(1 << 60, size=2).tolist()))
        return keep(images, rng)

    made = loader(record, seed=1)
    for epoch in range(3):
        list(made.batches(epoch))
    orders = [tuple(made.random(epoch).integers(1 << 60, size=2).tolist()) for epoch in range(3)]
    assert len({*draws, *orders}) == 3 * 7 + 3


@pytest.mark.parametrize("workers", [1, 3])
def test_an_abandoned_iterator_leaves_no_threads(workers):
    closed = loader(workers=workers).batches(0)
    next(closed)
    assert loader_threads()
    closed.close()
    assert not loader_threads()
    dropped = loader(workers=workers).batches(0)
    next(dropped)
    del dropped
    gc.collect()
    assert not loader_threads()
    list(loader(workers=workers).batches(0))
    assert not loader_threads()


def test_closing_does_not_make_the_batches_that_were_queued(monkeypatch):
    made, released = [], threading.Event()
    shutdown = ThreadPoolExecutor.shutdown

    def wait_from_the_second_on(images, rng):
        made.append(1)
        assert len(made) == 1 or released.wait(timeout=10)
        return keep(images, rng)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", lambda pool: released.set() or shutdown(pool))
    iterator = loader(wait_from_the_second_on, workers=1).batches(0)
    next(iterator)
    iterator.close()
    assert len(made) <= 2  # the one taken and the one on the way; a third was queued
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_worker_raises_reaches_the_consumer_in_its_place(workers):
    def fail_on_the_last(images, rng):
        if len(images) == 2:
            raise RuntimeError("bad image")
        return keep(images, rng)

    got = []
    with pytest.raises(RuntimeError, match="bad image"):
        for batch in loader(fail_on_the_last, workers=workers).batches(0):
            got.append(batch)
    assert len(got) == 6
    assert not loader_threads()


def test_prefetch_is_bounded():
    made = []

    def count(images, rng):
        made.append(1)
        return keep(images, rng)

    iterator = loader(count, batch_size=1, workers=2).batches(0)
    next(iterator)
    time.sleep(0.3)
    assert len(made) <= 6  # the one taken and two per worker, one more on the way
    iterator.close()


def test_an_incomplete_batch_is_left_out_where_asked_for():
    made = loader(drop_last=True)
    assert [len(y) for _, y in made.batches(0)] == [8] * 6 and len(made) == 6
    assert len(loader(batch_size=64)) == 1
    with pytest.raises(UsageError, match="50 images, fewer than one batch of 64"):
        loader(batch_size=64, drop_last=True)
    with pytest.raises(UsageError, match="batch 8 of an epoch of 7 batches"):
        loader().batches(0, start=8)


def test_subset_takes_classes_in_turn_and_smaller_ones_begin_larger_ones():
    whole = image_set(count=50, classes=4)
    small, large = whole.subset(9, seed=3), whole.subset(30, seed=3)
    for seed in range(5):
        counts = np.bincount(whole.subset(21, seed).labels, minlength=4)
        assert counts.max() - counts.min() <= 1
    assert np.array_equal(large.images[:9], small.images)
    assert not np.array_equal(whole.subset(9, seed=4).images, small.images)
    assert sorted(whole.subset(50, seed=1).images[:, 0, 0, 0].tolist()) == list(range(50))
    for image, label in zip(small.images, small.labels):
        assert image[0, 0, 0] % 4 == label
    assert small.classes == whole.classes
    for n in (0, 51):
        with pytest.raises(UsageError, match="choose 1 to 50"):
            whole.subset(n, seed=0)


def test_labels_must_fit_the_head():
    check_labels(image_set(classes=5), 5)
    check_labels(image_set(classes=5), 100)
    with pytest.raises(UsageError, match=r"labels up to 4 .* the head has 4 classes .* at least 5"):
        check_labels(image_set(classes=5), 4)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"labels": np.array([0, -1])}, "image 1 has label -1, expected 0 to 1"),
        ({"labels": np.array([2, 0])}, "image 0 has label 2, expected 0 to 1, as it has 2 classes"),
        ({"labels": np.array([0.0, np.nan])}, r"labels are float64 \(2,\), expected whole numbers"),
        ({"labels": np.array([0])}, r"labels are int64 \(1,\), expected whole numbers \(2,\)"),
        ({"images": np.zeros((2, 8, 8, 3))}, r"images are float64 \(2, 8, 8, 3\), expected uint8"),
        ({"images": np.zeros((2, 3, 8, 8), dtype=np.uint8)}, "expected uint8 .N, H, W, 3."),
    ],
)
def test_a_set_that_someone_else_made_is_checked(changed, told):
    arrays = {"images": np.zeros((2, 8, 8, 3), dtype=np.uint8), "labels": np.array([0, 1]), **changed}
    with pytest.raises(UsageError, match=rf"mine \(here\): .*{told}"):
        ImageSet(**arrays, classes=("a", "b"), name="mine", source="here")


def test_several_processes_draw_each_for_itself_and_leave_nothing_out():
    def draws(images, rng):
        return np.concatenate([keep(images, rng), np.full((len(images), 1, 8, 8), rng.random())], axis=1)

    made = [list(loader(draws, shard=(rank, 3), seed=1).batches(0)) for rank in range(3)]
    assert sorted(sum((sum(indices(part), []) for part in made), [])) == list(range(50))
    drawn = [batch[0][0, 3, 0, 0] for part in made for batch in part]
    assert len(set(drawn)) == len(drawn)
    assert drawn[0] == next(loader(draws, seed=1).batches(0))[0][0, 3, 0, 0]


class Numbers(Batches):
    """Batches of the images' own numbers."""

    def make(self, chosen, epoch, index):
        return chosen, chosen


def passes(epoch=0, start=0, **options):
    return [x.tolist() for x, _ in Numbers(**{"shuffle": True, **options}).batches(epoch, start)]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 23, 250])
def test_even_batches_hold_every_image_once_and_differ_by_one_at_most(count):
    for epoch in range(5):
        made = passes(epoch, count=count, batch_size=8, last="even")
        sizes = [len(batch) for batch in made]
        assert sorted(sum(made, [])) == list(range(count))
        assert len(made) == -(-count // 8) and max(sizes) <= 8 and max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("last", ["drop", "keep", "even"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_parts_of_all_processes_together_are_the_batches_of_one(last, ranks):
    whole = passes(3, count=52, batch_size=4 * ranks, last=last)
    parts = [passes(3, count=52, batch_size=4, last=last, shard=(rank, ranks)) for rank in range(ranks)]
    assert [sum(batch, []) for batch in zip(*parts)] == whole
    assert {len(part) for part in parts} == {len(whole)}


def test_a_batch_too_small_for_all_processes_is_refused():
    with pytest.raises(UsageError, match="9 images: a batch cannot be cut into 2 parts"):
        Numbers(9, 4, shuffle=False, shard=(0, 2))
    assert passes(shuffle=False, count=9, batch_size=4, last="even", shard=(1, 2)) == [[2, 3], [6, 7, 8]]


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"shard": (2, 2)}, {"last": "wrap"}, {"seed": -1}, {"workers": -1}]
)
def test_arguments_out_of_range(options):
    with pytest.raises(UsageError, match="expected a batch size of at least 1"):
        Numbers(**{"count": 10, "batch_size": 4, "shuffle": True, **options})


def test_the_order_is_that_of_earlier_runs():
    """Runs begun before must resume with the same order."""
    assert passes(3, count=6, batch_size=6, seed=1) == [
        np.random.default_rng(np.random.SeedSequence(1, spawn_key=(3,))).permutation(np.arange(6)).tolist()
    ]
