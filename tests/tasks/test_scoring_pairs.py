"""Scoring with pictures reads every image once."""

from collections import Counter

from gluon_aff.data import PairSet
from gluon_aff.tasks import get_task, seg, seg_scoring


def test_every_pair_is_decoded_once(tmp_path, monkeypatch):
    read = Counter()
    real = seg.load_split

    def counted(*args):
        pairs = real(*args)

        def note(name):
            read[name] += 1
            return pairs.read(name)

        return PairSet(pairs.name, pairs.source, pairs.names, note, pairs.note, cache_bytes=0)

    monkeypatch.chdir(tmp_path)
    task = get_task("seg")
    small = "--dataset shapes --no-cuda --batch-size 4 --train-images 8 --test-images 6 --blocks 1 --epochs 1"
    argv = [*small.split(), "--base-size", "32", "--crop-size", "32", "--save-dir", "run"]
    assert task.main(argv) == 0
    monkeypatch.setattr(seg_scoring, "load_split", counted)
    assert task.main(["--no-cuda", "--resume", "run", "--predict", "seen"]) == 0
    assert len(read) == 6 and set(read.values()) == {1}
