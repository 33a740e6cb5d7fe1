"""AutoAugment (Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR 2019).

A policy is 25 sub-policies of two operations; each image draws one sub-policy, and each of its operations happens
with the operation's probability, at its magnitude level. `levels` says what the levels stand for. There are two
variants: AutoAugment's paper's, and the one that the published runs of AFF took from a library of their time, whose
figures and sampling differ from the paper's.
"""

from __future__ import annotations

from typing import Callable, Sequence

import numpy as np

from ...errors import UsageError
from .levels import OPERATIONS, VARIANTS
from .tables import POLICIES, SubPolicy

_NAMES = tuple(OPERATIONS["paper"])


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
        self._apply = OPERATIONS[variant]
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
                    images[where] = self._apply[name](images[where], levels, signs[where, stage])
        return images

    def operation(self, op: str, level: int) -> Callable[..., np.ndarray]:
        """One operation at one level, as this variant has it.

        Parameters
        ----------
        op : str
            "ShearX", "Posterize" and so on.
        level : int
            0 to 9; the published variant has a level 10 as well.

        Returns
        -------
        callable
            ``apply(images, sign=1)``: uint8 (N, H, W, 3) to new images of the same shape. ``sign`` is 1 or -1; shears,
            translations and Rotate heed it: with 1 a pixel shows what lay to its right or below it, and images turn
            counter-clockwise.

        Raises
        ------
        UsageError
            For an unknown operation, level or sign, and for images of another type or shape.
        """
        _check(op, sorted(_NAMES), "operation of AutoAugment")
        known = self._apply[op]
        levels = 10 if known.values is None else len(known.values)
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
            return known(images, np.full(count, level, dtype=np.int64), np.full(count, float(sign)))

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
        As the authors' runs had it, or as AutoAugment's paper has it; see `levels`.

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
