"""The centre crops that networks are validated on."""

from __future__ import annotations

import math
from typing import Optional

import numpy as np

CROP_RATIO = 0.875
EFFICIENTNET_SIZE = 320  # from here on crops are EfficientNet's
EFFICIENTNET_MARGIN = 32  # pixels of the resized image that its centre crop leaves out


def resized_side(size: int, crop_ratio: float = CROP_RATIO) -> int:
    """The short side from which a centre of ``size`` is cut: 256 for 224."""
    return math.ceil(size / crop_ratio)


def centre(image: np.ndarray, size: int, crop_ratio: Optional[float] = None) -> np.ndarray:
    """The centre of an image, (H, W, 3) to (size, size, 3), by which networks are validated.

    With a crop ratio, and below 320 pixels (0.875), the short side is resized to size / crop_ratio and the centre cut
    out. From 320 pixels on EfficientNet's: a centred square of size / (size + 32) of the short side, resized to size.

    The resizing is OpenCV's, bilinear or, for EfficientNet's, bicubic, without smoothing, as in Gluon's transforms and
    in the record iterator; Pillow's own smooths, which would be another protocol.
    """
    import cv2

    height, width = image.shape[:2]
    if crop_ratio is None and size >= EFFICIENTNET_SIZE:
        side = max(1, int(min(height, width) * size / (size + EFFICIENTNET_MARGIN)))
        top, left = (height - side + 1) // 2, (width - side + 1) // 2
        return resized(image[top : top + side, left : left + side], size)
    short = resized_side(size, crop_ratio or CROP_RATIO)
    new = (short, short * height // width) if height > width else (short * width // height, short)
    if (width, height) != new:
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    return image[top : top + size, left : left + size]


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """To (size, size, 3): bilinear, from 320 pixels on bicubic as EfficientNet's."""
    import cv2

    interpolation = cv2.INTER_CUBIC if size >= EFFICIENTNET_SIZE else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=interpolation)
