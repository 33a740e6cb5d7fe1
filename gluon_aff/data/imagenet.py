"""ImageNet's images and data sets laid out like it: class folders, a flat folder with a list, a zip, tar or .rec file.

Class numbers are those of Gluon and of the authors: the 1000 wnids in alphabetical order.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path
from typing import Collection, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import GluonAFFError, UsageError
from .class_folders import ClassFolders, role_of
from .records import RecordFile, class_number, class_numbers, read_manifest
from .text_lists import HEADINGS, fields_of, lines_of, names_in, tails_of
from .trees import FileTree, TarTree, ZipTree, digest_of, joined
from .validation_split import copies_between, split_off, told_shared

#: Images of the splits of ImageNet-1k.
OFFICIAL_SIZES = {"train": 1281167, "val": 50000}


class EncodedImage(NamedTuple):
    """An image file's content with its class number; ``where`` names it in messages."""

    where: str
    label: int
    content: bytes


class ImageNetSource:
    """``len()`` images, each by its number, through threads as well; ``classes`` names the class numbers.

    ``counted``: nothing names them, and they are called by the numbers up to the largest label. ``notes`` has remarks
    about the set, ``damage`` names the parts of it that cannot be found; both are mostly empty. ``present`` are the
    numbers of the classes that have images.
    """

    path: Path
    classes: Tuple[str, ...]
    present: Sequence[int] = ()
    counted: bool = False
    notes: Tuple[str, ...] = ()
    damage: Tuple[str, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def encoded(self, number: int) -> EncodedImage:
        """An image by its number. Raises GluonAFFError for a file that cannot be read."""
        raise NotImplementedError

    def digest(self) -> str:
        """What changes when the images do, without reading them."""
        raise NotImplementedError


class RecordSource(ImageNetSource):
    """The images of a .rec file, whose classes its manifest names; without one they are counted from the labels.

    As many as there are wnids are these. Where there are to be fewer ``classes`` than the manifest names, those that
    have images are numbered by themselves.
    """

    def __init__(self, path: Path, wnids: Sequence[str], strict: bool = True, classes: Optional[int] = None) -> None:
        self.path = path
        manifest = read_manifest(path)
        self._file = RecordFile(path, strict)
        self.damage = tuple(self._file.damage)
        self._numbers: Dict[int, int] = {}  # by those in the file, where they differ
        if manifest:
            names = manifest["classes"]
            self.present = [number for number, count in enumerate(manifest["counts"]) if count]
            if classes is not None and classes < len(names):
                self._numbers = {number: place for place, number in enumerate(self.present)}
                names, self.present = [names[number] for number in self.present], range(len(self.present))
        else:
            self.present = class_numbers(self._file)
            names = [str(number) for number in range(max([*self.present, (classes or 0) - 1]) + 1)]
            self.counted = len(names) != len(wnids)
            names = names if self.counted else wnids
        self.classes = tuple(names)

    def __len__(self) -> int:
        return len(self._file)

    def encoded(self, number: int) -> EncodedImage:
        value, content = self._file.read(number)
        where = self._file.where(number)
        label = class_number(value, where, None if self._numbers else len(self.classes))
        if self._numbers and label not in self._numbers:
            raise GluonAFFError(f"{where} has the label {label}, of which its manifest counts no image: make it again")
        return EncodedImage(where, self._numbers.get(label, label), content)

    def digest(self) -> str:
        return hashlib.sha256(self._file.spans.tobytes()).hexdigest()


class TreeSource(ImageNetSource):
    """Image files in a folder, zip or tar: what `ClassFolders` has for ``split``.

    With a ``val_fraction`` the set has no val: it is what `split_off` draws of train, or of all class folders.
    """

    def __init__(
        self,
        path: Path,
        wnids: Sequence[str],
        ground_truth: Optional[Path] = None,
        split: str = "val",
        val_fraction: Optional[float] = None,
        seed: int = 0,
        classes: Optional[int] = None,
    ) -> None:
        self.path = path
        if path.is_dir():
            self._tree: FileTree = FileTree(path)
        else:
            self._tree = TarTree(path) if path.suffix == ".tar" else ZipTree(path, "a folder, a .rec file, a tar")
        folders = ClassFolders(self._tree)
        if val_fraction is not None:
            folders.check_whole(val_fraction)
        part = split if val_fraction is None else "train"
        found, notes = folders.take(part, ground_truth is not None)
        if found is None:
            loose = [name for each in folders.splits.values() for name in each.loose if role_of(each.folder) != "train"]
            if loose and part != "train" or list(folders.splits) == [""] and loose:
                raise UsageError(
                    f"the {len(loose)} images in {path} are not in class folders: give a file with their classes "
                    f"(`ground_truth`), or sort them into {part}/<class>/"
                )
            raise folders.missing(part)
        if ground_truth is None:
            empty = [joined(found.folder, name) for name, images in found.classes.items() if not images]
            notes += [f"{path}/{folder} holds no image" for folder in empty]
            known = wnids if classes is None or classes >= len(wnids) else ()
            self.classes = _classes_of_folders(path, found.classes, known)
            if part == "train":
                folders.check_several(self.classes)
            numbers = {name: number for number, name in enumerate(self.classes)}
            self._members = sorted((name, numbers[each]) for each, names in found.classes.items() for name in names)
        else:
            self.classes = tuple(wnids)
            listed = read_ground_truth(ground_truth, wnids)
            images = found.images()
            labels = [listed.label(name[len(found.folder) :].lstrip("/")) for name in images]
            missing = [name for name, label in zip(images, labels) if label is None]
            if missing:
                raise UsageError(
                    f"{ground_truth} has no label for {len(missing)} of {len(images)} images, such as "
                    f"{missing[0].rpartition('/')[2]}"
                )
            self._members = [(name, label) for name, label in zip(images, labels) if label is not None]
        unused = folders.splits.get("test") if part == "val" else None
        if unused and unused is not found and unused.classes:
            notes.append(f"{path}/{unused.folder} is not read: `gluon-aff evaluate` scores it, given as its data")
        self.notes = tuple(notes)
        if val_fraction is not None:
            self._keep_part(split, val_fraction, seed)
        self.present = sorted({label for _, label in self._members})

    def _keep_part(self, split: str, val_fraction: float, seed: int) -> None:
        """Keep the members of the training or the validation part."""
        classes: Dict[str, List[str]] = {}
        for name, label in self._members:
            classes.setdefault(self.classes[label], []).append(name)
        parts = split_off(self._tree, classes, val_fraction, seed)
        kept = {name for names in (parts.train if split == "train" else parts.val).values() for name in names}
        self._members = [member for member in self._members if member[0] in kept]
        self.notes = (*self.notes, *parts.notes) if split == "train" else ()

    def __len__(self) -> int:
        return len(self._members)

    def shared_with(self, train: TreeSource) -> str:
        """Return the remark on those of these images that are among ``train``, too; empty without any."""
        ours, theirs = ([name for name, _ in source._members] for source in (self, train))
        copies = copies_between(train._tree, theirs, self._tree, ours)
        if copies is None:
            self.notes = (*self.notes, f"{len(theirs) + len(ours)} files are too many to look for equal ones in both")
        return told_shared(copies or {}, len(ours), "validation", "training")

    def member(self, number: int) -> Tuple[str, int]:
        """Name, relative to the path, and class number of an image."""
        return self._members[number]

    def encoded(self, number: int) -> EncodedImage:
        name, label = self._members[number]
        return EncodedImage(self._tree.where(name), label, self._tree.read(name))

    def digest(self) -> str:
        names, labels = zip(*self._members)
        return f"{digest_of(self._tree, names)}-{zlib.crc32(repr(labels).encode()):08x}"


def open_imagenet(
    path: Path,
    wnids: Sequence[str],
    ground_truth: Optional[Path] = None,
    *,
    split: str = "val",
    strict: bool = True,
    val_fraction: Optional[float] = None,
    seed: int = 0,
    classes: Optional[int] = None,
) -> ImageNetSource:
    """Return the images at ``path``: a .rec file, a folder, a zip or a tar.

    ``wnids`` are the names of all classes, in order. Images in class folders need no list; a flat folder needs
    ``ground_truth`` (see `read_ground_truth`). Folders of which none is a known wnid are classes of their own, in
    the order of `class_order`. ``split``, "train" or "val", is the folder to look into where a place holds both. A
    damaged .rec file is an error, unless ``strict`` is False: then the records that can be found are there, and
    ``damage`` of the source tells of the rest. Where there are to be fewer ``classes`` than wnids, wnid folders are
    classes of their own, too. ``val_fraction`` makes val, which class folders have not, that share of
    each class, drawn by ``seed``.

    Raises UsageError and GluonAFFError.
    """
    if not path.exists():
        raise UsageError(f"no data at {path}: there is no such file or folder")
    if path.suffix == ".rec":
        if ground_truth is not None:
            raise UsageError(f"{path} holds its labels: leave the ground truth file out")
        if val_fraction is not None:
            raise UsageError(f"`val_fraction` is for folders, zips and tars of class folders, {path} is a record file")
        return RecordSource(path, wnids, strict, classes)
    if val_fraction is not None and ground_truth is not None:
        raise UsageError("`val_fraction` is for class folders: leave the ground truth file out")
    return TreeSource(path, wnids, ground_truth, split, val_fraction, seed, classes)


def _classes_of_folders(path: Path, folders: Collection[str], wnids: Sequence[str]) -> Tuple[str, ...]:
    unknown = sorted(set(folders) - set(wnids))
    if unknown and len(unknown) < len(folders):
        raise GluonAFFError(
            f"{path}: {len(folders) - len(unknown)} folders are wnids of ImageNet, {len(unknown)} are not, such as "
            f"{unknown[0]!r}: remove these, or give none a wnid"
        )
    return tuple(folders if unknown else wnids)


class GroundTruth:
    """The class numbers that a list gives images by their names, whose folders tell them apart where it has them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels: Dict[str, int] = {}
        self._by_name: Dict[str, Set[str]] = {}  # what is listed, with its suffix and without
        self._by_tail: Dict[str, Set[str]] = {}  # the same without the first folders
        self._taken: Dict[str, str] = {}

    def add(self, name: str, label: int, where: str) -> None:
        """Add an entry. Raises UsageError for an image that has another class already."""
        whole, stem, *tails = tails_of(name)
        if self._labels.setdefault(whole, label) != label:
            raise UsageError(f"{where}: {name} is of class {label}, further up of {self._labels[whole]}: which is it?")
        for index, keys in ((self._by_name, (whole, stem)), (self._by_tail, tails)):
            for key in keys:
                index.setdefault(key, set()).add(whole)

    def label(self, file: str) -> Optional[int]:
        """The class of an image by its path in the set, None where it is not listed.

        Raises UsageError where the list does not tell images apart that are called alike.
        """
        tails = list(tails_of(file))
        nothing: Set[str] = set()
        found = next((self._by_name[tail] for tail in tails if tail in self._by_name), nothing)
        found = found or next((self._by_tail[tail] for tail in tails[:2] if tail in self._by_tail), nothing)
        numbers = {self._labels[entry] for entry in found}
        other = next((self._taken[entry] for entry in found if self._taken.setdefault(entry, file) != file), None)
        if len(numbers) > 1 or other:
            several = (
                f"{' and '.join(sorted(found)[:2])} have other classes" if len(numbers) > 1 else f"{other} is one, too"
            )
            raise UsageError(
                f"{self._path} does not tell which image {file} is ({several}): list images with their folders"
            )
        return min(numbers, default=None)


def read_ground_truth(path: Path, wnids: Sequence[str]) -> GroundTruth:
    """Return the class number of each image of a flat folder, by its name, with or without folders and suffix.

    From lines of a name and a class, a number or a wnid, with anything between them that `fields_of` knows (Caffe's
    val.txt, Kaggle's LOC_val_solution.csv), or from the development kit's ILSVRC2012_validation_ground_truth.txt, one
    number a line. The kit's numbers are not in the order of the wnids, so its meta.mat must lie beside. Raises
    UsageError naming the line, also where one contradicts another, and GluonAFFError.
    """
    try:
        with open(path, "rb") as handle:
            lines = [line.strip() for line in lines_of(handle)]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    found, filled = GroundTruth(path), [line for line in lines if line]
    if filled and all(map(_is_number, filled)):
        for name, label in _official(path, filled, wnids).items():
            found.add(name, label, str(path))
        return found
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    for line_number, line in enumerate(lines, 1):
        for name, rest in fields_of(line):
            word = re.split(r"[\s,;]", rest)[0].strip('"')
            label = numbers.get(word, int(word) if _is_number(word) else len(wnids))
            if label < len(wnids) and any(tails_of(name)):
                found.add(name, label, f"{path}, line {line_number}")
                break
        else:
            if line and not (line_number == 1 and set(map(str.lower, names_in(line))) & set(HEADINGS)):
                raise UsageError(
                    f"{path}, line {line_number}: {line[:60]!r} is not an image's name with its class, a number below "
                    f"{len(wnids)} or a wnid"
                )
    return found


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= 18


def _official(path: Path, lines: Sequence[str], wnids: Sequence[str]) -> Dict[str, int]:
    meta = path.with_name("meta.mat")
    if not meta.is_file():
        raise UsageError(
            f"{path} holds the development kit's numbers, which are in another order than the wnids: put the kit's "
            "meta.mat beside it, or give lines of image name and class"
        )
    from scipy.io import loadmat

    try:
        synsets = loadmat(str(meta), squeeze_me=True)["synsets"]
        names = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
    except Exception as error:  # a damaged file can raise nearly anything
        raise GluonAFFError(
            f"cannot read {meta} ({error}): expected the development kit's file of that name"
        ) from error
    labels: Dict[str, int] = {}
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    for line_number, line in enumerate(lines, 1):
        wnid = names.get(int(line))
        if wnid not in numbers:
            raise UsageError(f"{path}, line {line_number}: {line} is not the number of a class in {meta}")
        labels[f"ILSVRC2012_val_{line_number:08d}"] = numbers[wnid]
    return labels
