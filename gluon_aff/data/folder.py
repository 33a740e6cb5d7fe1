"""Image folders: ``{train,test}/<class>/*`` with png or jpg files, in a folder or inside a .zip.

A set without test/, which may have no train/ either but ``<class>/*`` alone, can hold out a share of every class.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ..errors import GluonAFFError, UsageError
from ..runtime import mxnet_home
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.files import atomic_write
from .decoding import decode_image, some
from .image_set import ImageSet
from .trees import IMAGE_SUFFIXES, FileTree, class_order, joined, open_file_tree
from .validation_split import OFFER, split_off

_BLOCK = 256  # images a thread decodes at a time
_FORMAT = 3  # of the cache; raise it when decoding gives other pixels than before


def load_folder(
    path: Path, split: str, resize: Optional[int] = None, val_fraction: Optional[float] = None, seed: int = 0
) -> ImageSet:
    """Decode a split of an image folder; what was decoded is kept for the next time (see `DecodedCache`).

    Classes are the folders of train/ in the order of `class_order`, and test/ (or val/) must have the same. Images
    become RGB (alpha is dropped) and must be squares of one size, or are stretched to ``resize`` x ``resize``
    (bilinear).

    With ``val_fraction`` test/ is that share of the images of each class, drawn by ``seed`` from train/ or from the
    class folders, see `split_off`. Raises GluonAFFError that names the file or the class at fault, UsageError for a
    fraction of a set that has test/ already.
    """
    tree = open_tree(path)
    if val_fraction is not None:
        tree = _holding_out(tree, val_fraction, seed, told=split == "train")
    classes = _check_classes(tree, split)
    for folder in tree.empty.get(split, ()):
        print(f"note: {tree.files.where(folder)} holds no images: its class is left out", file=sys.stderr)
    members = [member for name in classes for member in tree.listing[split][name]]
    labels = np.repeat(np.arange(len(classes)), [len(tree.listing[split][name]) for name in classes]).astype(np.int64)
    part = split if val_fraction is None else f"{split}-{val_fraction:g}-{seed}"
    cache = DecodedCache(path, part, resize, fingerprint=tree.fingerprint(split))
    images = cache.load()
    if images is None or len(images) != len(members):
        images = _decode_all(tree, members, resize, label=f"decoding {split}")
        cache.save(images)
    return ImageSet(images, labels, tuple(classes), "folder", str(path))


def _holding_out(tree: ImageTree, fraction: float, seed: int, told: bool) -> ImageTree:
    """The tree with test images taken from its training images; ``told``: on standard error, what is to be said."""
    if "test" in tree.listing:
        raise UsageError(
            f"`val_fraction` {fraction:g}: {tree.files.path} has test (or val) images of its own, leave it out"
        )
    classes = tree.listing.get("train") or tree.plain
    if not classes:
        return tree
    parts = split_off(tree.files, classes, fraction, seed)
    for note in parts.notes if told else ():
        print(f"note: {note}", file=sys.stderr)
    return tree._replace(listing={"test": parts.val, "train": parts.train})


def _check_classes(tree: ImageTree, split: str) -> List[str]:
    if split not in tree.listing:
        plain = f"class folders ({some(list(tree.plain))})" if tree.plain else "no such folders"
        found = ", ".join(tree.listing) or plain
        offer = f"; or {OFFER}" if tree.plain or "train" in tree.listing else ""
        raise GluonAFFError(
            f"{tree.files.path} has no {split} images: expected {'train' if split == 'train' else 'test (or val)'}"
            f"/<class>/*.png or *.jpg in it, found {found}{offer}"
        )
    classes = list(tree.listing[split])
    for other, listed in tree.listing.items():
        different = sorted(set(listed) ^ set(classes))
        if different:
            raise GluonAFFError(
                f"{tree.files.path}: {split} and {other} have different classes ({some(different)} in one only): "
                "give both the same class folders, none of them empty"
            )
    return classes


def _decode_all(tree: ImageTree, members: Sequence[str], resize: Optional[int], label: str) -> np.ndarray:
    size = (resize, resize) if resize else _decode(tree, members[0], None).size
    if size[0] != size[1]:
        where = tree.files.where(members[0])
        raise GluonAFFError(f"{where} is {size[0]}x{size[1]}, expected a square: give `resize` N to stretch all images")
    images = np.empty((len(members), size[1], size[0], 3), dtype=np.uint8)

    def decode_block(start: int) -> None:
        for i, member in enumerate(members[start : start + _BLOCK], start):
            image = _decode(tree, member, resize)
            if image.size != size:
                raise GluonAFFError(
                    f"{tree.files.where(member)} is {image.size[0]}x{image.size[1]}, the images before it "
                    f"{size[0]}x{size[1]}: make them equal, or give `resize` N to stretch all images"
                )
            images[i] = np.asarray(image)

    starts = range(0, len(members), _BLOCK)
    for _ in console.progress(prefetch(decode_block, starts, "decode"), total=len(starts), label=label, unit="block"):
        pass
    return images


def _decode(tree: ImageTree, member: str, resize: Optional[int]) -> Image.Image:
    image = Image.fromarray(decode_image(tree.files.read(member), tree.files.where(member)))
    return image.resize((resize, resize), Image.Resampling.BILINEAR) if resize else image


_SPLIT_FOLDERS = ("train", "test", "val")

Classes = Dict[str, List[str]]  # class -> members, both sorted
Listing = Dict[str, Classes]  # of each split


class ImageTree(NamedTuple):
    """The images of a tree; ``val`` stands in for a missing ``test``, a folder around all is skipped.

    ``empty`` names the class folders of each split that hold no images, ``plain`` the classes of a set without splits.
    """

    files: FileTree
    listing: Listing
    empty: Dict[str, List[str]]
    plain: Classes

    def fingerprint(self, split: str) -> str:
        """Changes when an image of the split is added, removed or written again."""
        members = (member for members in self.listing[split].values() for member in members)
        return repr([(member, *self.files.state(member)) for member in members])


def open_tree(path: Path) -> ImageTree:
    """List the images of a folder or zip. Raises GluonAFFError when it is neither, or holds several sets."""
    files = open_file_tree(path)
    tops = [top for top in ("", *files.folders()) if set(files.folders(top)) & set(_SPLIT_FOLDERS)]
    if len(tops) > 1:
        raise GluonAFFError(
            f"{path} holds several sets of images ({', '.join(top or '.' for top in tops[:3])}), expected one: give "
            "each its own zip"
        )
    listing: Listing = {}
    empty: Dict[str, List[str]] = {}
    for split in set(files.folders(tops[0])) & set(_SPLIT_FOLDERS) if tops else ():
        for name in class_order(files.folders(joined(tops[0], split))):
            folder = joined(tops[0], split, name)
            members = _images_in(files, folder)
            if members:
                listing.setdefault(split, {})[name] = members
            else:
                empty.setdefault(split, []).append(folder)
    if "val" in listing and "test" not in listing:
        listing["test"], empty["test"] = listing["val"], empty.get("val", [])
    listing.pop("val", None)
    return ImageTree(files, dict(sorted(listing.items())), empty, {} if tops else _plain_classes(files))


def _plain_classes(files: FileTree) -> Classes:
    """Folders that hold images, at the top or within the only folder there."""
    for top in ("", *(files.folders() if len(files.folders()) == 1 else ())):
        found = {name: _images_in(files, joined(top, name)) for name in class_order(files.folders(top))}
        if any(found.values()):
            return {name: members for name, members in found.items() if members}
    return {}


def _images_in(files: FileTree, folder: str) -> List[str]:
    return [joined(folder, file) for file in files.files(folder) if file.lower().endswith(IMAGE_SUFFIXES)]


def folder_classes(place: Path) -> Tuple[str, ...]:
    """Names of the classes of a folder or zip; none when it is not there or no image folder."""
    try:
        tree = open_tree(place)
        return tuple(next(iter(tree.listing.values()), tree.plain))
    except (GluonAFFError, OSError):
        return ()


class DecodedCache:
    """The decoded images of one source and split: decoding 60,000 small files takes far longer than reading an array.

    Kept in ``$MXNET_HOME/datasets/cache``, one file per source, split and size, written again when ``fingerprint``,
    which stands for the state of the source's files, has changed. It may be deleted at any time; a damaged one is
    ignored, and so is a place that cannot be written.
    """

    def __init__(self, source: Path, split: str, resize: Optional[int], fingerprint: str) -> None:
        key = repr((str(source.resolve()), split, resize, _FORMAT))
        name = f"{source.stem}-{split}-{_hash(key)[:16]}.npz"
        self.path = mxnet_home() / "datasets" / "cache" / name
        self._fingerprint = _hash(fingerprint)

    def load(self) -> Optional[np.ndarray]:
        """uint8 (N, H, W, 3), or None without a whole file of the source's present state."""
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                if str(stored["fingerprint"]) != self._fingerprint:
                    return None
                images = stored["images"]  # zip's checksum covers it
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return images if images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3 else None

    def save(self, images: np.ndarray) -> None:
        try:
            # not np.savez: stopped by Ctrl-C it leaves an archive that complains when it is collected
            with atomic_write(self.path, "wb") as handle, zipfile.ZipFile(handle, "w") as stored:
                for name, array in (("images", images), ("fingerprint", np.array(self._fingerprint))):
                    with stored.open(f"{name}.npy", "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, array, allow_pickle=False)
        except GluonAFFError:
            pass  # the cache only saves time


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
