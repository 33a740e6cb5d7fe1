"""Where ImageNet's images lie: class folders, a flat folder with a list of labels, a zip, or a .rec file.

Class numbers are those of Gluon and of the authors: the 1000 wnids in alphabetical order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ...errors import GluonAFFError, UsageError
from ..records.manifest import read_classes
from ..records.reading import RecordFile, class_number
from ..source import EncodedImage, ImageNetSource
from ..trees import IMAGE_SUFFIXES, FileTree, FolderTree, TarTree, ZipTree
from ..validation_split import OFFER, split_off
from .truth import read_ground_truth, stem

SPLITS = {"train", "val", "test"}
#: Images of the splits of ImageNet-1k.
OFFICIAL_SIZES = {"train": 1281167, "val": 50000}


class HoldOut(NamedTuple):
    """What to hold out of a set of class folders, see `split_off`."""

    fraction: float
    seed: int


Parts = Tuple[str, ...]  # of a file or folder, from the set's own place on


class RecordSource(ImageNetSource):
    def __init__(self, path: Path, wnids: Sequence[str], strict: bool = True) -> None:
        self.path = path
        self.classes = read_classes(path) or tuple(wnids)
        self._file = RecordFile(path, strict)
        self.damage = tuple(self._file.damage)

    def __len__(self) -> int:
        return len(self._file)

    def encoded(self, number: int) -> EncodedImage:
        label, content = self._file.read(number)
        where = self._file.where(number)
        return EncodedImage(where, class_number(label, where, len(self.classes)), content)


class TreeSource(ImageNetSource):
    """Image files in a folder, zip or tar. Of train and val folders, only what lies in ``split``.

    With a ``held_out`` the set has no val: what `split_off` draws of each class of train, or of all class folders.
    """

    def __init__(
        self,
        path: Path,
        wnids: Sequence[str],
        ground_truth: Optional[Path] = None,
        split: str = "val",
        held_out: Optional[HoldOut] = None,
    ) -> None:
        self.path = path
        self._tree = _open_tree(path)
        found = [tuple(name.split("/")) for name in sorted(self._tree.below("", IMAGE_SUFFIXES))]
        if held_out is not None:
            _check_undivided(path, found, held_out)
        files = _of_split(found, split if held_out is None else "train")
        if not files:
            offer = f"; or {OFFER}" if split == "val" and _of_split(found, "train") else ""
            raise GluonAFFError(
                f"{path} holds no .JPEG, .jpg or .png images: expected {split}/<wnid>/*.JPEG or a flat {split}/{offer}"
            )
        if ground_truth is None:
            empty = _empty_classes([tuple(name.split("/")) for name in self._tree.empty("", IMAGE_SUFFIXES)], files)
            self.notes = tuple(f"{path}/{'/'.join(folder)} holds no image" for folder in empty)
            self.classes, labels = _labels_of_folders(path, files, wnids, [folder[-1] for folder in empty])
        else:
            self.classes = tuple(wnids)
            labels = _labels_of_list(files, read_ground_truth(ground_truth, wnids), ground_truth)
        self._members = [("/".join(file), label) for file, label in zip(files, labels)]
        if held_out is not None:
            self._hold_out(held_out, split)

    def _hold_out(self, held_out: HoldOut, split: str) -> None:
        """Keep the members of one part."""
        classes: Dict[str, List[str]] = {}
        for name, label in self._members:
            classes.setdefault(self.classes[label], []).append(name)
        parts = split_off(self._tree, dict(sorted(classes.items())), *held_out)
        kept = {name for names in (parts.train if split == "train" else parts.val).values() for name in names}
        self._members = [member for member in self._members if member[0] in kept]
        self.notes = (*self.notes, *parts.notes) if split == "train" else ()

    def __len__(self) -> int:
        return len(self._members)

    def member(self, number: int) -> Tuple[str, int]:
        """Name, relative to the path, and class number of an image."""
        return self._members[number]

    def encoded(self, number: int) -> EncodedImage:
        name, label = self._members[number]
        return EncodedImage(self._tree.where(name), label, self._tree.read(name))


def _open_tree(path: Path) -> FileTree:
    if path.is_dir():
        return FolderTree(path)
    return TarTree(path) if path.suffix == ".tar" else ZipTree(path, "a folder, a .rec file, a tar")


def open_imagenet(
    path: Path,
    wnids: Sequence[str],
    ground_truth: Optional[Path] = None,
    *,
    split: str = "val",
    strict: bool = True,
    held_out: Optional[HoldOut] = None,
) -> ImageNetSource:
    """The images at ``path``: a .rec file, a folder, a zip or a tar. ``wnids`` are the names of all classes, in order.

    Images in class folders need no list; a flat folder needs ``ground_truth`` (see `read_ground_truth`). Folders of
    which none is a known wnid are classes of their own, in alphabetical order. ``split``, "train" or "val", is the
    folder to look into where a place holds both. A damaged .rec file is an error, unless ``strict`` is False: then the
    records that can be found are there, and ``damage`` of the source tells of the rest. ``held_out`` makes val, which a
    set of class folders has not, a share of each class.

    Raises UsageError and GluonAFFError.
    """
    if not path.exists():
        raise UsageError(f"no data at {path}: there is no such file or folder")
    if path.suffix == ".rec":
        if ground_truth is not None:
            raise UsageError(f"{path} holds its labels: leave the ground truth file out")
        if held_out is not None:
            raise UsageError(f"--val-fraction is for folders, zips and tars of class folders, {path} is a record file")
        return RecordSource(path, wnids, strict)
    if held_out is not None and ground_truth is not None:
        raise UsageError("--val-fraction is for class folders: leave the ground truth file out")
    return TreeSource(path, wnids, ground_truth, split, held_out)


def _labels_of_list(files: Sequence[Parts], listed: Dict[str, int], path: Path) -> List[int]:
    missing = [file[-1] for file in files if stem(file[-1]) not in listed]
    if missing:
        raise UsageError(f"{path} has no label for {len(missing)} of {len(files)} images, such as {missing[0]}")
    return [listed[stem(file[-1])] for file in files]


def _labels_of_folders(
    path: Path, files: Sequence[Parts], wnids: Sequence[str], empty: Sequence[str]
) -> Tuple[Tuple[str, ...], List[int]]:
    folders = sorted({file[-2] if len(file) > 1 else "" for file in files})
    if folders == [""] or (len(folders) == 1 and folders[0] in SPLITS):
        raise UsageError(
            f"the {len(files)} images in {path} are not in class folders: give a file with their classes "
            f"(--ground-truth), or sort them into {folders[0] or 'val'}/<wnid>/"
        )
    unknown = sorted(set(folders) - set(wnids))
    if unknown and len(unknown) < len(folders):
        raise GluonAFFError(
            f"{path}: {len(folders) - len(unknown)} folders are wnids of ImageNet, {len(unknown)} are not, such as "
            f"{unknown[0]!r}: remove these, or give none a wnid"
        )
    classes = tuple(sorted({*folders, *empty})) if unknown else tuple(wnids)
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, [numbers[file[-2]] for file in files]


def _check_undivided(path: Path, files: Sequence[Parts], held_out: HoldOut) -> None:
    """Raise UsageError for a set that has validation images already."""
    train, val = _of_split(files, "train"), _of_split(files, "val")
    if val and train != val:
        raise UsageError(f"--val-fraction {held_out.fraction:g}: {path} has val images of its own, leave it out")


def _of_split(files: Sequence[Parts], split: str) -> Sequence[Parts]:
    """What lies in the folder ``split``; everything, when the first folders that differ are not train, val and test."""
    for depth in range(max((len(file) - 1 for file in files), default=0)):
        level = {file[depth] if len(file) > depth + 1 else "" for file in files}
        if level <= SPLITS:
            return [file for file in files if file[depth] == split]
        if len(level) > 1:
            break
    return files


def _empty_classes(empty: Sequence[Parts], files: Sequence[Parts]) -> List[Parts]:
    """Of the folders without images, those that lie beside class folders."""
    parents = {file[:-2] for file in files if len(file) > 1}
    return sorted(folder for folder in empty if folder[:-1] in parents)
