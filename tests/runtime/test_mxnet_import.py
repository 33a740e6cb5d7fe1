"""`import gluon_aff` where MXNet cannot work: each failure, in a process of its own with a made-up set of packages."""

import ctypes
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from gluon_aff.errors import GluonAFFError
from gluon_aff.runtime import cuda, importing, packages, threads

PACKAGE = Path(importing.__file__).resolve().parents[1]
PYTHON = shlex.quote(os.path.normpath(sys.executable))  # as commands in messages have it


class Site:
    """A folder of packages that stands for site-packages: gluon_aff, NumPy unless told otherwise, and what is added."""

    def __init__(self, folder, with_numpy=True):
        self.folder = folder
        (folder / "gluon_aff").symlink_to(PACKAGE)
        self.metadata(
            "gluon_aff", "0", "mxnet==1.9.1; extra == 'cpu'", "nvidia-cuda-runtime-cu11==11.8.89; extra == 'x'"
        )
        if with_numpy:
            for found in Path(numpy.__file__).parent.parent.glob("numpy*"):
                (folder / found.name).symlink_to(found)

    def metadata(self, name, version, *requirements):
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requirements)]
        (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")
        return self

    def module(self, name, source):
        (self.folder / name).mkdir()
        (self.folder / name / "__init__.py").write_text(source)
        return self

    def run(self, *arguments, **variables):
        environment = {**os.environ, "PYTHONPATH": str(self.folder), **variables}
        command = [os.path.normpath(sys.executable), "-S", *arguments]  # without the real site-packages
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True)

    def message(self, **variables):
        """The last line of what a failing ``import gluon_aff`` prints."""
        done = self.run("-c", "import gluon_aff", **variables)
        assert done.returncode == 1
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("gluon_aff.runtime.packages.MXNetImportError: ")
        assert f"{PYTHON} -m gluon_aff doctor" in last
        return last


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


INSTALL = f"{PYTHON} -m pip install mxnet==1.9.1"
TWO = ("mxnet", "1.9.1"), ("mxnet-cu112", "1.9.1")
WITHOUT_PZERO = "import numpy; numpy.bool, numpy.int, numpy.float, numpy.object; numpy.PZERO_"
CAUSE = "raise RuntimeError('Cannot find the library.\\nCandidates: none')"


def missing(library):
    """An mxnet whose import ends as when the linker misses a library."""
    return f"raise OSError({f'{library}: cannot open shared object file: No such file or directory'!r})"


@pytest.mark.parametrize(
    ("mxnet", "wheels", "said"),
    [
        (None, (), ["MXNet is not installed", INSTALL]),
        ("", TWO, ["2 MXNet wheels (mxnet, mxnet-cu112)", "pip uninstall -y mxnet mxnet-cu112 && "]),
        (None, TWO[:1], ["--force-reinstall --no-deps mxnet==1.9.1"]),  # its files are gone
        (
            WITHOUT_PZERO,
            (),
            ["lacks a name that MXNet uses: module 'numpy' has no attribute 'PZERO_'", "pip install 'numpy"],
        ),
        (missing("libcudnn.so.8"), (), ["the CUDA library libcudnn.so.8 cannot be loaded"]),
        (missing("libcuda.so.1"), (), ["the NVIDIA driver is missing (libcuda.so.1)"]),
        (missing("libgomp.so.1"), (), ["Run: apt-get install libgomp1"]),
        (missing("libodd.so.3"), (), ["MXNet cannot be imported: OSError: libodd.so.3: cannot open"]),
        ("import requests_of_mxnet", (), ["MXNet needs the package requests_of_mxnet"]),
        (CAUSE, (), ["MXNet cannot be imported: RuntimeError: Cannot find the library. Candidates: none"]),
        ("__version__ = '1.5.1'", (), ["found MXNet 1.5.1, expected 1.9.1"]),
    ],
)
def test_what_is_wrong_and_what_to_run(site, mxnet, wheels, said):
    if mxnet is not None:
        site.module("mxnet", mxnet)
    for wheel in wheels:
        site.metadata(*wheel)
    message = site.message()
    assert all(each in message for each in said), message


def test_without_our_metadata_the_clone_is_what_to_install(site):
    next(site.folder.glob("gluon_aff-*")).rename(site.folder / "gone")
    assert "pip install '.[cpu]'" in site.message()


def test_blocked_mxnet_counts_as_missing(site):
    done = site.run(
        "-c", "import sys; sys.modules['mxnet'] = None\ntry: import gluon_aff\nexcept ImportError as e: print(e)"
    )
    assert "MXNet is not installed" in done.stdout


@pytest.mark.parametrize(
    ("numpy", "said"),
    [
        ("__version__ = '2.1.3'", ["found NumPy 2.1.3, but MXNet 1.9.1 needs NumPy below 2", "pip install 'numpy"]),
        (None, ["NumPy cannot be imported: No module named 'numpy'"]),
    ],
)
def test_another_numpy(tmp_path, numpy, said):
    site = Site(tmp_path, with_numpy=False).module("mxnet", "")
    message = (site.module("numpy", numpy) if numpy else site).message()
    assert all(each in message for each in said), message


def test_damaged_library_of_a_cuda_wheel(site):
    site.module("mxnet", "").metadata("mxnet-cu112", "1.9.1")
    library = site.folder / "nvidia" / "cuda_runtime" / "lib" / "libcudart.so.11.0"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"cut short")
    message = site.message()
    assert "the CUDA library libcudart.so.11.0 cannot be loaded: " in message
    assert "--force-reinstall --no-deps nvidia-cuda-runtime-cu11==11.8.89" in message


def test_an_unknown_failure_keeps_its_cause(site):
    site.module("mxnet", CAUSE)
    assert "The above exception was the direct cause" in site.run("-c", "import gluon_aff").stderr


def test_threads_are_set_before_mxnet_and_only_when_unset(site):
    site.module("mxnet", "import os; raise RuntimeError('threads ' + os.environ['OMP_NUM_THREADS'])")
    assert "threads 3" in site.message(OMP_NUM_THREADS="3")
    assert f"threads {threads.usable_cores()}" in site.message(OMP_NUM_THREADS="")


def test_command_line_without_mxnet_runs_the_doctor(site):
    done = site.run("-m", "gluon_aff", "doctor")
    assert done.returncode == 1
    assert "broken   MXNet      MXNet is not installed" in done.stdout
    assert f"-> {INSTALL}" in done.stdout
    assert done.stderr == ""


def test_command_line_without_mxnet_says_one_line(site):
    done = site.run("-m", "gluon_aff", "fusions")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: MXNet is not installed")
    assert done.stderr.count("\n") == 1


class FakeLoader:
    """Stands for ctypes.CDLL: remembers what is loaded, fails for one name."""

    def __init__(self, missing=None):
        self.missing = missing
        self.loaded = []

    def __call__(self, name, mode=0):
        if Path(name).name == self.missing:
            raise OSError(f"{self.missing}: cannot open shared object file: No such file or directory")
        assert mode == ctypes.RTLD_GLOBAL
        self.loaded.append(name)


@pytest.mark.parametrize(
    "missing, expected",
    [
        ("libnccl.so.2", "the CUDA library libnccl.so.2 cannot be loaded"),
        ("libcuda.so.1", "this MXNet is a GPU wheel (mxnet-cu112) and the NVIDIA driver is missing"),
    ],
)
def test_gpu_wheel_is_preloaded_before_mxnet_is_imported(monkeypatch, missing, expected):
    monkeypatch.delitem(sys.modules, "mxnet")
    monkeypatch.setattr(packages, "installed_wheels", lambda: ["mxnet-cu112"])
    monkeypatch.setattr(ctypes, "CDLL", FakeLoader(missing))
    with pytest.raises(ImportError) as caught:
        importing.import_mxnet()
    assert expected in str(caught.value)
    assert isinstance(caught.value, GluonAFFError)
    assert "mxnet" not in sys.modules


def test_preload_takes_the_wheels_own_files_in_order(monkeypatch, tmp_path):
    for folder, name in cuda.LIBRARIES[:3]:
        (tmp_path / "nvidia" / folder / "lib").mkdir(parents=True)
        (tmp_path / "nvidia" / folder / "lib" / name).touch()
    loader = FakeLoader()
    monkeypatch.setattr(ctypes, "CDLL", loader)
    monkeypatch.syspath_prepend(str(tmp_path))
    cuda.preload()
    assert loader.loaded[:3] == [
        str(tmp_path / "nvidia" / folder / "lib" / name) for folder, name in cuda.LIBRARIES[:3]
    ]
    assert [Path(path).name for path in loader.loaded] == [name for _, name in cuda.LIBRARIES] + ["libcuda.so.1"]


def test_mxnet_imported_by_the_user_is_taken_as_it_is(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(packages, "installed_wheels", lambda: ["mxnet", "mxnet-cu112"])
    importing.import_mxnet()
    assert "OMP_NUM_THREADS" not in os.environ


def test_numpy_names_do_not_replace_what_is_there(monkeypatch):
    monkeypatch.setitem(vars(numpy), "bool", "something of its own")
    monkeypatch.delitem(vars(numpy), "object", raising=False)
    importing.add_numpy_names()
    assert vars(numpy)["bool"] == "something of its own"
    assert vars(numpy)["object"] is object


def test_distutils_is_provided_where_python_has_none(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "distutils"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(importing.os, "__file__", str(tmp_path / "os.py"))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    importing.add_distutils()
    version = sys.modules["distutils.version"]
    assert version.LooseVersion("1.26.4") > version.LooseVersion("1.15")
    assert version.StrictVersion("1.9.1") < version.StrictVersion("1.26")


def test_versions_compare_like_distutils():
    version = importing.Version
    mixed = ["1.9.1", "0.10.5.post0", "1.26.4", "0.3", "1.0", "0.10.5"]
    assert sorted(mixed, key=version) == ["0.3", "0.10.5", "0.10.5.post0", "1.0", "1.9.1", "1.26.4"]
    assert version("1.0") == version("1.0")
    assert str(version("0.10.5.post0")) == "0.10.5.post0"
