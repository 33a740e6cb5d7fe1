import numpy as np
import pytest

from gluon_aff.data import load_pair_set, shapes
from gluon_aff.data.shapes import load_shapes


@pytest.fixture(scope="module")
def val():
    return load_shapes("val")


def test_images_and_masks_of_signs_of_very_different_sizes(val):
    assert len(val) == 100 and val.names[3] == "val_003"
    for i in range(100):
        image, mask = val.pair(i)
        assert image.shape == (96, 96, 3) and mask.shape == (96, 96) and image.dtype == mask.dtype == np.uint8
        assert mask.max() == 1
    sides = np.sqrt([val.pair(i)[1].mean() for i in range(100)])
    assert (sides < 0.1).sum() > 5 and (sides > 0.6).sum() > 5 and ((sides > 0.1) & (sides < 0.6)).sum() > 50
    assert sides.max() < 0.95


def test_a_sign_is_red_but_red_is_not_always_a_sign(val):
    inside, outside = [], 0
    for i in range(100):
        image, mask = val.pair(i)
        red = (image[..., 0] > 1.8 * np.maximum(image[..., 1], image[..., 2])) & (image[..., 0] > 60)
        if mask.sum() > 100:
            inside.append(red[mask > 0].mean())
        outside += red[mask == 0].sum() > 50
    assert np.median(inside) > 0.4
    assert outside > 30  # images with other red things: colour alone does not do


def test_a_large_sign_is_an_octagon(val):
    """Of its bounding box an octagon fills 82.8 %; turned by up to 17 degrees, its box grows by up to 15 % of area."""
    fills = []
    for i in range(100):
        mask = val.pair(i)[1]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        if box > 2500:
            fills.append(mask.sum() / box)
    assert len(fills) > 10 and 0.72 < np.median(fills) < 0.84


def test_drawn_the_same_each_time_and_splits_share_nothing(val, monkeypatch):
    assert shapes.COUNTS == {"train": 400, "val": 100}
    monkeypatch.setattr(shapes, "COUNTS", {"train": 20, "val": 10})
    monkeypatch.setattr(shapes, "_drawn", shapes._drawn.__wrapped__)  # which keeps what was drawn before
    again, train = load_pair_set("shapes", "val"), load_pair_set("shapes", "train")
    assert all(np.array_equal(a, b) for i in range(10) for a, b in zip(val.pair(i), again.pair(i)))
    assert train.names[0] == "train_000" and len(train) == 20
    assert len({each.pair(i)[0].tobytes() for each in (train, val) for i in range(len(each))}) == 120
