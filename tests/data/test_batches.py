import numpy as np
import pytest

from gluon_aff.data.loader import Batches
from gluon_aff.errors import UsageError


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


def test_a_pass_can_begin_anywhere():
    options = {"count": 23, "batch_size": 4, "last": "even", "shard": (1, 2)}
    assert passes(2, 1, **options) == passes(2, **options)[1:]


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
