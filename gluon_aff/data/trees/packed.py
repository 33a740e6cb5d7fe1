"""Compressed tar archives as trees of files, unpacked in memory within a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO, Collection, Dict, cast

from ...errors import GluonAFFError
from .archives import Archive
from .tree import MAX_BYTES

_CHUNK = 1 << 20
_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


class PackedTree(Archive):
    """The regular files of a .tar or .tar.gz whose base name is in ``wanted``, held in memory.

    Reads to the very end, so that gzip's checksum covers what is used. Raises GluonAFFError when the archive is
    damaged, cut short, or unpacks to far more than any data set has.
    """

    def __init__(self, path: Path, wanted: Collection[str]) -> None:
        super().__init__(path)
        self._contents: Dict[str, bytes] = {}
        try:
            with open(path, "rb") as packed:
                begin = packed.read(8)
            opened = next((opened for magic, opened in _COMPRESSED.items() if begin.startswith(magic)), open)
            with opened(path, "rb") as unpacked, _Limited(unpacked, path) as limited:  # type: ignore[operator]
                with tarfile.open(fileobj=cast(BinaryIO, limited), mode="r:") as archive:
                    for member in archive:
                        name = member.name.rsplit("/", 1)[-1]
                        limited.expect(member.offset_data + member.size)
                        if member.isfile() and name in wanted:
                            handle = archive.extractfile(member)
                            self._contents[name] = handle.read() if handle else b""
                while limited.read(_CHUNK):
                    pass
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            reason = str(error).split("\n")[0].rstrip(":")
            raise GluonAFFError(
                f"{path} ({path.stat().st_size} bytes) cannot be read to its end as a .tar.gz archive ({reason}): "
                "it is cut short, damaged or something else, delete it and download it again"
            ) from error
        self._index(self._contents)

    def read(self, name: str) -> bytes:
        return self._contents[name]

    def where(self, name: str) -> str:
        return f"{self.path}:{name}"


class _Limited(io.RawIOBase):
    """What an archive unpacks to, refused before memory is taken for more than `MAX_BYTES` of it."""

    def __init__(self, unpacked: BinaryIO, path: Path) -> None:
        self._unpacked = unpacked
        self._path = path

    def expect(self, position: int) -> None:
        """Raise GluonAFFError for a position that is too far from the beginning."""
        if position > MAX_BYTES:
            raise GluonAFFError(
                f"{self._path} ({self._path.stat().st_size:,} bytes) unpacks to more than {MAX_BYTES:,}: this is not a "
                "data set's archive, delete it and download it again"
            )

    def read(self, size: int = -1) -> bytes:
        self.expect(self._unpacked.tell() + max(size, 0))
        return self._unpacked.read(size if size >= 0 else MAX_BYTES)

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_SET:
            self.expect(position)
        return self._unpacked.seek(position, whence)

    def tell(self) -> int:
        return self._unpacked.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
