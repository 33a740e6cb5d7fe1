"""Image folders: ``{train,val,test}/<class>/*``, in a folder or inside a .zip, see `class_folders`.

A set without val/ and test/, which may have no train/ either but ``<class>/*`` alone, can hold out a share of every
class.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np
from PIL import Image

from ..errors import GluonAFFError
from ..runtime import mxnet_home
from ..runtime.threads import prefetch
from ..utils import console
from ..utils.files import atomic_write
from .class_folders import ClassFolders, Split
from .decoding import decode_image, some
from .image_set import ImageSet
from .trees import FileTree, digest_of, joined, open_file_tree
from .validation_split import copies_between, split_off, told_shared

_BLOCK = 256  # images a thread decodes at a time
_FORMAT = 3  # of the cache; raise it when decoding gives other pixels than before


class UnequalImages(GluonAFFError):
    """Images that are not squares of one size, which an array has no room for."""


def load_folder(
    path: Path, split: str, resize: Optional[int] = None, val_fraction: Optional[float] = None, seed: int = 0
) -> ImageSet:
    """Decode a split of an image folder; what was decoded is kept for the next time (see `DecodedCache`).

    Splits and classes are those of `ClassFolders`: val/ and test/ stand in for each other, all have the same classes,
    and class folders alone are to be scored on. Images become RGB (alpha is dropped) and must be squares of one size,
    or are stretched to ``resize`` x ``resize`` (bilinear).

    With ``val_fraction`` test/ is that share of the images of each class, drawn by ``seed`` from train/ or from the
    class folders, see `split_off`. Raises GluonAFFError that names the file or the class at fault, UsageError for a
    fraction of a set that has test/ or val/ already.
    """
    folders = ClassFolders(open_file_tree(path))
    classes, notes = _classes_of(folders, split, val_fraction, seed)
    files = folders.files
    members = [member for images in classes.values() for member in images]
    labels = np.repeat(np.arange(len(classes)), list(map(len, classes.values()))).astype(np.int64)
    part = split if val_fraction is None else f"{split}-{val_fraction:g}-{seed}"
    cache = DecodedCache(path, part, resize, fingerprint=repr([(member, *files.state(member)) for member in members]))
    images = cache.load()
    if images is None or len(images) != len(members):
        images = _decode_all(files, members, resize, label=f"decoding {split}")
        cache.save(images)
    shared = "" if split == "train" or val_fraction is not None else _shared(folders, split, members)
    notes += [shared] if shared else []
    digest = digest_of(files, members)
    return ImageSet(images, labels, tuple(classes), "folder", str(path), tuple(notes), shared, digest)


def _shared(folders: ClassFolders, split: str, members: Sequence[str]) -> str:
    """Of images to validate or test on, the remark on those that are in another split, too."""
    files = folders.files
    parts = [part.images() for role, part in folders.splits.items() if role in ("train", "val")]
    others = sorted({image for part in parts for image in part} - set(members))
    return told_shared(copies_between(files, others, files, members) or {}, len(members), split, "other splits")


def _classes_of(
    folders: ClassFolders, split: str, val_fraction: Optional[float], seed: int
) -> Tuple[Dict[str, List[str]], List[str]]:
    """The images of a split by their classes, and remarks about them."""
    if val_fraction is not None:
        folders.check_whole(val_fraction)
    found, notes = folders.take(split if val_fraction is None else "train")
    if found is None or (split == "train" and val_fraction is None and "" in folders.splits):
        raise folders.missing(split)
    classes = {name: images for name, images in found.classes.items() if images}
    empty = [folders.files.where(joined(found.folder, name)) for name in found.classes if name not in classes]
    notes += [f"{folder} holds no images: its class is left out" for folder in empty]
    if split == "train":
        folders.check_several(classes)
    for other in folders.splits.values():
        different = sorted(set(classes) ^ {name for name, images in other.classes.items() if images})
        if different and other.classes:
            raise GluonAFFError(
                f"{folders.files.path}: {found.folder}/ and {other.folder}/ have different classes ({some(different)} "
                "in one only): give both the same class folders, none of them empty"
            )
    if val_fraction is None:
        return classes, notes
    parts = split_off(folders.files, classes, val_fraction, seed)
    return (parts.train, [*notes, *parts.notes]) if split == "train" else (parts.val, [])


def _decode_all(files: FileTree, members: Sequence[str], resize: Optional[int], label: str) -> np.ndarray:
    size = (resize, resize) if resize else _decode(files, members[0], None).size
    if size[0] != size[1]:
        where = files.where(members[0])
        raise UnequalImages(f"{where} is {size[0]}x{size[1]}, expected a square: give `resize` N to stretch all images")
    images = np.empty((len(members), size[1], size[0], 3), dtype=np.uint8)

    def decode_block(start: int) -> None:
        for i, member in enumerate(members[start : start + _BLOCK], start):
            image = _decode(files, member, resize)
            if image.size != size:
                raise UnequalImages(
                    f"{files.where(member)} is {image.size[0]}x{image.size[1]}, the images before it "
                    f"{size[0]}x{size[1]}: make them equal, or give `resize` N to stretch all images"
                )
            images[i] = np.asarray(image)

    starts = range(0, len(members), _BLOCK)
    for _ in console.progress(prefetch(decode_block, starts, "decode"), total=len(starts), label=label, unit="block"):
        pass
    return images


def _decode(files: FileTree, member: str, resize: Optional[int]) -> Image.Image:
    image = Image.fromarray(decode_image(files.read(member), files.where(member)))
    return image.resize((resize, resize), Image.Resampling.BILINEAR) if resize else image


def folder_classes(place: Path) -> Tuple[str, ...]:
    """Names of the classes of a folder or zip; none when it is not there or no image folder."""
    split = next(iter(_splits(place).values()), None)
    return tuple(name for name, images in split.classes.items() if images) if split else ()


def has_val(place: Path) -> bool:
    """Whether a folder or zip has images to choose epochs by, val/, beside those of test/."""
    return {"val", "test"} <= set(_splits(place))


def _splits(place: Path) -> Dict[str, Split]:
    """Those that have class folders."""
    try:
        return {role: split for role, split in ClassFolders(open_file_tree(place)).splits.items() if split.classes}
    except (GluonAFFError, OSError):
        return {}


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
