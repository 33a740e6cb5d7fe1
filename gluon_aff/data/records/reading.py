"""Reading MXNet's record files (.rec), by number, each record exactly once.

The format: a little-endian magic number, a word with 3 bits of kind and 29 of length, the payload, padding to four
bytes. A payload that contains the magic number at a multiple of four is cut there into several parts, so at such places
of the file the magic number always begins a part: that is how one finds on behind damage.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Dict, List, Optional, Tuple

import numpy as np

from ...errors import GluonAFFError

MAGIC = struct.pack("<I", 0xCED7230A)
HEAD = struct.Struct("<4sI")
WHOLE, FIRST, MIDDLE, LAST = range(4)
_BLOCK = 1 << 20
_CHECKSUM = int.from_bytes(b"crc3", "big") << 32  # so that what others keep in that place is not taken for one
_LABEL = struct.Struct("<4sIIf")  # a part's head, then an image record's flag and label


class RecordFile:
    """The records of a .rec file in the order in which they lie there. Threads may share it.

    With an .idx file beside it the records are where that says, and each is checked when it is read: its parts must
    reach to the beginning of the next. Without one, opening walks over every header, which takes minutes for a large
    file on a slow disk.

    Raises GluonAFFError when the file is damaged or cut short or the index is not its own. With ``strict=False`` what
    can be found is kept, and ``damage`` says what cannot. ``indexed=False`` ignores the .idx file.
    """

    def __init__(self, path: Path, strict: bool = True, indexed: bool = True) -> None:
        self.path = path
        self.damage: List[str] = []
        self._strict = strict
        self._keys: Dict[int, int] = {}
        index = path.with_suffix(".idx")
        try:
            self._handle = open(path, "rb")  # noqa: SIM115
            self._size = os.fstat(self._handle.fileno()).st_size
            self._spans = self._listed(index) if indexed and index.is_file() else self._walked()
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error

    def __len__(self) -> int:
        return len(self._spans)

    def offset(self, number: int) -> int:
        return int(self._spans[number][0])

    def where(self, number: int) -> str:
        """The record's name in messages: its key in the .idx file; without one, its number."""
        key = self._keys.get(self.offset(number))
        return f"{self.path}, record {number}" if key is None else f"{self.path}, key {key}"

    def name_by(self, keys: Dict[int, int]) -> None:
        """Name records by keys, given by the places where they begin."""
        self._keys = keys

    def label(self, number: int) -> float:
        """The label of a record, without reading its image."""
        begin, end = (int(place) for place in self._spans[number])
        content = os.pread(self._handle.fileno(), min(end - begin, _LABEL.size), begin)
        if len(content) == _LABEL.size and content.startswith(MAGIC):
            _, word, flag, label = _LABEL.unpack(content)
            if flag == 0 and word & 0x1FFFFFFF >= _LABEL.size:
                return label
        return self.read(number)[0]

    def read(self, number: int) -> Tuple[float, bytes]:
        """Label and image file of a record. Raises GluonAFFError naming the record."""
        begin, end = (int(place) for place in self._spans[number])
        from mxnet import recordio

        try:
            payload = _joined(os.pread(self._handle.fileno(), end - begin, begin))
            header, content = recordio.unpack(payload)
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(number)}: {error.strerror or error}") from error
        except ValueError as error:
            raise GluonAFFError(f"{self.where(number)} at byte {begin} is damaged: {error}") from None
        except struct.error:
            raise GluonAFFError(f"{self.where(number)} is too short for an image record") from None
        if header.id2 >> 32 == _CHECKSUM >> 32 and header.id2 != checksum(content):
            raise GluonAFFError(
                f"{self.where(number)} has other bytes than were packed: copy the file or make it again"
            )
        if header.flag:
            raise GluonAFFError(f"{self.where(number)} has {header.flag} labels, expected one: pack the set again")
        return header.label, content

    def _listed(self, index: Path) -> np.ndarray:
        """Where the records of an .idx file begin and end, (N, 2)."""
        entries = read_index(index)
        order = np.argsort(entries[:, 1], kind="stable")
        keys, begins = entries[order].T
        inside = begins < self._size
        if not len(begins) or begins[0] != 0 or len(np.unique(begins)) < len(begins) or (begins % 4).any():
            raise GluonAFFError(
                f"{index.name} lists {len(begins)} records, but not as those of {self.path} can lie: they are not of "
                "one set, make them again"
            )
        if not inside.all():
            self._damaged(
                f"{self.path} is cut short: it ends at byte {self._size}, {index.name} lists {len(begins)} records, "
                f"{np.count_nonzero(~inside)} of them behind that",
            )
        keys, begins = keys[inside], begins[inside]
        if not len(begins):
            return np.empty((0, 2), dtype=np.int64)
        ends = np.append(begins[1:], self._size)
        try:
            _joined(os.pread(self._handle.fileno(), int(ends[-1] - begins[-1]), int(begins[-1])))
        except ValueError as error:
            self._damaged(
                f"{self.path} is damaged or cut short, or {index.name}, which lists {len(begins)} records, is not its "
                f"own: the last one {error}"
            )
            keys, begins, ends = keys[:-1], begins[:-1], ends[:-1]
        self.name_by(dict(zip(begins.tolist(), keys.tolist())))
        return np.stack([begins, ends], axis=1)

    def _walked(self) -> np.ndarray:
        """Where the records begin and end, (N, 2), found from header to header."""
        spans: List[Tuple[int, int]] = []
        position = 0
        while position < self._size:
            end = _end_of_record(self._handle, position, self._size)
            if end is not None:
                spans.append((position, end))
                position = end
                continue
            following = _next_record(self._handle, (spans[-1][0] if spans else position) + 4, self._size)
            if following < position:  # the last record claimed too much
                position = spans.pop()[0]
            elif following == position:  # this one does
                following = _next_record(self._handle, position + 4, self._size)
            self._damaged(
                f"{self.path} is damaged or cut short at byte {position} of {self._size}, after {len(spans)} records"
            )
            position = following
        return np.array(spans, dtype=np.int64).reshape(-1, 2)

    def _damaged(self, message: str) -> None:
        if self._strict:
            raise GluonAFFError(f"{message}: copy it or make it again")
        self.damage.append(message)


def class_number(label: float, where: str, classes: Optional[int] = None) -> int:
    """A record's label as a class number.

    Parameters
    ----------
    label : float
        As the record has it.
    where : str
        Names the record in the message.
    classes : int, optional
        The number of classes, if it is known.

    Raises
    ------
    GluonAFFError
        For a label that is not a whole number (NaN is not), negative, or not below ``classes``.
    """
    if not math.isfinite(label) or label != int(label) or label < 0 or (classes is not None and label >= classes):
        below = "" if classes is None else f" below {classes}"
        raise GluonAFFError(f"{where} has the label {label:g}: expected a class number{below}")
    return int(label)


def read_index(path: Path) -> np.ndarray:
    """Keys and places of an .idx file's lines, int64 (N, 2). Raises GluonAFFError for a line that is neither."""
    with open(path, encoding="ascii", errors="replace") as lines:
        words = [line.split() for line in lines]
    try:
        entries = [(int(key), int(place)) for key, place in filter(None, words)]
        return np.array(entries, dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        raise GluonAFFError(
            f"{path} is not the index of a record file: expected lines of two numbers, make it again"
        ) from None


def checksum(content: bytes) -> int:
    """What our record files have in the header's second id, which MXNet reserves and leaves at 0."""
    return _CHECKSUM | zlib.crc32(content)


def _joined(content: bytes) -> bytes:
    """The payload of a record's parts, which must fill ``content``. Raises ValueError."""
    parts: List[bytes] = []
    position = 0
    expected: Tuple[int, ...] = (WHOLE, FIRST)
    while expected:
        magic, kind, length = _head(content[position : position + HEAD.size])
        start = position + HEAD.size
        if magic != MAGIC or kind not in expected:
            raise ValueError("does not begin as a record does" if not parts else "is not complete")
        if start + length > len(content):
            raise ValueError(f"claims {length} bytes where {max(0, len(content) - start)} are")
        parts.append(content[start : start + length])
        expected = () if kind in (WHOLE, LAST) else (MIDDLE, LAST)
        position = start + padded(length)
    if position < len(content):
        raise ValueError(f"leaves {len(content) - position} bytes over before the next")
    return MAGIC.join(parts)


def padded(length: int) -> int:
    return (length + 3) // 4 * 4


def _head(content: bytes) -> Tuple[bytes, int, int]:
    """Magic number, kind and length; no magic number when there are too few bytes."""
    magic, word = HEAD.unpack(content) if len(content) == HEAD.size else (b"", 0)
    return magic, word >> 29, word & 0x1FFFFFFF


def _end_of_record(handle: BinaryIO, position: int, size: int) -> Optional[int]:
    """Where the record ends that begins at ``position``, or None when there is no whole one."""
    expected: Tuple[int, ...] = (WHOLE, FIRST)
    while expected:
        handle.seek(position)
        magic, kind, length = _head(handle.read(HEAD.size))
        if magic != MAGIC or kind not in expected or position + HEAD.size + length > size:
            return None
        expected = () if kind in (WHOLE, LAST) else (MIDDLE, LAST)
        position += HEAD.size + padded(length)
    return position


def _next_record(handle: BinaryIO, position: int, size: int) -> int:
    """The first place from ``position`` on at which a record begins, or ``size``."""
    while position < size:
        handle.seek(position)
        block = handle.read(_BLOCK + HEAD.size)
        found = block.find(MAGIC)
        while found >= 0:
            _, kind, _ = _head(block[found : found + HEAD.size])
            if found % 4 == 0 and kind in (WHOLE, FIRST):
                return position + found
            found = block.find(MAGIC, found + 1)
        position += _BLOCK
    return size
