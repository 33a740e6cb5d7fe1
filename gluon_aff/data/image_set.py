"""Labelled images in memory, as every loader of a data set returns them, and how parts of a set are drawn."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any, Tuple

import numpy as np
from PIL import Image

from ..errors import GluonAFFError, UsageError

#: Draws what --hold-out takes; never a run's own seed, so that all runs on a set choose by the same images.
HELD_OUT_SEED = 20201014


class Sampled:
    """A set of which parts can be drawn."""

    name: str

    def __len__(self) -> int:
        raise NotImplementedError

    def subset(self, n: int, seed: int) -> Any:
        """Return the first ``n`` images of a seeded permutation, so a smaller subset is the beginning of a larger one.

        Of labelled images the classes take turns, so their counts differ by one at most while every class has images
        left. Raises UsageError unless 0 < n <= len(self).
        """
        if not 0 < n <= len(self):
            raise UsageError(f"cannot take {n} images of {self.name}: choose 1 to {len(self)}")
        return self._chosen(self._order(seed)[:n], f"drawn with seed {seed}")

    def hold_out(self, n: int) -> Tuple[Any, Any]:
        """Return the images without ``n`` of them, in their order, and these: the subset of `HELD_OUT_SEED`.

        They are the same whatever a run's seed is. Raises UsageError unless 0 < n < len(self).
        """
        if not 0 < n < len(self):
            raise UsageError(
                f"`hold_out` {n}: {self.name} has {len(self)} training images, hold out 1 to {len(self) - 1}"
            )
        order = self._order(HELD_OUT_SEED)
        return self._chosen(np.sort(order[n:]), "without those held out"), self._chosen(order[:n], "held out")

    def _order(self, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).permutation(len(self))

    def _chosen(self, places: np.ndarray, how: str) -> Any:
        """The images of these places, in this order; ``how`` says how they were chosen."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class ImageSet(Sampled):
    """Images of one size with their labels.

    Attributes
    ----------
    images : ndarray
        uint8 (N, H, W, 3), RGB.
    labels : ndarray
        int64 (N,), class numbers.
    classes : tuple of str
        The name of each class number.
    name : str
        The data set's.
    source : str
        Where it was read from, for messages and run records.
    notes : tuple of str
        Remarks for the user: what was taken for what, what was left out.
    shared : str
        A remark on images that are in another split, too; empty without any.
    files : str
        The digest of the files that it was read from, "" where there are none; the whole set's, where it is a part.

    Raises
    ------
    UsageError
        When an array has another type or shape, or a label is not the number of a class.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: Tuple[str, ...]
    name: str
    source: str
    notes: Tuple[str, ...] = ()
    shared: str = ""
    files: str = ""

    def __post_init__(self) -> None:
        where = f"{self.name} ({self.source})"
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise UsageError(f"{where}: images are {images.dtype} {images.shape}, expected uint8 (N, H, W, 3)")
        if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
            raise UsageError(
                f"{where}: labels are {labels.dtype} {labels.shape}, expected whole numbers ({len(images)},), one per "
                "image"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(wrong):
            raise UsageError(
                f"{where}: image {wrong[0]} has label {labels[wrong[0]]}, expected 0 to {len(self.classes) - 1}, as it "
                f"has {len(self.classes)} classes"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def digest(self) -> str:
        """What changes when the images do: of their files, else of their pixels and labels."""
        return (
            self.files or f"{zlib.crc32(self.labels.tobytes(), zlib.crc32(np.ascontiguousarray(self.images).data)):08x}"
        )

    def _chosen(self, places: np.ndarray, how: str) -> ImageSet:
        return replace(self, images=self.images[places], labels=self.labels[places], files=self.digest)

    def _order(self, seed: int) -> np.ndarray:
        """A seeded permutation in which the classes take turns."""
        shuffled = super()._order(seed)
        labels = self.labels[shuffled]
        turn = np.empty(len(self), dtype=np.int64)  # how many images of its class come before an image
        for label in np.unique(labels):
            where = np.flatnonzero(labels == label)
            turn[where] = np.arange(len(where))
        return shuffled[np.argsort(turn, kind="stable")]


def check_labels(image_set: ImageSet, classes_of_head: int) -> None:
    """Raise UsageError when a label is outside a head of ``classes_of_head`` outputs.

    The opposite, a head larger than the labels need, is allowed: published CIFAR-100 runs have a 100-way head on the
    20 coarse labels.
    """
    largest = int(image_set.labels.max())
    if largest >= classes_of_head:
        raise UsageError(
            f"{image_set.name} has labels up to {largest} ({image_set.source}), but the head has {classes_of_head} "
            f"classes (0 to {classes_of_head - 1}): give it at least {largest + 1}"
        )


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """uint8 (N, H, W, 3) to (N, size, size, 3), bilinear; unchanged when they have that size already."""
    if images.shape[1:3] == (size, size):
        return images
    try:
        result = np.empty((len(images), size, size, 3), dtype=np.uint8)
    except MemoryError:
        raise GluonAFFError(
            f"{len(images)} images of {size}x{size} do not fit into memory: take smaller or fewer ones"
        ) from None
    for i, image in enumerate(images):
        result[i] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return result
