"""Images with a mask of the foreground each, as every loader of a segmentation data set returns them."""

from __future__ import annotations

import threading
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from ...errors import UsageError
from ..decoding import IGNORED
from ..validation_split import HELD_OUT_SEED, check_hold_out

CACHE_BYTES = 256 << 20

Pair = Tuple[np.ndarray, np.ndarray]


class PairSet:
    """Images and masks, read when asked for; threads may share it.

    Parameters
    ----------
    name, source : str
        The data set's name and place, for messages and run records.
    names : sequence of str
        The images' ids, which also name what is predicted from them.
    read : callable
        From an id to its pair: the image, uint8 (H, W, 3), RGB, and its mask, uint8 (H, W) of 0 and 1.
    note : str
        One line that tells how much was found.
    cache_bytes : int
        Decoded pairs stay in memory until they fill this many bytes.
    classes : int
        1: masks hold 0 and 1. K: they hold class numbers, 0 to K - 1, and `IGNORED`.
    class_names : sequence of str, optional
        Names of the K classes, the background's first.
    foreground : sequence of float, optional
        Share of each image that its mask marks, where it is known.
    """

    def __init__(
        self,
        name: str,
        source: str,
        names: Sequence[str],
        read: Callable[[str], Pair],
        note: str = "",
        cache_bytes: int = CACHE_BYTES,
        classes: int = 1,
        class_names: Optional[Sequence[str]] = None,
        foreground: Optional[Sequence[float]] = None,
    ) -> None:
        self.name = name
        self.source = source
        self.names = tuple(names)
        self.note = note
        self.read = read
        self.classes = classes
        self.class_names = None if class_names is None else tuple(class_names)
        self.foreground = None if foreground is None else tuple(foreground)
        self._lock = threading.Lock()
        self._cache: Dict[int, Pair] = {}
        self._cache_bytes, self._cached_bytes = cache_bytes, 0

    def __len__(self) -> int:
        return len(self.names)

    def pair(self, i: int) -> Pair:
        """The image, uint8 (H, W, 3), and its mask, uint8 (H, W) of 0 and 1; neither can be written to.

        Raises
        ------
        GluonAFFError
            Naming the file at fault.
        UsageError
            When ``read`` returned something else.
        """
        if i in self._cache:
            return self._cache[i]
        image, mask = self.read(self.names[i])
        self._check(self.names[i], image, mask)
        image.setflags(write=False)
        mask.setflags(write=False)
        with self._lock:
            if i not in self._cache and self._cached_bytes + image.nbytes + mask.nbytes <= self._cache_bytes:
                self._cache[i] = image, mask
                self._cached_bytes += image.nbytes + mask.nbytes
        return image, mask

    def _check(self, name: str, image: np.ndarray, mask: np.ndarray) -> None:
        where = f"{name} of {self.name} ({self.source})"
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise UsageError(f"{where}: the image is {image.dtype} {image.shape}, expected uint8 (H, W, 3)")
        if mask.dtype != np.uint8 or mask.shape != image.shape[:2]:
            raise UsageError(f"{where}: the mask is {mask.dtype} {mask.shape}, expected uint8 {image.shape[:2]}")
        most = max(self.classes - 1, 1)
        wrong = mask[(mask > most) & ((mask != IGNORED) | (self.classes == 1))]
        if wrong.size:
            expected = "0 and 1 only" if self.classes == 1 else f"0 to {most} and {IGNORED}"
            raise UsageError(f"{where}: the mask holds {wrong.max()}, expected {expected}")

    def subset(self, n: int, seed: int) -> PairSet:
        """The first ``n`` pairs of a seeded permutation. Raises UsageError unless 0 < n <= len(self)."""
        if not 0 < n <= len(self):
            raise UsageError(f"cannot take {n} images of {self.name}: choose 1 to {len(self)}")
        chosen = np.random.default_rng(seed).permutation(len(self))[:n]
        note = f"{n} of these, drawn with seed {seed}: {self.note}"
        return self.selected([int(i) for i in chosen], note)

    def hold_out(self, n: int) -> Tuple[PairSet, PairSet]:
        """The pairs without ``n`` of them, in their order, and these, drawn by `HELD_OUT_SEED`.

        They are the same whatever a run's seed is. Raises UsageError unless 0 < n < len(self).
        """
        check_hold_out(n, len(self), self.name)
        order = [int(i) for i in np.random.default_rng(HELD_OUT_SEED).permutation(len(self))]
        rest = self.selected(sorted(order[n:]), f"{len(self) - n} of these, without those held out: {self.note}")
        return rest, self.selected(order[:n], f"{n} of these, held out: {self.note}")

    def selected(self, chosen: Sequence[int], note: str) -> PairSet:
        """The pairs of these places, in this order."""
        return PairSet(
            self.name,
            self.source,
            [self.names[i] for i in chosen],
            self.read,
            note,
            classes=self.classes,
            class_names=self.class_names,
            foreground=None if self.foreground is None else [self.foreground[i] for i in chosen],
        )
