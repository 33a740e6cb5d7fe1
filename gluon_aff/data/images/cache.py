"""Decoded images kept between runs: decoding 60,000 small files takes far longer than reading one array.

Kept in ``$MXNET_HOME/datasets/cache``, one file per source, split and size, written again when the source has changed.
It may be deleted at any time; a damaged one is ignored, and so is a place that cannot be written.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Optional

import numpy as np

from ...errors import GluonAFFError
from ...runtime.home import mxnet_home
from ...utils.files import atomic_write

_FORMAT = 2  # raise it when decoding gives other pixels than before


class DecodedCache:
    """The decoded images of one source and split. ``fingerprint`` stands for the state of the source's files."""

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
