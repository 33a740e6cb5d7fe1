"""Batches in an order and with random draws that depend on seed, epoch and place only.

`BatchLoader` makes them of images in memory; `ImageNetLoader` and `ImageNetTrainLoader` of image files, which threads
read and decode one by one, with the unreadable left out.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError, UsageError
from ..runtime.threads import prefetch
from .decoding import UnreadableImage, decode_image
from .image_set import ImageSet
from .imagenet import ImageNetSource
from .transform import EvalTransform, ImageNetTransform, centre

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


class ImageFileBatches(Batches):
    """Batches of image files: x, float32 (B, 3, size, size), and y, int64 (B,). Both of ImageNet's loaders are these.

    ``workers`` threads share the images of a few batches, however many they are, so that memory does not grow with
    them. Every image of the source is asked for once per epoch; batch sizes differ by one at most, and by the images
    that cannot be read. Such an image is named once to ``on_bad``, in whichever thread, and kept in ``bad``; with more
    than ``max_bad`` of them (None: no limit, 0: not one) a pass ends with a GluonAFFError.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        normalise: EvalTransform,
        *,
        size: int,
        max_bad: Optional[int],
        on_bad: Optional[Callable[[str], None]] = None,
        **options: Any,
    ) -> None:
        if size < 1 or (max_bad is not None and max_bad < 0):
            raise UsageError(f"size {size}, at most {max_bad} bad images: expected at least 1, and no negative number")
        super().__init__(len(source), batch_size, last="even", name=str(source.path), **options)
        self.source = source
        self.size = size
        self.max_bad = max_bad
        self._normalise = normalise
        self._on_bad = on_bad or (lambda message: None)
        self._bad: Dict[int, str] = {}
        self._lock = threading.Lock()
        for place, message in enumerate(source.damage):
            self._note(-1 - place, message)

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        """What becomes of image ``number`` of the source, uint8 (H, W, 3), in an epoch: uint8 (size, size, 3)."""
        raise NotImplementedError

    @property
    def bad(self) -> List[str]:
        """The images that could not be read so far, in any epoch, and why."""
        return [self._bad[number] for number in sorted(self._bad)]

    def make(self, chosen: np.ndarray, epoch: int, index: int) -> Batch:
        x = self._room(chosen)
        return self._batch_of(x, [self._fill(x[place], epoch, number) for place, number in enumerate(chosen)])

    def _prefetched(self, order: np.ndarray, epoch: int, indices: range) -> Iterator[Batch]:
        rooms: Deque[np.ndarray] = deque()  # of batches whose images are being read

        def places() -> Iterator[Tuple[np.ndarray, int]]:
            for index in indices:
                chosen = self._part(order, index)
                rooms.append(self._room(chosen))
                yield from zip(rooms[-1], chosen)

        ahead = self.batch_size + 2 * self.workers
        made = prefetch(lambda place: self._fill(place[0], epoch, place[1]), places(), "image", self.workers, ahead)
        for index in indices:
            labels = [next(made) for _ in self._part(order, index)]
            yield self._batch_of(rooms.popleft() if labels else self._room(np.empty(0)), labels)

    def _room(self, chosen: np.ndarray) -> np.ndarray:
        return np.empty((len(chosen), 3, self.size, self.size), dtype=np.float32)

    def _fill(self, place: np.ndarray, epoch: int, number: int) -> Optional[int]:
        """Put an image where it belongs in a batch and give its label; None when it cannot be read."""
        number = int(number)
        try:
            encoded = self.source.encoded(number)
            image = decode_image(encoded.content, encoded.where, opencv=True)
        except GluonAFFError as error:
            self._note(number, error.fault if isinstance(error, UnreadableImage) else str(error))
            return None
        place[...] = self._normalise(self.pixels(image, epoch, number)[None])[0]
        return encoded.label

    def _batch_of(self, x: np.ndarray, labels: Sequence[Optional[int]]) -> Batch:
        good = [place for place, label in enumerate(labels) if label is not None]
        y = np.array([labels[place] for place in good], dtype=np.int64)
        return (x if len(good) == len(x) else x[good]), y

    def _note(self, number: int, message: str) -> None:
        with self._lock:
            if number in self._bad:
                return
            self._bad[number] = message
            count = len(self._bad)
        if self.max_bad is not None and count > self.max_bad:
            many = f", the {count}th one, more than `max_bad` {self.max_bad}" if self.max_bad else ""
            raise GluonAFFError(
                f"{message}{many}: replace it, or leave such images out (evaluate `skip_bad`, in training `max_bad`)"
            )
        self._on_bad(message)


class ImageNetLoader(ImageFileBatches):
    """The images of a source in its order, as networks are validated on them (see `centre`, also for ``crop_ratio``).

    With ``skip_bad`` images that cannot be read are left out, as many as ``max_bad`` says; without it the first ends
    the pass. Arguments otherwise as in `ImageFileBatches`.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: EvalTransform,
        *,
        size: int = 224,
        crop_ratio: Optional[float] = None,
        skip_bad: bool = False,
        max_bad: Optional[int] = None,
        **options: Any,
    ) -> None:
        if crop_ratio is not None and not 0 < crop_ratio <= 1:
            raise UsageError(f"crop ratio {crop_ratio}: expected a number above 0 and at most 1, such as 0.875")
        self.crop_ratio = crop_ratio
        max_bad = max_bad if skip_bad else 0
        super().__init__(source, batch_size, transform, size=size, shuffle=False, max_bad=max_bad, **options)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """One pass, the same in every epoch; a batch of bad images only is left out."""
        return (batch for batch in super().batches(epoch, start) if len(batch[1]))

    def pixels(self, image: np.ndarray, epoch: int, number: int) -> np.ndarray:
        return centre(image, self.size, self.crop_ratio)


class ImageNetTrainLoader(ImageFileBatches):
    """The images of a source, shuffled and augmented by ``transform``, which has the size.

    The order depends on seed and epoch, an image's augmentation on seed, epoch and its number in the source, and on
    nothing else: not on workers, shards or where a pass begins. Arguments otherwise as in `ImageFileBatches`.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: ImageNetTransform,
        normalise: EvalTransform,
        *,
        max_bad: Optional[int] = 50,
        **options: Any,
    ) -> None:
        self.transform = transform
        super().__init__(source, batch_size, normalise, size=transform.size, shuffle=True, max_bad=max_bad, **options)

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
