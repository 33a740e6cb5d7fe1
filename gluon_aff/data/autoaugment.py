"""AutoAugment (Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019).

A policy is 25 sub-policies of two operations; each image draws one sub-policy, and each of its operations happens with
the operation's probability, at its magnitude level. What a level stands for depends on the variant: "paper" is
AutoAugment's paper, "published" what the published runs of AFF took from a library of their time.

Operation                                Paper, Table 6: level 0 to 9, evenly     Published: level L, divided by 10
ShearX, ShearY                           0 to 0.3                                 0.3 L / 10
TranslateX, TranslateY                   0 to 150/331 of the width or height      L pixels, whatever the size
Rotate                                   0 to 30 degrees                          int(3 L) degrees
Posterize                                8 to 4 bits, rounded                     4 - int(0.4 L) bits
Solarize                                 threshold 256 to 0                       threshold 256 - int(25.6 L)
Contrast, Color, Brightness, Sharpness   factor 0.1 to 1.9, 1 the image itself    factor 0.1 + 1.8 L / 10
AutoContrast, Invert, Equalize           nothing                                  nothing

Shears are about the upper left corner, rotations about the centre; the first five take either sign. What comes in from
outside is grey (128) in the paper's and black in the published variant, whose shears are sampled bicubically; all else
takes the nearest pixel.

Every result is Pillow's, bit for bit. What `PIL.ImageOps` does by tables is done here on whole batches: on small images
Pillow spends its time on making the tables.
"""

from __future__ import annotations

from typing import Callable, Dict, Sequence, Tuple

import numpy as np
from PIL import Image, ImageEnhance

from ..errors import UsageError

VARIANTS = ("published", "paper")

Treat = Callable[[np.ndarray, np.ndarray], np.ndarray]

SubPolicy = Sequence[Tuple[str, float, int]]

# The policies AutoAugment found, from the tables of its paper's appendix: (operation, probability, level) twice.
CIFAR10: Sequence[SubPolicy] = (
    (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
    (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
)

IMAGENET: Sequence[SubPolicy] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, 4), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, 7)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, 2)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, 8), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, 2)),
    (("Equalize", 0.0, 7), ("Equalize", 0.8, 8)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, 8)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, 9)),
    (("Color", 0.4, 0), ("Equalize", 0.6, 3)),
    (("Equalize", 0.4, 7), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, 5)),
    (("Invert", 0.6, 4), ("Equalize", 1.0, 8)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, 8), ("Equalize", 0.6, 3)),
)


POLICIES: Dict[str, Dict[str, Sequence[SubPolicy]]] = {
    "paper": {"cifar10": CIFAR10, "imagenet": IMAGENET},
    "published": {  # each differs from the paper's in the level of one Color
        "cifar10": (*CIFAR10[:13], (("Brightness", 0.9, 6), ("Color", 0.2, 6)), *CIFAR10[14:]),
        "imagenet": (*IMAGENET[:15], (("Rotate", 0.8, 8), ("Color", 1.0, 0)), *IMAGENET[16:]),
    },
}


# What operations do: images uint8 (N, H, W, 3) and one value for each, float64 (N,), to new images ------------------


def _by_pillow(apply: Callable[[Image.Image, float], Image.Image], by_rows: bool = False) -> Treat:
    """An operation on Pillow's images as one on batches; ``by_rows``: row by row, so images can be piled."""

    def treat(images: np.ndarray, values: np.ndarray) -> np.ndarray:
        result = np.empty_like(images)
        alike = [np.flatnonzero(values == value) for value in np.unique(values)]
        for chosen in alike if by_rows else np.arange(len(images))[:, None]:
            pixels = images[chosen].reshape(-1, *images.shape[2:])
            image = Image.frombuffer("RGB", pixels.shape[1::-1], pixels, "raw", "RGB", 0, 1)
            treated = np.frombuffer(apply(image, float(values[chosen[0]])).tobytes(), np.uint8)
            result[chosen] = treated.reshape(-1, *images.shape[1:])
        return result

    return treat


def _affine(
    matrix: Callable[..., Sequence[float]], fill: int, resample: Image.Resampling, by_rows: bool = False
) -> Treat:
    """Show at (x, y) what lies at (a x + b y + c, d x + e y + f); ``matrix(value, width, height)`` is a to f."""
    return _by_pillow(
        lambda image, value: image.transform(
            image.size, Image.Transform.AFFINE, matrix(value, *image.size), resample, fillcolor=(fill,) * 3
        ),
        by_rows,
    )


def _enhance(kind: Callable, by_rows: bool = False) -> Treat:
    return _by_pillow(lambda image, factor: kind(image).enhance(factor), by_rows)


def _solarize(images: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    return np.where(images >= thresholds[:, None, None, None], 255 - images, images)


def _posterize(images: np.ndarray, bits: np.ndarray) -> np.ndarray:
    return images & (0xFF00 >> bits.astype(np.int64)).astype(np.uint8)[:, None, None, None]


def _autocontrast(images: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Stretch every channel of every image to 0..255; a channel of one colour stays as it is."""
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), 3, -1)
    low, high = planes.min(axis=2).astype(np.float64), planes.max(axis=2).astype(np.float64)
    flat = low == high
    scale = 255.0 / np.where(flat, 255.0, high - low)
    offset = np.where(flat, 0.0, -low * scale)
    return _look_up(images, np.clip((np.arange(256) * scale[..., None] + offset[..., None]).astype(np.int64), 0, 255))


def _equalize(images: np.ndarray, _: np.ndarray) -> np.ndarray:
    """Flatten the histogram of every channel of every image; one with too few pixels to share out stays as it is."""
    count, height, width, channels = images.shape
    bins = images + 256 * np.arange(count * channels).reshape(count, 1, 1, channels)
    histogram = np.bincount(bins.ravel(), minlength=count * channels * 256).reshape(count, channels, 256)
    brightest = np.take_along_axis(histogram, 255 - np.argmax(histogram[..., ::-1] > 0, axis=2)[..., None], axis=2)
    step = (height * width - brightest) // 255
    below = np.cumsum(histogram, axis=2) - histogram
    equal = np.minimum((step // 2 + below) // np.maximum(step, 1), 255)
    return _look_up(images, np.where(step == 0, np.arange(256), equal))


def _look_up(images: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Map pixels through one table per image and channel, (N, 3, 256)."""
    starts = np.arange(0, tables.size, 256).reshape(len(tables), 1, 1, -1)
    return tables.astype(np.uint8).reshape(-1).take(images + starts)


def _operations(fill: int, shear: Image.Resampling, shares: bool) -> Dict[str, Treat]:
    """By name. ``shares``: translations are by shares of the image's size, else by pixels."""
    nearest = Image.Resampling.NEAREST
    return {
        "ShearX": _affine(lambda value, width, height: (1, value, 0, 0, 1, 0), fill, shear),
        "ShearY": _affine(lambda value, width, height: (1, 0, 0, value, 1, 0), fill, shear),
        "TranslateX": _affine(
            lambda value, width, _: (1, 0, value * width if shares else value, 0, 1, 0), fill, nearest, by_rows=True
        ),
        "TranslateY": _affine(
            lambda value, _, height: (1, 0, 0, 0, 1, value * height if shares else value), fill, nearest
        ),
        "Rotate": _by_pillow(lambda image, degrees: image.rotate(degrees, fillcolor=(fill,) * 3)),
        "Posterize": _posterize,
        "Solarize": _solarize,
        "Contrast": _enhance(ImageEnhance.Contrast),
        "Color": _enhance(ImageEnhance.Color, by_rows=True),
        "Brightness": _enhance(ImageEnhance.Brightness, by_rows=True),
        "Sharpness": _enhance(ImageEnhance.Sharpness),
        "AutoContrast": _autocontrast,
        "Invert": lambda images, _: 255 - images,
        "Equalize": _equalize,
    }


def _tenths(low: float, high: float) -> np.ndarray:
    """The published runs' levels, by tenths of the range; they had its end, level 10, but no policy uses it.

    In float64 a value goes through (v - low) / (high - low) and back, as theirs did.
    """
    values = low + (high - low) * np.arange(11) / 10
    return (values - low) / (high - low) * (high - low) + low


OPERATIONS: Dict[str, Dict[str, Treat]] = {
    "published": _operations(0, Image.Resampling.BICUBIC, shares=False),
    "paper": _operations(128, Image.Resampling.NEAREST, shares=True),
}
_NAMES = tuple(OPERATIONS["paper"])
_SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_ENHANCING = ("Contrast", "Color", "Brightness", "Sharpness")

#: The value of each level of the operations that take one.
VALUES: Dict[str, Dict[str, np.ndarray]] = {
    "published": {
        **dict.fromkeys(("ShearX", "ShearY"), _tenths(0, 0.3)),
        **dict.fromkeys(("TranslateX", "TranslateY"), _tenths(0, 10)),
        "Rotate": np.trunc(_tenths(0, 30)),
        "Posterize": 4 - np.trunc(_tenths(0, 4)),
        "Solarize": 256 - np.trunc(_tenths(0, 256)),
        **dict.fromkeys(_ENHANCING, _tenths(0.1, 1.9)),
    },
    "paper": {
        **dict.fromkeys(("ShearX", "ShearY"), np.linspace(0, 0.3, 10)),
        **dict.fromkeys(("TranslateX", "TranslateY"), np.linspace(0, 150 / 331, 10)),
        "Rotate": np.linspace(0, 30, 10),
        "Posterize": np.round(np.linspace(8, 4, 10)),
        "Solarize": np.linspace(256, 0, 10),
        **dict.fromkeys(_ENHANCING, np.linspace(0.1, 1.9, 10)),
    },
}
_NO_VALUE = np.zeros(10)


class AutoAugment:
    """A policy, applied to uint8 batches (N, H, W, 3): ``policy(images, rng)`` gives new images of the same shape.

    Each image's treatment depends on the image and on ``rng`` alone. Images that share an operation are treated
    together.

    Parameters
    ----------
    name : str
        For messages.
    sub_policies : sequence
        Pairs of (operation name, probability, level).
    variant : {"published", "paper"}
        What a level stands for.

    Raises
    ------
    UsageError
        For another variant.
    """

    def __init__(self, name: str, sub_policies: Sequence[SubPolicy], variant: str = "published") -> None:
        _check(variant, VARIANTS, "variant of AutoAugment")
        self.name = name
        self.variant = variant
        table = np.array([[(_NAMES.index(op), p, level) for op, p, level in pair] for pair in sub_policies])
        self._operations = table[..., 0].astype(np.int64)  # (sub-policies, 2), as all three
        self._probabilities = table[..., 1]
        self._levels = table[..., 2].astype(np.int64)

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count = len(images)
        chosen = rng.integers(len(self._operations), size=count)
        happens = rng.random((count, 2)) < self._probabilities[chosen]
        signs = 1.0 - 2.0 * rng.integers(2, size=(count, 2))
        images = images.copy()
        for stage in range(2):
            operation_of = np.where(happens[:, stage], self._operations[chosen, stage], -1)
            for index, op in enumerate(_NAMES):
                where = np.flatnonzero(operation_of == index)
                if len(where):
                    levels = self._levels[chosen[where], stage]
                    images[where] = self._apply(op, images[where], levels, signs[where, stage])
        return images

    def _apply(self, op: str, images: np.ndarray, levels: np.ndarray, signs: np.ndarray) -> np.ndarray:
        values = VALUES[self.variant].get(op, _NO_VALUE)[levels]
        return OPERATIONS[self.variant][op](images, values * signs if op in _SIGNED else values)

    def operation(self, op: str, level: int) -> Callable[..., np.ndarray]:
        """Return one operation at one level: ``apply(images, sign=1)``, uint8 (N, H, W, 3) to new images of this shape.

        Levels go from 0 to 9; the published variant has a level 10 as well. Shears, translations and Rotate heed the
        sign, 1 or -1: with 1 a pixel shows what lay to its right or below it, and images turn counter-clockwise.
        Raises UsageError for an unknown operation, level or sign, and for images of another type or shape.
        """
        _check(op, sorted(_NAMES), "operation of AutoAugment")
        levels = len(VALUES[self.variant].get(op, _NO_VALUE))
        if not isinstance(level, (int, np.integer)) or not 0 <= level < levels:
            raise UsageError(f"{op} at level {level!r}: expected a whole number of 0 to {levels - 1}")

        def apply(images: np.ndarray, sign: int = 1) -> np.ndarray:
            if getattr(images, "dtype", None) != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise UsageError(
                    f"images of {getattr(images, 'dtype', type(images).__name__)} and shape "
                    f"{getattr(images, 'shape', None)}: expected uint8 (N, H, W, 3)"
                )
            if sign not in (1, -1):
                raise UsageError(f"sign {sign!r}: expected 1 or -1")
            count = len(images)
            return self._apply(op, images, np.full(count, level, dtype=np.int64), np.full(count, float(sign)))

        return apply

    def __repr__(self) -> str:
        return f"AutoAugment({self.name!r}, {self.variant})"


def autoaugment_policy(name: str, variant: str = "published") -> AutoAugment:
    """A policy by name.

    Parameters
    ----------
    name : {"cifar10", "imagenet"}
        The data set that it was learned on; CIFAR-100 takes CIFAR-10's.
    variant : {"published", "paper"}
        As the authors' runs had it, or as AutoAugment's paper has it; see above.

    Raises
    ------
    UsageError
        For another name or variant.
    """
    _check(variant, VARIANTS, "variant of AutoAugment")
    _check(name, sorted(POLICIES[variant]), "AutoAugment policy")
    return AutoAugment(name, POLICIES[variant][name], variant)


def _check(value: str, choices: Sequence[str], what: str) -> None:
    if value not in choices:
        raise UsageError(f"no {what} {value!r}: choose one of {', '.join(choices)}")
