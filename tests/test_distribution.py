"""Wheel and sdist: what a user without a checkout gets."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from script_runs import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="only in a clone"),
]

#: Tests that need nothing of a checkout but the tests themselves.
ELSEWHERE = [
    "nn",
    "published",
    "models/test_registry.py",
    "tasks/test_options.py",
    "data/test_decoding.py",
    "comparison",
    "outside",
]


def run(*command, cwd):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def new_environment(folder):
    run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with wheel and sdist, built from what git would clone."""
    place = tmp_path_factory.mktemp("built")
    source = place / "source"
    leave_out = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", "dist", "runs", "__pycache__")
    shutil.copytree(ROOT, source, ignore=leave_out)
    python = new_environment(place / "tools")
    run(python, "-m", "pip", "install", "-q", "build", "twine", cwd=place)
    run(python, "-m", "build", "--outdir", place / "dist", source, cwd=place)
    checked = run(python, "-m", "twine", "check", "--strict", *(place / "dist").iterdir(), cwd=place)
    assert checked.count("PASSED") == 2
    return place / "dist"


def test_the_wheel_outside_the_checkout(built, tmp_path):
    python = new_environment(tmp_path / "env")
    (wheel,) = built.glob("*.whl")
    run(python, "-m", "pip", "install", "-q", f"{wheel}[cpu,test]", cwd=tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # the markers
    out = run(
        python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{each}" for each in ELSEWHERE), cwd=tmp_path
    )
    assert " passed" in out.splitlines()[-1]
    command = python.with_name("gluon-aff")
    quick = ["--train-images", "64", "--test-images", "50", "--num-epochs", "1", "--gpus", ""]
    run(command, "train", "cifar", "--dataset", "digits", *quick, "--save-dir", "run", cwd=tmp_path)
    run(command, "evaluate", "--weights", "run", "--gpus", "", cwd=tmp_path)
    assert "release_cifar100" in run(command, "published", "list", cwd=tmp_path)


def test_the_sdist(built, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path)
    (source,) = Path(tmp_path).iterdir()
    python = new_environment(tmp_path / "env")
    run(python, "-m", "pip", "install", "-q", "-e", ".[cpu,test]", cwd=source)
    out = run(python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", cwd=source)
    assert " passed" in out.splitlines()[-1]
