"""Compiling the operator into the cache, once however many processes want it, and trying it before it is kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, List, Optional, Sequence, Tuple

from ...errors import GluonAFFError, last_line
from . import cache
from .cache import Entry, State

COMPILERS = ("g++", "c++", "clang++")
OPTIONS = ["-std=c++11", "-O3", "-fopenmp", "-fPIC", "-shared"]
# Options for the machine's own processor, the first set that the compiler takes.
FOR_PROCESSOR: Sequence[Sequence[str]] = (
    ("-march=native", "-mprefer-vector-width=512"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
LONGEST = 600  # seconds for compiling, and for the trial


def compiler() -> Optional[str]:
    """The C++ compiler: ``$CXX``, or the first of g++, c++ and clang++ on the path; None where there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    return next(filter(None, map(shutil.which, names)), None)


def build(extra: Sequence[str] = (), again: bool = False) -> Entry:
    """Build the operator for this MXNet and processor, unless it is there, and return what the cache then holds.

    Parameters
    ----------
    extra : more options for the compiler.
    again : build also where it was built before, or where building it failed.

    Raises
    ------
    GluonAFFError
        Without a compiler, when the cache cannot be written, and when the compiler or the trial fails. The latter is
        noted in the cache, so that no other process tries the same.
    """
    place = cache.folder()
    with _locked(place):
        found = cache.entry()
        if found.state == State.BUILT and not again:
            return found
        if found.state == State.FAILED and not again:
            raise GluonAFFError(f"the native operator failed to build: {found.detail}")
        path = compiler()
        if path is None:
            wanted = os.environ.get("CXX") or ", ".join(COMPILERS)
            raise GluonAFFError(f"no C++ compiler ({wanted}) on the path: install one, for example g++")
        with tempfile.TemporaryDirectory(dir=place) as folder:
            try:
                library, options = _compile(path, Path(folder), extra)
                _try(library)
            except GluonAFFError as error:
                cache.note(place, {"failed": str(error)})
                raise
            digest = cache.digest_of(library)
            kept = place / f"attend-{digest[:16]}.so"
            os.replace(library, kept)
        version = _version(path)
        record = {
            "library": kept.name,
            "sha256": digest,
            "identity": _identity(version, options),
            "detail": f"{version}; {' '.join(options)}",
        }
        cache.note(place, record)
        return cache.entry()


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One process at a time; the lock ends with the process that has it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle = os.open(place / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise GluonAFFError(f"the native operator cannot be kept in {place}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _compile(path: str, folder: Path, extra: Sequence[str]) -> Tuple[Path, List[str]]:
    """The library in ``folder`` and the options that made it."""
    message = ""
    for more in FOR_PROCESSOR:
        options = [*OPTIONS, *more, *extra]
        library = folder / "attend.so"
        include = f"-I{cache.MXNET / 'include'}"
        command = [path, *options, include, "attend.cc", str(cache.INTERFACE[1]), "-o", str(library)]
        done = _run(command, cwd=cache.SOURCE)
        if done.returncode == 0:
            return library, options
        message = done.stderr
    raise GluonAFFError(f"{path} cannot compile the native operator: {_first_error(message)}")


def _try(library: Path) -> None:
    """Run the operator in a process of its own, beside the blocks' own arithmetic."""
    environment = {**os.environ, cache.VARIABLE: "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = _run([sys.executable, "-m", "gluon_aff.nn.native.trial", str(library)], env=environment)
    if done.returncode != 0:
        raise GluonAFFError(
            f"the native operator was built and does not work: {last_line(done.stderr) or 'no message'}"
        )


def _run(command: List[str], **settings: object) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, **settings)  # type: ignore
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GluonAFFError(f"{command[0]} cannot build the native operator: {error}") from None


def _version(path: str) -> str:
    return next(iter(_run([path, "--version"]).stdout.splitlines()), path)


def _identity(version: str, options: Sequence[str]) -> str:
    text = "|".join([version, *options, platform.machine()])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{cache.source_digest()}-{cache.processor()}-{digest}"


def _first_error(text: str) -> str:
    """Of a compiler's messages; the last line where none says error."""
    return next(
        (line.strip() for line in text.splitlines() if "error" in line.lower()), last_line(text) or "no message"
    )
