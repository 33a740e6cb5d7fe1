"""Masks from COCO's segmentations, every one checked before pycocotools gets it.

Its C code believes what it is given: NaN, a coordinate of 1e300 or a run of -1 pixels end in a crash, or in gigabytes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Dict, List, Sequence

import numpy as np

_FEWEST_NUMBERS = 6  # of a polygon: two points have no area


def union(rle: ModuleType, segmentations: Sequence[Any], height: int, width: int) -> np.ndarray:
    """What any of an image's segmentations covers.

    Parameters
    ----------
    rle : module
        ``pycocotools.mask``.
    segmentations : sequence
        As the annotations have them: polygons, or run lengths, packed into text or not.
    height, width : int
        The image's, in pixels.

    Returns
    -------
    ndarray
        uint8 (height, width) of 0 and 1.

    Raises
    ------
    ValueError
        For a segmentation that is neither, or not one of such an image.
    """
    runs = [part for each in segmentations for part in _runs(rle, each, height, width)]
    if not runs:
        return np.zeros((height, width), dtype=np.uint8)
    return np.ascontiguousarray(rle.decode(rle.merge(runs)))


def _runs(rle: ModuleType, segmentation: Any, height: int, width: int) -> List[Dict[str, Any]]:
    """Run lengths as pycocotools packs them."""
    if isinstance(segmentation, list):
        checked = [_polygon(polygon, height, width) for polygon in segmentation]
        polygons = [polygon for polygon in checked if len(polygon) >= _FEWEST_NUMBERS]
        return rle.frPyObjects(polygons, height, width) if polygons else []
    if not isinstance(segmentation, dict):
        raise ValueError(f"{_shown(segmentation)}, expected polygons or run lengths")
    for key in ("size", "counts"):
        if key not in segmentation:
            raise ValueError(f"run lengths without {key!r}")
    if segmentation["size"] != [height, width]:
        raise ValueError(f"run lengths for {_shown(segmentation['size'])}, expected [{height}, {width}]")
    counts = segmentation["counts"]
    counts = _unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("run lengths that are not whole numbers of at least 0")
    if sum(counts) != height * width:
        raise ValueError(f"run lengths of {_shown(sum(counts))} pixels, expected {height * width}")
    return [rle.frPyObjects({"size": [height, width], "counts": counts}, height, width)]


def _polygon(polygon: Any, height: int, width: int) -> List[float]:
    """x and y of the corners in turn; at most one image's size outside the image."""
    if not isinstance(polygon, list):
        raise ValueError(f"the polygon {_shown(polygon)}, expected a list of numbers")
    if len(polygon) % 2:
        raise ValueError(f"a polygon of {len(polygon)} numbers, expected x and y in turn")
    for i, value in enumerate(polygon):
        side = height if i % 2 else width
        if type(value) not in (int, float) or not -side <= value <= 2 * side:
            raise ValueError(f"a polygon with the coordinate {_shown(value)}, expected a number from 0 to {side}")
    return polygon


def _unpacked(text: str) -> List[int]:
    """The run lengths that COCO packs into text.

    A number has 5 bits in each character, the lowest first, and bit 6 where another follows; the highest of all is the
    sign. From the fourth run on it is the difference from the run before the last.
    """
    counts: List[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"packed run lengths with {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("packed run lengths that are cut short")
    return counts


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
