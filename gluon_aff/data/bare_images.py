"""Images without masks, to predict on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import GluonAFFError, UsageError
from .file_tree import open_file_tree
from .pair_decoding import decode_image
from .pair_folder import SUFFIXES
from .pairs import Pair, PairSet


def load_images(path: Path) -> PairSet:
    """An image file, or all in a folder or zip and below it, called by their paths; the masks are empty.

    Raises UsageError for a place that is not there, GluonAFFError for one without images.
    """
    if not path.exists():
        raise UsageError(f"no images at {path}: there is no such file or folder")
    single = path.is_file() and path.suffix.lower() != ".zip"
    tree = open_file_tree(path.parent if single else path)
    files = [path.name] if single else list(tree.below("", SUFFIXES))
    if not files:
        raise GluonAFFError(f"{path} holds no images: expected files that end in {', '.join(SUFFIXES)}")

    stems = [file.rsplit(".", 1)[0] for file in files]
    images = Counter(stems)
    names = {file if images[stem] > 1 else stem: file for file, stem in zip(files, stems)}

    def read(name: str) -> Pair:
        image = decode_image(tree.read(names[name]), tree.where(names[name]))
        return image, np.zeros(image.shape[:2], dtype=np.uint8)

    return PairSet("images", str(path), list(names), read, f"{len(names)} images")
