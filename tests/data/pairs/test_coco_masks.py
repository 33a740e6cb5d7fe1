"""COCO's segmentations are checked before pycocotools' C code gets them."""

import json

import numpy as np
import pytest

from gluon_aff.data.pairs.coco_masks import union

rle = pytest.importorskip("pycocotools.mask")

HEIGHT, WIDTH = 12, 16


class Refusing:
    """In place of pycocotools: nothing may get there."""

    def __getattr__(self, name):
        pytest.fail(f"pycocotools.mask.{name} was called")


SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]
BAD = {
    "null": ([[None, *SQUARE[1:]]], "coordinate None"),
    "NaN": ("[[NaN, 1, 5, 1, 5, 5]]", "coordinate nan"),
    "infinity": ("[[Infinity, 1, 5, 1, 5, 5]]", "coordinate inf"),
    "1e300": ([[1e300, *SQUARE[1:]]], r"coordinate 1e\+300"),
    "a large integer": ([[10**400, *SQUARE[1:]]], "coordinate 1000"),
    "far outside": ([[-1000, *SQUARE[1:]]], "coordinate -1000"),
    "true": ([[True, *SQUARE[1:]]], "coordinate True"),
    "text": ([["1", *SQUARE[1:]]], "coordinate '1'"),
    "odd length": ([SQUARE[:7]], "polygon of 7 numbers"),
    "no polygon": ([1, 1, 5, 1, 5, 5], "the polygon 1, expected a list"),
    "a number": (7, "7, expected polygons or run lengths"),
    "no counts": ({"size": [HEIGHT, WIDTH]}, "run lengths without 'counts'"),
    "another size": ({"size": [10**9, 10**9], "counts": [10**18]}, "run lengths for"),
    "negative run": ({"size": [HEIGHT, WIDTH], "counts": [-8, 200]}, "not whole numbers of at least 0"),
    "NaN run": ('{"size": [12, 16], "counts": [NaN, 192]}', "not whole numbers"),
    "too many pixels": ({"size": [HEIGHT, WIDTH], "counts": [10**12]}, "run lengths of 1000000000000 pixels"),
    "packed too many": ({"size": [HEIGHT, WIDTH], "counts": "ooooooo7"}, "run lengths of .* pixels, expected 192"),
    "packed, cut short": ({"size": [HEIGHT, WIDTH], "counts": "oooo"}, "cut short"),
    "packed, other characters": ({"size": [HEIGHT, WIDTH], "counts": "\x7f\u20ac"}, "packed run lengths with"),
}


@pytest.mark.parametrize("case", BAD)
def test_nothing_invalid_gets_to_pycocotools(case):
    segmentation, message = BAD[case]
    if isinstance(segmentation, str):
        segmentation = json.loads(segmentation)
    with pytest.raises(ValueError, match=message):
        union(Refusing(), [segmentation], HEIGHT, WIDTH)


def test_a_polygon_may_reach_over_the_edge():
    covered = union(rle, [[[-3.5, -2, 30, -2, 30, 20, -3.5, 20]]], HEIGHT, WIDTH)
    assert covered.shape == (HEIGHT, WIDTH) and covered.all()


@pytest.mark.parametrize("seed", range(20))
def test_packed_run_lengths_are_those_pycocotools_packs(seed):
    random = np.random.RandomState(seed)
    height, width = (int(side) for side in random.randint(1, 60, 2))
    mask = (random.random_sample((height, width)) < random.choice([0.02, 0.5, 0.98])).astype(np.uint8)
    packed = rle.encode(np.asfortranarray(mask))
    segmentation = {"size": [height, width], "counts": packed["counts"].decode("ascii")}
    np.testing.assert_array_equal(union(rle, [segmentation], height, width), mask)


def test_long_runs_and_large_differences():
    mask = np.zeros((700, 900), dtype=np.uint8)
    mask[100:600, 5:800] = 1
    mask[::97, 801] = 1
    packed = rle.encode(np.asfortranarray(mask))
    segmentation = {"size": [700, 900], "counts": packed["counts"].decode("ascii")}
    np.testing.assert_array_equal(union(rle, [segmentation], 700, 900), mask)
