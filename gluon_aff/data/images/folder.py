"""Image folders: ``{train,test}/<class>/*`` with png or jpg files, in a folder or inside a .zip."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from ...errors import GluonAFFError
from ...utils import console
from .cache import DecodedCache
from .image_set import ImageSet

_BLOCK = 256  # images a thread decodes at a time


def load_folder(path: Path, split: str, resize: Optional[int] = None) -> ImageSet:
    """Decode a split of an image folder; what was decoded is kept for the next time (see `decoded_cache`).

    Classes are the folders of train/ in alphabetical order, and test/ (or val/) must have the same. Images become RGB
    (alpha is dropped) and must be squares of one size, or are stretched to ``resize`` x ``resize`` (bilinear). Raises
    GluonAFFError that names the file or the class at fault.
    """
    tree = open_tree(path)
    classes = _check_classes(tree, split)
    members = [member for name in classes for member in tree.listing[split][name]]
    labels = np.repeat(np.arange(len(classes)), [len(tree.listing[split][name]) for name in classes]).astype(np.int64)
    cache = DecodedCache(path, split, resize, fingerprint=tree.fingerprint(split))
    images = cache.load()
    if images is None or len(images) != len(members):
        images = _decode_all(tree, members, resize, label=f"decoding {split}")
        cache.save(images)
    return ImageSet(images, labels, tuple(classes), "folder", str(path))


def _check_classes(tree: ImageTree, split: str) -> List[str]:
    if split not in tree.listing:
        raise GluonAFFError(
            f"{tree.path} has no {split} images: expected {'train' if split == 'train' else 'test (or val)'}"
            f"/<class>/*.png or *.jpg in it, found {', '.join(tree.listing) or 'no such folders'}"
        )
    classes = list(tree.listing[split])
    for other, listed in tree.listing.items():
        different = sorted(set(listed) ^ set(classes))
        if different:
            shown = ", ".join(different[:5]) + (", ..." if len(different) > 5 else "")
            raise GluonAFFError(
                f"{tree.path}: {split} and {other} have different classes ({shown} in one only): "
                "give both the same class folders, none of them empty"
            )
    return classes


def _decode_all(tree: ImageTree, members: Sequence[str], resize: Optional[int], label: str) -> np.ndarray:
    size = (resize, resize) if resize else _decode(tree, members[0], None).size
    if size[0] != size[1]:
        raise GluonAFFError(
            f"{tree.where(members[0])} is {size[0]}x{size[1]}, expected a square: give --resize N to stretch all images"
        )
    images = np.empty((len(members), size[1], size[0], 3), dtype=np.uint8)

    def decode_block(start: int) -> None:
        for i, member in enumerate(members[start : start + _BLOCK], start):
            image = _decode(tree, member, resize)
            if image.size != size:
                raise GluonAFFError(
                    f"{tree.where(member)} is {image.size[0]}x{image.size[1]}, the images before it "
                    f"{size[0]}x{size[1]}: make them equal, or give --resize N to stretch all images"
                )
            images[i] = np.asarray(image)

    starts = range(0, len(members), _BLOCK)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(decode_block, start) for start in starts]
        try:
            for future in console.progress(futures, total=len(futures), label=label, unit="block"):
                future.result()
        finally:
            for future in futures:
                future.cancel()
    return images


def _decode(tree: ImageTree, member: str, resize: Optional[int]) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(tree.read(member)))
        if "transparency" in image.info:
            image = image.convert("RGBA")
        image = image.convert("RGB")
    except Exception as error:  # a damaged image can raise nearly anything
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise GluonAFFError(
            f"{tree.where(member)} cannot be read as an image ({reason}): replace or remove it"
        ) from error
    return image.resize((resize, resize), Image.BILINEAR) if resize else image


SUFFIXES = (".png", ".jpg", ".jpeg")
_SPLIT_FOLDERS = ("train", "test", "val")

Listing = Dict[str, Dict[str, List[str]]]  # split -> class -> members, both sorted


class ImageTree:
    """Listing and reading of the images; ``val`` stands in for a missing ``test``, a folder around all is skipped.

    Hidden files and whatever is no image by its suffix are left out. Raises GluonAFFError when a zip cannot be read.
    """

    listing: Listing

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, member: str) -> bytes:
        """The content of one file; OSError or zipfile.BadZipFile when it cannot be had."""
        raise NotImplementedError

    def fingerprint(self, split: str) -> str:
        """Changes when an image of the split is added, removed or written anew."""
        raise NotImplementedError

    def where(self, member: str) -> str:
        return f"{self.path}/{member}"


class FolderTree(ImageTree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        roots = [path, *sorted(child for child in path.iterdir() if child.is_dir())]
        root = path if _has_split(path) or len(roots) != 2 else roots[1]
        files = (file.relative_to(path) for split in _SPLIT_FOLDERS for file in root.glob(f"{split}/*/*"))
        self.listing = _listed(path, (file.parts for file in files))

    def read(self, member: str) -> bytes:
        return (self.path / member).read_bytes()

    def fingerprint(self, split: str) -> str:
        members = (member for members in self.listing[split].values() for member in members)
        states = ((member, (self.path / member).stat()) for member in members)
        return repr([(member, state.st_size, state.st_mtime_ns) for member, state in states])


class ZipTree(ImageTree):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise GluonAFFError(
                f"{path} ({path.stat().st_size} bytes) is not a whole zip archive ({error}): expected a zip or a "
                "folder of images; copy or download it again"
            ) from error
        self.listing = _listed(path, (tuple(name.split("/")) for name in self._zip.namelist()))

    def read(self, member: str) -> bytes:
        with self._lock:  # on Python 3.8, threads reading one ZipFile now and then get wrong bytes
            return self._zip.read(member)

    def fingerprint(self, split: str) -> str:
        state = self.path.stat()
        return repr((state.st_size, state.st_mtime_ns))


def open_tree(path: Path) -> ImageTree:
    return FolderTree(path) if path.is_dir() else ZipTree(path)


def _has_split(folder: Path) -> bool:
    return any((folder / split).is_dir() for split in _SPLIT_FOLDERS)


def _listed(path: Path, files: Iterable[Tuple[str, ...]]) -> Listing:
    """Sort split/class/file paths, with or without a top folder, into splits and classes."""
    listing: Listing = {}
    tops = set()
    for parts in files:
        if not 3 <= len(parts) <= 4 or any(part.startswith((".", "__MACOSX")) for part in parts):
            continue
        split, class_name, file = parts[-3:]
        if split in _SPLIT_FOLDERS and file.lower().endswith(SUFFIXES):
            tops.add("/".join(parts[:-3]) or ".")
            listing.setdefault(split, {}).setdefault(class_name, []).append("/".join(parts))
    if len(tops) > 1:
        raise GluonAFFError(
            f"{path} holds several sets of images ({', '.join(sorted(tops)[:3])}), expected one: give each its own zip"
        )
    if "val" in listing:
        listing.setdefault("test", listing.pop("val"))
    return {
        split: {name: sorted(classes[name]) for name in sorted(classes)} for split, classes in sorted(listing.items())
    }


def folder_classes(place: Path) -> Tuple[str, ...]:
    """Names of the classes of a folder or zip; none when it is not there or no image folder."""
    try:
        return tuple(next(iter(open_tree(place).listing.values()), ()))
    except (GluonAFFError, OSError):
        return ()
