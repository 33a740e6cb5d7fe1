"""Writing files so that a reader never sees half of one, and telling whether one is what it was."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Iterator, Set, Union

import numpy as np

from ..errors import GluonAFFError

PathLike = Union[str, "os.PathLike[str]"]


def sync_directory(path: PathLike) -> None:
    """Ask the system to write a directory's entries (names of new or renamed files) to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: PathLike) -> str:
    """Of a file's content. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        for block in iter(lambda: handle.read(2**20), b""):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def atomic_write(path: PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a temporary file beside ``path``; on success flush, sync and rename it into place.

    The directory is made when missing. Raises GluonAFFError when the disk is full or the place cannot be written;
    whatever ``path`` held before is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)
    except OSError as error:
        raise GluonAFFError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def write_figure(figure: Any, path: PathLike, dpi: int = 110) -> None:
    """A matplotlib Figure. Raises GluonAFFError as `atomic_write` does."""
    image = BytesIO()
    figure.savefig(image, format="png", dpi=dpi)
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())


def write_pixels(pixels: np.ndarray, path: PathLike) -> None:
    """An image, uint8 (H, W) or (H, W, 3). Raises GluonAFFError as `atomic_write` does."""
    from PIL import Image

    image = BytesIO()
    Image.fromarray(pixels).save(image, format="png")
    with atomic_write(path, "wb") as handle:
        handle.write(image.getvalue())


class FileNames:
    """Turns image names into file names without a suffix that are safe on any system and unlike each other.

    Every run of characters that are not letters, digits, dot, dash or underscore becomes one underscore, dots in
    front as well. A name that was given before, whatever its case, gets -2, -3, ... at its end.
    """

    def __init__(self) -> None:
        self._used: Set[str] = set()

    def __call__(self, name: str) -> str:
        stem = re.sub(r"[^\w.-]+|^\.+", "_", name)
        while len(stem.encode()) > 200:  # file systems take 255 bytes, and a temporary name is longer
            stem = stem[:-1]
        chosen, number = stem or "_", 1
        while chosen.lower() in self._used:
            number += 1
            chosen = f"{stem}-{number}"
        self._used.add(chosen.lower())
        return chosen
