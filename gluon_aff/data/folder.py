"""Image folders: ``{train,test}/<class>/*`` with png or jpg files, in a folder or inside a .zip."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Optional, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from .. import console
from ..errors import GluonAFFError
from .decoded_cache import DecodedCache
from .image_set import ImageSet
from .image_tree import ImageTree, open_tree

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
