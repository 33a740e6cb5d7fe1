"""Figures of a segmentation by the size of the objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..errors import UsageError
from ..utils.resampling import Span, quotient_interval

COCO_LIMITS = (32**2, 96**2)
_NEIGHBOURS = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner are of one object


@dataclass(frozen=True)
class TrueObject:
    """A connected component of the truth and the predicted pixels nearest to it, counted at the scored size.

    Attributes
    ----------
    original_area : float
        Its area in pixels of the original image.
    area, intersection, union : int
        Pixels at the scored size: of the object, of it that are predicted, and of both together.
    image : int
        Number of its image.
    """

    original_area: float
    area: int
    intersection: int
    union: int
    image: int


@dataclass(frozen=True)
class SizeGroup:
    """The objects of one range of sizes.

    Attributes
    ----------
    name : str
        "small", "medium" or "large".
    smallest, limit : float
        The area of an object is at least ``smallest`` and less than ``limit``, in pixels of the original image; the
        limit of the largest is None.
    objects, detected : int
        Objects, and those of them with a predicted pixel.
    iou : float or None
        Total intersection over total union of its objects; None without objects, as are the next two.
    object_iou : float or None
        Mean IoU of the objects, all of the same weight.
    recall : float or None
        Share of the objects' pixels that are predicted.
    interval : (float, float) or None
        Of ``iou``, 95 %, by a bootstrap over the images that have such objects; None where these are fewer than two.
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
    """The objects of one image: 8-connected components of its truth.

    A false alarm belongs to the object that is nearest to it, so that the intersections and unions of an image's
    objects add up to those of the image; where there is no object, it belongs to none.

    Parameters
    ----------
    truth, found : array
        The true and the predicted foreground, bool (h, w).
    scale : float
        Pixels of the original image for each one of the mask.
    image : int
        Its number.
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
        nearest = labels[rows[false], columns[false]]
        alarms = np.bincount(nearest, minlength=count + 1)[1:]
    else:
        alarms = np.zeros(count, dtype=np.int64)
    return [
        TrueObject(float(area * scale), int(area), int(hit), int(area + alarm), image)
        for area, hit, alarm in zip(areas, hits, alarms)
    ]


def check_limits(limits: Tuple[float, float]) -> None:
    """Raise UsageError unless the limits are two increasing areas."""
    if len(limits) != 2 or not 0 < limits[0] < limits[1]:
        raise UsageError(f"size limits {limits}: expected two increasing areas in pixels, such as {COCO_LIMITS}")


def size_groups(objects: Sequence[TrueObject], limits: Tuple[float, float] = COCO_LIMITS) -> List[SizeGroup]:
    """small, medium, large: ``limits`` are the areas that medium and large begin at, COCO's by default."""
    check_limits(limits)
    medium, large = limits
    bounds = (("small", 0.0, medium), ("medium", medium, large), ("large", large, None))
    return [
        _group(name, smallest, limit, [o for o in objects if smallest <= o.original_area < (limit or np.inf)])
        for name, smallest, limit in bounds
    ]


def _group(name: str, smallest: float, limit: Optional[float], objects: List[TrueObject]) -> SizeGroup:
    hits = sum(o.intersection for o in objects)
    return SizeGroup(
        name=name,
        smallest=smallest,
        limit=limit,
        objects=len(objects),
        detected=sum(o.intersection > 0 for o in objects),
        iou=hits / sum(o.union for o in objects) if objects else None,
        object_iou=sum(o.intersection / o.union for o in objects) / len(objects) if objects else None,
        recall=hits / sum(o.area for o in objects) if objects else None,
        interval=_interval(objects),
    )


def _interval(objects: List[TrueObject]) -> Optional[Span]:
    totals: Dict[int, List[int]] = {}
    for each in objects:
        image = totals.setdefault(each.image, [0, 0])
        image[0] += each.intersection
        image[1] += each.union
    hits, unions = zip(*totals.values()) if totals else ((), ())
    return quotient_interval(hits, unions)
