"""Running a training script in this process, and comparing what its runs leave."""

import importlib.util
from pathlib import Path

import numpy as np

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
