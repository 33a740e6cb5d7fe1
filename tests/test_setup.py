"""setup.py: run with a setuptools that only takes notes."""

import re
import runpy
import sys
import types
from pathlib import Path

import pytest
import yaml

import gluon_aff
from gluon_aff.runtime import cuda

ROOT = Path(gluon_aff.__file__).resolve().parents[1]

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


def test_version_is_the_packages(settings):
    assert settings["version"] == gluon_aff.__version__


def test_params_are_installed_inside_the_package(settings):
    assert settings["package_dir"]["gluon_aff.params"] == "params"
    assert "catalogue.json" in settings["package_data"]["gluon_aff.params"]


def test_every_cuda_library_has_its_pinned_wheel(settings):
    pinned = {requirement.split("==")[0] for requirement in settings["extras_require"]["cu112"]}
    assert {cuda.package_of(name) for _, name in cuda.LIBRARIES} == pinned - {"mxnet-cu112"}


def test_pins_are_in_setup_py_only():
    assert not list(ROOT.glob("requirements*.txt"))
    sources = [*ROOT.glob("gluon_aff/**/*.py"), *ROOT.glob("train_*.py"), *ROOT.glob(".ci/*"), ROOT / "pyproject.toml"]
    pins = [(path.name, pin) for path in sources for pin in re.findall(r"[\w-]+==\d[\w.]*", path.read_text())]
    assert pins == []


def read_yaml(name):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_citation_names_this_version_and_the_paper():
    citation = read_yaml("CITATION.cff")
    assert citation["version"] == gluon_aff.__version__
    paper = citation["preferred-citation"]
    assert (paper["title"], paper["year"]) == ("Attentional Feature Fusion", 2021)
    assert [author["family-names"] for author in paper["authors"]] == ["Dai", "Gieseke", "Oehmcke", "Wu", "Barnard"]


def test_the_change_log_has_this_version_below_what_is_unreleased():
    sections = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", gluon_aff.__version__]


def test_hosted_ci_runs_every_python_that_setup_py_names(settings):
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    named = [each.split(" :: ")[-1] for each in settings["classifiers"] if "Python :: 3." in each]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert all(any(".ci/run" in step.get("run", "") for step in job["steps"]) for job in jobs.values())


def test_hooks_run_the_tools_that_setup_py_pins(settings):
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    pinned = {pin.split("==")[0] for pin in settings["extras_require"]["test"] if "==" in pin}
    assert tools == pinned == {"ruff", "mypy"}
    assert all(hook["language"] == "system" for hook in repository["hooks"])
