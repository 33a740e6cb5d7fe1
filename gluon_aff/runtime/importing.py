"""The one place that knows how to make MXNet 1.9.1 importable.

MXNet 1.9.1 is the last release and older than NumPy 1.24 and Python 3.12; its GPU wheel expects CUDA 11 libraries that
pip puts where the system's loader does not look. Everything else here imports MXNet as if there were no such trouble.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import resource
import sys
import types
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

from ..errors import GluonAFFError
from . import cuda, packages, threads
from .packages import MXNetImportError

# Libraries of the system that every wheel needs, and Debian's package of each.
SYSTEM_LIBRARIES = {"libgomp.so.1": "libgomp1", "libquadmath.so.0": "libquadmath0", "libstdc++.so.6": "libstdc++6"}
# Names that MXNet and GluonCV still use and NumPy has not had since 1.24.
NUMPY_NAMES = {"bool": bool, "int": int, "float": float, "complex": complex, "object": object, "str": str}

after_mxnet: List[Callable[[], None]] = []  # each is called once, when MXNet has been imported


def begin(later: bool) -> None:
    """What importing the package does: prepare MXNet's import, and import it unless that comes ``later``.

    Raises MXNetImportError; with ``later``, only `import_mxnet` does.
    """
    if not later:
        import_mxnet()
        return
    with suppress(MXNetImportError):  # what needs no MXNet may go on
        prepare()


def prepare() -> None:
    """Check NumPy and the wheels, put back the names that MXNet misses. Raises MXNetImportError."""
    first = sys.modules.get("mxnet") is None
    threads.copy_with_one_thread()
    if first:
        threads.use_physical_cores()
        _check_wheels()
        _check_numpy()
    add_numpy_names()
    add_distutils()
    if first and "mxnet-cu112" in packages.installed_wheels():
        with _explained():
            cuda.preload()


def import_mxnet() -> None:
    """`prepare`, and import it. Raises MXNetImportError."""
    prepare()
    with _explained(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy and distutils, about MXNet's own code
        import mxnet
    version = getattr(mxnet, "__version__", "without a version")
    if not version.startswith("1.9."):
        raise MXNetImportError(
            f"found MXNet {version}, expected 1.9.1", packages.pip("install", packages.pinned("mxnet"))
        )
    threads.keep_python_thread_single()
    while after_mxnet:
        after_mxnet.pop()()


@contextmanager
def _explained() -> Iterator[None]:
    """Whatever goes wrong within, the user gets one line: MXNetImportError."""
    try:
        yield
    except Exception as error:
        known = _explain(error)
        if known:
            raise known from None
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        memory = f"; it may use {most >> 20} MB of memory (ulimit -v), which may be too little" if most > 0 else ""
        raise MXNetImportError(f"MXNet cannot be imported: {type(error).__name__}: {_line(error)}{memory}") from error


def _check_wheels() -> None:
    wheels = packages.installed_wheels()
    if len(wheels) > 1:
        raise MXNetImportError(
            f"found {len(wheels)} MXNet wheels ({', '.join(wheels)}), which overwrite each other's files; expected one",
            packages.replace_wheels(wheels, packages.pinned("mxnet")),
            f"; for an NVIDIA GPU, let {packages.pinned('mxnet-cu112')} be what is installed",
        )
    try:
        spec = importlib.util.find_spec("mxnet")
    except ValueError:  # a blocked or half-made entry in sys.modules
        spec = None
    if spec is not None and spec.origin is not None:
        return
    if wheels:
        raise MXNetImportError(
            f"{wheels[0]} is installed, but its files are gone",
            packages.pip("install", "--force-reinstall", "--no-deps", packages.pinned(wheels[0])),
        )
    raise MXNetImportError(
        f"MXNet is not installed for {sys.executable}",
        packages.pip("install", packages.pinned("mxnet")),
        f"; for an NVIDIA GPU: {packages.pip('install', '.[cu112]')} in the clone of gluon_aff",
    )


def _check_numpy() -> None:
    command = packages.pip("install", packages.numpy_range())
    try:
        import numpy
    except ImportError as error:
        raise MXNetImportError(f"NumPy cannot be imported: {_line(error)}", command) from None
    if int(numpy.__version__.split(".")[0]) < 2:
        return
    found = f"found NumPy {numpy.__version__}, but MXNet 1.9.1 needs NumPy below 2"
    if sys.version_info >= (3, 13):
        raise MXNetImportError(f"{found}, which has no wheel for this Python: use Python 3.8 to 3.12")
    raise MXNetImportError(found, command)


def _explain(error: Exception) -> Optional[MXNetImportError]:
    """A failure of the import in words, where it is one that we know."""
    if isinstance(error, OSError):
        return _explain_library(error)
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] != "mxnet":
        found = f"MXNet needs the package {error.name}, which is not installed"
        return MXNetImportError(found, packages.pip("install", error.name))
    if isinstance(error, AttributeError) and "numpy" in str(error):
        found = f"NumPy {packages.version_of('numpy')} lacks a name that MXNet uses: {_line(error)}"
        return MXNetImportError(found, packages.pip("install", packages.numpy_range()))
    return None


def _explain_library(error: OSError) -> Optional[MXNetImportError]:
    missing = re.match(r"(\S+): cannot open shared object file", str(error))
    name = missing.group(1) if missing else getattr(error, "library", None)
    if name == cuda.DRIVER:
        wheels = packages.installed_wheels()
        return MXNetImportError(
            f"this MXNet is a GPU wheel ({', '.join(wheels) or 'version unknown'}) and the NVIDIA driver is missing "
            f"({name}): install the driver, or use the CPU wheel",
            packages.replace_wheels(wheels or ["mxnet-cu112"], packages.pinned("mxnet")),
        )
    package = cuda.package_of(name)
    if package:
        return MXNetImportError(
            f"the CUDA library {name} cannot be loaded: {_line(error)}",
            packages.pip("install", "--force-reinstall", "--no-deps", packages.pinned(package)),
        )
    if name in SYSTEM_LIBRARIES:
        found = f"the system library {name}, which MXNet needs, is missing"
        return MXNetImportError(found, f"apt-get install {SYSTEM_LIBRARIES[name]}", " (on Debian and Ubuntu)")
    return None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def add_numpy_names() -> None:
    """Give ``numpy`` the aliases of Python's types that went with 1.24. What is there stays."""
    import numpy

    for name, value in NUMPY_NAMES.items():
        # Not hasattr: between 1.20 and 1.26 asking NumPy for these names warns.
        vars(numpy).setdefault(name, value)


def add_distutils() -> None:
    """On Python 3.12 without setuptools, provide ``distutils.version``."""
    with_python = Path(os.__file__).with_name("distutils")  # before asking setuptools, which is slow to answer
    if "distutils" in sys.modules or with_python.is_dir() or importlib.util.find_spec("distutils"):
        return
    package, module = types.ModuleType("distutils"), types.ModuleType("distutils.version")
    vars(module).update(LooseVersion=Version, StrictVersion=Version)
    vars(package)["version"] = module
    sys.modules.update({"distutils": package, "distutils.version": module})


class Version(Tuple[Tuple[int, int, str], ...]):
    """A version that compares like distutils' LooseVersion: numbers as numbers, letters as text and before numbers."""

    text: str

    def __new__(cls, text: str) -> Version:
        parts = re.findall(r"\d+|[a-z]+", text)
        version = super().__new__(cls, ((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts))
        version.text = text
        return version

    def __str__(self) -> str:
        return self.text


# ---- GluonCV, without what importing it changes for others

_NEEDED_BY_GLUONCV = ("tqdm", "requests", "matplotlib", "portalocker", "PIL", "scipy")


def import_gluoncv(name: str) -> types.ModuleType:
    """A module of GluonCV. Raises ModuleNotFoundError without it or one that it needs, otherwise ImportError;
    GluonAFFError where no temporary file can be made, which a package of its needs.

    Whatever it lacks, GluonCV itself says that MXNet is missing. Its import makes Pillow fill up images that are cut
    short instead of refusing them, everywhere in the process: damaged training images would pass for whole ones.
    """
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        for package in _NEEDED_BY_GLUONCV:
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package) from error
        raise
    except FileNotFoundError as error:
        raise GluonAFFError(
            f"GluonCV cannot be loaded: {error.strerror or error}; free space on the disk, lift the limit on file "
            "sizes (ulimit -f), or set TMPDIR to a folder that can be written"
        ) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
