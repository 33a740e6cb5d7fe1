"""scikit-learn's handwritten digits: 1797 real images of 8x8 in 17 greys, no download needed."""

from __future__ import annotations

import numpy as np

from ..errors import GluonAFFError
from .decoding import resized
from .image_set import ImageSet

SIZE = 32
_SPLIT_SEED = 0


def load_digits(split: str, size: int = SIZE) -> ImageSet:
    """The digits as RGB images of ``size`` x ``size`` (bilinear).

    Of each class a fifth (rounded) is the test split, 359 images of 1797, drawn with NumPy's legacy generator and
    seed 0, whose numbers never change. Raises GluonAFFError without scikit-learn.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise GluonAFFError(
            "the digits come with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error

    digits = datasets.load_digits()
    labels = digits.target.astype(np.int64)
    random = np.random.RandomState(_SPLIT_SEED)
    in_test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        where = np.flatnonzero(labels == label)
        in_test[random.permutation(where)[: round(len(where) / 5)]] = True
    chosen = in_test if split == "test" else ~in_test
    grey = np.round(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    return ImageSet(
        images=resized(np.repeat(grey[..., None], 3, axis=3), size),
        labels=labels[chosen],
        classes=tuple(str(digit) for digit in range(10)),
        name="digits",
        source="sklearn.datasets.load_digits",
    )
