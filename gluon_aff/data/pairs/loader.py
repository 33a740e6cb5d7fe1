"""Batches of images and masks."""

from __future__ import annotations

from typing import Callable, Tuple

import numpy as np

from ...errors import UsageError
from ..batches import Batch, Batches
from .pair_set import PairSet

PairTransform = Callable[[np.ndarray, np.ndarray, np.random.Generator], Tuple[np.ndarray, np.ndarray]]


class PairLoader(Batches):
    """Yields (x, y): images, float32 (B, 3, h, w), and masks, float32 (B, 1, h, w), their numbers.

    An image's random draws depend on seed, epoch and its place in the set, so neither the number of workers nor that
    of processes nor the batch size changes what becomes of it. Other arguments are those of `Batches`. Raises
    UsageError when the transform leaves the images of a batch different sizes.
    """

    def __init__(
        self,
        pairs: PairSet,
        batch_size: int,
        transform: PairTransform,
        *,
        shuffle: bool,
        last: str = "keep",
        seed: int = 0,
        workers: int = 0,
        shard: Tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(
            len(pairs),
            batch_size,
            shuffle=shuffle,
            last=last,
            seed=seed,
            workers=workers,
            shard=shard,
            name=pairs.name,
        )
        self.pairs = pairs
        self.transform = transform

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        made = [self.transform(*self.pairs.pair(i), self.random(epoch, i)) for i in chosen.tolist()]
        sizes = {y.shape[1:] for _, y in made}
        if len(sizes) > 1:
            shown = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
            raise UsageError(
                f"images of {self.pairs.name} differ in size ({shown}): evaluate them one by one, or give a base size"
            )
        return np.stack([x for x, _ in made]), np.stack([y for _, y in made])
