"""Our segmentation sets in the shape GluonCV's scripts, loaders and metrics expect."""

from __future__ import annotations

import functools
import os
from typing import Any, Callable, Optional

from ...errors import GluonAFFError, UsageError
from ...runtime.gluoncv import import_gluoncv
from .pair_set import PairSet

MODES = ("train", "val", "testval", "test")


def gluoncv_dataset(
    pairs: PairSet,
    mode: str = "train",
    transform: Optional[Callable[[Any], Any]] = None,
    base_size: int = 520,
    crop_size: int = 480,
) -> Any:
    """A GluonCV ``SegmentationDataset`` of two classes, background and what the set is of.

    Its items are (image, mask): NDArrays, float32 (H, W, 3) of 0 to 255, or what ``transform`` makes of it, and int32
    (H, W) of 0 and 1. mode: 'train' augments as GluonCV does, with Python's random numbers; 'val' resizes the short
    side to ``crop_size`` and cuts out the centre; 'testval' leaves the size; 'test' does and has the image's id in
    place of the mask. Raises UsageError for another mode, GluonAFFError without GluonCV.
    """
    if mode not in MODES:
        raise UsageError(f"no mode {mode!r}: choose one of {', '.join(MODES)}")
    return _dataset_class()(pairs, mode, transform, base_size, crop_size)


@functools.lru_cache(maxsize=None)
def _dataset_class() -> type:
    try:
        SegmentationDataset = import_gluoncv("gluoncv.data.segbase").SegmentationDataset
    except ImportError as error:
        raise GluonAFFError(f"GluonCV cannot be imported ({error}): pip install gluoncv") from error
    from PIL import Image

    class PairDataset(SegmentationDataset):  # type: ignore[valid-type, misc]
        NUM_CLASS = 2

        def __init__(
            self,
            pairs: PairSet,
            mode: str,
            transform: Optional[Callable[[Any], Any]],
            base_size: int,
            crop_size: int,
        ) -> None:
            super().__init__(os.curdir, mode, mode, transform, base_size, crop_size)  # it insists on a folder
            self.root = pairs.source
            self.pairs = pairs

        @property
        def classes(self) -> tuple:
            return "background", "foreground"

        def __len__(self) -> int:
            return len(self.pairs)

        def __getitem__(self, index: int) -> tuple:
            image, mask = (Image.fromarray(pixels) for pixels in self.pairs.pair(index))
            if self.mode == "test":
                return self._transformed(self._img_transform(image)), self.pairs.names[index]
            if self.mode == "train":
                image, mask = self._sync_transform(image, mask)
            elif self.mode == "val":
                image, mask = self._val_sync_transform(image, mask)
            else:
                image, mask = self._img_transform(image), self._mask_transform(mask)
            return self._transformed(image), mask

        def _transformed(self, image: Any) -> Any:
            return image if self.transform is None else self.transform(image)

    return PairDataset
