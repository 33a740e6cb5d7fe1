"""Writing files so that a reader never sees half of one; digests; safe file names."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Iterator, Optional, Set, Union

from ..errors import GluonAFFError
from .outputs import check_replacing

PathLike = Union[str, "os.PathLike[str]"]

_LONGEST_NAME = 200  # bytes; file systems take 255, and a temporary name is longer than the file's
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_NAMED_DESCRIPTORS = {"/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def atomic_write(path: PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside ``path``; on success flush, sync and rename it into place.

    A symbolic link stays: the file that it points to is replaced. What is not a regular file (a device, a pipe,
    ``/dev/stdout``) is written to directly. A missing directory is made. Text is UTF-8; a file name that is not text in
    this locale keeps its bytes.

    Parameters
    ----------
    path : path
    mode : {"w", "wb"}

    Yields
    ------
    file object

    Raises
    ------
    GluonAFFError
        When the disk is full or the place cannot be written. What ``path`` held before is then still there.
    UsageError
        When a command is not allowed to replace what is there, see `outputs`.
    """
    encoding, errors = (None, None) if "b" in mode else ("utf-8", "surrogateescape")
    temporary: Optional[Path] = None
    try:
        descriptor = _direct_descriptor(path)
        if descriptor is not None:
            with open(descriptor, mode, encoding=encoding, errors=errors) as handle:
                yield handle
            return
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent)
        temporary = temporary_name(target)
        with open(temporary, mode, encoding=encoding, errors=errors) as handle:
            if target.exists():
                shutil.copymode(target, temporary)
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        check_replacing(target, temporary)
        os.replace(temporary, target)
        sync(target.parent)
    except (OSError, UnicodeEncodeError) as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()


def _direct_descriptor(path: PathLike) -> Optional[int]:
    """A new descriptor of what is there and cannot be replaced by a file; None for a regular file or none at all.

    Raises OSError when it cannot be written to.
    """
    name = os.fspath(path)
    if not name:
        raise FileNotFoundError(errno.ENOENT, "the file name is empty")
    match = _DESCRIPTOR.fullmatch(name)
    number = int(match.group(1)) if match else _NAMED_DESCRIPTORS.get(name)
    if number is not None:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()  # what was printed before comes first
        return os.dup(number)  # shares the position with what is printed
    try:
        kind = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(kind):
        return os.open(path, os.O_WRONLY)
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is write-protected")
    return None


def cannot_write(path: PathLike, error: Exception) -> GluonAFFError:
    """The error that tells the user why ``path`` was not written; ``error`` is an OSError or UnicodeEncodeError."""
    if isinstance(error, UnicodeEncodeError):
        return GluonAFFError(
            f"cannot write {os.fspath(path)!a}: file names of this locale are {sys.getfilesystemencoding()}; "
            "set PYTHONUTF8=1, or a UTF-8 locale such as LC_ALL=C.UTF-8"
        )
    return GluonAFFError(f"cannot write {os.fspath(path) or repr('')}: {getattr(error, 'strerror', None) or error}")


def temporary_name(target: Path, ending: str = "tmp") -> Path:
    """A name beside ``target`` for this process alone, by which `remove_leftovers` knows whose it is."""
    return target.with_name(f".{_shortened(target.name)}.{_host()}-{os.getpid()}.{ending}")


def remove_leftovers(directory: PathLike) -> None:
    """Remove the temporary files in ``directory`` that processes of this machine left when they were killed.

    Files of processes that are alive, of other machines and of other programs stay, and so does a missing directory.
    """
    pattern = re.compile(rf"\..+\.{re.escape(_host())}-(\d+)\.tmp")
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and entry.is_file(follow_symlinks=False) and not _is_alive(int(match.group(1))):
                with suppress(OSError):
                    os.unlink(entry.path)


def printable(name: str) -> str:
    """A file name as text that can be drawn and encoded; bytes that are not UTF-8 become the replacement character."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_sweep = lru_cache(maxsize=None)(remove_leftovers)  # once a process: a folder may have many files and get many more


def _host() -> str:
    """This machine's name, as it may stand in a file's."""
    return re.sub(r"[^A-Za-z0-9]+", "_", os.uname().nodename)[:40]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


def sync(path: PathLike) -> None:
    """Ask the system to write a file's content, or a directory's entries (names of new or renamed files), to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: PathLike) -> str:
    """The SHA-256 of a file's content, in hexadecimal. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


def digest_of_document(document: object) -> str:
    """The SHA-256 of a JSON document's content, however it is laid out, in hexadecimal."""
    content = json.loads(json.dumps(document))  # keys as they will be read
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def json_text(document: object) -> str:
    """What a JSON file of ours holds: indented by one, with a line end."""
    return json.dumps(document, indent=1) + "\n"


def write_json(document: object, path: PathLike) -> None:
    """Write ``document`` as JSON. Raises GluonAFFError as `atomic_write` does."""
    with atomic_write(path) as handle:
        handle.write(json_text(document))


class FileNames:
    """Turns image names into file names without a suffix that are safe on any system and distinct.

    Every run of characters that are not letters, digits, dot, dash or underscore becomes one underscore, leading dots
    as well. A name that was given before, in whatever case, gets -2, -3, ... at its end.
    """

    def __init__(self) -> None:
        self._used: Set[str] = set()

    def __call__(self, name: str) -> str:
        stem = _shortened(re.sub(r"[^\w.-]+|^\.+", "_", name)) or "_"
        chosen, number = stem, 1
        while chosen.lower() in self._used:
            number += 1
            chosen = f"{stem}-{number}"
        self._used.add(chosen.lower())
        return chosen


def last_name(path: Path) -> Path:
    """The one with the highest number of ``path``, path-2, path-3, ... that are there; ``path`` where none is."""
    last = _last_number(path)
    return path.with_name(f"{path.name}-{last}") if last > 1 else path


def next_name(path: Path) -> Path:
    """The one behind `last_name`; ``path`` where none is there."""
    last = _last_number(path)
    return path.with_name(f"{path.name}-{last + 1}") if last else path


def make_next(path: Path) -> Path:
    """Make a folder of the `next_name`, which no other process has made, and return it. Raises GluonAFFError."""
    while True:
        made = next_name(path)
        try:
            made.mkdir(parents=True)
            return made
        except OSError as error:
            if not made.exists():  # else another process was faster
                raise cannot_write(made, error) from error


def _last_number(path: Path) -> int:
    pattern = re.compile(re.escape(path.name) + r"(?:-([2-9]|[1-9][0-9]+))?")
    names = os.listdir(path.parent) if path.parent.is_dir() else []
    return max((int(match[1] or 1) for match in map(pattern.fullmatch, names) if match), default=0)


def _shortened(name: str) -> str:
    while len(name.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
        name = name[:-1]
    return name
