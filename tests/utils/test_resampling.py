"""Intervals that hold what they say, of images drawn anew."""

import numpy as np
import pytest

from gluon_aff.utils.resampling import quotient_interval, share_interval, span_text


def test_wilsons_interval():
    # typed from its formula at z = 1.959964: (0.5 + 1.920729/100 ± 1.959964 sqrt(0.25/100 + 0.960365/10000)) / 1.038415
    assert share_interval(50, 100) == pytest.approx((0.403832, 0.596168), abs=1e-6)
    low, high = share_interval(10, 10)
    assert low < 0.75
    assert high == pytest.approx(1)


def test_it_holds_the_truth_as_often_as_it_says():
    """400 sets of 60 images, a true quotient known by construction: 95 % of the intervals hold it, give or take 4."""
    random = np.random.default_rng(1)
    hold = 0
    for _ in range(400):
        wholes = random.integers(5, 40, size=60)
        parts = random.binomial(wholes, 0.6)
        low, high = quotient_interval(parts, wholes)
        hold += low < 0.6 < high
    assert 0.91 <= hold / 400 <= 0.99


def test_images_are_drawn_not_pixels():
    """Images all right and all wrong: the interval is as wide as their number makes it, not their size."""
    narrow = quotient_interval([1, 0] * 20, [1] * 40)
    large = quotient_interval([1000, 0] * 20, [1000] * 40)
    assert narrow == large
    assert large[1] - large[0] == pytest.approx(2 * 1.96 * 0.5 / 40**0.5, rel=0.15)


def test_one_image_says_nothing_and_the_same_images_the_same():
    assert quotient_interval([3], [4]) is None
    assert quotient_interval([], []) is None
    assert quotient_interval([1, 2, 3], [4, 4, 4]) == quotient_interval([1, 2, 3], [4, 4, 4])
    assert quotient_interval([0, 0], [0, 0]) == (1.0, 1.0)
    assert span_text(None) == "-"
    assert span_text((0.25, 0.5)) == "0.2500 to 0.5000"
