import sys

import numpy as np
import pytest
from sklearn import datasets

from gluon_aff.data import load_image_set
from gluon_aff.errors import GluonAFFError


def test_splits_share_no_image_and_make_up_the_whole():
    train, test = load_image_set("digits", "train", resize=8), load_image_set("digits", "test", resize=8)
    assert (len(train), len(test)) == (1438, 359)
    whole = np.round(datasets.load_digits().images * (255 / 16)).astype(np.uint8)
    parts = np.concatenate([train.images[..., 0], test.images[..., 0]])
    assert sorted(map(bytes, parts)) == sorted(map(bytes, whole))
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    np.testing.assert_allclose(shares, 0.2, atol=0.003)


def test_the_split_never_changes():
    test = load_image_set("digits", "test")
    assert test.images.shape == (359, 32, 32, 3) and test.images.dtype == np.uint8
    assert (test.images[..., :1] == test.images).all()
    assert test.classes == tuple("0123456789")
    assert test.labels[:12].tolist() == [3, 7, 3, 9, 0, 8, 7, 0, 8, 0, 3, 3]
    assert int(load_image_set("digits", "test", resize=8).images[..., 0].sum()) == 1776711


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(GluonAFFError, match="pip install scikit-learn"):
        load_image_set("digits", "train")
