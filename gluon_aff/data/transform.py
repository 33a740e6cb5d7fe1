"""From uint8 images to a network's input: normalisation, CIFAR's augmentation, ImageNet's crops and augmentation.

A transform draws what it draws from ``rng``, a NumPy Generator, alone. It keeps no state between calls, so threads may
share it.
"""

from __future__ import annotations

import math
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from ..errors import UsageError

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)  # of pixels in 0..1, per channel
CIFAR_STD = (0.2023, 0.1994, 0.2010)

ImagePolicy = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Channels = Tuple[float, float, float]

#: Mean and standard deviation of pixels in 0..255, as the authors gave them to an image folder and to a record file.
#: They differ in the third digit; all published ImageNet weights were trained and scored with "records".
NORMALISATIONS: Dict[str, Tuple[Channels, Channels]] = {
    "folder": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "records": ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
}


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


def mean_and_std(name: str) -> Tuple[Channels, Channels]:
    """Of a normalisation by name, for pixels in 0..1. Raises UsageError for an unknown one."""
    if name not in NORMALISATIONS:
        raise UsageError(f"no normalisation {name!r}: choose one of {', '.join(NORMALISATIONS)}")
    mean, std = NORMALISATIONS[name]
    return (mean[0] / 255, mean[1] / 255, mean[2] / 255), (std[0] / 255, std[1] / 255, std[2] / 255)


def normalisation(name: str) -> EvalTransform:
    """The transform of a normalisation by name. Raises UsageError for an unknown one."""
    return EvalTransform(*mean_and_std(name))


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


# ImageNet's images ---------------------------------------------------------------------------------------------------

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
        return _resized(image[top : top + side, left : left + side], size)
    short = resized_side(size, crop_ratio or CROP_RATIO)
    new = (short, short * height // width) if height > width else (short * width // height, short)
    if (width, height) != new:
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    return image[top : top + size, left : left + size]


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    """To (size, size, 3): bilinear, from 320 pixels on bicubic as EfficientNet's."""
    import cv2

    interpolation = cv2.INTER_CUBIC if size >= EFFICIENTNET_SIZE else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=interpolation)


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
        image = _resized(image[top : top + height, left : left + width], self.size)
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
