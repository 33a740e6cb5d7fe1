"""Batches of an image set in memory."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..batches import Batch, Batches
from .image_set import ImageSet


class BatchLoader(Batches):
    """Yields (x, y): ``transform(images, rng)``, float32 (B, 3, H, W), and labels, int64 (B,).

    ``rng`` belongs to the whole batch, or to a process's part of it. Arguments and errors otherwise as in `Batches`;
    ``drop_last`` leaves an incomplete batch out, else it is a smaller one, or with several processes all are even.
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int,
        transform: Callable[[np.ndarray, np.random.Generator], np.ndarray],
        *,
        shuffle: bool,
        drop_last: bool,
        **options: Any,
    ) -> None:
        rank, ranks = options.get("shard", (0, 1))
        last = "drop" if drop_last else "keep" if ranks == 1 else "even"
        super().__init__(len(image_set), batch_size, shuffle=shuffle, last=last, name=image_set.name, **options)
        self.image_set = image_set
        self.transform = transform
        self._own = (rank,) if rank else ()  # the first process draws as a single one does

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        images = self.transform(self.image_set.images[chosen], self.random(epoch, index, *self._own))
        return images, self.image_set.labels[chosen]
