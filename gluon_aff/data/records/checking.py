"""What is wrong with a record file, record by record, and what is in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from ...errors import GluonAFFError
from ...utils.files import sha256_of
from ...utils.prefetch import prefetch
from ..decoding import UnreadableImage, decode_image, open_image
from .manifest import Manifest, manifest_path, read_manifest
from .reading import RecordFile, class_number, read_index

_SAMPLE = 500

Look = Tuple[Optional[int], str]  # a record's class number, and what is wrong with it


@dataclass
class RecordCheck:
    """What was found.

    Attributes
    ----------
    records : int
        Records in the file.
    counts : dict
        Class number -> records of it.
    faults : list of str
        What is wrong, by key.
    notes : list of str
        What could not be checked.
    """

    records: int = 0
    counts: Dict[int, int] = field(default_factory=dict)
    faults: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)


def check_records(
    path: Path,
    classes: Optional[int] = None,
    *,
    workers: int = 1,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> RecordCheck:
    """Look at every record of a .rec file: framing, index, class number, and whether its image can be decoded.

    The records are found from header to header, so damage to one hides no other. With a manifest, counts and checksums
    are compared, too; a label that was changed to that of another class is noticed by these alone.

    Parameters
    ----------
    path : Path
        The .rec file.
    classes : int, optional
        Class numbers must be below it; by default the number of classes in the manifest, without one any.
    workers : int
        Threads that decode.
    progress : callable
        ``progress(looks, total)`` may wrap what is iterated over.

    Returns
    -------
    RecordCheck

    Raises
    ------
    GluonAFFError
        When the file itself, or its manifest, cannot be read.
    """
    records = RecordFile(path, strict=False, indexed=False)
    manifest = read_manifest(path)
    if classes is None and manifest is not None:
        classes = len(manifest["classes"])
    found = RecordCheck(records=len(records), faults=list(records.damage))
    index = path.with_suffix(".idx")
    if index.is_file():
        records.name_by(_keys(records, index, found.faults))
    else:
        found.faults.append(f"{index} is missing: shuffling readers need it")
    workers = max(1, workers)
    looks = prefetch(
        lambda number: _look(records, number, classes), range(len(records)), workers, 32 * workers, "check"
    )
    counts: Counter = Counter()
    for label, fault in progress(looks, len(records)):
        if label is not None:
            counts[label] += 1
        if fault:
            found.faults.append(fault)
    found.counts = dict(sorted(counts.items()))
    if manifest is None:
        found.notes.append(f"{manifest_path(path)} is missing: without its checksums a changed label is not noticed")
    else:
        found.faults += _against(manifest, path, found.records)
    return found


@dataclass
class RecordInfo:
    """What is in a .rec file.

    Attributes
    ----------
    records, bytes : int
        Its size.
    counts : dict
        Class number -> records of it.
    formats : dict
        File format and mode -> images of the sample.
    sides : list of int
        Short sides of the sample in pixels: least, median and most; empty when no image can be read.
    sample : int
        Images looked at, evenly spaced over the file.
    """

    records: int
    bytes: int
    counts: Dict[int, int]
    formats: Dict[str, int]
    sides: List[int]
    sample: int


def record_info(path: Path) -> RecordInfo:
    """Read every label and the headers of some images. Raises GluonAFFError for a damaged file or label."""
    records = RecordFile(path)
    counts = Counter(class_number(records.label(number), records.where(number)) for number in range(len(records)))
    formats: Counter = Counter()
    sides = []
    chosen = np.unique(np.linspace(0, len(records) - 1, min(_SAMPLE, len(records))).astype(int))
    for number in chosen.tolist():
        try:
            image = open_image(records.read(number)[1], f"record {number}")
        except UnreadableImage:
            formats["unreadable"] += 1
            continue
        formats[f"{image.format} {image.mode}"] += 1
        sides.append(min(image.size))
    quantiles = np.percentile(sides, [0, 50, 100]).astype(int).tolist() if sides else []
    return RecordInfo(
        len(records),
        path.stat().st_size,
        dict(sorted(counts.items())),
        dict(formats.most_common()),
        quantiles,
        len(chosen),
    )


def _keys(records: RecordFile, index: Path, faults: List[str]) -> Dict[int, int]:
    """Place -> key of the index, whose own faults are added to ``faults``."""
    try:
        entries = read_index(index).tolist()
    except GluonAFFError as error:
        faults.append(str(error))
        return {}
    places = {records.offset(number) for number in range(len(records))}
    faults += [f"{index}, key {key}: no record begins at byte {place}" for key, place in entries if place not in places]
    twice = [key for key, count in Counter(key for key, _ in entries).items() if count > 1]
    faults += [f"{index}, key {key} is there more than once" for key in twice]
    keys = {place: key for key, place in entries}
    missing = sorted(places - set(keys))
    faults += [f"{index} does not list the record at byte {place}" for place in missing]
    return keys


def _look(records: RecordFile, number: int, classes: Optional[int]) -> Look:
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


def _against(manifest: Manifest, path: Path, records: int) -> Iterator[str]:
    if manifest["records"] != records:
        yield f"{path} holds {records} records, its manifest counts {manifest['records']}"
    for name, expected in sorted(manifest["sha256"].items()):
        file = path.with_name(name)
        actual = sha256_of(file) if file.is_file() else "no such file"
        if actual != expected:
            yield f"{file} has SHA-256 {actual}, its manifest says {expected}"
