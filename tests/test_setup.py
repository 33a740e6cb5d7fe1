"""setup.py: run with a setuptools that only takes notes."""

import re
import runpy
import sys
import types
from pathlib import Path

import pytest

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
