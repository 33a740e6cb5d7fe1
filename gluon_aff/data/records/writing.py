"""Writing a .rec file so that a stopped run, by kill -9 or a power cut, continues to the very same bytes."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from ...errors import GluonAFFError
from ...utils.files import sync
from .reading import FIRST, HEAD, LAST, MAGIC, MIDDLE, WHOLE, checksum, padded

_BLOCK = 1 << 20

Entry = Tuple[int, int, int]


def framed(payload: bytes) -> bytes:
    """A record as it lies in the file: cut where the payload has the magic number at a multiple of four."""
    parts, begin, found = [], 0, payload.find(MAGIC)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[begin:found])
            begin = found = found + 4
            found = payload.find(MAGIC, found)
        else:
            found = payload.find(MAGIC, found + 1)
    parts.append(payload[begin:])
    kinds = [WHOLE] if len(parts) == 1 else [FIRST, *[MIDDLE] * (len(parts) - 2), LAST]
    return b"".join(
        HEAD.pack(MAGIC, kind << 29 | len(part)) + part + bytes(padded(len(part)) - len(part))
        for kind, part in zip(kinds, parts)
    )


def image_record(key: int, label: int, content: bytes) -> bytes:
    """An image file with class number and checksum, framed, as MXNet's iterators and data sets read them."""
    from mxnet import recordio

    return framed(recordio.pack(recordio.IRHeader(0, float(label), key, checksum(content)), content))


class RecordWriter:
    """Appends images to ``NAME.rec.part``; `finish` makes it ``NAME.rec``. Use it in a with statement.

    A journal, ``NAME.rec.journal``, begins with ``identity``, which says what the file is made from. Every 16 MB what
    was written is flushed to disk, and then the journal gets a line: bytes and SHA-256 so far, and the entries since
    the line before. A new writer of the same identity continues behind the last line, if the bytes have that sum.

    ``entries`` are (key, class number, place in the file), ``bad`` what was left out, ``position`` counts both.

    Raises GluonAFFError when the file exists, when what has been begun has another identity, when another process
    writes it, and when the disk is full.
    """

    def __init__(self, path: Path, identity: Dict[str, Any], sync_bytes: int = 16 << 20) -> None:
        self.path = path
        self.sync_bytes = sync_bytes
        self._part, self._journal_path = (path.with_name(path.name + end) for end in (".part", ".journal"))
        if path.exists():
            raise GluonAFFError(f"{path} exists: remove it, or choose another name")
        self.entries: List[Entry] = []
        self.bad: List[str] = []
        self.size = 0
        self._synced = (0, 0, 0)  # entries, bad ones and bytes that the journal knows of
        self._sum = hashlib.sha256()
        with self._naming_the_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._journal = open(self._journal_path, "a+b")  # noqa: SIM115
            self._lock()
            self._file = open(self._part, "a+b")  # noqa: SIM115
            self._restore(json.dumps(identity, sort_keys=True).encode())

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            with suppress(GluonAFFError):  # the disk may be full
                self.sync()
        for handle in (self._file, self._journal):
            with suppress(OSError):  # bytes that a full disk did not take: the journal knows nothing of them
                handle.close()

    @property
    def position(self) -> int:
        return len(self.entries) + len(self.bad)

    def add(self, key: int, label: int, content: bytes) -> None:
        """Append an image file."""
        record = image_record(key, label, content)
        with self._naming_the_file():
            self._file.write(record)
        self._sum.update(record)
        self.entries.append((key, label, self.size))
        self.size += len(record)
        if self.size - self._synced[2] >= self.sync_bytes:
            self.sync()

    def skip(self, reason: str) -> None:
        """Leave an image out."""
        self.bad.append(reason)

    def sync(self) -> None:
        """Flush to disk what there is, and note it in the journal."""
        entries, bad, _ = self._synced
        line = {
            "bytes": self.size,
            "sha256": self.sha256,
            "entries": self.entries[entries:],
            "bad": self.bad[bad:],
        }
        with self._naming_the_file():
            _flush(self._file)
            self._journal.write(json.dumps(line).encode() + b"\n")
            _flush(self._journal)
        self._synced = (len(self.entries), len(self.bad), self.size)

    @property
    def sha256(self) -> str:
        """Of all that was written so far."""
        return self._sum.hexdigest()

    def finish(self) -> None:
        """Rename the finished file into place and remove the journal."""
        self.sync()
        with self._naming_the_file():
            os.replace(self._part, self.path)
            sync(self.path.parent)
            self._journal_path.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GluonAFFError(f"another process is writing {self.path}: wait for it, or end it") from None

    def _restore(self, identity: bytes) -> None:
        self._journal.seek(0)
        lines = [line for line in self._journal.read().splitlines(keepends=True) if line.endswith(b"\n")]
        if lines and lines[0].strip() != identity:
            raise GluonAFFError(
                f"{self._part} was started from other images or with other options: continue with those, or remove it "
                f"and {self._journal_path.name}"
            )
        notes = _notes(lines[1:])
        if notes and not self._is_there(notes[-1].bytes, notes[-1].sha256):
            notes = []
            self._sum = hashlib.sha256()
        for note in notes:
            self.entries += note.entries
            self.bad += note.bad
            self.size = note.bytes
        self._synced = (len(self.entries), len(self.bad), self.size)
        self._file.truncate(self.size)
        self._journal.truncate(sum(map(len, lines[: 1 + len(notes)])) if notes else 0)
        if not notes:
            self._journal.write(identity + b"\n")
            _flush(self._journal)

    def _is_there(self, size: int, checksum: str) -> bool:
        """Whether the file begins with ``size`` bytes of that sum, which becomes the sum so far."""
        self._file.seek(0)
        left = size
        while left:
            block = self._file.read(min(left, _BLOCK))
            if not block:
                return False
            self._sum.update(block)
            left -= len(block)
        return self._sum.hexdigest() == checksum

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GluonAFFError(f"cannot write {self._part}: {error.strerror or error}") from error


class _Note(NamedTuple):
    """A line of the journal: bytes and SHA-256 of the file so far, entries and messages since the line before."""

    bytes: int
    sha256: str
    entries: List[Entry]
    bad: List[str]


def _notes(lines: Sequence[bytes]) -> List[_Note]:
    """What the lines say, up to the first damaged one: writing continues from there."""
    notes: List[_Note] = []
    for line in lines:
        try:
            content = json.loads(line)
            entries = [(int(key), int(label), int(place)) for key, label, place in content["entries"]]
            note = _Note(int(content["bytes"]), str(content["sha256"]), entries, [str(bad) for bad in content["bad"]])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            break
        if note.bytes < (notes[-1].bytes if notes else 0):
            break
        notes.append(note)
    return notes


def _flush(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())
