"""ImageNet's training images: random-resized crop, mirror, AutoAugment, colour jitter, PCA lighting.

``transform(image, rng)`` takes one image, uint8 (H, W, 3), and gives uint8 (size, size, 3). What it draws comes from
``rng`` alone. After each step pixels are rounded and cut to 0..255, as in Gluon's transforms and the record iterator.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, Optional, Tuple

import numpy as np

from ...errors import UsageError
from ..transform import ImagePolicy
from .crops import resized

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601

# Principal components of ImageNet's RGB values in 0..255 (Krizhevsky et al., NIPS 2012): standard deviations along
# them, and in the columns the components.
PCA_DEVIATIONS = np.array([55.46, 4.794, 1.148])
PCA_COMPONENTS = np.array(
    [
        [-0.5675, 0.7192, 0.4009],
        [-0.5808, -0.0045, -0.8140],
        [-0.5836, -0.6948, 0.4203],
    ]
)

_LEVELS = np.arange(256.0)
_ATTEMPTS = 10


class ImageNetTransform:
    """The published augmentation.

    Parameters
    ----------
    size
        Of the result, in pixels. Resized bilinearly, from 320 on bicubically as EfficientNet's.
    area, aspect
        The rectangle cut out has a share of the image's area drawn uniformly, and a ratio of width to height drawn
        uniformly in its logarithm. When ten draws do not fit, it is the largest centred one.
    mirror
        Turn half of the images left to right.
    autoaugment
        A policy of `autoaugment_policy`, applied to the mirrored crop.
    jitter
        Brightness, contrast and saturation, in random order, are each multiplied by 1 - jitter to 1 + jitter.
    lighting
        Standard deviation of the shift along each principal component of ImageNet's colours, in units of the
        colours' own.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        area: Tuple[float, float] = (0.08, 1.0),
        aspect: Tuple[float, float] = (3 / 4, 4 / 3),
        mirror: bool = True,
        autoaugment: Optional[ImagePolicy] = None,
        jitter: float = 0.4,
        lighting: float = 0.1,
    ) -> None:
        if size < 1 or not 0 < area[0] <= area[1] <= 1 or not 0 < aspect[0] <= aspect[1]:
            raise UsageError(f"size {size}, area {area}, aspect {aspect}: expected at least 1, 0 to 1, and above 0")
        if not 0 <= jitter <= 1 or lighting < 0:
            raise UsageError(f"jitter {jitter}, lighting {lighting}: expected 0 to 1, and at least 0")
        self.size = size
        self.area = area
        self.aspect = aspect
        self.mirror = mirror
        self.autoaugment = autoaugment
        self.jitter = jitter
        self.lighting = lighting

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import cv2

        left, top, width, height = self.rectangle(image.shape[1], image.shape[0], rng)
        image = resized(image[top : top + height, left : left + width], self.size)
        if self.mirror and rng.random() < 0.5:
            image = cv2.flip(image, 1)
        if self.autoaugment is not None:
            image = self.autoaugment(image[None], rng)[0]
        if self.jitter:
            for name in rng.permutation(list(_JITTERS)):
                image = _JITTERS[name](image, 1 + rng.uniform(-self.jitter, self.jitter))
        return lighting(image, rng.normal(0, self.lighting, 3)) if self.lighting else image

    def rectangle(self, width: int, height: int, rng: np.random.Generator) -> Tuple[int, int, int, int]:
        """Left, top, width and height of what is cut from an image of a width and height."""
        for _ in range(_ATTEMPTS):
            area = width * height * rng.uniform(*self.area)
            ratio = math.exp(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h
        ratio = min(max(width / height, self.aspect[0]), self.aspect[1])
        w = max(1, min(width, round(height * ratio)))
        h = max(1, min(height, round(width / ratio)))
        return (width - w) // 2, (height - h) // 2, w, h


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Every pixel times ``factor``."""
    return _look_up(image, _LEVELS * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from the image's mean grey, by ``factor``."""
    import cv2

    return _look_up(image, _LEVELS * factor + (1 - factor) * (LUMA @ cv2.mean(image)[:3]))


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Away from every pixel's own grey, by ``factor``."""
    import cv2

    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * LUMA)


def lighting(image: np.ndarray, amounts: np.ndarray) -> np.ndarray:
    """AlexNet's lighting: shifted along each principal component by ``amounts`` (3,) times its standard deviation."""
    return _look_up(image, _LEVELS[:, None] + PCA_COMPONENTS @ (PCA_DEVIATIONS * amounts))


def _look_up(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Map values through a table, (256,) or, of each channel its own, (256, 3)."""
    import cv2

    return cv2.LUT(image, np.clip(np.rint(table), 0, 255).astype(np.uint8).reshape(1, 256, *table.shape[1:]))


_JITTERS: Dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "brightness": brightness,
    "contrast": contrast,
    "saturation": saturation,
}
