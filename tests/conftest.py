"""Imported before every test module, so that gluon_aff makes MXNet importable before a test imports MXNet itself."""

import os
import random

# The blocks' own arithmetic unless the operator is asked for (GLUON_AFF_NATIVE=1): what is tested does not depend on
# whether there is a compiler. tests/native builds the operator and holds both against each other.
os.environ.setdefault("GLUON_AFF_NATIVE", "0")
# One thread for each of pytest's processes: with another process on a core, two threads are many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import gluon_aff  # noqa: E402, F401

import mxnet as mx  # isort: skip
import numpy as np
import pytest
from PIL import ImageFile

os.environ.setdefault("GLUON_AFF_DEBUG", "1")  # an error that nobody foresaw fails the test with its traceback


@pytest.fixture(autouse=True)
def own_mxnet_home(tmp_path, monkeypatch):
    """Nothing is read from or kept in the home of whoever runs the tests."""
    home = tmp_path / "mxnet-home"
    monkeypatch.setenv("MXNET_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def seeds():
    """A test's random numbers do not depend on the tests before it."""
    random.seed(0)
    np.random.seed(0)
    mx.random.seed(0)


@pytest.fixture(autouse=True)
def whole_images_only(monkeypatch):
    """A test that imports GluonCV itself does not make Pillow lenient for the tests after it."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)
