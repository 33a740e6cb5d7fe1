"""The figures of a segmentation, added up batch by batch: of all pixels, by image, by object, by threshold.

All stand on one count of pixels, a row for each true class and a column for each predicted one; of background and
foreground it is [[tn, fp], [fn, tp]].
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
from PIL import Image

from ..data.decoding import IGNORED
from ..errors import GluonAFFError, UsageError
from ..utils.logits import check_finite, class_ious, confusion, logit_of
from ..utils.resampling import Span, quotient_interval
from .targets import TargetScore

COCO_LIMITS = (32**2, 96**2)  #: areas in pixels at which COCO's medium and large objects begin

Size = Tuple[int, int]


class _PixelCounts:
    """``counts``: pixels, int64 (K, K), a row for each true class."""

    merit = "miou"  # the figure that is maximised

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((classes, classes), dtype=np.int64)

    @property
    def class_iou(self) -> List[float]:
        """IoU of each class over the whole set, tp / (tp + fp + fn); 0 for one in neither truth nor prediction."""
        return class_ious(self.counts).tolist()

    @property
    def miou(self) -> float:
        """GluonCV's mIoU: the mean of all classes' IoU, the background's included; an absent class counts as 0."""
        return float(np.mean(self.class_iou))

    @property
    def present_miou(self) -> float:
        """The mean over the classes that some pixel of the truth is of; 0 where there is none."""
        present = self.counts.any(axis=1)
        return float(np.sum(class_ious(self.counts)[present]) / max(present.sum(), 1))

    @property
    def pixel_accuracy(self) -> float:
        """Pixels predicted as what they are, of those that count."""
        return float(np.diag(self.counts).sum() / max(self.counts.sum(), 1))


def _check_batch(logits: np.ndarray, truth: np.ndarray, channels: int) -> None:
    if logits.ndim != 4 or logits.shape[1] != channels or truth.shape != (len(logits), 1, *logits.shape[2:]):
        shapes = f"logits {logits.shape} and truth {truth.shape}"
        raise ValueError(f"{shapes}: expected (B, {channels}, h, w) and (B, 1, h, w)")
    check_finite(logits)


def _check_images(images: int) -> None:
    if not images:
        raise GluonAFFError("not a single image could be evaluated")


class ClassScore(_PixelCounts):
    """Several classes: add batches, then read the figures. A pixel is predicted as the class of its largest logit.

    Pixels whose truth is `IGNORED` count nowhere. The background is one of the ``classes``.
    """

    def __init__(self, classes: int, names: Optional[Sequence[str]] = None) -> None:
        super().__init__(classes)
        self.names = tuple(names) if names else tuple(f"class {number}" for number in range(classes))
        self.images = 0

    def add(
        self, logits: np.ndarray, truth: np.ndarray, names: Sequence[str], originals: Optional[Sequence[Size]] = None
    ) -> None:
        """Add a batch: logits (B, K, h, w) and class numbers (B, 1, h, w); names and sizes play no part.

        Raises ValueError for shapes that do not belong together, GluonAFFError for logits that are not finite.
        """
        classes = len(self.counts)
        _check_batch(logits, truth, classes)
        self.counts += confusion(logits.argmax(axis=1), truth[:, 0], classes, IGNORED)
        self.images += len(logits)

    @property
    def absent(self) -> List[str]:
        """Names of the classes that no pixel of the truth is of."""
        return [name for name, count in zip(self.names, self.counts.sum(axis=1)) if not count]

    def result(self) -> Dict[str, Any]:
        """Return miou, pixel_accuracy, class_iou and the number of images; where classes are absent, present_miou.

        Raises GluonAFFError without any image.
        """
        _check_images(self.images)
        figures = {"miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "class_iou": self.class_iou}
        present = {"present_miou": self.present_miou} if self.absent else {}
        return {**figures, **present, "images": self.images}


class ImageScore(NamedTuple):
    """Objects and foreground pixels of one image, counted at the scored size, and its height and width before that."""

    name: str
    original_height: int
    original_width: int
    scored_height: int
    scored_width: int
    objects: int
    truth: int
    predicted: int
    intersection: int

    @property
    def union(self) -> int:
        """tp + fp + fn."""
        return self.truth + self.predicted - self.intersection

    @property
    def iou(self) -> float:
        """1 where there is neither truth nor prediction."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def figure(self) -> str:
        """The IoU in words, with the size at which it is counted."""
        return f"IoU {self.iou:.3f} at {self.scored_width}x{self.scored_height}"


class SegmentationScore(_PixelCounts):
    """Foreground and background: add batches, then read the figures. Foreground is where p > ``threshold``.

    Memory does not grow with the pixels: it holds a row for each image and object and the counts of the curves.
    ``size_limits`` are the areas, in pixels of the original image, at which medium and large objects begin; ``targets``
    adds up Pd and Fa as well.
    """

    merit = "iou"

    def __init__(
        self,
        size_limits: Tuple[float, float] = COCO_LIMITS,
        targets: Optional[TargetScore] = None,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(2)
        if len(size_limits) != 2 or not 0 < size_limits[0] < size_limits[1]:
            raise UsageError(
                f"size limits {size_limits}: expected two increasing areas in pixels, such as {COCO_LIMITS}"
            )
        self.size_limits = size_limits
        self.images: List[ImageScore] = []
        self.objects: List[TrueObject] = []
        self.curves = PixelCurves()
        self.targets = targets
        self.threshold, self._cut = threshold, logit_of(threshold)

    def add(
        self, logits: np.ndarray, truth: np.ndarray, names: Sequence[str], originals: Optional[Sequence[Size]] = None
    ) -> None:
        """Add a batch, logits and truth (B, 1, h, w): truth > 0 is the foreground, `IGNORED` counts nowhere.

        ``originals``: (height, width) of the images before they were resized. Raises as `ClassScore.add` does.
        """
        logits = logits.astype(np.float32, copy=False)
        _check_batch(logits, truth, 1)
        height, width = logits.shape[2:]
        originals = [(height, width)] * len(names) if originals is None else originals
        if not len(names) == len(originals) == len(logits):
            raise ValueError(f"{len(logits)} images, {len(names)} names, {len(originals)} sizes: expected equally many")
        counted = truth[:, 0] != IGNORED
        true, found = (truth[:, 0] > 0) & counted, (logits[:, 0] > self._cut) & counted
        self.curves.add(logits[:, 0][counted], true[counted])
        if self.targets is not None:
            self.targets.add(np.where(counted, logits[:, 0], -np.inf), true, names)
        counts = (np.count_nonzero(mask, axis=(1, 2)).tolist() for mask in (true, found, true & found, counted))
        for index, (truths, predicted, tp, pixels) in enumerate(zip(*counts)):
            fp, fn = predicted - tp, truths - tp
            self.counts += [[pixels - tp - fp - fn, fp], [fn, tp]]
            original = int(originals[index][0]), int(originals[index][1])
            scale = original[0] * original[1] / (height * width)
            objects = true_objects(true[index], found[index], scale, len(self.images))
            numbers = (*original, height, width, len(objects), truths, predicted, tp)
            self.images.append(ImageScore(str(names[index]), *numbers))
            self.objects += objects

    @property
    def iou(self) -> float:
        """Foreground IoU: total intersection over total union; 1 where the union is empty."""
        _check_images(len(self.images))
        return self.class_iou[1] if self.counts[1].any() or self.counts[:, 1].any() else 1.0

    @property
    def niou(self) -> float:
        """Mean of the images' IoU. An image with neither truth nor prediction counts as 1.

        Without such images (SIRST has none: no truth is empty) it is the siblings' nIoU; a rule that adds a tiny
        number to the denominator would count them as 0.
        """
        _check_images(len(self.images))
        return sum(image.iou for image in self.images) / len(self.images)

    @property
    def iou_interval(self) -> Optional[Span]:
        """95 % for the IoU, by a bootstrap over images; None for a single image."""
        return quotient_interval([image.intersection for image in self.images], [image.union for image in self.images])

    @property
    def niou_interval(self) -> Optional[Span]:
        """Likewise for the nIoU."""
        return quotient_interval([image.iou for image in self.images], [1.0] * len(self.images))

    @property
    def sizes(self) -> List[SizeGroup]:
        """The figures of small, medium and large objects."""
        return size_groups(self.objects, self.size_limits)

    @property
    def stray_pixels(self) -> int:
        """Predicted pixels in images without an object: they belong to no size."""
        return sum(image.predicted for image in self.images if not image.objects)

    def result(self) -> Dict[str, Any]:
        """Return iou, niou, pixel_accuracy, miou and the number of images. Raises GluonAFFError without any."""
        figures = {"iou": self.iou, "niou": self.niou, "pixel_accuracy": self.pixel_accuracy, "miou": self.miou}
        return {**figures, "images": len(self.images)}


AnyScore = Union[SegmentationScore, ClassScore]


# By object -----------------------------------------------------------------------------------------------------------

_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner are of one object


def vanished_objects(mask: np.ndarray, height: int, width: int) -> Tuple[int, int]:
    """Return how many objects of a mask, (H, W), have no pixel when it is resized (nearest), and how many there are."""
    from scipy import ndimage

    labels, count = ndimage.label((mask > 0) & (mask != IGNORED), _NEIGHBOURS)
    resized = Image.fromarray(labels.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    return count - np.count_nonzero(np.unique(np.asarray(resized))), count


def vanished_text(counts: Iterable[Tuple[int, int]], height: int, width: int) -> str:
    """Return in words how many objects of several masks have vanished; empty where none has."""
    gone, objects = (sum(each) for each in zip((0, 0), *counts))
    return f"{gone} of {objects} targets have no pixel at {width}x{height} and no figure counts them" if gone else ""


class TrueObject(NamedTuple):
    """A connected component of the truth and the predicted pixels nearest to it, counted at the scored size.

    ``original_area`` is its area in pixels of the original image, ``union`` that of object and prediction together,
    ``image`` the number of its image.
    """

    original_area: float
    area: int
    intersection: int
    union: int
    image: int


class SizeGroup(NamedTuple):
    """The objects of at least ``smallest`` and less than ``limit`` pixels of the original image, None for no limit.

    ``detected`` objects have a predicted pixel, ``object_iou`` is the mean IoU of the objects, all of the same weight,
    ``recall`` the share of their pixels that are predicted, ``interval`` the 95 % of ``iou``, by a bootstrap over the
    images that have such objects. A figure of too few is None.
    """

    name: str
    smallest: float
    limit: Optional[float]
    objects: int
    detected: int
    iou: Optional[float]
    object_iou: Optional[float]
    recall: Optional[float]
    interval: Optional[Span]


def true_objects(truth: np.ndarray, found: np.ndarray, scale: float = 1.0, image: int = 0) -> List[TrueObject]:
    """Return the objects of one image: 8-connected components of its truth, bool (h, w).

    A false alarm belongs to the object that is nearest to it, so that the intersections and unions of an image's
    objects add up to those of the image; where there is no object, it belongs to none. ``scale``: pixels of the
    original image for each one of the mask.
    """
    from scipy import ndimage

    labels, count = ndimage.label(truth, _NEIGHBOURS)
    if not count:
        return []
    areas = np.bincount(labels[truth], minlength=count + 1)[1:]
    hits = np.bincount(labels[truth & found], minlength=count + 1)[1:]
    false = found & ~truth
    if count == 1:
        alarms = np.array([false.sum()])
    elif false.any():
        rows, columns = ndimage.distance_transform_edt(~truth, return_distances=False, return_indices=True)
        alarms = np.bincount(labels[rows[false], columns[false]], minlength=count + 1)[1:]
    else:
        alarms = np.zeros(count, dtype=np.int64)
    return [
        TrueObject(float(area * scale), int(area), int(hit), int(area + alarm), image)
        for area, hit, alarm in zip(areas, hits, alarms)
    ]


def size_groups(objects: Sequence[TrueObject], limits: Tuple[float, float] = COCO_LIMITS) -> List[SizeGroup]:
    """Return small, medium, large: ``limits`` are the areas that medium and large begin at, COCO's by default."""
    groups, (medium, large) = [], limits
    for name, smallest, limit in (("small", 0.0, medium), ("medium", medium, large), ("large", large, None)):
        mine = [each for each in objects if smallest <= each.original_area < (limit or np.inf)]
        hits, detected = sum(each.intersection for each in mine), sum(each.intersection > 0 for each in mine)
        by_image: Dict[int, List[int]] = {}
        for each in mine:
            both, union = by_image.get(each.image, (0, 0))
            by_image[each.image] = [both + each.intersection, union + each.union]
        parts, wholes = zip(*by_image.values()) if by_image else ((), ())
        iou = hits / sum(each.union for each in mine) if mine else None
        object_iou = sum(each.intersection / each.union for each in mine) / len(mine) if mine else None
        recall = hits / sum(each.area for each in mine) if mine else None
        span = quotient_interval(parts, wholes)
        groups.append(SizeGroup(name, smallest, limit, len(mine), detected, iou, object_iou, recall, span))
    return groups


# By threshold --------------------------------------------------------------------------------------------------------

_PER_UNIT, _REACH = 8, 16  # thresholds per unit of logit, and how far they go to either side of 0
_EDGE = _PER_UNIT * _REACH


class PixelCurves:
    """Counts foreground and background pixels between thresholds on the logit.

    These go from −16 to 16 in steps of 1/8, p from 1e-7 to 1 − 1e-7: even in the logit and not in p, since nearly all
    pixels of a trained network lie close to p = 0 and 1. Pixels within a step count as equal. A pixel is predicted
    foreground where its logit is greater than the threshold, so the one at 0 is where IoU is measured.

    Arrays run from the highest threshold to the lowest: recall grows.
    """

    def __init__(self) -> None:
        self.logits = np.arange(_EDGE, -_EDGE - 1, -1) / _PER_UNIT
        self._counts = np.zeros((2, 2 * _EDGE + 2), dtype=np.int64)  # background, foreground; by thresholds passed

    def add(self, logits: np.ndarray, truth: np.ndarray) -> None:
        """Add the logits and the bool truth of the same pixels, in any one shape."""
        passed = np.ceil(logits.ravel() * np.float32(_PER_UNIT))  # exact: only the exponent changes
        np.clip(passed, -_EDGE, _EDGE + 1, out=passed)
        cells = passed.astype(np.int32) + _EDGE
        cells += self._counts.shape[1] * truth.ravel()
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)

    @property
    def thresholds(self) -> np.ndarray:
        """As probabilities."""
        return 1 / (1 + np.exp(-self.logits))

    @property
    def hits(self) -> np.ndarray:
        """tp: foreground pixels predicted, for each threshold."""
        return self._counts[1][:0:-1].cumsum()

    @property
    def false_alarms(self) -> np.ndarray:
        """fp: background pixels predicted, for each threshold."""
        return self._counts[0][:0:-1].cumsum()

    @property
    def precision(self) -> np.ndarray:
        """Hits of the pixels predicted; 1 where none is."""
        predicted = self.hits + self.false_alarms
        return np.where(predicted > 0, self.hits / np.maximum(predicted, 1), 1.0)

    @property
    def recall(self) -> Optional[np.ndarray]:
        """Hits of the foreground, the true positive rate; None where there is no foreground."""
        total = self._counts[1].sum()
        return self.hits / total if total else None

    @property
    def false_alarm_rate(self) -> Optional[np.ndarray]:
        """False alarms of the background; None where there is no background."""
        total = self._counts[0].sum()
        return self.false_alarms / total if total else None

    @property
    def iou(self) -> np.ndarray:
        """Foreground IoU for each threshold; 1 where union is empty."""
        union = self._counts[1].sum() + self.false_alarms
        return np.where(union > 0, self.hits / np.maximum(union, 1), 1.0)

    @property
    def best(self) -> Optional[Tuple[float, float]]:
        """Probability and IoU of the threshold of highest IoU, the nearest to 0.5; None without foreground."""
        if self.recall is None:
            return None
        iou = self.iou
        best = min(range(len(iou)), key=lambda at: (-iou[at], abs(self.logits[at])))
        return float(self.thresholds[best]), float(iou[best])

    @property
    def average_precision(self) -> Optional[float]:
        """Area under precision over recall, in steps as scikit-learn's; what lies below the last threshold included."""
        if self.recall is None:
            return None
        recall, last = np.append(self.recall, 1.0), self._counts[1].sum() / self._counts.sum()
        return float((np.diff(recall, prepend=0.0) * np.append(self.precision, last)).sum())

    @property
    def roc_area(self) -> Optional[float]:
        """Area under hits over false alarms, straight lines between the points and to (0, 0) and (1, 1)."""
        if self.recall is None or self.false_alarm_rate is None:
            return None
        x, y = (np.concatenate([[0.0], rate, [1.0]]) for rate in (self.false_alarm_rate, self.recall))
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
