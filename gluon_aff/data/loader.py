"""Batches of an image set, in an order and with random draws that depend on seed, epoch and batch index only."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, Tuple

import numpy as np

from ..errors import UsageError
from .image_set import ImageSet

Batch = Tuple[np.ndarray, np.ndarray]


class BatchLoader:
    """Yields (x, y): ``transform(images, rng)``, float32 (B, 3, H, W), and labels, int64 (B,).

    ``workers`` threads make batches ahead (0: made when asked for). Threads are enough, NumPy works outside the
    interpreter's lock; forked processes would share MXNet's state. The batches never depend on their number.
    Raises UsageError when an epoch would have no batch.
    """

    def __init__(
        self,
        image_set: ImageSet,
        batch_size: int,
        transform: Callable[[np.ndarray, np.random.Generator], np.ndarray],
        *,
        shuffle: bool,
        drop_last: bool,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        if batch_size < 1 or workers < 0 or seed < 0:
            raise UsageError(
                f"batch size {batch_size}, {workers} workers, seed {seed}: expected a batch size of at least 1 and "
                "no negative number"
            )
        self.image_set = image_set
        self.batch_size = batch_size
        self.transform = transform
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = seed
        self.workers = workers
        if len(self) == 0:
            raise UsageError(
                f"{image_set.name} has {len(image_set)} images, fewer than one batch of {batch_size}, and an "
                "incomplete batch is left out: choose a smaller batch size or more images"
            )

    def __len__(self) -> int:
        """Batches per epoch."""
        full, rest = divmod(len(self.image_set), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    @property
    def images_per_epoch(self) -> int:
        return len(self) * self.batch_size if self.drop_last else len(self.image_set)

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from index ``start`` on, the same as a full pass would give from there.

        What a worker raises is raised here. Closing or dropping the iterator ends the workers.
        """
        if not 0 <= start <= len(self):
            raise UsageError(f"batch {start} of an epoch of {len(self)} batches: choose 0 to {len(self)}")
        order = np.arange(len(self.image_set))
        if self.shuffle:
            order = self._random(epoch).permutation(order)
        indices = range(start, len(self))
        if self.workers == 0:
            return (self._batch(order, epoch, index) for index in indices)
        return self._prefetched(order, epoch, indices)

    def _prefetched(self, order: np.ndarray, epoch: int, indices: range) -> Iterator[Batch]:
        pending = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batch")
        try:
            for index in indices:
                pending.append(pool.submit(self._batch, order, epoch, index))
                if len(pending) > 2 * self.workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
            pool.shutdown()

    def _batch(self, order: np.ndarray, epoch: int, index: int) -> Batch:
        chosen = order[index * self.batch_size : (index + 1) * self.batch_size]
        images = self.transform(self.image_set.images[chosen], self._random(epoch, index))
        return images, self.image_set.labels[chosen]

    def _random(self, *place: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=place))
