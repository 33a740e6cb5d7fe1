"""Files of a data set by their base name, out of a folder or of a tar archive that is never unpacked to disk."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path
from typing import Collection, Dict, Set

from ..errors import GluonAFFError

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
