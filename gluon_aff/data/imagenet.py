"""ImageNet's validation images as batches: short side resized, centre cropped, normalised, every image once."""

from __future__ import annotations

import io
import math
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Deque, Dict, Iterator, List, Tuple, Union

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import GluonAFFError, UsageError
from .imagenet_sources import EncodedImage, ImageNetSource
from .transform import EvalTransform

CROP_RATIO = 0.875

#: Mean and standard deviation of pixels in 0..255, as the authors gave them to an image folder and to a record file.
#: They differ in the third digit; all published ImageNet weights were trained and scored with "records".
NORMALISATIONS: Dict[str, Tuple[Tuple[float, float, float], Tuple[float, float, float]]] = {
    "folder": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "records": ((123.68, 116.779, 103.939), (58.393, 57.12, 57.375)),
}


def resized_side(size: int) -> int:
    """The short side from which a centre of ``size`` is cut: 256 for 224."""
    return math.ceil(size / CROP_RATIO)


def normalisation(name: str) -> EvalTransform:
    """The transform of a normalisation by name. Raises UsageError for an unknown one."""
    if name not in NORMALISATIONS:
        raise UsageError(f"no normalisation {name!r}: choose one of {', '.join(NORMALISATIONS)}")
    mean, std = NORMALISATIONS[name]
    return EvalTransform([value / 255 for value in mean], [value / 255 for value in std])


def decode(content: bytes, size: int) -> np.ndarray:
    """An image file as RGB, short side resized, the centre of ``size`` x ``size`` cut out: uint8 (size, size, 3).

    The resizing is OpenCV's bilinear one without smoothing, as in Gluon's transforms and in the record iterator;
    Pillow's own smooths, which would be another protocol. Raises ValueError when it is no readable image.
    """
    import cv2

    try:
        image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError("unknown format") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise ValueError(str(error) or type(error).__name__) from error
    height, width = image.shape[:2]
    short = resized_side(size)
    new = (short, short * height // width) if height > width else (short * width // height, short)
    if (width, height) != new:
        image = cv2.resize(image, new, interpolation=cv2.INTER_LINEAR)
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    return image[top : top + size, left : left + size]


class ImageNetLoader:
    """Batches of a source, in its order: x, float32 (B, 3, size, size), and y, int64 (B,).

    An image that cannot be read ends the pass with a GluonAFFError that names it; with ``skip_bad`` it is left out,
    and ``bad`` lists it after the pass. ``workers`` threads decode ahead (0: when asked for).
    """

    def __init__(
        self,
        source: ImageNetSource,
        batch_size: int,
        transform: EvalTransform,
        *,
        size: int = 224,
        workers: int = 0,
        skip_bad: bool = False,
    ) -> None:
        if batch_size < 1 or workers < 0 or size < 1:
            raise UsageError(f"batch size {batch_size}, {workers} workers, size {size}: expected at least 1, 0 and 1")
        self.source = source
        self.batch_size = batch_size
        self.transform = transform
        self.size = size
        self.workers = workers
        self.skip_bad = skip_bad
        self.bad: List[str] = []

    def __len__(self) -> int:
        """Batches of a pass, when no image is bad."""
        return -(-len(self.source) // self.batch_size)

    def batches(self) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        """One pass. Closing or dropping the iterator ends the workers."""
        self.bad = []
        images, labels = [], []
        for encoded, result in self._decoded():
            if isinstance(result, ValueError):
                message = f"{encoded.where} cannot be read as an image ({result})"
                if not self.skip_bad:
                    raise GluonAFFError(f"{message}: replace it, or leave such images out with --skip-bad")
                self.bad.append(message)
                continue
            images.append(result)
            labels.append(encoded.label)
            if len(images) == self.batch_size:
                yield self._batch(images, labels)
                images, labels = [], []
        if images:
            yield self._batch(images, labels)

    def _batch(self, images: List[np.ndarray], labels: List[int]) -> Tuple[np.ndarray, np.ndarray]:
        return self.transform(np.stack(images)), np.array(labels, dtype=np.int64)

    def _decoded(self) -> Iterator[Tuple[EncodedImage, Union[np.ndarray, ValueError]]]:
        if self.workers == 0:
            for encoded in self.source.images():
                yield encoded, self._decode(encoded)
            return
        pending: Deque[Tuple[EncodedImage, Future]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="decode")
        try:
            for encoded in self.source.images():
                pending.append((encoded, pool.submit(self._decode, encoded)))
                if len(pending) > self.batch_size + 4 * self.workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()
            pool.shutdown()

    def _decode(self, encoded: EncodedImage) -> Union[np.ndarray, ValueError]:
        try:
            return decode(encoded.content, self.size)
        except ValueError as error:
            return error
