"""setup.py, run with a setuptools that only takes notes; and what docs/install.md says of life without a package."""

import os
import re
import runpy
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import gluon_aff
from gluon_aff.runtime import cuda

ROOT = Path(gluon_aff.__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "install.md"

pytestmark = pytest.mark.skipif(not (ROOT / "setup.py").exists(), reason="only in a clone")


@pytest.fixture(scope="module")
def settings():
    noted = {}
    setuptools = types.ModuleType("setuptools")
    setuptools.setup = noted.update
    setuptools.find_packages = lambda include: ["gluon_aff"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "setuptools", setuptools)
        runpy.run_path(str(ROOT / "setup.py"))
    return noted


def test_version_params_and_cuda_wheels(settings):
    assert settings["version"] == gluon_aff.__version__
    assert settings["package_dir"]["gluon_aff.params"] == "params"
    assert "catalogue.json" in settings["package_data"]["gluon_aff.params"]
    pinned = {requirement.split("==")[0] for requirement in settings["extras_require"]["cu112"]}
    assert {cuda.package_of(name) for _, name in cuda.LIBRARIES} == pinned - {"mxnet-cu112"}


def test_pins_are_in_setup_py_only():
    assert not list(ROOT.glob("requirements*.txt"))
    sources = [*ROOT.glob("gluon_aff/**/*.py"), *ROOT.glob("train_*.py"), *ROOT.glob(".ci/*"), ROOT / "pyproject.toml"]
    pins = [(path.name, pin) for path in sources for pin in re.findall(r"[\w-]+==\d[\w.]*", path.read_text())]
    assert pins == []


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_citation_and_change_log_name_this_version():
    citation = read_yaml("CITATION.cff")
    assert citation["version"] == gluon_aff.__version__
    paper = citation["preferred-citation"]
    assert (paper["title"], paper["year"]) == ("Attentional Feature Fusion", 2021)
    assert [author["family-names"] for author in paper["authors"]] == ["Dai", "Gieseke", "Oehmcke", "Wu", "Barnard"]
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", gluon_aff.__version__]


def test_ci_and_hooks_run_what_setup_py_names(settings):
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    named = [each.split(" :: ")[-1] for each in settings["classifiers"] if "Python :: 3." in each]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert all(any(".ci/run" in step.get("run", "") for step in job["steps"]) for job in jobs.values())
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    pinned = {pin.split("==")[0] for pin in settings["extras_require"]["test"] if "==" in pin}
    assert tools == pinned == {"ruff", "mypy"}
    assert all(hook["language"] == "system" for hook in repository["hooks"])


def required(noted):
    """(package, extra) of each requirement in setup.py; "test" holds what other extras hold, too."""
    extras = noted["extras_require"]
    others = [line for extra in ("coco", "irst", "onnx", "tensorboard") for line in extras[extra]]
    own = [line for line in extras["test"] if line not in others]
    lists = {"": noted["install_requires"], **extras, "test": own}
    return {(re.match(r"[\w.-]+", line)[0], extra) for extra, lines in lists.items() for line in lines}


def rows():
    section = PAGE.read_text(encoding="utf-8").split("## Dependencies")[1]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_dependency_is_explained(settings):
    assert {(row[0], row[1]) for row in rows()} == required(settings)
    assert all(len(row) == 5 and all(row[2:]) for row in rows())  # what for, without it, licence


HIDE = """
import os, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == os.environ["ABSENT"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def without(tmp_path):
    """``without(module, script, *arguments)`` -> (exit code, last line of standard error)."""
    (tmp_path / "sitecustomize.py").write_text(HIDE)

    def run(module, *command):
        variables = {name: value for name, value in os.environ.items() if name != "GLUON_AFF_DEBUG"}
        variables.update(ABSENT=module, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}", OMP_NUM_THREADS="1")
        line = [sys.executable, *map(str, command)]
        done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)
        return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]

    return run


SMALL = ["--num-epochs", "1", "--train-images", "32", "--test-images", "32", "--batch-size", "32"]
DIGITS = ["--dataset", "digits", *SMALL, "--save-dir", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["gluoncv", "tqdm", "scipy", "yaml", "PIL"])
def test_networks_work_and_training_names_what_is_missing(without, module):
    assert without(module, "-c", "import gluon_aff; gluon_aff.create_model('cifar_aff_resnet8')")[0] == 0
    folder = "--dataset shapes --num-epochs 1 --train-images 8 --test-images 8 --base-size 64 --crop-size 48"
    code, line = without(module, ROOT / "train_seg.py", *folder.split(), "--save-dir", "run")
    told = f"error: the Python package {module} is missing or incomplete: `gluon-aff doctor` says what to install"
    assert (code, line) == (1, told)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["numpy", "requests"])
def test_the_import_says_what_to_install(without, module):
    code, line = without(module, "-c", "import gluon_aff")
    assert code == 1 and re.search(r"MXNetImportError: .*Run: .* -m pip install ", line)


@pytest.mark.slow
def test_training_goes_on_without_matplotlib(without, tmp_path):
    code, line = without("matplotlib", ROOT / "train_cifar.py", *DIGITS)
    assert code == 0, line
    log = (tmp_path / "run" / "train.log").read_text()
    assert "the curves cannot be drawn" in log and "plot:" not in log
    code, line = without("matplotlib", "-m", "gluon_aff", "plot", "history", "run")
    assert code == 1 and line.startswith("error: the Python package matplotlib is missing")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "script", "options", "package"),
    [
        ("sklearn", "train_cifar.py", DIGITS, "scikit-learn"),
        ("tensorboardX", "train_cifar.py", [*DIGITS, "--tensorboard"], "tensorboardX"),
        ("pycocotools", "train_seg.py", ["--dataset", "coco", "--data-dir", "coco"], "pycocotools"),
        ("cv2", "train_imagenet.py", ["--data-dir", "images", "--dtype", "float32"], "cv2"),
    ],
)
def test_what_is_refused_says_what_to_install(without, tmp_path, module, script, options, package):
    for shade, place in enumerate(("train/a", "train/b", "val/a", "val/b")):
        (tmp_path / "images" / place).mkdir(parents=True)
        for number in range(2):
            pixels = np.full((40, 40, 3), 20 * (2 * shade + number), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / place / f"{number}.jpg")
    (tmp_path / "coco").mkdir()
    code, line = without(module, ROOT / script, *options)
    assert code in (1, 2)
    assert line.startswith("error: ") and package in line and "unexpected" not in line, line
