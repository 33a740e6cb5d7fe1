"""From an image and its mask to what a segmentation network takes, both treated alike.

A transform is ``transform(image, mask, rng)`` with uint8 (H, W, 3) and (H, W); it returns x, float32 (3, h, w),
normalised with ImageNet's mean and standard deviation, and y, float32 (1, h, w), the mask's numbers. What it draws
comes from ``rng``, a NumPy Generator, alone. It keeps no state between calls, so threads may share it.
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from PIL import Image, ImageFilter

from ...errors import UsageError
from ..transform import EvalTransform

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of pixels in 0..1, per channel
IMAGENET_STD = (0.229, 0.224, 0.225)

_normalise = EvalTransform(IMAGENET_MEAN, IMAGENET_STD)


class TrainPairs:
    """Mirror, scale, crop and blur at random; x and y are ``crop_size`` high and wide.

    Half of the pairs are mirrored left to right. The long side becomes a length drawn uniformly from half to twice
    ``base_size`` (image bilinear, mask nearest). Black is added on the right and at the bottom where that is smaller
    than the crop, whose place is then drawn uniformly. Half of the images get a Gaussian blur, its radius drawn
    uniformly from 0 to 1 pixel. ``beyond`` is what the mask says of the black: background, or `IGNORED`.
    """

    def __init__(self, base_size: int = 512, crop_size: int = 480, beyond: int = 0) -> None:
        if base_size < 2 or crop_size < 1:
            raise UsageError(f"base size {base_size}, crop size {crop_size}: expected at least 2 and 1 pixels")
        self.base_size = base_size
        self.crop_size = crop_size
        self.beyond = beyond

    def __call__(self, image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
        # Everything is drawn at once, so that one step's draws never move another's.
        mirrored, blurred = (rng.random(2) < 0.5).tolist()
        long_side = int(rng.integers(self.base_size // 2, 2 * self.base_size, endpoint=True))
        down, right, radius = rng.random(3).tolist()

        if mirrored:
            image, mask = image[:, ::-1], mask[:, ::-1]
        scale = long_side / max(mask.shape)
        height, width = (max(1, round(side * scale)) for side in mask.shape)
        image, mask = _resized(image, mask, height, width)

        crop = self.crop_size
        missing = ((0, max(0, crop - height)), (0, max(0, crop - width)))
        image, mask = np.pad(image, (*missing, (0, 0))), np.pad(mask, missing, constant_values=self.beyond)
        top, left = (int(place * (side - crop + 1)) for place, side in zip((down, right), mask.shape))
        image, mask = (pixels[top : top + crop, left : left + crop] for pixels in (image, mask))
        if blurred:
            image = np.asarray(_picture(image).filter(ImageFilter.GaussianBlur(radius)))
        return _network_input(image, mask)


class EvalPairs:
    """Stretch to ``base_size`` x ``base_size`` (image bilinear, mask nearest), or keep the size (None)."""

    def __init__(self, base_size: Optional[int] = 512) -> None:
        if base_size is not None and base_size < 1:
            raise UsageError(f"base size {base_size}: expected at least 1 pixel")
        self.base_size = base_size

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, rng: Optional[np.random.Generator] = None
    ) -> Tuple[np.ndarray, np.ndarray]:
        if self.base_size is not None:
            image, mask = _resized(image, mask, self.base_size, self.base_size)
        return _network_input(image, mask)


def _resized(image: np.ndarray, mask: np.ndarray, height: int, width: int) -> Tuple[np.ndarray, np.ndarray]:
    if mask.shape == (height, width):
        return image, mask
    size = (width, height)
    image = np.asarray(_picture(image).resize(size, Image.Resampling.BILINEAR))
    return image, np.asarray(_picture(mask).resize(size, Image.Resampling.NEAREST))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels))


def _network_input(image: np.ndarray, mask: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    return _normalise(image[None])[0], mask[None].astype(np.float32)
