"""What an operation's levels stand for: in AutoAugment's paper, and in the runs the authors of AFF published.

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
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Callable, Dict, Optional

import numpy as np

from . import bicubic, operations

VARIANTS = ("published", "paper")


@dataclass(frozen=True)
class Operation:
    """An image operation and the values of its levels (None: it takes no value)."""

    apply: Callable[..., np.ndarray]
    values: Optional[np.ndarray] = None
    signed: bool = False

    def __call__(self, images: np.ndarray, levels: np.ndarray, signs: np.ndarray) -> np.ndarray:
        """New images; ``levels`` and ``signs`` (1 or -1) are one each, (N,)."""
        if self.values is None:
            return self.apply(images)
        values = self.values[levels]
        return self.apply(images, values * signs if self.signed else values)


def _spaced(apply: Callable[..., np.ndarray], low: float, high: float, signed: bool = False) -> Operation:
    """The paper's ten levels, 0 to 9."""
    return Operation(apply, np.linspace(low, high, 10), signed)


def _tenths(apply: Callable[..., np.ndarray], low: float, high: float, signed: bool = False) -> Operation:
    """The published runs' levels, by tenths of the range; they had its end, level 10, but no policy uses it.

    In float64 a value goes through (v - low) / (high - low) and back, as theirs did.
    """
    values = low + (high - low) * np.arange(11) / 10
    return Operation(apply, (values - low) / (high - low) * (high - low) + low, signed)


def _whole(operation: Operation, start: int = 0) -> Operation:
    """The same with whole numbers for values, or ``start`` less these."""
    assert operation.values is not None
    whole = np.trunc(operation.values)
    return Operation(operation.apply, start - whole if start else whole, operation.signed)


_WITHOUT_VALUE = {
    "AutoContrast": Operation(operations.autocontrast),
    "Invert": Operation(operations.invert),
    "Equalize": Operation(operations.equalize),
}

OPERATIONS: Dict[str, Dict[str, Operation]] = {
    "paper": {
        "ShearX": _spaced(operations.shear_x, 0, 0.3, signed=True),
        "ShearY": _spaced(operations.shear_y, 0, 0.3, signed=True),
        "TranslateX": _spaced(operations.translate_x, 0, 150 / 331, signed=True),
        "TranslateY": _spaced(operations.translate_y, 0, 150 / 331, signed=True),
        "Rotate": _spaced(operations.rotate, 0, 30, signed=True),
        "Posterize": Operation(operations.posterize, np.round(np.linspace(8, 4, 10))),
        "Solarize": _spaced(operations.solarize, 256, 0),
        "Contrast": _spaced(operations.contrast, 0.1, 1.9),
        "Color": _spaced(operations.color, 0.1, 1.9),
        "Brightness": _spaced(operations.brightness, 0.1, 1.9),
        "Sharpness": _spaced(operations.sharpness, 0.1, 1.9),
        **_WITHOUT_VALUE,
    },
    "published": {
        "ShearX": _tenths(bicubic.shear_x, 0, 0.3, signed=True),
        "ShearY": _tenths(bicubic.shear_y, 0, 0.3, signed=True),
        "TranslateX": _tenths(bicubic.shift_x, 0, 10, signed=True),
        "TranslateY": _tenths(bicubic.shift_y, 0, 10, signed=True),
        "Rotate": _whole(_tenths(partial(operations.rotate, fill=0), 0, 30, signed=True)),
        "Posterize": _whole(_tenths(operations.posterize, 0, 4), start=4),
        "Solarize": _whole(_tenths(operations.solarize, 0, 256), start=256),
        "Contrast": _tenths(operations.contrast, 0.1, 1.9),
        "Color": _tenths(operations.color, 0.1, 1.9),
        "Brightness": _tenths(operations.brightness, 0.1, 1.9),
        "Sharpness": _tenths(operations.sharpness, 0.1, 1.9),
        **_WITHOUT_VALUE,
    },
}
