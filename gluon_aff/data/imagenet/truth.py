"""The classes of ImageNet's validation images in one flat folder: from Caffe's, Kaggle's or the official list."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence

from ...errors import GluonAFFError, UsageError

OFFICIAL_NAME = "ILSVRC2012_val_{:08d}"


def read_ground_truth(path: Path, wnids: Sequence[str]) -> Dict[str, int]:
    """Image name without suffix -> class number.

    From lines ``name number`` (Caffe's val.txt), from lines ``name,wnid ...`` (Kaggle's LOC_val_solution.csv), or from
    the development kit's ILSVRC2012_validation_ground_truth.txt, one number a line. The kit's numbers are not in the
    order of the wnids, so its meta.mat must lie beside. Raises UsageError naming the line, and GluonAFFError.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if lines and all(_is_number(line.strip()) for line in lines):
        return _official(path, lines, wnids)
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    labels: Dict[str, int] = {}
    for line_number, line in enumerate(lines, 1):
        words = line.replace(",", " ").split()
        if not words or words[0] == "ImageId":
            continue
        label = numbers.get(words[1]) if len(words) > 1 else None
        if label is None and len(words) > 1 and _is_number(words[1]) and int(words[1]) < len(wnids):
            label = int(words[1])
        if label is None:
            raise UsageError(
                f"{path}, line {line_number}: {line[:60]!r} is not an image's name with its class, a number below "
                f"{len(wnids)} or a wnid"
            )
        labels[stem(words[0])] = label
    return labels


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= 18


def stem(name: str) -> str:
    """A file's name without folders and suffix."""
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _official(path: Path, lines: Sequence[str], wnids: Sequence[str]) -> Dict[str, int]:
    meta = path.with_name("meta.mat")
    if not meta.is_file():
        raise UsageError(
            f"{path} holds the development kit's numbers, which are in another order than the wnids: put the kit's "
            "meta.mat beside it, or give lines of image name and class"
        )
    names = _official_wnids(meta)
    labels: Dict[str, int] = {}
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    for line_number, line in enumerate(lines, 1):
        wnid: Optional[str] = names[int(line) - 1] if 0 < int(line) <= len(names) else None
        if wnid not in numbers:
            raise UsageError(f"{path}, line {line_number}: {line} is not the number of a class in {meta}")
        labels[OFFICIAL_NAME.format(line_number)] = numbers[wnid]
    return labels


def _official_wnids(meta: Path) -> List[str]:
    """The wnids in the order of the kit's numbers, 1 first."""
    from scipy.io import loadmat

    try:
        synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
        found = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # a damaged file can raise nearly anything
        raise GluonAFFError(
            f"cannot read {meta} ({error}): expected the development kit's file of that name"
        ) from error
    return [found[number] for number in sorted(found)]
