"""Figures of the authors' networks (see goldens/README.md), the fills behind them, and comparison with them."""

import gzip
import json
import zlib
from pathlib import Path

import mxnet as mx
import numpy as np

FOLDER = Path(__file__).resolve().parent / "goldens"


def load(name):
    with gzip.open(FOLDER / f"{name}.json.gz", "rt", encoding="utf-8") as handle:
        return json.load(handle)


def normal(seed, shape, dtype="float64"):
    """Standard normal numbers rounded to float32, as an array of ``dtype``."""
    return mx.nd.array(np.random.RandomState(seed).standard_normal(shape).astype("float32"), dtype=dtype)


def fill(block, gain=None):
    """Parameters that depend on their names alone: fill A, or with a ``gain`` fill C. Rounded to float32."""
    for name, parameter in block._collect_params_with_prefix().items():
        shape = parameter.shape
        value = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF).standard_normal(shape)
        if name.endswith("running_var"):
            value = 1 + 0.1 * np.abs(value)
        elif gain is not None and len(shape) == 4:
            value = value * np.sqrt(gain / np.prod(shape[1:]))
        elif gain is not None and len(shape) == 2:
            value = value * np.sqrt(1 / shape[1])
        else:
            value = 0.05 * value + (1 if name.endswith("gamma") else 0)
        parameter.set_data(mx.nd.array(value.astype("float32"), dtype=parameter.dtype))


def check(name, array, figure, tolerance, scale=0.0):
    """The array's first elements, sum and L2 norm are the figure's, relative to its largest element.

    Where the true values are zero, rounding has no scale of its own: ``scale`` is then the one to be relative to.
    """
    array = array.asnumpy().astype("float64") if isinstance(array, mx.nd.NDArray) else np.asarray(array)
    allowed = tolerance * max(figure["absmax"], scale)
    first = np.array(figure["first"])
    assert np.isfinite(array).all(), name
    np.testing.assert_allclose(array.ravel()[: len(first)], first, rtol=0, atol=allowed, err_msg=f"{name}: first")
    assert abs(array.sum() - figure["sum"]) <= allowed * array.size, f"{name}: sum"
    assert abs(np.linalg.norm(array) - figure["l2"]) <= allowed * np.sqrt(array.size), f"{name}: L2 norm"
