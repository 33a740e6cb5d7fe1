"""From uint8 images to a network's input: normalisation and CIFAR's augmentation.

A transform draws what it draws from ``rng``, a NumPy Generator, alone. It keeps no state between calls, so threads may
share it.
"""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import numpy as np

from ..errors import UsageError

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # of pixels in 0..1, per channel
CIFAR_STD = (0.2023, 0.1994, 0.2010)

ImagePolicy = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class EvalTransform:
    """(pixel / 255 - mean) / std, and nothing random: uint8 (B, H, W, 3) to C-contiguous float32 (B, 3, H, W).

    Computed as pixel * scale + shift, rounded after each; both are float32 (3, 1, 1).
    """

    def __init__(self, mean: Sequence[float] = CIFAR_MEAN, std: Sequence[float] = CIFAR_STD) -> None:
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise UsageError(f"mean {mean} and std {std}: expected three numbers each, every std above 0")
        mean64, std64 = np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64)
        self.scale = (1 / (255 * std64)).astype(np.float32)[:, None, None]
        self.shift = (-mean64 / std64).astype(np.float32)[:, None, None]

    def __call__(self, images: np.ndarray, rng: Optional[np.random.Generator] = None) -> np.ndarray:
        return self.normalise(images.transpose(0, 3, 1, 2))

    def normalise(self, planes: np.ndarray) -> np.ndarray:
        """The same for uint8 planes, (B, 3, H, W)."""
        result = np.empty(planes.shape, dtype=np.float32)
        np.multiply(planes, self.scale, out=result)
        result += self.shift
        return result


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
        self._normalise = EvalTransform(mean, std).normalise
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
