"""The loaders of ImageNet's images: for validation, in order, and for training, shuffled and augmented."""

from __future__ import annotations

from typing import Callable, Iterator, Optional, Tuple

import numpy as np

from ...errors import GluonAFFError, UsageError
from ..batches import Batch
from ..source import ImageNetSource
from ..transform import EvalTransform
from .crops import centre
from .image_batches import ImageFileBatches
from .transform import ImageNetTransform


class ImageNetLoader(ImageFileBatches):
    """Batches of a source, in its order: x, float32 (B, 3, size, size), and y, int64 (B,).

    Batch sizes differ by one at most, and by the images that cannot be read.

    Parameters
    ----------
    source
        Of `open_imagenet`.
    batch_size
        Images in a batch of this process, at most.
    transform
        Of `normalisation`.
    crop_ratio
        Size divided by the short side it is cut from; None for what is usual (see `centre`).
    workers
        Threads that decode ahead (0: when asked for).
    shard
        (rank, ranks), this process's part of every batch of all of them together.
    skip_bad
        Leave out images that cannot be read, as many as ``max_bad`` (None: any number) says. Without it the first ends
        the pass with a GluonAFFError that names it.
    on_bad
        Is told of each of them once.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: EvalTransform,
        *,
        size: int = 224,
        crop_ratio: Optional[float] = None,
        workers: int = 0,
        shard: Tuple[int, int] = (0, 1),
        skip_bad: bool = False,
        max_bad: Optional[int] = None,
        on_bad: Optional[Callable[[str], None]] = None,
    ) -> None:
        if crop_ratio is not None and not 0 < crop_ratio <= 1:
            raise UsageError(f"crop ratio {crop_ratio}: expected a number above 0 and at most 1, such as 0.875")
        self.crop_ratio = crop_ratio
        super().__init__(
            source,
            batch_size,
            transform,
            size=size,
            shuffle=False,
            seed=0,
            workers=workers,
            shard=shard,
            max_bad=max_bad if skip_bad else 0,
            on_bad=on_bad,
        )

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """One pass, the same in every epoch; a batch of bad images only is left out."""
        return (batch for batch in super().batches(epoch, start) if len(batch[1]))

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        return centre(image, self.size, self.crop_ratio)


class ImageNetTrainLoader(ImageFileBatches):
    """Batches of a source: x, float32 (B, 3, size, size), and y, int64 (B,).

    An epoch passes over every image of the source once, whatever the batch size and the number of processes; batch
    sizes differ by one at most, and by the images that cannot be read (see `ImageFileBatches`). The order depends on
    seed and epoch, an image's augmentation on seed, epoch and its number in the source, and on nothing else: not on
    workers, shards or where a pass begins.

    Parameters
    ----------
    source
        Of `open_imagenet`.
    batch_size
        Images in a batch of this process, at most.
    transform
        The augmentation; it has the size.
    normalise
        Of `normalisation`.
    shard
        (rank, ranks), this process's part of every batch of all of them together.
    max_bad
        How many images may be unreadable; 0 stops at the first, None never.
    on_bad
        Is told of each of them once.
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
