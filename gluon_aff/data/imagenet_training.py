"""ImageNet's training images as batches: every image once per epoch, augmented, in an order of the epoch's own."""

from __future__ import annotations

from typing import Callable, Iterator, Optional, Tuple

import numpy as np

from ..errors import GluonAFFError
from .batches import Batch
from .imagenet_batches import ImageFileBatches
from .imagenet_sources import ImageNetSource
from .imagenet_transform import ImageNetTransform
from .transform import EvalTransform


class ImageNetTrainLoader(ImageFileBatches):
    """Batches of a source: x, float32 (B, 3, size, size), and y, int64 (B,).

    An epoch passes over every image of the source once, whatever the batch size and the number of processes; batch
    sizes differ by one at most, and by the images that cannot be read (see `ImageFileBatches`). The order depends on
    seed and epoch, an image's augmentation on seed, epoch and its number in the source, and on nothing else: not on
    workers, shards or where a pass begins.

    Args:
        source: of `open_imagenet`.
        batch_size: images in a batch of this process, at most.
        transform: the augmentation; it has the size.
        normalise: of `normalisation`.
        shard: (rank, ranks), this process's part of every batch of all of them together.
        max_bad: how many images may be unreadable; 0 stops at the first, None never.
        on_bad: is told of each of them once.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: ImageNetTransform,
        normalise: EvalTransform,
        *,
        seed: int = 0,
        workers: int = 0,
        shard: Tuple[int, int] = (0, 1),
        max_bad: Optional[int] = 50,
        on_bad: Optional[Callable[[str], None]] = None,
    ) -> None:
        self.transform = transform
        super().__init__(
            source,
            batch_size,
            normalise,
            size=transform.size,
            shuffle=True,
            seed=seed,
            workers=workers,
            shard=shard,
            max_bad=max_bad,
            on_bad=on_bad,
        )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See `Batches.batches`. Raises GluonAFFError for a batch of bad images only, besides too many of them."""
        for x, y in super().batches(epoch, start):
            if not len(y):
                raise GluonAFFError(
                    f"a whole batch of {self.source.path} cannot be read, such as {self.bad[-1]}: use larger batches "
                    "or replace these images"
                )
            yield x, y

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        return self.transform(image, self.random(epoch, number))
