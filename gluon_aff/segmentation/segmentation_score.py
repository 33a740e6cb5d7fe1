"""The figures of a segmentation into foreground and background, added up batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import GluonAFFError
from ..utils.logits import check_finite
from ..utils.resampling import Span, quotient_interval
from .object_sizes import COCO_LIMITS, SizeGroup, TrueObject, check_limits, size_groups, true_objects
from .pixel_curves import PixelCurves


@dataclass(frozen=True)
class ImageScore:
    """Pixels of one image.

    Attributes
    ----------
    name : str
    height, width : int
        Of the original image.
    scored_height, scored_width : int
        The size at which it was scored.
    truth, predicted, intersection : int
        Foreground pixels at the scored size.
    objects : int
        Connected components of its truth.
    """

    name: str
    height: int
    width: int
    scored_height: int
    scored_width: int
    truth: int
    predicted: int
    intersection: int
    objects: int

    @property
    def union(self) -> int:
        return self.truth + self.predicted - self.intersection

    @property
    def iou(self) -> float:
        """1 where there is neither truth nor prediction."""
        return self.intersection / self.union if self.union else 1.0


class SegmentationScore:
    """Add batches, then read the figures. A pixel is predicted foreground where its logit is greater than 0.

    Memory does not grow with the pixels: it holds a row for each image and object and the counts of the curves.

    Parameters
    ----------
    size_limits : tuple of float
        Areas, in pixels of the original image, at which medium and large objects begin.
    """

    merit = "iou"  # the figure that is maximised

    def __init__(self, size_limits: Tuple[float, float] = COCO_LIMITS) -> None:
        check_limits(size_limits)
        self.size_limits = size_limits
        self.images: List[ImageScore] = []
        self.objects: List[TrueObject] = []
        self.curves = PixelCurves()
        self._pixels = 0

    def add(
        self,
        logits: np.ndarray,
        truth: np.ndarray,
        names: Sequence[str],
        originals: Optional[Sequence[Tuple[int, int]]] = None,
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        logits, truth : array
            (B, 1, h, w); truth > 0 is the foreground.
        names : sequence of str
            Of the images.
        originals : sequence of tuple, optional
            (height, width) of the images before they were resized to h x w (default: (h, w)).

        Raises
        ------
        ValueError
            For shapes that do not belong together.
        GluonAFFError
            For logits that are not finite.
        """
        if logits.ndim != 4 or logits.shape[1] != 1 or logits.shape != truth.shape:
            raise ValueError(f"logits {logits.shape} and truth {truth.shape}: expected (B, 1, h, w) both")
        originals = [(logits.shape[2], logits.shape[3])] * len(names) if originals is None else originals
        if not len(names) == len(originals) == len(logits):
            raise ValueError(f"{len(logits)} images, {len(names)} names, {len(originals)} sizes: expected equally many")
        logits = logits[:, 0].astype(np.float32, copy=False)
        check_finite(logits)
        true, found = truth[:, 0] > 0, logits > 0
        self.curves.add(logits, true)
        self._pixels += logits.size
        counts = (np.count_nonzero(mask, axis=(1, 2)).tolist() for mask in (true, found, true & found))
        height, width = logits.shape[1:]
        for index, (truths, predicted, intersection) in enumerate(zip(*counts)):
            original = originals[index]
            scale = original[0] * original[1] / (height * width)
            objects = true_objects(true[index], found[index], scale, len(self.images))
            size = (int(original[0]), int(original[1]), height, width)
            row = ImageScore(str(names[index]), *size, truths, predicted, intersection, len(objects))
            self.images.append(row)
            self.objects += objects

    @property
    def iou(self) -> float:
        """Foreground IoU: total intersection over total union; 1 where the union is empty."""
        both, union = self._total("intersection"), self._total("union")
        return both / union if union else 1.0

    @property
    def niou(self) -> float:
        """Mean of the images' IoU. An image with neither truth nor prediction counts as 1.

        Without such images (SIRST has none: no truth is empty) it is the siblings' nIoU; a rule that adds a tiny
        number to the denominator would count them as 0.
        """
        return sum(image.iou for image in self.images) / len(self._scored())

    @property
    def pixel_accuracy(self) -> float:
        """Pixels predicted as what they are, of all."""
        wrong = self._total("union") - self._total("intersection")
        return (self._pixels - wrong) / self._pixels

    @property
    def miou(self) -> float:
        """GluonCV's two-class mIoU: mean of total IoU of background and foreground; an absent class counts as 0."""
        hits, union = self._total("intersection"), self._total("union")
        background, background_union = self._pixels - union, self._pixels - hits
        return (background / max(background_union, 1) + hits / max(union, 1)) / 2

    @property
    def iou_interval(self) -> Optional[Span]:
        """95 % for the IoU, by a bootstrap over images; None for a single image."""
        images = self._scored()
        return quotient_interval([image.intersection for image in images], [image.union for image in images])

    @property
    def niou_interval(self) -> Optional[Span]:
        """Likewise for the nIoU."""
        images = self._scored()
        return quotient_interval([image.iou for image in images], [1.0] * len(images))

    @property
    def sizes(self) -> List[SizeGroup]:
        """The figures of small, medium and large objects."""
        return size_groups(self.objects, self.size_limits)

    @property
    def stray_pixels(self) -> int:
        """Predicted pixels in images without an object: they belong to no size."""
        return sum(image.predicted for image in self.images if not image.objects)

    def result(self) -> Dict[str, Any]:
        """iou, niou, pixel_accuracy, miou and the number of images. Raises GluonAFFError when there are none."""
        return {
            "iou": self.iou,
            "niou": self.niou,
            "pixel_accuracy": self.pixel_accuracy,
            "miou": self.miou,
            "images": len(self.images),
        }

    def _total(self, name: str) -> int:
        return sum(getattr(image, name) for image in self._scored())

    def _scored(self) -> List[ImageScore]:
        if not self.images:
            raise GluonAFFError("not a single image could be evaluated")
        return self.images
