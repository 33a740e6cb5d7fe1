"""Damaged files before every reader of foreign bytes: read or refused in one line, within time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fault_readers
import pytest

import gluon_aff

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
PROGRAM = Path(fault_readers.__file__)


def tried(folder, examples, seed, *readers):
    """The counts of each reader; the readers run in a process of their own, so that a crash ends that one."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder), str(examples), str(seed), *readers],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"code {done.returncode}; the input is in {folder}/found\n{done.stderr[-4000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def count(counted, results):
    for result in results:
        counted("damaged inputs", "refused", result["refused"])
        counted("damaged inputs", "read", result["read"])
        assert result["slowest"] < fault_readers.SECONDS


def test_a_sample_of_damaged_files(tmp_path, counted):
    results = tried(tmp_path, 6, 1)
    assert [result["reader"] for result in results] == list(fault_readers.READERS)
    count(counted, results)
    assert sum(result["refused"] for result in results) > 50


@pytest.mark.faults
@pytest.mark.parametrize("reader", list(fault_readers.READERS))
def test_damaged_files(tmp_path, counted, reader):
    count(counted, tried(tmp_path, 150, 2, reader))


def test_a_reader_that_fails_is_found(tmp_path, monkeypatch):
    """The campaign itself: an error that is not ours, or a hang, ends it."""

    def failing(folder):
        return fault_readers.of_file("a", b"abc", lambda path: {}["missing"])

    monkeypatch.setitem(fault_readers.READERS, "failing", failing)
    with pytest.raises(KeyError, match="missing"):
        fault_readers.try_out("failing", tmp_path / "at", 5, 1)
    assert (tmp_path / "found").exists()
