"""ImageNet's validation images as batches: short side resized, centre cropped, normalised, every image once."""

from __future__ import annotations

from typing import Callable, Dict, Iterator, Optional, Tuple

import numpy as np

from ..errors import UsageError
from .batches import Batch
from .imagenet_batches import ImageFileBatches
from .imagenet_pixels import CROP_RATIO, centre, read_image, resized_side
from .imagenet_sources import ImageNetSource
from .transform import EvalTransform

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

    Args:
        source: of `open_imagenet`.
        batch_size: images in a batch of this process, at most.
        transform: of `normalisation`.
        crop_ratio: size divided by the short side it is cut from; None for what is usual (see `centre`).
        workers: threads that decode ahead (0: when asked for).
        shard: (rank, ranks), this process's part of every batch of all of them together.
        skip_bad: leave out images that cannot be read, as many as ``max_bad`` (None: any number) says. Without it the
            first ends the pass with a GluonAFFError that names it.
        on_bad: is told of each of them once.
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
