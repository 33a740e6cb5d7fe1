"""A reader of MXNet's ``.params`` container that trusts nothing the file says; NumPy alone, no MXNet.

All numbers are little-endian; found from files that MXNet 1.9.1 writes, and tried on MXNet's own reader:

    uint64 0x112, uint64 reserved, uint64 number of arrays, the arrays,
    uint64 number of names (none, or one for each array), the names: uint64 length, UTF-8

    array: uint32 mark, int32 storage (0: dense), uint32 n, n x int64 shape,
           int32 device kind, int32 device number, int32 type, the elements

The mark is 0xF993FAC9, or 0xF993FACA for a file written under NumPy shapes, where n or a size may be 0. Files of older
MXNet have 0xF993FAC8 and no storage field, or no mark, no storage field and n x uint32 as shape.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Dict, Iterable, Iterator, List, NamedTuple, Tuple

import numpy as np

from ..errors import GluonAFFError
from .files import PathLike

_MAGIC = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_TYPES = {0: "float32", 1: "float64", 2: "float16", 3: "uint8", 4: "int32", 5: "int8", 6: "int64", 7: "bool"}
_TYPES[12] = "bfloat16"  # NumPy has no such type: two bytes, the upper half of a float32
FLOATS = ("float16", "bfloat16", "float32", "float64")

# Far above what a network needs, and low enough that the list of arrays never costs much memory.
_MOST_ARRAYS, _MOST_AXES, _LONGEST_NAME, _LARGEST = 100_000, 32, 4096, 1 << 40

_OTHER_FILES = {
    b"<": "a web page",
    b"{": "JSON, such as MXNet's -symbol.json",
    b"PK": "a zip archive, such as PyTorch or NumPy write",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself",
    b"\x1f\x8b": "gzip data: unpack it",
    b"\x89HDF": "an HDF5 file",
}


class StoredArray(NamedTuple):
    """Where an array lies: shape, type ("bfloat16" beside NumPy's names), offset and size in bytes."""

    shape: Tuple[int, ...]
    dtype: str
    offset: int
    size: int


@dataclass(frozen=True)
class Container:
    """The table of a file's arrays; elements are read on demand.

    ``arrays`` maps names to where they lie, in the file's order. When the file has no names (``named`` is False) they
    are "0", "1", ...
    """

    path: Path
    arrays: Dict[str, StoredArray]
    named: bool

    def read(self, name: str) -> np.ndarray:
        """The elements of one array; bfloat16 comes as float32. Raises GluonAFFError when they cannot be read."""
        return next(self.read_all([name]))

    def read_all(self, names: Iterable[str]) -> Iterator[np.ndarray]:
        """The same for several arrays, one after the other."""
        try:
            with open(self.path, "rb") as handle:
                for name in names:
                    yield self._elements(handle, self.arrays[name])
        except OSError as error:
            raise GluonAFFError(f"{self.path} cannot be read: {error.strerror or error}") from error

    def _elements(self, handle: BinaryIO, array: StoredArray) -> np.ndarray:
        handle.seek(array.offset)
        data = handle.read(array.size)
        if len(data) < array.size:
            raise GluonAFFError(f"{self.path} has become shorter while it was read: get or save it again")
        if array.dtype == "bfloat16":
            halves = np.frombuffer(data, "<u2").astype(np.uint32)
            return (halves << 16).view(np.float32).reshape(array.shape)
        if array.dtype == "bool":  # any byte but 0 means true
            return (np.frombuffer(data, np.uint8) != 0).reshape(array.shape)
        return np.frombuffer(data, np.dtype(array.dtype).newbyteorder("<")).reshape(array.shape)


def read_container(path: PathLike) -> Container:
    """The table of a ``.params`` file, every size checked against the bytes that are there before it is used.

    Raises GluonAFFError for a file that is missing, is something else, is cut short or damaged, with the byte at which
    it goes wrong; also for sparse arrays and two arrays of one name.
    """
    path = Path(path)
    if not path.exists():
        raise GluonAFFError(f"there is no file {path}")
    if not path.is_file():
        raise GluonAFFError(f"{path} is not a file: expected one that MXNet's save_parameters wrote")
    try:
        with open(path, "rb") as handle:
            return _Reader(path, handle).container()
    except OSError as error:
        raise GluonAFFError(f"{path} cannot be read: {error.strerror or error}") from error


class _Reader:
    def __init__(self, path: Path, handle: BinaryIO):
        self.path, self.handle, self.at = path, handle, 0
        self.size = os.fstat(handle.fileno()).st_size

    def container(self) -> Container:
        self._check_magic()
        self._number("<Q", "a reserved number")
        count = self._count("arrays", 21)
        arrays = [self._array(f"array {index} of {count}") for index in range(count)]
        names = self._names(count)
        if self.at < self.size:
            raise self._wrong(self.at, f"{self.size - self.at} bytes follow the last name", "the end of the file")
        return Container(self.path, dict(zip(names or map(str, range(count)), arrays)), bool(names))

    def _check_magic(self) -> None:
        start = self.handle.read(32)
        if len(start) >= 8 and struct.unpack("<Q", start[:8])[0] == _MAGIC:
            self.handle.seek(0)
            self._number("<Q", "the file's mark")
            return
        found = f"it begins with {start[:8]!r}" if start else "it is empty"
        looks_like = [kind for prefix, kind in _OTHER_FILES.items() if start.lstrip().startswith(prefix)]
        hint = f" (this looks like {looks_like[0]})" if looks_like else ""
        raise GluonAFFError(
            f"{self.path} is not an MXNet weight file: {found}{hint}, expected {struct.pack('<Q', _MAGIC)!r} at byte 0"
        )

    def _array(self, what: str) -> StoredArray:
        start = self.at
        mark = self._number("<I", f"the mark of {what}")
        if mark in (_V2, _V3):
            storage = self._number("<i", f"the storage kind of {what}")
            if storage in (1, 2):
                sparse = "row-sparse" if storage == 1 else "CSR"
                raise self._wrong(
                    self.at - 4, f"{what} is sparse ({sparse})", "dense arrays, as save_parameters writes"
                )
            if storage != 0:
                raise self._wrong(self.at - 4, f"{what} has storage kind {storage}", "0, dense")
        if mark in (_V1, _V2, _V3):
            axes, kind = self._number("<I", f"the number of axes of {what}"), "q"
        else:  # the oldest files begin an array with its number of axes
            axes, kind = mark, "I"
        if axes > _MOST_AXES or (axes == 0 and mark != _V3):
            expected = f"a mark such as {_V2:#x}, or 1 to {_MOST_AXES} axes"
            raise self._wrong(start, f"{what} begins with {mark:#x} and has {axes} axes", expected)
        shape = struct.unpack(f"<{axes}{kind}", self._take(axes * struct.calcsize(kind), f"the shape of {what}"))
        if any(length < (0 if mark == _V3 else 1) for length in shape):
            raise self._wrong(start, f"{what} has shape {shape}", "sizes of at least 1")
        self._take(8, f"the device of {what}")
        number = self._number("<i", f"the type of {what}")
        if number not in _TYPES:
            raise self._wrong(self.at - 4, f"{what} has type {number}", f"one of {[*_TYPES]}")
        dtype = _TYPES[number]
        width = 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize
        if math.prod(max(length, 1) for length in shape) * width > _LARGEST:
            raise self._wrong(start, f"{what} has shape {shape}", f"at most {_LARGEST} bytes")
        offset, size = self.at, math.prod(shape) * width
        self._fits(size, f"the elements of {what}, {dtype} {shape}")
        self.at += size
        self.handle.seek(self.at)
        return StoredArray(shape, dtype, offset, size)

    def _names(self, count: int) -> List[str]:
        names = self._count("names", 8)
        if names not in (0, count):
            raise self._wrong(self.at - 8, f"there are {names} names for {count} arrays", f"none or {count}")
        seen: Dict[str, int] = {}
        for index in range(names):
            start = self.at
            length = self._number("<Q", f"the length of name {index}")
            if length > _LONGEST_NAME:
                raise self._wrong(start, f"name {index} has {length} bytes", f"at most {_LONGEST_NAME}")
            raw = self._take(length, f"name {index}")
            try:
                name = raw.decode("utf-8")
            except UnicodeDecodeError:
                raise self._wrong(start + 8, f"name {index} is {raw[:40]!r}", "UTF-8") from None
            if name in seen:
                raise self._wrong(start, f"arrays {seen[name]} and {index} are both named {name!r}", "different names")
            seen[name] = index
        return list(seen)

    def _count(self, what: str, least: int) -> int:
        """A number of things of at least ``least`` bytes each."""
        number = self._number("<Q", f"the number of {what}")
        most = min((self.size - self.at) // least, _MOST_ARRAYS)
        if number > most:
            raise self._wrong(self.at - 8, f"the number of {what} is {number}", f"at most {most} in what follows")
        return number

    def _number(self, layout: str, what: str) -> int:
        return struct.unpack(layout, self._take(struct.calcsize(layout), what))[0]

    def _take(self, length: int, what: str) -> bytes:
        self._fits(length, what)
        data = self.handle.read(length)
        if len(data) < length:
            raise GluonAFFError(f"{self.path} has become shorter while it was read: get or save it again")
        self.at += length
        return data

    def _fits(self, length: int, what: str) -> None:
        if length > self.size - self.at:
            raise self._wrong(self.at, f"{self.size - self.at} bytes are left", f"{length} for {what}")

    def _wrong(self, offset: int, found: str, expected: str) -> GluonAFFError:
        return GluonAFFError(
            f"{self.path} is damaged or cut short at byte {offset}: {found}, expected {expected}; get or save it again"
        )
