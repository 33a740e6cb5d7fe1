"""`import gluon_aff` where MXNet cannot work: each failure, in a process of its own with a made-up set of packages."""

import ctypes
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from script_runs import in_a_process

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
        unknown = "MXNet cannot be imported: " in done.stderr  # it keeps its cause
        assert ("The above exception was the direct cause" in done.stderr) == unknown
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


def test_without_our_metadata_the_clone_is_what_to_install_and_blocked_mxnet_counts_as_missing(site):
    next(site.folder.glob("gluon_aff-*")).rename(site.folder / "gone")
    assert "pip install '.[cpu]'" in site.message()
    blocked = "import sys; sys.modules['mxnet'] = None\ntry: import gluon_aff\nexcept ImportError as e: print(e)"
    assert "MXNet is not installed" in site.run("-c", blocked).stdout


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


def test_threads_are_set_before_mxnet_and_only_when_unset(site):
    site.module("mxnet", "import os; raise RuntimeError('threads ' + os.environ['OMP_NUM_THREADS'])")
    assert "threads 3" in site.message(OMP_NUM_THREADS="3")
    assert f"threads {threads.usable_cores()}" in site.message(OMP_NUM_THREADS="")


def test_command_line_without_mxnet_runs_the_doctor_and_else_says_one_line(site):
    done = site.run("-m", "gluon_aff", "doctor")
    assert (done.returncode, done.stderr) == (1, "")
    assert "broken   MXNet      MXNet is not installed" in done.stdout
    assert f"-> {INSTALL}" in done.stdout
    done = site.run("-m", "gluon_aff", "fusions")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: MXNet is not installed")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def loaded(monkeypatch):
    """The names that ctypes.CDLL is asked for, which loads nothing; it fails for one in ``loaded.missing``."""

    class Loaded(list):
        missing = ()

        def load(self, name, mode=0):
            if Path(name).name in self.missing:
                raise OSError(f"{name}: cannot open shared object file: No such file or directory")
            assert mode == ctypes.RTLD_GLOBAL
            self.append(name)

    loaded = Loaded()
    monkeypatch.setattr(ctypes, "CDLL", loaded.load)
    return loaded


@pytest.mark.parametrize(
    "missing, expected",
    [
        ("libnccl.so.2", "the CUDA library libnccl.so.2 cannot be loaded"),
        ("libcuda.so.1", "this MXNet is a GPU wheel (mxnet-cu112) and the NVIDIA driver is missing"),
    ],
)
def test_gpu_wheel_is_preloaded_before_mxnet_is_imported(monkeypatch, loaded, missing, expected):
    monkeypatch.delitem(sys.modules, "mxnet")
    monkeypatch.setattr(packages, "installed_wheels", lambda: ["mxnet-cu112"])
    loaded.missing = [missing]
    with pytest.raises(ImportError) as caught:
        importing.import_mxnet()
    assert expected in str(caught.value)
    assert isinstance(caught.value, GluonAFFError)
    assert "mxnet" not in sys.modules


def test_preload_takes_the_wheels_own_files_in_order(monkeypatch, loaded, tmp_path):
    files = [tmp_path / "nvidia" / folder / "lib" / name for folder, name in cuda.LIBRARIES[:3]]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    cuda.preload()
    assert loaded[:3] == list(map(str, files))
    assert [Path(path).name for path in loaded] == [name for _, name in cuda.LIBRARIES] + ["libcuda.so.1"]


def test_mxnet_imported_by_the_user_is_taken_as_it_is_and_numpys_names_stay(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(packages, "installed_wheels", lambda: ["mxnet", "mxnet-cu112"])
    importing.import_mxnet()
    assert "OMP_NUM_THREADS" not in os.environ
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

    version = importing.Version
    mixed = ["1.9.1", "0.10.5.post0", "1.26.4", "0.3", "1.0", "0.10.5"]
    assert sorted(mixed, key=version) == ["0.3", "0.10.5", "0.10.5.post0", "1.0", "1.9.1", "1.26.4"]
    assert version("1.0") == version("1.0")
    assert str(version("0.10.5.post0")) == "0.10.5.post0"


GLUONCV = """
import gluon_aff
from PIL import ImageFile
from gluon_aff.training.schedule import Schedule
Schedule("cosine", 0.1, 2, 2)
assert "gluoncv" in __import__("sys").modules
print(ImageFile.LOAD_TRUNCATED_IMAGES)
"""


def test_gluoncv_leaves_pillow_as_it_is_and_says_what_to_do_without_a_place_for_temporary_files(monkeypatch):
    done = in_a_process(GLUONCV)  # of its own: the import happens once
    assert done.stdout.split() == ["False"], done.stderr

    def no_place(name):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(importing.importlib, "import_module", no_place)
    with pytest.raises(GluonAFFError, match="No usable temporary directory.*set TMPDIR"):
        importing.import_gluoncv("gluoncv.utils")
