"""What every tree of files can do, and the tree that is a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, List, Tuple

from ...errors import GluonAFFError

#: Bytes of the largest file that is read, and of a packed archive when unpacked. COCO's annotations have 0.5 GB.
MAX_BYTES = 1 << 30
HIDDEN = (".", "__MACOSX")  # beginnings of names that are left out


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

    def empty(self, folder: str, endings: Tuple[str, ...]) -> Iterator[str]:
        """Paths of the folders below a folder that hold neither folders nor files whose names end so."""
        inner = self.folders(folder)
        if not inner and not any(name.lower().endswith(endings) for name in self.files(folder)):
            yield folder
        for name in inner:
            yield from self.empty(joined(folder, name), endings)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """The content of a file. Raises GluonAFFError when it cannot be read or is larger than `MAX_BYTES`."""
        raise NotImplementedError

    def state(self, name: str) -> Tuple[int, int]:
        """Size and time (in a zip its checksum, in a tar its place): what changes when the file does."""
        raise NotImplementedError

    def where(self, name: str) -> str:
        """The file, for a message."""
        return f"{self.path}/{name}" if name else str(self.path)

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_BYTES:
            raise GluonAFFError(f"{self.where(name)} has {size:,} bytes, more than {MAX_BYTES:,}: it is not read")


class FolderTree(FileTree):
    """A folder; links are followed."""

    def folders(self, folder: str = "") -> List[str]:
        return sorted(entry.name for entry in self._entries(folder) if entry.is_dir())

    def files(self, folder: str = "") -> List[str]:
        return sorted(entry.name for entry in self._entries(folder) if entry.is_file())

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        try:
            with open(self.path / name, "rb") as handle:
                self._check_size(name, os.fstat(handle.fileno()).st_size)
                return handle.read()
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(name)}: {error.strerror or error}") from error

    def state(self, name: str) -> Tuple[int, int]:
        found = (self.path / name).stat()
        return found.st_size, found.st_mtime_ns

    def _entries(self, folder: str) -> List[os.DirEntry]:
        try:
            with os.scandir(self.path / folder) as entries:
                return [entry for entry in entries if not entry.name.startswith(HIDDEN)]
        except OSError:
            return []


def joined(*parts: str) -> str:
    """A name of its parts; empty ones count nothing."""
    return "/".join(part for part in parts if part)
