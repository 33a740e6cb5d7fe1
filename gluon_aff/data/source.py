"""Encoded images with labels: what ImageNet's loaders read."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, NamedTuple, Tuple


class EncodedImage(NamedTuple):
    """An image file's content with its class number; ``where`` names it in messages."""

    where: str
    label: int
    content: bytes


class ImageNetSource:
    """``len()`` images, each by its number, through threads as well; ``classes`` names the class numbers.

    ``notes`` has remarks about the set, ``damage`` names the parts of it that cannot be found; both are mostly empty.
    """

    path: Path
    classes: Tuple[str, ...]
    notes: Tuple[str, ...] = ()
    damage: Tuple[str, ...] = ()

    def __len__(self) -> int:
        raise NotImplementedError

    def encoded(self, number: int) -> EncodedImage:
        """An image by its number. Raises GluonAFFError for a file that cannot be read."""
        raise NotImplementedError

    def images(self) -> Iterator[EncodedImage]:
        """All of them, once, in order."""
        return (self.encoded(number) for number in range(len(self)))
