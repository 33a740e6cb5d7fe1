"""Image files in a folder, a zip or a tar: their names, and their content by name, for threads as well."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, Optional, Tuple

from ..errors import GluonAFFError

SUFFIXES = (".jpeg", ".jpg", ".png")


class ImageStore:
    """``names`` of image files, relative to ``path``, and ``empty`` folders. Hidden files and folders are left out."""

    path: Path
    names: List[str]
    empty: List[str]

    def read(self, name: str) -> bytes:
        """Raises GluonAFFError when it cannot be had."""
        try:
            return self._read(name)
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise GluonAFFError(f"cannot read {self.path}/{name}: {reason}") from error

    def _read(self, name: str) -> bytes:
        raise NotImplementedError


class FolderStore(ImageStore):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.names, self.empty = [], []
        for parent, folders, files in os.walk(path, followlinks=True):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            relative = Path(parent).relative_to(path).as_posix()
            images = [file for file in files if is_image(file)]
            self.names += images if relative == "." else [f"{relative}/{file}" for file in images]
            if not images and not folders:
                self.empty.append(relative)

    def _read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


class ZipStore(ImageStore):
    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise GluonAFFError(
                f"{path} is neither a folder, a .rec file, a tar nor a whole zip archive ({error})"
            ) from error
        names = [name for name in self._zip.namelist() if not name.startswith("__MACOSX")]
        self.names = [name for name in names if is_image(name)]
        parents = {name[:end] for name in self.names for end, letter in enumerate(name) if letter == "/"}
        folders = [name.rstrip("/") for name in names if name.endswith("/")]
        self.empty = [folder for folder in folders if folder not in parents]

    def _read(self, name: str) -> bytes:
        with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
            return self._zip.read(name)


class TarStore(ImageStore):
    """A tar as it was published, not unpacked. A tar inside it (``n01440764.tar``) is a folder of that name."""

    def __init__(self, path: Path) -> None:
        self.path, self.empty = path, []
        self._places: Dict[str, Tuple[int, int]] = {}  # where a file begins in the outermost tar, and its length
        try:
            self._handle = open(path, "rb")  # noqa: SIM115
            for name, begin, length in _tar_members(self._handle, 0, None):
                if name.endswith(".tar"):
                    inner = list(_tar_members(self._handle, begin, length))
                    images = {f"{name[:-4]}/{member[0]}": member[1:] for member in inner if is_image(member[0])}
                    self.empty += [] if images else [name[:-4]]
                    self._places.update(images)
                elif is_image(name):
                    self._places[name] = (begin, length)
        except (tarfile.TarError, EOFError) as error:
            raise GluonAFFError(f"{path} is not a whole, uncompressed tar ({error}): download it again") from error
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error
        self.names = list(self._places)

    def _read(self, name: str) -> bytes:
        begin, length = self._places[name]
        return os.pread(self._handle.fileno(), length, begin)


def open_store(path: Path) -> ImageStore:
    if path.is_dir():
        return FolderStore(path)
    return TarStore(path) if path.suffix == ".tar" else ZipStore(path)


def is_image(name: str) -> bool:
    """By its suffix."""
    name = name.rsplit("/", 1)[-1]
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


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
            archive.members = []  # it would keep all 1.3 million
        handle.seek(archive.offset)
        if handle.read(tarfile.BLOCKSIZE).strip(b"\0") or archive.offset >= end:
            raise tarfile.ReadError("it has no end")
