"""Reading MXNet's record files (.rec) one record at a time, each exactly once.

The format: a little-endian magic number, a word with 3 bits of kind and 29 of length, the payload, padding to four
bytes. A payload that contains the magic number is cut there into several parts.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import List, Tuple

from mxnet import recordio

from ..errors import GluonAFFError

_MAGIC = 0xCED7230A
_HEAD = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)

Part = Tuple[int, int]  # where the payload begins, and its length


class RecordFile:
    """The records of a .rec file, in order.

    Opening it walks over every header, so ``len()`` is the true number of records and a damaged or cut file is
    noticed before anything is read. Raises GluonAFFError then, and when an .idx file beside it lists another number.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open(path, "rb") as handle:
                self._records = _scan(path, handle, os.fstat(handle.fileno()).st_size)
            self._check_index()
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error

    def __len__(self) -> int:
        return len(self._records)

    def read(self, number: int, handle: int) -> Tuple[float, bytes]:
        """Label and image file of a record, through an open file descriptor. Raises GluonAFFError naming the record."""
        parts = [os.pread(handle, length, start) for start, length in self._records[number]]
        payload = struct.pack("<I", _MAGIC).join(parts)
        try:
            header, content = recordio.unpack(payload)
        except struct.error:
            raise GluonAFFError(f"{self.where(number)} is too short for an image record") from None
        if header.flag:
            raise GluonAFFError(f"{self.where(number)} has {header.flag} labels, expected one: pack the set again")
        return header.label, content

    def where(self, number: int) -> str:
        return f"{self.path}, record {number}"

    def _check_index(self) -> None:
        index = self.path.with_suffix(".idx")
        if index.is_file():
            with open(index, encoding="ascii", errors="replace") as lines:
                listed = sum(1 for line in lines if line.strip())
            if listed != len(self):
                raise GluonAFFError(
                    f"{self.path} holds {len(self)} records, {index.name} lists {listed}: they are not of one set, "
                    "make them again with im2rec"
                )


def _scan(path: Path, handle: object, size: int) -> List[List[Part]]:
    records: List[List[Part]] = []
    position, expected = 0, (_WHOLE, _FIRST)
    while position < size:
        handle.seek(position)
        head = handle.read(_HEAD.size)
        magic, word = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        kind, length = word >> 29, word & 0x1FFFFFFF
        start = position + _HEAD.size
        if magic != _MAGIC or kind not in expected or start + length > size:
            raise GluonAFFError(
                f"{path} is damaged or cut short at byte {position} of {size}, after {len(records)} records: "
                "copy it or make it again"
            )
        if kind in (_WHOLE, _FIRST):
            records.append([])
        records[-1].append((start, length))
        expected = (_WHOLE, _FIRST) if kind in (_WHOLE, _LAST) else (_MIDDLE, _LAST)
        position = start + (length + 3) // 4 * 4
    if _LAST in expected:
        raise GluonAFFError(f"{path} is cut short: its last record is not complete, copy it or make it again")
    return records
