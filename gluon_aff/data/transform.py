"""From uint8 batches (B, H, W, 3) to normalised float32 batches (B, 3, H, W), C-contiguous: CIFAR's input pipeline.

A transform is ``transform(images, rng)``; what it draws comes from ``rng``, a NumPy Generator, alone. It keeps no
state between calls, so threads may share it.
"""

from __future__ import annotations

from typing import Callable, Optional, Sequence

import numpy as np

from ..errors import UsageError

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # of pixels in 0..1, per channel
CIFAR_STD = (0.2023, 0.1994, 0.2010)

ImagePolicy = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class EvalTransform:
    """(pixel / 255 - mean) / std, and nothing random."""

    def __init__(self, mean: Sequence[float] = CIFAR_MEAN, std: Sequence[float] = CIFAR_STD) -> None:
        self._normalise = _Normalise(mean, std)

    def __call__(self, images: np.ndarray, rng: Optional[np.random.Generator] = None) -> np.ndarray:
        return self._normalise(images.transpose(0, 3, 1, 2))

    @property
    def scale(self) -> np.ndarray:
        """float32 (3, 1, 1): the result is pixel * scale + shift, rounded after each."""
        return self._normalise.scale

    @property
    def shift(self) -> np.ndarray:
        """float32 (3, 1, 1), see `scale`."""
        return self._normalise.shift


class _Normalise:
    """uint8 planes (B, 3, H, W) to float32: pixel * scale + shift."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise UsageError(f"mean {mean} and std {std}: expected three numbers each, every std above 0")
        mean64, std64 = np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64)
        self.scale = (1 / (255 * std64)).astype(np.float32)[:, None, None]
        self.shift = (-mean64 / std64).astype(np.float32)[:, None, None]

    def __call__(self, planes: np.ndarray) -> np.ndarray:
        result = np.empty(planes.shape, dtype=np.float32)
        np.multiply(planes, self.scale, out=result)
        result += self.shift
        return result
