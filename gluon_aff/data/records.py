"""MXNet's record files (.rec): read by number, made from images, and checked record by record.

The format: a little-endian magic number, a word with 3 bits of kind and 29 of length, the payload, padding to four
bytes. A payload that contains the magic number at a multiple of four is cut there into several parts, so at such places
of the file the magic number always begins a part: that is how one finds on behind damage.

Beside ``NAME.rec`` lie ``NAME.idx`` (where each key's record begins), ``NAME.lst`` (class number and name of each key)
and ``NAME.manifest.json``, see `read_manifest`.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np
from PIL import Image

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.files import atomic_write, sha256_of, write_json
from .decoding import UnreadableImage, decode_image, open_image

_MAGIC = struct.pack("<I", 0xCED7230A)
_HEAD = struct.Struct("<4sI")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_BLOCK = 1 << 20
_CHECKSUM = int.from_bytes(b"crc3", "big") << 32  # so that what others keep in that place is not taken for one
_LABEL = struct.Struct("<4sIIf")  # a part's head, then an image record's flag and label
_COUNTED = 50_000  # labels that are read to know the classes, and a number that none reaches
_SAMPLE = 500  # images whose headers `record_info` reads


# Reading --------------------------------------------------------------------------------------------------------------


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
        self.keys: Dict[int, int] = {}  # by the places where records begin; messages name a record by its key
        self._strict = strict
        index = path.with_suffix(".idx")
        try:
            self._handle = open(path, "rb")  # noqa: SIM115
            self._file = self._handle.fileno()
            self._size = os.fstat(self._file).st_size
            self.spans = self._listed(index) if indexed and index.is_file() else self._walked()
        except OSError as error:
            raise GluonAFFError(f"cannot read {path}: {error.strerror or error}") from error

    def __len__(self) -> int:
        return len(self.spans)

    def where(self, number: int) -> str:
        """The record's name in messages: its key in the .idx file; without one, its number."""
        key = self.keys.get(int(self.spans[number][0]))
        return f"{self.path}, record {number}" if key is None else f"{self.path}, key {key}"

    def label(self, number: int) -> float:
        """The label of a record, without reading its image."""
        begin, end = self.spans[number].tolist()
        content = os.pread(self._file, min(end - begin, _LABEL.size), begin)
        if len(content) == _LABEL.size and content.startswith(_MAGIC):
            _, word, flag, label = _LABEL.unpack(content)
            if flag == 0 and word & 0x1FFFFFFF >= _LABEL.size:
                return label
        return self.read(number)[0]

    def read(self, number: int) -> Tuple[float, bytes]:
        """Label and image file of a record. Raises GluonAFFError naming the record."""
        from mxnet import recordio

        begin, end = self.spans[number].tolist()
        try:
            header, content = recordio.unpack(_payload(self._file, begin, end))
        except OSError as error:
            raise GluonAFFError(f"cannot read {self.where(number)}: {error.strerror or error}") from error
        except ValueError as error:
            raise GluonAFFError(f"{self.where(number)} at byte {begin} is damaged: {error}") from None
        except struct.error:
            raise GluonAFFError(f"{self.where(number)} is too short for an image record") from None
        if header.id2 >> 32 == _CHECKSUM >> 32 and header.id2 != _checksum(content):
            raise GluonAFFError(
                f"{self.where(number)} has other bytes than were packed: copy the file or make it again"
            )
        if header.flag > 1:
            raise GluonAFFError(f"{self.where(number)} has {header.flag} labels, expected one: pack the set again")
        return float(header.label[0]) if header.flag else header.label, content

    def _listed(self, index: Path) -> np.ndarray:
        """Where the records of an .idx file begin and end, (N, 2)."""
        entries = _read_index(index)
        keys, begins = entries[np.argsort(entries[:, 1], kind="stable")].T
        if not len(begins) or begins[0] != 0 or len(np.unique(begins)) < len(begins) or (begins % 4).any():
            raise GluonAFFError(
                f"{index.name} lists {len(begins)} records, but not as those of {self.path} can lie: they are not of "
                "one set, make them again"
            )
        inside = np.count_nonzero(begins < self._size)
        if inside < len(begins):
            self._damaged(
                f"{self.path} is cut short: it ends at byte {self._size}, {index.name} lists {len(begins)} records, "
                f"{len(begins) - inside} of them behind that",
            )
        spans = np.stack([begins[:inside], np.append(begins[1:inside], self._size)[:inside]], axis=1)
        if inside:
            try:
                _payload(self._file, *spans[-1].tolist())
            except ValueError as error:
                self._damaged(
                    f"{self.path} is damaged or cut short, or {index.name}, which lists {inside} records, is not its "
                    f"own: the last one {error}"
                )
                spans = spans[:-1]
        self.keys = dict(zip(spans[:, 0].tolist(), keys.tolist()))
        return spans

    def _walked(self) -> np.ndarray:
        """Where the records begin and end, (N, 2), found from header to header."""
        spans: List[Tuple[int, int]] = []
        position = 0
        while position < self._size:
            try:
                _, end = _parts(self._file, position, self._size)
                spans.append((position, end))
                position = end
                continue
            except ValueError:
                following = _next_record(self._file, (spans[-1][0] if spans else position) + 4, self._size)
            if following < position:  # the last record claimed too much
                position = spans.pop()[0]
            elif following == position:  # this one does
                following = _next_record(self._file, position + 4, self._size)
            self._damaged(
                f"{self.path} is damaged or cut short at byte {position} of {self._size}, after {len(spans)} records"
            )
            position = following
        return np.array(spans, dtype=np.int64).reshape(-1, 2)

    def _damaged(self, message: str) -> None:
        if self._strict:
            raise GluonAFFError(f"{message}: copy it or make it again")
        self.damage.append(message)


def class_numbers(records: RecordFile) -> List[int]:
    """Return the class numbers that records have, sorted: of `_COUNTED` of them, evenly spaced, where there are more.

    Labels that are no class numbers are left out: they are named when their image is read.
    """
    found = set()
    for number in np.unique(np.linspace(0, len(records) - 1, min(_COUNTED, len(records))).astype(int)).tolist():
        try:
            found.add(class_number(records.label(number), "", _COUNTED))
        except GluonAFFError:
            continue
    return sorted(found)


def class_number(label: float, where: str, classes: Optional[int] = None) -> int:
    """Return a record's label as a class number; ``where`` names the record in the message.

    Raises GluonAFFError for a label that is not a whole number (NaN is not), negative, or not below ``classes``.
    """
    if not math.isfinite(label) or label != int(label) or label < 0 or (classes is not None and label >= classes):
        below = "" if classes is None else f" below {classes}"
        raise GluonAFFError(f"{where} has the label {label:g}: expected a class number{below}")
    return int(label)


def _read_index(path: Path) -> np.ndarray:
    """Keys and places of an .idx file's lines, int64 (N, 2). Raises GluonAFFError for a line that is neither."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    try:
        entries = [(int(key), int(place)) for key, place in filter(None, map(str.split, lines))]
        return np.array(entries, dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        raise GluonAFFError(
            f"{path} is not the index of a record file: expected lines of two numbers, make it again"
        ) from None


def _checksum(content: bytes) -> int:
    """What our record files have in the header's second id, which MXNet reserves and leaves at 0."""
    return _CHECKSUM | zlib.crc32(content)


def _parts(file: int, begin: int, end: int) -> Tuple[List[Tuple[int, int]], int]:
    """Begin and length of each part's payload of the record at ``begin``, and where the record ends.

    ``file`` is a descriptor. Raises ValueError for a record that is none, or not whole before ``end``.
    """
    parts: List[Tuple[int, int]] = []
    expected: Tuple[int, ...] = (_WHOLE, _FIRST)
    while expected:
        magic, word = _HEAD.unpack(os.pread(file, _HEAD.size, begin).ljust(_HEAD.size, b"\0"))
        kind, length = word >> 29, word & 0x1FFFFFFF
        begin += _HEAD.size
        if magic != _MAGIC or kind not in expected:
            raise ValueError("does not begin as a record does" if not parts else "is not complete")
        if begin + length > end:
            raise ValueError(f"claims {length} bytes where {max(0, end - begin)} are")
        parts.append((begin, length))
        expected = () if kind in (_WHOLE, _LAST) else (_MIDDLE, _LAST)
        begin += length + -length % 4
    return parts, begin


def _payload(file: int, begin: int, end: int) -> bytes:
    """The payload of the record from ``begin`` to ``end``, which it must fill. Raises ValueError."""
    parts, stop = _parts(file, begin, end)
    if stop < end:
        raise ValueError(f"leaves {end - stop} bytes over before the next")
    contents = [os.pread(file, length, start) for start, length in parts]
    if sum(map(len, contents)) < sum(length for _, length in parts):  # the file was cut short meanwhile
        raise ValueError("is not complete")
    return _MAGIC.join(contents)


def _next_record(file: int, position: int, size: int) -> int:
    """The first place from ``position`` on at which a record begins, or ``size``."""
    while position < size:
        block = os.pread(file, _BLOCK + _HEAD.size, position)
        for found in re.finditer(re.escape(_MAGIC), block):
            kind = block[found.end() + 3] >> 5 if found.end() + 3 < len(block) else _MIDDLE
            if found.start() % 4 == 0 and kind in (_WHOLE, _FIRST):
                return position + found.start()
        position += _BLOCK
    return size


# The manifest ---------------------------------------------------------------------------------------------------------

_MANIFEST: Dict[str, Tuple[type, Any]] = {  # of each entry its type, and that of its items
    "source": (str, None),
    "options": (dict, (int, type(None))),
    "images": (int, None),
    "list_sha256": (str, None),
    "records": (int, None),
    "bytes": (int, None),
    "sha256": (dict, str),
    "bad": (list, str),
    "classes": (list, str),
    "counts": (list, int),
}


def manifest_path(records: Path) -> Path:
    """The manifest's name, given that of the .rec file."""
    return records.with_suffix(".manifest.json")


def read_manifest(records: Path) -> Optional[Dict[str, Any]]:
    """Return the manifest of a .rec file, None without one. Raises GluonAFFError for what is not one.

    Its ``source`` names the packed folder or archive, ``images`` and ``list_sha256`` describe its list of images,
    ``options`` how they were packed. ``records`` and ``bytes`` measure the .rec file, ``sha256`` has the digest of each
    file by name. ``classes`` are the names of the class numbers, ``counts`` their numbers of images, ``bad`` the
    messages about images left out.
    """
    path = manifest_path(records)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise GluonAFFError(f"cannot read {path}: {error}; remove it or make the records again") from error
    fault = _manifest_fault(content)
    if fault:
        raise GluonAFFError(f"{path} is not a manifest of records: {fault}; remove it or make the records again")
    return content


def _manifest_fault(content: Any) -> str:
    if not isinstance(content, dict):
        return "it is not a JSON object"
    for name, (kind, item_kind) in _MANIFEST.items():
        value = content.get(name)
        if not isinstance(value, kind):
            return f"{name!r} is {value!r:.40}, expected {kind.__name__}"
        items: Any = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for item in items:
            if not isinstance(item, item_kind):
                return f"{name!r} holds {item!r:.40}"
    for name in content["sha256"]:
        if not name or "/" in name or name in (".", ".."):
            return f"'sha256' has {name!r}, which is not the name of a file"
    return ""


# Making ---------------------------------------------------------------------------------------------------------------


def pack(
    source: Any,
    path: Path,
    *,
    resize: Optional[int] = None,
    quality: int = 95,
    shuffle: Optional[int] = None,
    max_bad: int = 50,
    workers: int = 1,
    on_bad: Callable[[str], None] = lambda message: None,
) -> Dict[str, Any]:
    """Write ``path``, a .rec file, with .idx, .lst and .manifest.json beside it, and return the manifest.

    Images whose short side is larger than ``resize`` pixels are shrunk with smoothing and encoded again as JPEG of a
    ``quality`` of 1 to 100; all others, and all without it, are packed as they are, byte for byte. ``shuffle`` is the
    seed of their order, None for that of classes and names. ``workers`` threads read, check and encode; no byte depends
    on their number. The .rec file gets its name when all is written: a call that is stopped leaves none.

    Every image is decoded: one that cannot be is left out and named to ``on_bad``. Raises GluonAFFError for more than
    ``max_bad`` of them, for a file that exists and for what cannot be written, UsageError for arguments out of range
    and a path without .rec.
    """
    if (resize is not None and resize < 1) or not 1 <= quality <= 100 or max_bad < 0:
        raise UsageError(
            f"resize {resize}, quality {quality}, at most {max_bad} bad images: expected at least 1, 1 to 100, and no "
            "negative number"
        )
    if path.suffix != ".rec":
        raise UsageError(f"{path}: the name of a record file ends in .rec")
    if path.exists():
        raise GluonAFFError(f"{path} exists: remove it, or choose another name")
    from mxnet import recordio

    count = len(source)
    order = list(range(count)) if shuffle is None else np.random.default_rng(shuffle).permutation(count).tolist()
    members = [source.member(number) for number in order]
    index: List[str] = []
    listed: List[str] = []
    bad: List[str] = []
    counts = [0] * len(source.classes)
    size, digest = 0, hashlib.sha256()

    def content_of(key: int) -> Union[bytes, GluonAFFError]:
        try:
            encoded = source.encoded(order[key])
            return _shrunk(encoded.content, encoded.where, resize, quality)
        except GluonAFFError as error:
            return error

    with atomic_write(path, "wb") as handle:
        contents = zip(range(count), prefetch(content_of, range(count), "encode", max(1, workers)))
        for key, content in console.progress(contents, count, "records", "image"):
            if isinstance(content, bytes):
                name, label = members[key]
                header = recordio.IRHeader(0, float(label), key, _checksum(content))
                record = _framed(recordio.pack(header, content))
                handle.write(record)
                digest.update(record)
                index.append(f"{key}\t{size}\n")
                listed.append(f"{key}\t{label:f}\t{name}\n")
                counts[label] += 1
                size += len(record)
                continue
            bad.append(content.fault if isinstance(content, UnreadableImage) else str(content))
            on_bad(bad[-1])
            if len(bad) > max_bad:
                raise GluonAFFError(
                    f"{bad[-1]}: image {len(bad)} that cannot be read, more than `max_bad` {max_bad}; replace them, or "
                    "allow more"
                )
        lists = {path.with_suffix(".idx"): "".join(index), path.with_suffix(".lst"): "".join(listed)}
        manifest = {
            "source": source.path.name,
            "options": {"resize": resize, "quality": quality, "shuffle": shuffle},
            "images": count,
            "list_sha256": _sha256("\n".join(f"{name}\t{label}" for name, label in members)),
            "records": len(index),
            "bytes": size,
            "sha256": {path.name: digest.hexdigest(), **{beside.name: _sha256(text) for beside, text in lists.items()}},
            "bad": bad,
            "classes": list(source.classes),
            "counts": counts,
        }
        write_json(manifest, manifest_path(path))  # first: it tells whose the others are
        for beside, text in lists.items():
            with atomic_write(beside) as list_file:
                list_file.write(text)
    return manifest


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _shrunk(content: bytes, where: str, short_side: Optional[int], quality: int) -> bytes:
    """An image file whose short side is larger than ``short_side`` as JPEG of that size, any other as it is."""
    image = Image.fromarray(decode_image(content, where, opencv=True))
    if short_side is None or min(image.size) <= short_side:
        return content
    scale = short_side / min(image.size)
    width, height = (short_side if side == min(image.size) else round(side * scale) for side in image.size)
    buffer = io.BytesIO()
    image.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def _framed(payload: bytes) -> bytes:
    """A record as it lies in the file: cut where the payload has the magic number at a multiple of four.

    MXNet's own writer does the same, but does not notice a full disk.
    """
    cuts = [found.start() for found in re.finditer(re.escape(_MAGIC), payload) if found.start() % 4 == 0]
    parts = [payload[begin:end] for begin, end in zip([0, *(cut + 4 for cut in cuts)], [*cuts, len(payload)])]
    kinds = [_WHOLE] if len(parts) == 1 else [_FIRST, *[_MIDDLE] * (len(parts) - 2), _LAST]
    return b"".join(
        _HEAD.pack(_MAGIC, kind << 29 | len(part)) + part + bytes(-len(part) % 4) for kind, part in zip(kinds, parts)
    )


# Checking -------------------------------------------------------------------------------------------------------------


class RecordCheck(NamedTuple):
    """What `check_records` found: class number -> records, what is wrong by key, and what could not be checked."""

    records: int
    counts: Dict[int, int]
    faults: List[str]
    notes: List[str]


def check_records(path: Path, classes: Optional[int] = None, *, workers: int = 1) -> RecordCheck:
    """Look at every record of a .rec file: framing, index, class number, and whether its image can be decoded.

    The records are found from header to header, so damage to one hides no other. With a manifest, counts and checksums
    are compared, too; a label that was changed to that of another class is noticed by these alone. Class numbers must
    be below ``classes``, or the manifest's number of them. ``workers`` threads decode. Raises GluonAFFError when the
    file itself, or its manifest, cannot be read.
    """
    records = RecordFile(path, strict=False, indexed=False)
    manifest = read_manifest(path)
    if classes is None and manifest is not None:
        classes = len(manifest["classes"])
    faults = list(records.damage)
    index = path.with_suffix(".idx")
    if index.is_file():
        records.keys = _checked_keys(records, index, faults)
    else:
        faults.append(f"{index} is missing: shuffling readers need it")
    workers = max(1, workers)
    numbers = range(len(records))
    looks = prefetch(lambda number: _look(records, number, classes), numbers, "check", workers, 32 * workers)
    counts: Counter = Counter()
    for label, fault in console.progress(looks, len(records), "check", "record"):
        if label is not None:
            counts[label] += 1
        if fault:
            faults.append(fault)
    found = RecordCheck(len(records), dict(sorted(counts.items())), faults, [])
    if manifest is None:
        found.notes.append(f"{manifest_path(path)} is missing: without its checksums a changed label is not noticed")
        return found
    if manifest["records"] != len(records):
        faults.append(f"{path} holds {len(records)} records, its manifest counts {manifest['records']}")
    for name, expected in sorted(manifest["sha256"].items()):
        file = path.with_name(name)
        actual = sha256_of(file) if file.is_file() else "no such file"
        if actual != expected:
            faults.append(f"{file} has SHA-256 {actual}, its manifest says {expected}")
    return found


def _checked_keys(records: RecordFile, index: Path, faults: List[str]) -> Dict[int, int]:
    """Place -> key of the index, whose own faults are added to ``faults``."""
    try:
        entries = _read_index(index).tolist()
    except GluonAFFError as error:
        faults.append(str(error))
        return {}
    places = set(records.spans[:, 0].tolist())
    faults += [f"{index}, key {key}: no record begins at byte {place}" for key, place in entries if place not in places]
    twice = [key for key, count in Counter(key for key, _ in entries).items() if count > 1]
    faults += [f"{index}, key {key} is there more than once" for key in twice]
    keys = {place: key for key, place in entries}
    faults += [f"{index} does not list the record at byte {place}" for place in sorted(places - set(keys))]
    return keys


def _look(records: RecordFile, number: int, classes: Optional[int]) -> Tuple[Optional[int], str]:
    """A record's class number, and what is wrong with it."""
    where = records.where(number)
    try:
        value, content = records.read(number)
        label = class_number(value, where, classes)
    except GluonAFFError as error:
        return None, str(error)
    try:
        decode_image(content, where, opencv=True)
    except UnreadableImage as error:
        return label, error.fault
    return label, ""


def record_info(path: Path) -> Dict[str, Any]:
    """Read every label and the headers of some images. Raises GluonAFFError for a damaged file or label.

    Return the number of ``records``, their ``bytes``, ``counts`` (class number -> records), and of a ``sample`` of
    evenly spaced images their ``formats`` (file format and mode -> images) and ``sides``: the least, median and most of
    their short sides in pixels, empty when none can be read.
    """
    records = RecordFile(path)
    counts = Counter(class_number(records.label(number), records.where(number)) for number in range(len(records)))
    formats: Counter = Counter()
    sides = []
    chosen = np.unique(np.linspace(0, len(records) - 1, min(_SAMPLE, len(records))).astype(int)).tolist()
    for number in chosen:
        try:
            image = open_image(records.read(number)[1], f"record {number}")
        except UnreadableImage:
            formats["unreadable"] += 1
            continue
        formats[f"{image.format} {image.mode}"] += 1
        sides.append(min(image.size))
    return {
        "records": len(records),
        "bytes": path.stat().st_size,
        "counts": dict(sorted(counts.items())),
        "formats": dict(formats.most_common()),
        "sides": np.percentile(sides, [0, 50, 100]).astype(int).tolist() if sides else [],
        "sample": len(chosen),
    }
