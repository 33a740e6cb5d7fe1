"""Files by their path below a root, which is a folder or a .zip."""

from __future__ import annotations

import os
import threading
import zipfile
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set, Tuple

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
