"""Building the native operator with the machine's own compiler, and the cache of what was built.

A library's code runs with the user's rights as soon as it is loaded. So one counts only with the digest noted when it
was built and tried, in a folder that nobody but the user or root can write to, nor to the folders above it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import mxnet as mx

from ...errors import GluonAFFError, last_line
from ...utils.files import atomic_write, json_text

VARIABLE = "GLUON_AFF_NATIVE"  # "0": neither build nor load it
SOURCE = Path(__file__).parent / "source"
INTERFACE = [Path(mx.__file__).parent / name for name in ("include/mxnet/lib_api.h", "src/lib_api.cc")]

COMPILERS = ("g++", "c++", "clang++")
OPTIONS = ["-std=c++11", "-O3", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared"]
# Options for the machine's own processor, the first set that the compiler takes.
FOR_PROCESSOR: Sequence[Sequence[str]] = (
    ("-march=native", "-mprefer-vector-width=512"),
    ("-march=native",),
    ("-mcpu=native",),
    (),
)
LONGEST = 600  # seconds for compiling, and for the trial
LARGEST = 4 * 2**20  # bytes of a library, several times what it takes

# The cache's own names; nothing else in it is read or removed.
RECORD, LOCK, TEMPORARY = "operator.json", "lock", "building-"
FOLDER = re.compile(r".+-[0-9a-f]{8}-[0-9a-f]{12}")
LIBRARY = re.compile(r"attend-[0-9a-f]{16}\.so")


class State(Enum):
    """What a cache folder holds."""

    BUILT = "built"
    NONE = "not built"
    FAILED = "failed to build"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class Entry:
    """What the cache has for this MXNet, this processor and this source text.

    ``library`` is the file to load, when it is built and whole; ``identity`` what the bits of its results depend on:
    source, processor, compiler and options. ``detail`` has compiler and options in words, or what is wrong.
    ``speed`` is how many times as fast as MXNet's operators it was in its trial: below 1 it is not used.
    """

    folder: Path
    state: State
    library: Optional[Path] = None
    identity: Optional[str] = None
    detail: str = ""
    speed: float = 1.0


def switched_off() -> bool:
    """Whether the user wants no native operator."""
    return os.environ.get(VARIABLE) == "0"


def compiler() -> Optional[str]:
    """The C++ compiler: ``$CXX``, or the first of g++, c++ and clang++ on the path; None where there is none."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else COMPILERS
    return next(filter(None, map(shutil.which, names)), None)


# ---- what is in the cache


def roots() -> Tuple[Path, Path]:
    """Where folders of built operators lie: the user's cache, and a place of the user's below the temporary folder.

    The first is ``$XDG_CACHE_HOME/gluon_aff/native``, else under ``~/.cache``; the second serves where others can write
    to the first.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path(os.path.expanduser("~")) / ".cache"
    return base / "gluon_aff" / "native", Path(tempfile.gettempdir()) / f"gluon_aff-{os.geteuid()}" / "native"


def folder() -> Path:
    """Of the operator for this MXNet, this processor and this source text."""
    places = [root / f"{mx.__version__}-{processor()}-{source_digest()}" for root in roots()]
    return next((place for place in places if _exposure(place) is None), places[0])


def source_digest() -> str:
    """Of the operator's source text and of MXNet's extension interface."""
    sources = sorted(path for path in SOURCE.iterdir() if path.suffix in (".cc", ".h"))
    return _digest(*(path.read_bytes() for path in [*sources, *INTERFACE]))[:12]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


def processor() -> str:
    """The kind of processor: a library built for one may not run on another."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    lines = re.findall(r"^(?:model name|flags|Features|CPU part)\s*:.*$", text.split("\n\n")[0], re.MULTILINE)
    return f"{platform.machine()}-{_digest('|'.join(lines).encode())[:8]}"


def entry() -> Entry:
    """What the cache holds; the library is checked against the digest that was noted when it was built."""
    place = folder()
    exposure = _exposure(place)
    if exposure:
        return Entry(place, State.DAMAGED, detail=exposure)
    checked = place / RECORD
    try:
        record = json.loads(_read(checked))
        if "failed" in record:
            return Entry(place, State.FAILED, detail=str(record["failed"]))
        name, digest, identity, detail = (record[key] for key in ("library", "sha256", "identity", "detail"))
        if not LIBRARY.fullmatch(name):
            raise ValueError(f"{name!r} is no library of this cache")
        checked = place / name
        if _digest(_read(checked)) != digest:
            raise ValueError("it is not the file that was built")
        return Entry(place, State.BUILT, checked, str(identity), str(detail), float(record["speed"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, FileNotFoundError) and checked.name == RECORD:
            return Entry(place, State.NONE)
        reason = getattr(error, "strerror", None) or error
        return Entry(place, State.DAMAGED, detail=f"{checked} cannot be used: {reason}")


def _exposure(place: Path) -> Optional[str]:
    """Say how somebody else could put files into a cache folder, or None where nobody could.

    Folders above it may be the system's temporary one, where all may write, and none may replace another's.
    """
    own = [place, place.parent]
    for path in [*own, *place.parents, *Path(os.path.realpath(place)).parents]:
        try:
            found = os.lstat(path) if path in own else os.stat(path)
        except OSError:
            continue  # not there yet
        if path in own and stat.S_ISLNK(found.st_mode):
            return f"{path} is a link"
        if found.st_uid not in (0, os.geteuid()):
            return f"{path} belongs to another user"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and (path in own or not found.st_mode & stat.S_ISVTX):
            return f"other users may write to {path}"
    return None


def _read(path: Path) -> bytes:
    """The content of a regular file that only its owner, the user or root, may write to. Raises OSError for others."""
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is not a regular file")
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(0, "other users may write to it")
    if found.st_size > LARGEST:
        raise OSError(0, "it is too large")
    return path.read_bytes()


def clean() -> int:
    """Remove all built operators, of other machines and versions too, and return how many there were.

    Only the cache's own files are removed: what else lies there stays, and no link is followed.
    """
    count = 0
    for root in roots():
        if root.is_symlink():
            count += _remove(root)
        elif root.is_dir() and root.stat().st_uid == os.geteuid():
            count += sum(_remove(place) for place in root.iterdir() if FOLDER.fullmatch(place.name))
    return count


def _remove(place: Path) -> bool:
    """Remove a folder of the cache, but for foreign files in it, or a link. Returns whether anything was removed."""
    own: List[Path] = []
    if not place.is_symlink():
        own += [path for path in place.glob("*.so") if LIBRARY.fullmatch(path.name)]
        own += [place / RECORD, place / LOCK, *place.glob(f".{RECORD}.*.tmp")]
        own += [*place.glob(f"{TEMPORARY}*/attend.so"), *place.glob(f"{TEMPORARY}*")]
    removed = False
    for path in [*own, place]:
        with suppress(OSError):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
            removed = True
    return removed


# ---- building


def build(again: bool = False) -> Entry:
    """Build the operator for this MXNet and processor, unless it is there, and return what the cache then holds.

    With ``again`` it is built also where it was built before, or where building it failed.

    Raises
    ------
    GluonAFFError
        Without a compiler, when the cache cannot be written or is too small, and when the compiler or the trial fails.
        Failures are noted in the cache, so that no other process tries the same.
    """
    place = folder()
    try:
        with _locked(place):
            found = entry()
            if found.state == State.BUILT and not again:
                return found
            if found.state == State.FAILED and not again:
                raise GluonAFFError(f"the native operator failed to build: {found.detail}")
            path = compiler()
            if path is None:
                wanted = os.environ.get("CXX") or ", ".join(COMPILERS)
                raise GluonAFFError(f"no C++ compiler ({wanted}) on the path: install one, for example g++")
            try:
                _note(place, _built(place, path))
            except (GluonAFFError, OSError) as error:
                with suppress(OSError, GluonAFFError):
                    _note(place, {"failed": getattr(error, "strerror", None) or str(error)})
                raise
            return entry()
    except OSError as error:
        raise GluonAFFError(f"the native operator cannot be kept in {place}: {error.strerror}") from error


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """One process at a time in a folder of the user's own; the lock ends with the process that has it."""
    for path in [*reversed(place.parents), place]:
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)
    exposure = _exposure(place)
    if exposure:
        raise GluonAFFError(f"the native operator cannot be kept in {place}: {exposure}")
    lock = place / LOCK
    if lock.exists() and not lock.is_file() or lock.is_symlink():
        lock.unlink()
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _built(place: Path, path: str) -> Dict[str, Any]:
    """Compile, try and keep the library. Returns the cache's record of it."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=place) as temporary:
        with tempfile.TemporaryFile(dir=temporary) as room:  # compiling takes a minute: a full disk is seen before
            os.posix_fallocate(room.fileno(), 0, LARGEST)
        library, options = _compile(path, Path(temporary))
        speed = _try(library)
        library.chmod(0o700)
        digest = _digest(_read(library))
        kept = place / f"attend-{digest[:16]}.so"
        os.replace(library, kept)
    version = (_run([path, "--version"]).stdout.splitlines() or [path])[0]
    identity, detail = _identity(version, options), f"{version}; {' '.join(options)}"
    return {"library": kept.name, "sha256": digest, "identity": identity, "detail": detail, "speed": speed}


def _note(place: Path, record: Dict[str, Any]) -> None:
    """Write what was built in ``place``, or why it was not. Only the process that holds its lock may."""
    with suppress(FileNotFoundError):
        (place / RECORD).unlink()  # it may be a pipe or a link
    with atomic_write(place / RECORD) as handle:
        os.fchmod(handle.fileno(), 0o600)
        handle.write(json_text(record))


def _compile(path: str, place: Path, extra: Sequence[str] = ()) -> Tuple[Path, List[str]]:
    """The library in ``place`` and the options that made it."""
    library, include = place / "attend.so", INTERFACE[0].parents[1]
    for more in FOR_PROCESSOR:
        options = [*OPTIONS, *more, *extra]
        command = [path, *options, f"-I{include}", "attend.cc", str(INTERFACE[1]), "-o", str(library)]
        done = _run(command, cwd=SOURCE)
        if done.returncode == 0:
            return library, options
    lines = (line.strip() for line in done.stderr.splitlines() if "error" in line.lower())
    first = next(lines, last_line(done.stderr) or "no message")
    raise GluonAFFError(f"{path} cannot compile the native operator: {first}")


def _try(library: Path) -> float:
    """Run the operator in a process of its own, beside the blocks' own arithmetic, and return its speed in theirs."""
    environment = {**os.environ, VARIABLE: "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    trial = "import sys; from gluon_aff.nn.native import loading; sys.exit(loading.trial(sys.argv[1]))"
    done = _run([sys.executable, "-c", trial, str(library)], env=environment)
    if done.returncode != 0:
        message = last_line(done.stderr) or "no message"
        raise GluonAFFError(f"the native operator was built and does not work: {message}")
    return round(float(last_line(done.stdout)), 2)


def _run(command: List[str], **settings: object) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, **settings)  # type: ignore
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GluonAFFError(f"{command[0]} cannot build the native operator: {error}") from None


def _identity(version: str, options: Sequence[str]) -> str:
    digest = _digest("|".join([version, *options, platform.machine()]).encode())[:8]
    return f"{source_digest()}-{processor()}-{digest}"
