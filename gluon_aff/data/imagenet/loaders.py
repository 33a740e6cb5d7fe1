"""Batches of a source of image files: read and decoded by threads, image by image, with the unreadable left out."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ...errors import GluonAFFError, UsageError
from ...utils.prefetch import prefetch
from ..batches import Batch, Batches
from ..decoding import read_image
from ..source import ImageNetSource
from ..transform import EvalTransform
from .crops import CROP_RATIO, centre, resized_side
from .transform import ImageNetTransform


class ImageFileBatches(Batches):
    """What ImageNet's loaders share; they override `pixels`.

    ``workers`` threads share the images of a few batches, however many they are, so that memory does not grow with
    them. Every image of the set is asked for once per epoch. One that cannot be read makes its batch smaller, is named
    once to ``on_bad``, in whichever thread, and kept in ``bad``; with more than ``max_bad`` of them (None: no limit,
    0: not one) a pass ends with a GluonAFFError.
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        normalise: EvalTransform,
        *,
        size: int,
        shuffle: bool,
        seed: int,
        workers: int,
        shard: Tuple[int, int],
        max_bad: Optional[int],
        on_bad: Optional[Callable[[str], None]],
    ) -> None:
        if size < 1 or (max_bad is not None and max_bad < 0):
            raise UsageError(f"size {size}, at most {max_bad} bad images: expected at least 1, and no negative number")
        super().__init__(
            len(source),
            batch_size,
            shuffle=shuffle,
            last="even",
            seed=seed,
            workers=workers,
            shard=shard,
            name=str(source.path),
        )
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
        made = prefetch(lambda place: self._fill(place[0], epoch, place[1]), places(), self.workers, ahead, "image")
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
        except GluonAFFError as error:
            self._note(number, str(error))
            return None
        try:
            image = read_image(encoded.content)
        except ValueError as error:
            self._note(number, f"{encoded.where} cannot be read as an image ({error})")
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
            many = f", the {count}th one, more than --max-bad {self.max_bad}" if self.max_bad else ""
            raise GluonAFFError(
                f"{message}{many}: replace it, or leave such images out (evaluate --skip-bad, in training --max-bad)"
            )
        self._on_bad(message)


__all__ = ["CROP_RATIO", "NORMALISATIONS", "ImageNetLoader", "decode", "normalisation", "resized_side"]

#: Mean and standard deviation of pixels in 0..255, as the authors gave them to an image folder and to a record file.
#: They differ in the third digit; all published ImageNet weights were trained and scored with "records".
NORMALISATIONS: Dict[str, Tuple[Tuple[float, float, float], Tuple[float, float, float]]] = {
    "folder": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "records": ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
}


def normalisation(name: str) -> EvalTransform:
    """The transform of a normalisation by name. Raises UsageError for an unknown one."""
    if name not in NORMALISATIONS:
        raise UsageError(f"no normalisation {name!r}: choose one of {', '.join(NORMALISATIONS)}")
    mean, std = NORMALISATIONS[name]
    return EvalTransform([value / 255 for value in mean], [value / 255 for value in std])


def decode(content: bytes, size: int, crop_ratio: Optional[float] = None) -> np.ndarray:
    """An image file as RGB, its centre of ``size`` x ``size``: uint8 (size, size, 3).

    See `read_image` and `centre`. Raises ValueError when it is no readable image.
    """
    return centre(read_image(content), size, crop_ratio)


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
