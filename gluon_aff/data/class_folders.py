"""Which folders are splits, which are classes, and which images are a class's: one rule for every reader.

    <root>/<split>/<class>/**    a split is called train, training, val, valid, validation, test or testing, in any case
    <root>/<class>/**            a set without splits

The first folder below the split is the class, and what lies in folders below it belongs to it. Folders around
everything are skipped. A folder that is called like a split, but lies beside class folders and holds images as they do,
is a class.
"""

from __future__ import annotations

from typing import Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import GluonAFFError, UsageError
from .decoding import some
from .trees import IMAGE_SUFFIXES, FileTree, LeftOut, class_order, joined
from .validation_split import OFFER

_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
_ROLES = {name: role for role, names in _NAMES.items() for name in names}
_TAKEN = {"train": ("train",), "val": ("val", "test"), "test": ("test", "val")}  # for each split, the likelier first
_NO_CLASS = "images"  # where it is a split's only folder: Tiny ImageNet's val/images, with a list beside

_BESIDE, _LOOSE = "images beside the splits", "images in no class folder"


def role_of(folder: str) -> Optional[str]:
    """What a split's folder is for, by its name: "train", "val" or "test"; None for a name that is no split's."""
    return _ROLES.get(folder.lower())


def stand_ins(role: Optional[str]) -> Tuple[str, ...]:
    """What may be taken for "train", "val" or "test", the likelier first."""
    return _TAKEN.get(role or "", ())


class Split(NamedTuple):
    """A split's ``folder``, the images of each of its ``classes`` in their order, and those in no class folder."""

    folder: str
    classes: Dict[str, List[str]]
    loose: List[str]

    def images(self) -> List[str]:
        """Return all of them, sorted."""
        return sorted([*self.loose, *(image for images in self.classes.values() for image in images)])


class ClassFolders:
    """The ``splits`` of a tree by what they are for; a set without splits has but "".

    Raises GluonAFFError for a tree of several sets, for two folders of one split, for a folder that may be a split or a
    class, and for one that cannot be read.
    """

    def __init__(self, files: FileTree, top: str = "", images: Optional[Sequence[str]] = None) -> None:
        """Look into the folder ``top`` of a tree, or at those of its ``images`` alone."""
        self.files = files
        self.splits: Dict[str, Split] = {}
        self._left_out = LeftOut()
        if images is None:
            images = files.below(top, IMAGE_SUFFIXES, self._left_out)
        for closed in self._left_out.names.get(LeftOut.UNREADABLE, ()):
            raise GluonAFFError(f"cannot read {files.where(closed)}: permit it, or move this folder out of the set")
        self._find(top, images)

    def take(self, split: str, listed: bool = False) -> Tuple[Optional[Split], List[str]]:
        """Return the images for "train", "val" or "test", and remarks about them; None where no class folder has any.

        "val" and "test" stand in for each other; a set without splits is all of them. With ``listed`` a list says the
        classes, and images need no class folders.
        """
        usable = {role: found for role, found in self.splits.items() if found.classes or (listed and found.loose)}
        role = next((role for role in (*_TAKEN[split], "") if role in usable), None)
        if role is None:
            return None, []
        found, notes = usable[role], []
        others = [f"{each.folder}/" for each in self.splits.values() if each is not found]
        if role and found.folder.rpartition("/")[2] != split:
            notes.append(f"for {split} the images in {found.folder}/ are taken; there are also {', '.join(others)}")
        left_out = LeftOut()
        left_out.names.update(self._left_out.names)
        if not listed:
            depth = found.folder.count("/") + 3 if found.folder else 2  # parts of an image's path in a class folder
            deep = [image for images in found.classes.values() for image in images if image.count("/") >= depth]
            if deep:
                notes.append(
                    f"{len(deep)} images in folders below class folders are of these classes, such as {deep[0]}"
                )
            left_out.add(_LOOSE, *found.loose)
        own = f"{found.folder}/" if role != "train" and found.folder else ""
        notes += left_out.note(lambda name: name.startswith(own) and not name.startswith(tuple(others)))
        return found, notes

    def missing(self, split: str) -> GluonAFFError:
        """Return the error for a split that `take` does not find."""
        found = [f"{split.folder}/ with " * bool(role) + _parts(split) for role, split in self.splits.items()]
        whole = not self.has_validation() and any(split.classes for split in self.splits.values())
        names = " or ".join(f"{name}/<class>/" for name in _TAKEN[split])
        return GluonAFFError(
            f"{self.files.path} has no {split} images: expected {names} with images, found {', '.join(found)}"
            + (f"; or {OFFER}" if whole else "")
        )

    def has_validation(self) -> bool:
        """Whether there is a split to validate on."""
        return any(self.splits[role].classes for role in ("val", "test") if role in self.splits)

    def check_whole(self, fraction: float) -> None:
        """Raise UsageError where a fraction is asked for of a set that has images to validate on."""
        if self.has_validation():
            found = {role: f"{split.folder}/" for role, split in self.splits.items() if role in ("val", "test")}
            raise UsageError(
                f"`val_fraction` {fraction:g}: {self.files.path} has {' and '.join(found)} images of its own "
                f"({', '.join(found.values())}), leave it out"
            )

    def check_several(self, classes: Collection[str]) -> None:
        """Raise GluonAFFError for training images of fewer than two classes."""
        if len(classes) < 2:
            raise GluonAFFError(
                f"{self.files.path} has one class to train on ({some(list(classes))}): expected a folder for each of "
                "several classes, directly below the split or the set's folder"
            )

    def _find(self, top: str, images: Sequence[str]) -> None:
        """Look for splits, or else classes, in the folder ``top`` and its images."""
        folders, loose = _grouped(images, top)
        if self._are_splits(top, folders):
            self._left_out.add(_BESIDE, *loose)
            for name, members in folders.items():
                role = role_of(name)
                if role is None:
                    self._left_out.add(_BESIDE, *members)
                elif role in self.splits:
                    first = self.splits[role].folder.rpartition("/")[2]
                    raise GluonAFFError(
                        f"{self.files.where(top)} has {first}/ and {name}/, and both are for {role}: keep one"
                    )
                else:
                    self.splits[role] = self._split(joined(top, name), members)
            return
        inner = [name for name, members in folders.items() if self._are_splits(*_inside(top, name, members))]
        if len(inner) > 1:
            raise GluonAFFError(
                f"{self.files.path} holds several sets of images ({some(inner, 3)}), expected one: give each its own "
                "place"
            )
        if not inner and len(folders) == 1 and not loose:  # a folder around all, unless it is a class
            inner = [name for name, members in folders.items() if not _grouped(members, joined(top, name))[1]]
        if not inner:
            self.splits[""] = self._split(top, images)
            return
        for name, members in folders.items():
            if name not in inner:
                self._left_out.add(_BESIDE, *members)
        self._left_out.add(_BESIDE, *loose)
        self._find(joined(top, inner[0]), folders[inner[0]])

    def _are_splits(self, top: str, folders: Mapping[str, Sequence[str]]) -> bool:
        """Whether the folders of one level, with their images, are splits rather than classes."""
        named = [name for name in folders if role_of(name)]
        if len(named) in (0, len(folders)):
            return bool(named)
        depth = top.count("/") + 2 if top else 1
        nested = [name for name, images in folders.items() if any(image.count("/") > depth for image in images)]
        split = [name for name in named if name in nested]
        if len(split) == 1 and len(nested) > 1:
            other = next(name for name in nested if name not in split)
            raise GluonAFFError(
                f"{self.files.where(top)} has {split[0]}/ and {other}/, both with folders of images: is {split[0]} a "
                "split or a class? Give the folder of the split itself, or rename it"
            )
        return bool(split)

    def _split(self, folder: str, images: Sequence[str]) -> Split:
        classes, loose = _grouped(images, folder)
        if set(classes) == {_NO_CLASS}:
            classes, loose = {}, list(images)
        for name in self.files.folders(folder) if classes else ():  # an empty class is a class
            place = joined(folder, name)
            if name not in classes and not self.files.folders(place) and not self._left_out.has(place):
                classes[name] = []
        return Split(folder, {name: classes[name] for name in class_order(classes)}, loose)


def _inside(top: str, name: str, images: Sequence[str]) -> Tuple[str, Dict[str, List[str]]]:
    place = joined(top, name)
    return place, _grouped(images, place)[0]


def _grouped(images: Sequence[str], folder: str) -> Tuple[Dict[str, List[str]], List[str]]:
    """The images below a folder by its folders, and those directly in it."""
    folders: Dict[str, List[str]] = {}
    loose: List[str] = []
    begin = len(folder) + 1 if folder else 0
    for image in images:
        end = image.find("/", begin)
        if end < 0:
            loose.append(image)
        else:
            folders.setdefault(image[begin:end], []).append(image)
    return folders, loose


def _parts(split: Split) -> str:
    if split.classes:
        return f"class folders ({some(list(split.classes))})"
    if split.loose:
        return f"{len(split.loose)} images in no class folder"
    return f"no file that ends in {', '.join(IMAGE_SUFFIXES)}"
