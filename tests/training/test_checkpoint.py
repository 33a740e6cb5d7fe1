"""Checkpoints are complete or absent, few, and safe to read."""

import json
import os
import resource

import mxnet as mx
import numpy as np
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.training.checkpoint import Checkpoints, Damaged, read_checkpoint


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", tmp_path / "best", best_name=lambda best: f"{best['val']}-best.params")


def save(checkpoints, epoch, batch=0, best=None, value=0.0, **groups):
    arrays = {"model": {"w": mx.nd.array([value, epoch])}, "trainer": {"w:0": mx.nd.ones((2, 2))}, "ema": {}}
    state = {"progress": {"epoch": epoch}, "best": best and {"val": best[0], "checkpoint": name(best[1])}}
    return checkpoints.save(epoch, batch, {**arrays, **groups}, state)


def name(epoch, batch=0):
    return f"epoch-{epoch:05d}-batch-{batch:06d}"


def names(checkpoints):
    return [path.name for path in checkpoints.paths()]


def test_round_trip(checkpoints):
    assert checkpoints.load(print) is None and checkpoints.newest() is None
    path = save(checkpoints, 3, 17, value=0.1)
    assert sorted(file.name for file in path.iterdir()) == ["model.params", "state.json", "trainer.params"]
    checkpoint = checkpoints.load(print)
    assert checkpoint.path == path
    np.testing.assert_array_equal(checkpoint.arrays["model"]["w"].asnumpy(), np.array([0.1, 3], dtype=np.float32))
    assert checkpoint.state["progress"] == {"epoch": 3}
    assert checkpoints.load(print).arrays["trainer"].keys() == {"w:0"}


def test_the_last_two_the_best_and_every_nth_are_kept(checkpoints):
    checkpoints.every = 4
    for epoch in range(1, 10):
        save(checkpoints, epoch, best=(0.5, 1) if epoch < 3 else (0.9, 3))
    assert names(checkpoints) == [name(epoch) for epoch in (3, 4, 8, 9)]
    save(checkpoints, 9, 5, best=(0.9, 3))
    assert names(checkpoints) == [name(3), name(4), name(8), name(9), name(9, 5)]


def test_the_best_of_the_one_before_stays_until_it_is_not_needed(checkpoints):
    """Were the newest damaged, the one before would be used, and its best must still be there."""
    for epoch, best, kept in ((1, 1, [1]), (2, 1, [1, 2]), (3, 3, [1, 2, 3]), (4, 3, [3, 4])):
        save(checkpoints, epoch, best=(best / 10, best))
        assert names(checkpoints) == [name(number) for number in kept]


def test_best_is_a_link_with_the_authors_name_in_one_place(checkpoints, tmp_path):
    save(checkpoints, 1, best=(0.5, 1))
    link = tmp_path / "best"
    assert os.readlink(link) == f"checkpoints/{name(1)}"
    assert (link / "0.5-best.params").stat().st_ino == (link / "model.params").stat().st_ino
    save(checkpoints, 2, best=(0.6, 2))
    assert link.resolve().name == name(2)
    assert [path.parent.name for path in (tmp_path / "checkpoints").glob("*/*-best.params")] == [name(2)]
    save(checkpoints, 3, best=(0.7, 3), ema={"w": mx.nd.zeros((1,))})
    assert (link / "0.7-best.params").stat().st_ino == (link / "ema.params").stat().st_ino


def flip(path):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def edit_state(path, without=None, **changes):
    state = {**json.loads((path / "state.json").read_text()), **changes}
    state.pop(without, None)
    (path / "state.json").write_text(json.dumps(state))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: flip(path / "model.params"), "another SHA-256"),
        (lambda path: os.truncate(path / "trainer.params", 30), "trainer.params has 30 bytes"),
        (lambda path: (path / "model.params").unlink(), "model.params is missing"),
        (lambda path: (path / "state.json").write_text('{"format": 1'), "state.json cannot be read"),
        (lambda path: (path / "state.json").write_text("[" * 100_000), "state.json cannot be read"),
        (lambda path: edit_state(path, progress={"epoch": 7}), "state.json has another content"),
        (lambda path: edit_state(path, sha256="0" * 64), "state.json has another content"),
        (lambda path: edit_state(path, without="sha256"), "state.json has another content"),
        (lambda path: edit_state(path, format=1, files={"../../model.params": "0" * 64}), "another content"),
    ],
)
def test_a_damaged_newest_one_is_reported_and_the_one_before_used(checkpoints, damage, reason):
    save(checkpoints, 1)
    path = save(checkpoints, 2)
    damage(path)
    with pytest.raises(Damaged):
        read_checkpoint(path)
    lines = []
    assert checkpoints.load(lines.append).state["progress"]["epoch"] == 1
    (line,) = lines
    assert reason in line and str(path) in line
    assert names(checkpoints) == [name(1)]
    save(checkpoints, 2)
    assert checkpoints.load(lines.append).state["progress"]["epoch"] == 2
    for number in (1, 2):
        (checkpoints.directory / name(number) / "model.params").unlink()
    with pytest.raises(GluonAFFError, match="every checkpoint under .* is damaged"):
        checkpoints.load(lambda line: None)


def test_other_formats_and_layouts(checkpoints):
    """Format 1 had no digest of the state; the layout of the JSON does not matter; a newer format is no damage."""
    path = save(checkpoints, 1, best=(0.1 + 0.2, 1))
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(dict(sorted(state.items())), indent=7))
    assert checkpoints.load(print).state["best"]["val"] == 0.1 + 0.2
    edit_state(path, without="sha256", format=1)
    assert checkpoints.load(print).state["progress"] == {"epoch": 1}
    edit_state(path, format=99)
    with pytest.raises(GluonAFFError, match="format 99, this version reads 1 and 2"):
        checkpoints.load(print)


def test_one_moved_elsewhere_and_linked_is_pruned_as_a_link_and_a_file_is_no_folder(checkpoints, tmp_path):
    path = save(checkpoints, 1)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    save(checkpoints, 2)
    save(checkpoints, 3)
    assert names(checkpoints) == [name(2), name(3)]
    assert (tmp_path / "moved" / "state.json").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(GluonAFFError, match="cannot write checkpoint .*: Not a directory"):
        save(Checkpoints(tmp_path / "file" / "checkpoints", tmp_path / "best"), 1)


def test_leftovers_of_a_crash_are_not_in_the_way_and_removed_at_the_next_start(checkpoints):
    save(checkpoints, 1, best=(0.5, 1))
    for epoch in (2, 3):
        half = checkpoints.directory / f".{name(epoch)}.tmp"
        half.mkdir()
        (half / "model.params").write_text("half")
    (checkpoints.directory / ".mine.tmp").mkdir()
    (checkpoints.best_link.parent / ".best.tmp").symlink_to("nowhere")
    assert checkpoints.load(print).state["progress"]["epoch"] == 1
    save(checkpoints, 2)
    checkpoints.remove_leftovers()
    assert sorted(path.name for path in checkpoints.directory.iterdir()) == [".mine.tmp", name(1), name(2)]
    assert not os.path.lexists(checkpoints.best_link.parent / ".best.tmp")
    checkpoints.erase()  # its own, and nothing else
    assert [path.name for path in checkpoints.directory.iterdir()] == [".mine.tmp"]
    assert not os.path.lexists(checkpoints.best_link)


def test_a_full_disk_leaves_what_was_there(checkpoints):
    """A limit on file sizes stands in for the full disk; MXNet itself is silent about small files."""
    save(checkpoints, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size, limit in ((10, 60), (100_000, 100_000)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(GluonAFFError, match="model.params: the file is incomplete .*MB free"):
                save(checkpoints, 2, model={"w": mx.nd.ones((size,))})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert os.listdir(checkpoints.directory) == [name(1)]
