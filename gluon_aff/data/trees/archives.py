"""Zip and tar archives as trees of files, read in place."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import BinaryIO, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from ...errors import GluonAFFError
from .tree import HIDDEN, FileTree


class Archive(FileTree):
    """A file that lists its members."""

    def _index(self, names: Iterable[str]) -> None:
        self._files: Dict[str, Set[str]] = {}
        self._folders: Dict[str, Set[str]] = {}
        for name in names:
            parts = name.split("/")
            if any(part.startswith(HIDDEN) for part in parts):
                continue
            for depth in range(1, len(parts)):
                self._folders.setdefault("/".join(parts[: depth - 1]), set()).add(parts[depth - 1])
            if parts[-1]:
                self._files.setdefault("/".join(parts[:-1]), set()).add(parts[-1])

    def folders(self, folder: str = "") -> List[str]:
        return sorted(self._folders.get(folder, ()))

    def files(self, folder: str = "") -> List[str]:
        return sorted(self._files.get(folder, ()))

    def exists(self, name: str) -> bool:
        folder, _, file = name.rpartition("/")
        return file in self._files.get(folder, ())


class ZipTree(Archive):
    """A .zip. ``kinds`` are what else the user might have given."""

    def __init__(self, path: Path, kinds: str = "a folder") -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._open()
        except (zipfile.BadZipFile, OSError) as error:
            size = f" ({path.stat().st_size} bytes)" if path.is_file() else ""
            raise GluonAFFError(
                f"{path}{size} is neither {kinds} nor a whole zip archive ({error}): copy or download it again"
            ) from error
        self._index(self._zip.namelist())

    def _open(self) -> None:
        self._zip = zipfile.ZipFile(self.path)
        self._process = os.getpid()

    def read(self, name: str) -> bytes:
        try:
            self._check_size(name, self._zip.getinfo(name).file_size)
            with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
                if self._process != os.getpid():  # a forked worker shares its parent's position in the open file
                    self._open()
                return self._zip.read(name)
        except GluonAFFError:
            raise
        except Exception as error:  # a damaged archive can raise nearly anything
            raise GluonAFFError(f"cannot read {self.where(name)}: {error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        found = self._zip.getinfo(name)
        return found.file_size, found.CRC


class TarTree(Archive):
    """A tar as it was published, not unpacked. A tar inside it (``n01440764.tar``) is a folder of that name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._places: Dict[str, Tuple[int, int]] = {}  # where a file begins in the outermost tar, and its length
        names: List[str] = []
        try:
            self._handle = open(path, "rb")  # noqa: SIM115
            for name, begin, length in _tar_members(self._handle, 0, None):
                if not name.endswith(".tar"):
                    self._places[name] = (begin, length)
                    continue
                names.append(f"{name[:-4]}/")
                for member, *place in _tar_members(self._handle, begin, length):
                    self._places[f"{name[:-4]}/{member}"] = (place[0], place[1])
        except (tarfile.TarError, EOFError) as error:
            raise GluonAFFError(f"{path} is not a whole, uncompressed tar ({error}): download it again") from error
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
        self._index([*names, *self._places])

    def read(self, name: str) -> bytes:
        begin, length = self._places[name]
        self._check_size(name, length)
        try:
            return os.pread(self._handle.fileno(), length, begin)
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror or error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        begin, length = self._places[name]
        return length, begin


def _tar_members(handle: BinaryIO, begin: int, length: Optional[int]) -> Iterator[Tuple[str, int, int]]:
    """Name, place and length of the files of the tar at ``begin``. Raises tarfile.TarError when it is not whole."""
    size = os.fstat(handle.fileno()).st_size
    end = size if length is None else begin + length
    handle.seek(begin)
    with tarfile.open(fileobj=handle, mode="r:") as archive:
        for member in archive:
            if member.offset_data + member.size > min(end, size):
                raise tarfile.ReadError(f"{member.name} reaches beyond its end")
            if member.isfile():
                yield member.name[2:] if member.name.startswith("./") else member.name, member.offset_data, member.size
            vars(archive)["members"] = []  # it would keep all 1.3 million
        handle.seek(archive.offset)
        if handle.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.offset >= end:
            raise tarfile.ReadError("it has no end")
