"""Several workers: what they tell each other, and that they train as one does."""

import json
import os
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
import rank_programs

from gluon_aff.errors import UsageError
from gluon_aff.launching import cluster_nodes, launch
from gluon_aff.training import SingleProcess, Stop, Workers, group
from gluon_aff.training.history import History

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The directory with what two workers have left there, who ran every program."""
    place, lines = tmp_path_factory.mktemp("ranks"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("MXNET_ENGINE_TYPE", raising=False)
        command = [sys.executable, rank_programs.__file__, str(place)]
        code = launch(cluster_nodes(command, workers=2, servers=1, timeout=120), place / "logs", lines.append)
    assert code == 0, [*lines, *((place / "logs" / f"worker-{rank}.log").read_text() for rank in (0, 1))]
    return place


def epochs(directory):
    return History(directory / "history.jsonl").epochs()


def findings(directory, program):
    return [json.loads((directory / f"{program}-rank-{rank}.json").read_text()) for rank in (0, 1)]


def test_what_ranks_tell_each_other(directory):
    found = findings(directory, "talk")
    assert [row.pop("place") for row in found] == [[0, 2], [1, 2]]
    assert found[0] == found[1]
    both = found[0]
    assert both["sums"] == [[2**21 + 1.0], [[3.0] * 3] * 2, [0.0, 1.0, 2.0, 3.0]]
    assert both["numbers"] == [0.1 + 0.2, 2.0**53]
    assert both["gathered"] == [[0.0], [1 / 3]]
    assert both["rows"] == [[[0.0, 0.5]], [[1.0, 0.5]]]
    assert both["objects"] == [{"rank": rank, "third": 1 / 3, "text": "ä" * 40 * rank} for rank in (0, 1)]
    assert both["told"] == [[np.float32(1 / 3), 0.0], [0, None]]
    assert "rank 1 is no longer that of rank 0 after epoch 7" in both["different"]
    assert "a sum over 2 workers came out wrong" in both["wrong sums"]


def test_two_workers_are_one_with_twice_the_batch(directory):
    for name, options in (("plain", {}), ("accumulated", {"accumulate": 2, "clip": 0.5})):
        alone = rank_programs.make_job(SingleProcess(), 16, frozen=True, drop=0.0, **options)
        _, _, run = rank_programs.train(alone, directory / f"alone-{name}")
        expected = rank_programs.weights(alone)
        start = rank_programs.weights(rank_programs.make_job(SingleProcess(), 16, frozen=True, drop=0.0, **options))
        assert np.abs(expected["8.weight"] - start["8.weight"]).max() > 0.01
        for rank in (0, 1):
            with np.load(directory / f"{name}-rank-{rank}.npz") as arrays:
                for key, array in expected.items():
                    np.testing.assert_allclose(arrays[key], array, rtol=1e-4, atol=1e-6, err_msg=key)
        for ours, record in zip(run.history.epochs(), epochs(directory / name)):
            assert record["images"] == ours["images"] == 64
            assert record["val_images"] == 21
            assert record["loss"] == pytest.approx(ours["loss"], rel=1e-4)
            assert (record["train"], record["val"]) == (ours["train"], ours["val"])


def test_ranks_stop_together_and_resume_to_the_bit(directory):
    for found in findings(directory, "resume"):
        assert found["stops"] == [[0, 2, 143], [1, 4, 143], [3, 0, 0]]
        assert found["different"] == []
        assert found["count"] > 20
    whole, parts = ([{**record, "time": None} for record in epochs(directory / name)] for name in ("whole", "parts"))
    assert len(whole) == 3
    assert parts == whole


def test_a_group_of_one_needs_nobody_and_others_are_asked_to_stop_by_the_sum_alone(monkeypatch):
    monkeypatch.delenv("DMLC_ROLE", raising=False)
    alone = group()
    assert (alone.rank, alone.size) == (0, 1)
    array = mx.nd.ones(3)
    assert alone.sum([array], [2]) == [2.0]
    assert array.asnumpy().tolist() == [1.0] * 3
    assert alone.sum_numbers([1, 0.5]) == [1.0, 0.5]
    assert alone.broadcast_object({"a": 1}) == {"a": 1}
    stop = Stop()
    assert not alone.agree(stop)
    stop.request()
    assert alone.agree(stop)
    assert not stop.join([0, 0])  # a signal since the sum was made: the others have not heard of it
    other = Stop()
    assert other.join(stop.flags())
    assert other.exit_code == 143


def test_a_worker_on_the_cpu_refuses_the_default_engine(monkeypatch):
    monkeypatch.setenv("DMLC_ROLE", "worker")
    monkeypatch.delenv("MXNET_ENGINE_TYPE", raising=False)
    with pytest.raises(UsageError, match="needs MXNET_ENGINE_TYPE=NaiveEngine before Python starts"):
        group([mx.cpu()])
    monkeypatch.setenv("MXNET_ENGINE_TYPE", "NaiveEngine")
    monkeypatch.delenv("DMLC_NUM_SERVER", raising=False)
    with pytest.raises(UsageError, match="DMLC_NUM_SERVER.* not set: start it with `gluon-aff launch`"):
        Workers([mx.cpu()])
