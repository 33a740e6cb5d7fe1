"""Commands as processes whose terminal is gone, full or interrupted."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import gluon_aff
from gluon_aff.cli.main import main
from gluon_aff.runtime import threads
from gluon_aff.runtime.packages import MXNetImportError
from gluon_aff.utils import console

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
PYTHON = sys.executable
TRAIN = (
    f"{PYTHON} {ROOT / 'train_cifar.py'} --dataset digits --num-epochs 2 --train-images 64 --test-images 64 "
    "--batch-size 32 --channel-times 1 --blocks 1 --save-dir run"
)
COMMAND = f"{PYTHON} -m gluon_aff"
FULL = "error: cannot write to standard output: No space left on device\n"


@pytest.fixture
def shell(tmp_path):
    """Run a command line in an empty folder; its first command's exit code, standard output and standard error."""
    environment = {name: value for name, value in os.environ.items() if name != "GLUON_AFF_DEBUG"}
    environment.update(PYTHONPATH=str(ROOT), TMPDIR=str(tmp_path))

    def run(line, **variables):
        done = subprocess.run(
            ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert not list(tmp_path.glob("gluon-aff-error-*"))
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.mark.parametrize(
    ("redirection", "noted"),
    [
        pytest.param("2>&1 | head -1", "Broken pipe", marks=pytest.mark.slow),  # as in tests/training/test_run.py
        (">&- 2>&-", None),
        ("> /dev/full", "No space left on device"),
    ],
)
def test_a_run_goes_on_to_its_end(shell, tmp_path, redirection, noted):
    code, _, _ = shell(f"{TRAIN} {redirection}")
    assert code == 0
    history, log = (tmp_path / "run" / name for name in ("history.jsonl", "train.log"))
    assert history.read_text().count('"record": "epoch"') == 2
    lines = log.read_text().splitlines()
    assert [line[:9] for line in lines if line.startswith("[Epoch")] == ["[Epoch 0]", "[Epoch 1]"]
    assert lines[-1].startswith("history: ")
    notes = [line for line in lines if "standard output was lost" in line]
    assert len(notes) == (noted is not None)
    assert noted is None or noted in notes[0]


def test_output_into_the_log_itself_is_there_once(shell, tmp_path):
    (tmp_path / "run").mkdir()
    assert shell(f"{TRAIN} > run/train.log")[0] == 0
    assert (tmp_path / "run" / "train.log").read_text().count("[Epoch 1]") == 1


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        (f"{COMMAND} published list | true", 141, ""),
        (
            f"{COMMAND} published list > /dev/full",
            1,
            FULL,
        ),
        (f"{COMMAND} --help > /dev/full", 1, FULL),
        (f"{COMMAND} published list >&-", 0, ""),
        (f"{COMMAND} models nothing* 2>&-", 2, ""),
    ],
)
def test_other_commands_end_quietly_with_a_code(shell, line, code, error):
    found, _, err = shell(line)
    assert (found, err) == (code, error)


NAMES = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_names_beyond_ascii_in_an_ascii_locale(shell, tmp_path):
    code, out, err = shell(TRAIN.replace("--save-dir run", "--save-dir 'données/é'"), **NAMES)
    assert code == 0, err
    assert "données/é/history.jsonl" in out
    log = (tmp_path / "données" / "é" / "train.log").read_text(encoding="utf-8")
    assert "données/é/history.jsonl" in log
    assert "note: the curves cannot be drawn" not in log
    resumed = TRAIN.replace("--save-dir run", "--resume 'données/é'")
    assert shell(resumed, **NAMES)[0] == 0


#: A sitecustomize that presses Ctrl-C when the module is imported that the variable names.
PRESS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["PRESS_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    ("line", "module"),
    [
        (f"{TRAIN} --resume", "gluon_aff.tasks"),
        (f"{COMMAND} train cifar --help", "numpy"),
        (f"{COMMAND} train cifar --resume", "mxnet.gluon"),
    ],
)
def test_ctrl_c_during_the_imports_is_one_line(shell, tmp_path, line, module):
    (tmp_path / "sitecustomize.py").write_text(PRESS)
    code, out, err = shell(line, PYTHONPATH=f"{tmp_path}:{ROOT}", PRESS_AT=module)
    assert (code, out, err) == (130, "", "stopped\n")


def test_a_number_of_threads_that_mxnet_would_abort_with_is_one_line(shell, monkeypatch):
    said = "found OMP_NUM_THREADS={}, expected one whole number from 1 to 4096. Run: unset OMP_NUM_THREADS"
    code, _, err = shell(f"{COMMAND} fusions", OMP_NUM_THREADS="1.5")
    assert code == 1 and err.startswith(f"error: {said.format(1.5)}") and err.count("\n") == 1
    for value in ("abc", "4,2", "99999999999"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        with pytest.raises(MXNetImportError, match=said.format(value)):
            threads.use_physical_cores()


CIFAR = "train cifar --dataset digits --num-epochs 2 --train-images 64 --test-images 64"


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        (f"{CIFAR} --save-dir {'a' * 300}", 1, ": File name too long; choose another"),
        (f"{CIFAR} --save-dir ''", 2, "expected the name of a run's directory, found ''"),
        (f"{CIFAR} --resume ''", 2, "expected the name of a run's directory, found ''"),
        (f"{CIFAR} --logging-dir file", 1, "cannot write to file: file is a file; choose another directory"),
        ("published fetch paper_cifar100_resnet32_AFF_0.8967 --url 'http://[::1/x'", 2, "is not an address"),
        ("launch -n 1 --log-dir file -- true", 2, "--log-dir file cannot be a folder: File exists"),
    ],
)
def test_wrong_calls_are_one_line(tmp_path, monkeypatch, capsys, line, code, message):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLUON_AFF_DEBUG")
    assert console.run(main, shlex.split(line)) == code
    told = [text for text in capsys.readouterr().err.splitlines() if "running on the CPU" not in text]
    assert len(told) == 1 and told[0].startswith("error: ") and message in told[0]
    assert "unexpected" not in told[0]
    assert not list(tmp_path.glob("*/config.yaml"))
