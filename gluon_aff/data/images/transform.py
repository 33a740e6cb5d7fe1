"""Augmentation of small images in memory."""

from __future__ import annotations

from typing import Optional, Sequence

import numpy as np

from ..transform import CIFAR_MEAN, CIFAR_STD, ImagePolicy, _Normalise


class TrainTransform:
    """AutoAugment's policy if given, a random crop after padding with black, a random mirror image, normalisation.

    ``pad`` pixels are added on every side and the original size is cut out at a place drawn uniformly; ``mirror``
    turns half of the images left to right. Every image draws for itself.
    """

    def __init__(
        self,
        mean: Sequence[float] = CIFAR_MEAN,
        std: Sequence[float] = CIFAR_STD,
        pad: int = 4,
        mirror: bool = True,
        autoaugment: Optional[ImagePolicy] = None,
    ) -> None:
        self._normalise = _Normalise(mean, std)
        self.pad = pad
        self.mirror = mirror
        self.autoaugment = autoaugment

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.autoaugment is not None:
            images = self.autoaugment(images, rng)
        return self._normalise(self._crop_and_mirror(images.transpose(0, 3, 1, 2), rng))

    def _crop_and_mirror(self, planes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B, 3, H, W) to the same. Slicing image by image beats one large gather, which must build its indices."""
        count, channels, height, width = planes.shape
        corners = rng.integers(2 * self.pad + 1, size=(count, 2)).tolist()
        mirrored = (rng.random(count) < (0.5 if self.mirror else 0.0)).tolist()
        padded = np.zeros((count, channels, height + 2 * self.pad, width + 2 * self.pad), dtype=np.uint8)
        padded[:, :, self.pad : self.pad + height, self.pad : self.pad + width] = planes
        result = np.empty(planes.shape, dtype=np.uint8)
        for i, (top, left) in enumerate(corners):
            window = padded[i, :, top : top + height, left : left + width]
            result[i] = window[:, :, ::-1] if mirrored[i] else window
        return result
