"""Which picture files a user names, and which mask belongs to one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ..errors import GluonAFFError, UsageError
from ..utils.console import tell_once
from .class_folders import ClassFolders
from .decoding import decode_mask
from .pairs import images_of_split
from .trees import IMAGE_SUFFIXES, FileTree, LeftOut, class_order, joined, open_file_tree

_MASK_ENDINGS = ("", "_pixels0")  # the second is SIRST's


@dataclass(frozen=True, eq=False)
class Picture:
    """An image file. ``folder`` is its class, where folders are classes: the one that `ClassFolders` says, if any."""

    tree: FileTree
    member: str
    class_folder: str = ""

    @property
    def name(self) -> str:
        return self.member.rsplit("/", 1)[-1].rsplit(".", 1)[0]

    @property
    def folder(self) -> str:
        parts = self.member.split("/")
        if self.class_folder:
            return self.class_folder
        return parts[-2] if len(parts) > 1 else self.tree.path.name

    @property
    def where(self) -> str:
        return self.tree.where(self.member)

    def content(self) -> bytes:
        """The file's content. Raises GluonAFFError when it cannot be read."""
        return self.tree.read(self.member)

    def mask(
        self,
        size: Optional[Tuple[int, ...]] = None,
        classes: int = 1,
        threshold: Optional[int] = None,
        ignore: Optional[int] = None,
    ) -> Optional[np.ndarray]:
        """The mask of a picture below images/ that has one below masks/, uint8 (H, W), as `decode_mask` gives it.

        With a ``size``, height and width, it is resized to that.
        """
        folder = _swapped(self.member, "images", "masks")
        if folder is None:
            return None
        for ending in _MASK_ENDINGS:
            for suffix in IMAGE_SUFFIXES:
                name = joined(folder, f"{self.name}{ending}{suffix}")
                if self.tree.exists(name):
                    mask = decode_mask(self.tree.read(name), self.tree.where(name), threshold, classes, ignore)
                    if size is None:
                        return mask
                    return np.asarray(Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST))
        return None


class Pictures(NamedTuple):
    """Those chosen, and the names of all folders that any lie in."""

    chosen: List[Picture]
    folders: Tuple[str, ...]


def find_pictures(places: Sequence[str], count: Optional[int] = None, split: Optional[str] = None) -> Pictures:
    """The pictures at ``places``: files, folders, zips, or folders and files inside a zip (``set.zip/test/cat``).

    Of a folder or zip with splits, those in test/ (or val/) count; of one with images/ and masks/, the images; what is
    left out is told. With ``count``, that many of them, evenly spaced over the sorted list; with ``split``, those that
    it lists of sets of images and masks, see `pairs`. Raises UsageError for a place that is not there or holds none,
    GluonAFFError for a damaged zip.
    """
    found = [picture for place in places for picture in _at(Path(place).expanduser(), split)]
    folders = tuple(class_order({picture.folder for picture in found}))
    if count is not None and count < len(found):
        found = [found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)]
    return Pictures(found, folders)


def _at(path: Path, split: Optional[str] = None) -> List[Picture]:
    inner = ""
    archive = next((parent for parent in path.parents if parent.is_file()), None)
    if archive is not None:
        path, inner = archive, path.relative_to(archive).as_posix()
    if not path.exists():
        raise UsageError(f"no picture at {path}: there is no such file or folder")
    if path.is_file() and path.suffix.lower() != ".zip" and split is None:
        top = path.parent.parent  # so that the folder, and a masks/ beside it, are seen
        return [Picture(open_file_tree(top), path.relative_to(top).as_posix())]
    if split is not None:
        tree, members = images_of_split(path, split)
        return [Picture(tree, member) for member in members]
    if path.name == "images" and path.is_dir() and (path.parent / "masks").is_dir():
        path, inner = path.parent, path.name
    tree = open_file_tree(path)
    if inner and tree.exists(inner):
        return [Picture(tree, inner)]
    return _below(tree, inner)


def _below(tree: FileTree, folder: str) -> List[Picture]:
    """The pictures of a folder; what is left out is told on standard error."""
    left_out = LeftOut()
    members = tree.below(folder, IMAGE_SUFFIXES, left_out)
    where = tree.where(folder)
    try:
        splits = ClassFolders(tree, folder, members).splits
    except GluonAFFError:  # it cannot be told apart: all are pictures
        splits = {}
    chosen = next((splits[role].images() for role in ("test", "val") if role in splits), members)
    left_out.add("pictures of other splits, name their folder to take them", *sorted(set(members) - set(chosen)))
    folders = {member.rpartition("/")[0] for member in members}
    masks = {member for member in chosen if _swapped(member, "masks", "images") in folders}
    taken = [f"{len(masks)} files below masks/ are taken as masks, not as pictures"] if masks else []
    for note in [*left_out.note(), *taken]:
        tell_once(f"note: {where}: {note}")
    class_of = {image: name for split in splits.values() for name, images in split.classes.items() for image in images}
    found = [Picture(tree, member, class_of.get(member, "")) for member in chosen if member not in masks]
    if not found:
        raise UsageError(f"{where} holds no pictures: expected files that end in {', '.join(IMAGE_SUFFIXES)}")
    return found


def _swapped(member: str, this: str, that: str) -> Optional[str]:
    """The folder of a file below the folder ``this``, with ``that`` in its place; None for any other."""
    *above, _ = member.split("/")
    if this not in above:
        return None
    place = len(above) - 1 - above[::-1].index(this)
    return "/".join([*above[:place], that, *above[place + 1 :]])
