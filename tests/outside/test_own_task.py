"""A fourth task, from outside the package: it trains, stops, resumes to the bit, is scored, compared and plotted."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from script_runs import ROOT, assert_equal, epochs

PROGRAM = Path(__file__).with_name("own_task.py")
SMALL = ["--num-epochs", "4", "--gpus", "", "--lr", "0.1", "--fusion", "iaff"]


@pytest.fixture
def start(tmp_path):
    """Start the program in an empty directory."""
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLUON_AFF_NATIVE": "0", "PATH": "/usr/bin:/bin"}

    def start(*argv):
        command = [sys.executable, "-u", str(PROGRAM), *map(str, argv)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)

    return start


def finish(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out


def test_a_task_of_ones_own(start, tmp_path):
    assert len(PROGRAM.read_text().splitlines()) < 120
    assert "Train a network to tell whether two pictures" in finish(start("train", "same", "--help"))
    assert "6,434 with running statistics" in finish(start("train", "same", "--summary"))
    assert "20 updates per epoch" in finish(start("train", "same", *SMALL, "--dry-run"))
    finish(start("train", "same", *SMALL, "--save-dir", "whole"))

    stopped = start("train", "same", *SMALL, "--save-dir", "parts")
    for line in stopped.stdout:
        if line.startswith("[Epoch 0]"):
            stopped.send_signal(signal.SIGTERM)
            break
    finish(stopped, 143)
    finish(start("train", "same", "--resume", "parts"))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert epochs(parts) == epochs(whole)
    assert_equal(parts, whole)

    assert "accuracy" in finish(start("evaluate", "--weights", "whole", "--gpus", "", "--json", "report.json"))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["figures"]["accuracy"] == max(record["val"] for record in epochs(whole)) > 0.55
    compared = finish(start("compare", "parts", "--with", "whole", "--plot", "c.png"))
    assert "difference" in compared and (tmp_path / "c.png").is_file()
    finish(start("plot", "history", "whole", "parts", "--out", "h.png"))
    assert (tmp_path / "h.png").is_file()
