"""AutoAugment (Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019).

A policy is 25 sub-policies of two operations; each image draws one sub-policy, and each of its operations happens
with the operation's probability, at its magnitude level. Levels 0 to 9 are ten equally spaced values of the paper's
range, and stand for (paper, Table 6):

    ShearX, ShearY          0 to 0.3, either sign; about the upper left corner
    TranslateX, TranslateY  0 to 150/331 of the width or height, either sign (150 pixels of the paper's 331)
    Rotate                  0 to 30 degrees, either sign; about the centre
    Posterize               8 to 4 bits (rounded)
    Solarize                threshold 256 to 0
    Contrast, Color, Brightness, Sharpness   factor 0.1 to 1.9, 1 being the image itself
    AutoContrast, Invert, Equalize           no magnitude

Signs are drawn at random. What a geometric operation brings in from outside is grey (128), sampling is nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Optional, Sequence, Tuple

import numpy as np

from ...errors import UsageError
from . import operations
from .tables import POLICIES

_LEVELS = 10
SubPolicy = Sequence[Tuple[str, float, int]]


@dataclass(frozen=True)
class Operation:
    """An image operation and the values of its ten levels (None: it takes no value)."""

    apply: Callable[..., np.ndarray]
    values: Optional[np.ndarray] = None
    signed: bool = False


def _ranged(apply: Callable[..., np.ndarray], low: float, high: float, signed: bool = False) -> Operation:
    return Operation(apply, np.linspace(low, high, _LEVELS), signed)


OPERATIONS: Dict[str, Operation] = {
    "ShearX": _ranged(operations.shear_x, 0, 0.3, signed=True),
    "ShearY": _ranged(operations.shear_y, 0, 0.3, signed=True),
    "TranslateX": _ranged(operations.translate_x, 0, 150 / 331, signed=True),
    "TranslateY": _ranged(operations.translate_y, 0, 150 / 331, signed=True),
    "Rotate": _ranged(operations.rotate, 0, 30, signed=True),
    "Posterize": Operation(operations.posterize, np.round(np.linspace(8, 4, _LEVELS))),
    "Solarize": _ranged(operations.solarize, 256, 0),
    "Contrast": _ranged(operations.contrast, 0.1, 1.9),
    "Color": _ranged(operations.color, 0.1, 1.9),
    "Brightness": _ranged(operations.brightness, 0.1, 1.9),
    "Sharpness": _ranged(operations.sharpness, 0.1, 1.9),
    "AutoContrast": Operation(operations.autocontrast),
    "Invert": Operation(operations.invert),
    "Equalize": Operation(operations.equalize),
}
_NAMES = tuple(OPERATIONS)


class AutoAugment:
    """A policy, applied to uint8 batches (N, H, W, 3): ``policy(images, rng)`` gives new images of the same shape.

    ``sub_policies`` holds pairs of (operation name, probability, level 0 to 9). Each image's treatment depends on
    the image and on ``rng`` alone. Images that share an operation are treated together.
    """

    def __init__(self, name: str, sub_policies: Sequence[SubPolicy]) -> None:
        self.name = name
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
            for index, name in enumerate(_NAMES):
                where = np.flatnonzero(operation_of == index)
                if len(where):
                    levels = self._levels[chosen[where], stage]
                    images[where] = _apply(OPERATIONS[name], images[where], levels, signs[where, stage])
        return images

    def __repr__(self) -> str:
        return f"AutoAugment({self.name!r})"


def _apply(operation: Operation, images: np.ndarray, levels: np.ndarray, signs: np.ndarray) -> np.ndarray:
    if operation.values is None:
        return operation.apply(images)
    values = operation.values[levels]
    return operation.apply(images, values * signs if operation.signed else values)


def autoaugment_policy(name: str) -> AutoAugment:
    """The policy learned on 'cifar10' (used for CIFAR-100 too) or on 'imagenet'. Raises UsageError for another name."""
    if name not in POLICIES:
        raise UsageError(f"no AutoAugment policy {name!r}: choose one of {', '.join(sorted(POLICIES))}")
    return AutoAugment(name, POLICIES[name])
