"""Batches of a source of image files: read and decoded by threads, image by image, with the unreadable left out."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from ...errors import GluonAFFError, UsageError
from ...utils.prefetch import prefetch
from ..batches import Batch, Batches
from ..decoding import UnreadableImage, decode_image
from ..source import ImageNetSource
from ..transform import EvalTransform


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
            many = f", the {count}th one, more than --max-bad {self.max_bad}" if self.max_bad else ""
            raise GluonAFFError(
                f"{message}{many}: replace it, or leave such images out (evaluate --skip-bad, in training --max-bad)"
            )
        self._on_bad(message)
