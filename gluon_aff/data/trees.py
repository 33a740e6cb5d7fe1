"""Files by their path below a root, which is a folder or a .zip."""

from __future__ import annotations

import os
import tarfile
import threading
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Callable, Collection, Dict, Iterator, List, Optional, Set, Tuple

from ..errors import GluonAFFError


class FileTree:
    """Reading and listing; names are paths below the root with slashes, "" is the root. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folders(self, folder: str = "") -> List[str]:
        """Names of the folders directly in a folder, sorted, hidden ones left out; none if there is no such folder."""
        raise NotImplementedError

    def files(self, folder: str = "") -> List[str]:
        """The same for files."""
        raise NotImplementedError

    def below(self, folder: str, endings: Tuple[str, ...]) -> Iterator[str]:
        """Paths of all files in a folder and below it whose names end so, in whichever case."""
        yield from (joined(folder, name) for name in self.files(folder) if name.lower().endswith(endings))
        for name in self.folders(folder):
            yield from self.below(joined(folder, name), endings)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """Raises GluonAFFError when the file cannot be had."""
        raise NotImplementedError

    def state(self, name: str) -> Tuple[int, int]:
        """Size and time (in a zip, size and checksum): what changes when the file does."""
        raise NotImplementedError

    def where(self, name: str) -> str:
        return f"{self.path}/{name}" if name else str(self.path)


class _Folder(FileTree):
    def folders(self, folder: str = "") -> List[str]:
        return self._listed(folder, Path.is_dir)

    def files(self, folder: str = "") -> List[str]:
        return self._listed(folder, Path.is_file)

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror or error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        found = (self.path / name).stat()
        return found.st_size, found.st_mtime_ns

    def _listed(self, folder: str, kind: Callable[[Path], bool]) -> List[str]:
        try:
            entries = [entry for entry in (self.path / folder).iterdir() if kind(entry)]
        except OSError:
            return []
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))


class _Zip(FileTree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._open()
        except (zipfile.BadZipFile, OSError) as error:
            raise GluonAFFError(
                f"{path} is neither a folder nor a whole zip archive ({error}): copy or download it again"
            ) from error
        self._files: Dict[str, Set[str]] = {}
        self._folders: Dict[str, Set[str]] = {}
        for name in self._zip.namelist():
            parts = name.split("/")
            if any(part.startswith((".", "__MACOSX")) for part in parts):
                continue
            for depth in range(1, len(parts)):
                self._folders.setdefault("/".join(parts[: depth - 1]), set()).add(parts[depth - 1])
            if parts[-1]:
                self._files.setdefault("/".join(parts[:-1]), set()).add(parts[-1])

    def _open(self) -> None:
        self._zip = zipfile.ZipFile(self.path)
        self._process = os.getpid()

    def folders(self, folder: str = "") -> List[str]:
        return sorted(self._folders.get(folder, ()))

    def files(self, folder: str = "") -> List[str]:
        return sorted(self._files.get(folder, ()))

    def exists(self, name: str) -> bool:
        folder, _, file = name.rpartition("/")
        return file in self._files.get(folder, ())

    def read(self, name: str) -> bytes:
        try:
            with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
                if self._process != os.getpid():  # a forked worker shares its parent's position in the open file
                    self._open()
                return self._zip.read(name)
        except Exception as error:  # a damaged archive can raise nearly anything
            raise GluonAFFError(f"cannot read {self.where(name)}: {error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        found = self._zip.getinfo(name)
        return found.file_size, found.CRC


def open_file_tree(path: Path) -> FileTree:
    """The tree of a folder or a zip. Raises GluonAFFError when it is neither."""
    return _Folder(path) if path.is_dir() else _Zip(path)


def joined(*parts: str) -> str:
    """A name of its parts; empty ones count nothing."""
    return "/".join(part for part in parts if part)


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


_CHUNK = 1 << 20


class Folder:
    """The files directly in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> Set[str]:
        return {entry.name for entry in self.path.iterdir() if entry.is_file()}

    def read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror}") from error

    def where(self, name: str) -> str:
        return str(self.path / name)


class TarArchive:
    """The regular files of a .tar or .tar.gz whose base name is in ``wanted``.

    Reads to the very end, so that gzip's checksum covers what is used. Raises GluonAFFError when the archive is
    damaged or cut short.
    """

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        self.path = path
        self._contents: Dict[str, bytes] = {}
        try:
            with tarfile.open(path) as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if member.isfile() and name in wanted:
                        self._contents[name] = archive.extractfile(member).read()
                while archive.fileobj.read(_CHUNK):
                    pass
        except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
            reason = str(error).split("\n")[0].rstrip(":")
            raise GluonAFFError(
                f"{path} ({path.stat().st_size} bytes) cannot be read to its end as a .tar.gz archive ({reason}): "
                "it is cut short, damaged or something else, delete it and download it again"
            ) from error

    def names(self) -> Set[str]:
        return set(self._contents)

    def read(self, name: str) -> bytes:
        return self._contents[name]

    def where(self, name: str) -> str:
        return f"{self.path}:{name}"
