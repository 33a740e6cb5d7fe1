"""Running a training script in this process or code in another, and comparing what runs leave."""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gluon_aff.training.checkpoint import Checkpoints, read_checkpoint
from gluon_aff.training.history import History
from gluon_aff.utils import console

ROOT = Path(__file__).resolve().parents[1]


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runner(script, capsys):
    """Call the script with arguments: (exit code, standard output, standard error)."""

    def run(*argv):
        code = console.run(script.main, [str(word) for word in argv])
        return (code, *capsys.readouterr())

    return run


def script_fixture(name):
    """A fixture: the script's runner, in an empty directory."""

    @pytest.fixture
    def train(tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        return runner(load_script(name), capsys)

    return train


def finished_fixtures(name, *argv):
    """Two fixtures: a finished run that the module only reads, and what puts copies of it into a test's directory."""

    @pytest.fixture(scope="module")
    def finished_run(tmp_path_factory):
        directory = tmp_path_factory.mktemp("finished") / "run"
        assert console.run(load_script(name).main, [*argv, "--save-dir", str(directory)]) == 0
        return directory

    @pytest.fixture
    def finished(finished_run, tmp_path):
        return lambda name: shutil.copytree(finished_run, tmp_path / name, symlinks=True)

    return finished_run, finished


def subcommands(parser, words=()):
    """(words, parser) of a command line and of every subcommand below it; those to be run have no `_subparsers`."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from subcommands(command, (*words, name))


def in_a_process(code, *arguments, cwd=ROOT, **environment):
    """Run Python code in a process of its own; the completed process."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120)


def newest_checkpoint(run):
    return read_checkpoint(Checkpoints(Path(run, "checkpoints"), Path(run, "best")).newest())


def epochs(run):
    """The records of a run's epochs without times."""
    return [{k: v for k, v in r.items() if k != "time"} for r in History(Path(run, "history.jsonl")).epochs()]


def results(run):
    """Every array of a run's last checkpoint, and its epochs without times."""
    newest = newest_checkpoint(run)
    arrays = {f"{group} {name}": a.asnumpy() for group, m in newest.arrays.items() for name, a in m.items()}
    return newest.path.name, arrays, epochs(run)


def assert_equal(first, second):
    (name, arrays, records), (other_name, other_arrays, other_records) = results(first), results(second)
    assert (name, records) == (other_name, other_records)
    assert arrays.keys() == other_arrays.keys()
    for key in arrays:
        np.testing.assert_array_equal(arrays[key], other_arrays[key], err_msg=key)
