"""Pictures that are always there: parts of two photographs, to check and calibrate by where a user gives none."""

from __future__ import annotations

import numpy as np

from ..data.decoding import resized

#: What they are, for manifests.
SOURCE = "parts of the two photographs that come with scikit-learn"
_SEED = 20201022


def sample_pixels(count: int, size: int) -> np.ndarray:
    """The same ``count`` pictures every time, uint8 (count, size, size, 3): squares of different scale and place."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    rng = np.random.RandomState(_SEED)
    pictures = np.empty((count, size, size, 3), dtype=np.uint8)
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        height, width = photograph.shape[:2]
        side = int(rng.randint(min(height, width) // 4, min(height, width) + 1))
        top, left = rng.randint(height - side + 1), rng.randint(width - side + 1)
        pictures[number] = resized(photograph[None, top : top + side, left : left + side], size)[0]
    return pictures
