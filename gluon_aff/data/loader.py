"""Batches in an order and with random draws that depend on seed, epoch and place only."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterator, List, Tuple

import numpy as np

from ..errors import UsageError
from ..runtime.threads import prefetch
from .image_set import ImageSet

Batch = Tuple[np.ndarray, np.ndarray]


class Batches:
    """What every loader shares; one that makes its batches from somewhere overrides `make`.

    ``batch_size`` images on all devices of this process; ``last`` is what becomes of images that do not fill a batch:
    "drop" leaves them out, "keep" makes a smaller last batch, "even" makes batches whose sizes differ by one at most.
    With several processes each batch is cut into parts, and ``shard``, (rank, ranks), is this one's. ``workers``
    threads make batches ahead (0: made when asked for); forked processes would share MXNet's state. No batch depends on
    their number. Raises UsageError for an argument out of range, an epoch without a batch or a part without an image.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        shuffle: bool,
        last: str = "keep",
        seed: int = 0,
        workers: int = 0,
        shard: Tuple[int, int] = (0, 1),
        name: str = "the data set",
    ) -> None:
        rank, ranks = shard
        if batch_size < 1 or workers < 0 or seed < 0 or not 0 <= rank < ranks or last not in ("drop", "keep", "even"):
            raise UsageError(
                f"batch size {batch_size}, {workers} workers, seed {seed}, part {rank} of {ranks}, last {last!r}: "
                "expected a batch size of at least 1, no negative number, and drop, keep or even"
            )
        self.count = count
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.last = last
        self.seed = seed
        self.workers = workers
        self.shard = shard
        self._bounds = self._cut(batch_size * ranks)
        if len(self) == 0:
            raise UsageError(
                f"{name} has {count} images, fewer than one batch of {batch_size * ranks}, and an "
                "incomplete batch is left out: choose a smaller batch size or more images"
            )
        if min(np.diff(self._bounds)) < ranks:
            raise UsageError(
                f"{name} has {count} images: a batch cannot be cut into {ranks} parts, use fewer processes"
            )

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        """The batch of the images ``chosen``, batch ``index`` of an epoch: float32 (B, C, H, W) and its labels."""
        raise NotImplementedError

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self._bounds) - 1

    def size_of(self, index: int) -> int:
        """Images in this part of batch ``index``."""
        rank, ranks = self.shard
        whole = self._bounds[index + 1] - self._bounds[index]
        return whole * (rank + 1) // ranks - whole * rank // ranks

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from index ``start`` on, the same as a full pass would give from there.

        What a worker raises is raised here. Closing or dropping the iterator ends the workers.
        """
        if not 0 <= start <= len(self):
            raise UsageError(f"batch {start} of an epoch of {len(self)} batches: choose 0 to {len(self)}")
        order = self.random(epoch).permutation(self.count) if self.shuffle else np.arange(self.count)
        indices = range(start, len(self))
        if self.workers == 0:
            return (self._batch(order, epoch, index) for index in indices)
        return self._prefetched(order, epoch, indices)

    def random(self, *place: int) -> np.random.Generator:
        """The generator for what is drawn at a place: (epoch,) the order, others as the loader likes."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=place))

    def _cut(self, whole: int) -> List[int]:
        """Where batches of ``whole`` images, those of all processes together, begin; and the end."""
        full, rest = divmod(self.count, whole)
        if self.last == "drop" or not rest:
            return [index * whole for index in range(full + 1)]
        if self.last == "keep":
            return [index * whole for index in range(full + 1)] + [self.count]
        return [index * self.count // (full + 1) for index in range(full + 2)]

    def _prefetched(self, order: np.ndarray, epoch: int, indices: range) -> Iterator[Batch]:
        return prefetch(partial(self._batch, order, epoch), indices, "batch", self.workers, 2 * self.workers)

    def _batch(self, order: np.ndarray, epoch: int, index: int) -> Batch:
        return self.make(self._part(order, index), epoch, index)

    def _part(self, order: np.ndarray, index: int) -> np.ndarray:
        """This process's images of a batch."""
        rank, ranks = self.shard
        whole = order[self._bounds[index] : self._bounds[index + 1]]
        return whole[len(whole) * rank // ranks : len(whole) * (rank + 1) // ranks]


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
