"""Layers under the fusions and networks: arithmetic equal to Gluon's, arranged for speed.

On CPU, MXNet's global pooling is slow backwards and its ``sigmoid`` operator is several times slower than the same
function as an ``Activation``; `benchmarks/speed.py --against literal` measures what these choices are worth.
"""

from __future__ import annotations

import warnings
from inspect import signature
from numbers import Integral
from typing import Any, Dict, List, Optional, Sequence, Type

import mxnet as mx
import numpy as np
from mxnet.gluon import Block, nn

from ..errors import UsageError

NormKwargs = Optional[Dict[str, Any]]


class GlobalAvgPool(nn.HybridBlock):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def hybrid_forward(self, F, x):
        return F.contrib.AdaptiveAvgPooling2D(x, output_size=1)


class Identity(nn.HybridBlock):
    """Hands its input on. Holds the place of a parameter-free layer whose position is part of published names."""

    def hybrid_forward(self, F, x):
        return F.identity(x)


class ResizeLike(nn.HybridBlock):
    """``resize(x, like)``, x (N, C, h, w) -> the height and width of ``like``: bilinear, corners aligned.

    Equal to ``contrib.BilinearResize2D(x, like, mode="like")`` but for rounding, as a product with a matrix for each
    axis. On CPU that operator's backward pass adds up from all threads in whichever order they come, so that float32
    gradients differ from run to run, and the slower the more threads there are.

    Attributes
    ----------
    as_operator : bool
        Whether that operator is used nevertheless. Set while a graph for inference is made: MXNet's executor
        (``mx.mod.Module``, ``Symbol.bind``) fails in oneDNN on the products.
    """

    as_operator = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._dtype = "float32"

    def cast(self, dtype: Any) -> None:
        super().cast(dtype)
        self._dtype = np.dtype(dtype).name

    def hybrid_forward(self, F, x, like):
        if self.as_operator:
            return F.contrib.BilinearResize2D(x, like, mode="like")
        rows, columns = (self._weights(F, x, like, axis) for axis in (2, 3))
        x = F.dot(rows, F.transpose(F.dot(x, columns, transpose_b=True), (2, 0, 1, 3)))  # (H, N, C, W)
        return F.transpose(x, (1, 2, 0, 3))

    def _weights(self, F, x, like, axis):
        """Of each old position (columns) at each new one (rows)."""
        old, new = (self._positions(F, each, axis) for each in (x, like))
        wanted = F.broadcast_div(F.broadcast_mul(new, F.max(old)), F.maximum(F.max(new), 1))
        distance = F.abs(F.broadcast_sub(F.expand_dims(wanted, 1), F.expand_dims(old, 0)))
        return F.BlockGrad(F.cast(F.relu(1 - distance), self._dtype))

    @staticmethod
    def _positions(F, x, axis):
        """0, 1, ... up to the map's length along ``axis``."""
        return F.contrib.arange_like(F.cast(first_map(F, x), "float64"), axis=axis)


def pad_to_multiple(F, x, divisor: int):
    """(N, C, H, W) with zeros right and below, up to the next multiples of ``divisor``, whatever H and W are."""
    more = divisor - 1
    enough = F.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 0, more, 0, more))
    tiles = F.Pooling(first_map(F, enough), kernel=(divisor, divisor), stride=(divisor, divisor))
    return F.slice_like(enough, F.UpSampling(tiles, scale=divisor, sample_type="nearest"), axes=(2, 3))


def first_map(F, x):
    """The first channel of the first image, (1, 1, H, W): for its size. (``F.slice`` crashes on oneDNN's layouts.)"""
    return F.slice_axis(F.slice_axis(x, axis=0, begin=0, end=1), axis=1, begin=0, end=1)


def conv1x1(channels: int, in_channels: int, use_bias: bool = False, stride: int = 1) -> nn.Conv2D:
    return nn.Conv2D(channels, kernel_size=1, strides=stride, in_channels=in_channels, use_bias=use_bias)


def conv3x3(channels: int, in_channels: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2D:
    """A 3x3 convolution without bias that keeps the map's size (divided by ``stride``)."""
    return nn.Conv2D(
        channels,
        kernel_size=3,
        strides=stride,
        padding=dilation,
        dilation=dilation,
        groups=groups,
        in_channels=in_channels,
        use_bias=False,
    )


def norm(
    channels: int, norm_layer: Type[nn.HybridBlock] = nn.BatchNorm, norm_kwargs: NormKwargs = None, **more: Any
) -> nn.HybridBlock:
    """A normalisation layer over ``channels`` channels: Gluon's BatchNorm, or what a user injects."""
    return norm_layer(in_channels=channels, **more, **(norm_kwargs or {}))


def sigmoid(F, x):
    return F.Activation(x, act_type="sigmoid")


def expand(F, x, like):
    """(N, C, 1, 1) -> the height and width of ``like``."""
    return F.broadcast_like(x, like)


# ---- what is checked of a user's sizes and inputs before MXNet sees them

_warned_of_batch_of_one = False


def positive_integer(name: str, value: Any, most: Optional[int] = None) -> int:
    """``value`` as an int. Raises UsageError, which names it, unless it is a whole number from 1 to ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{name} is {value!r}: expected a whole number of at least 1")
    if most is not None and int(value) > most:
        raise UsageError(f"{name} is {value!r}: expected at most {most}")
    return int(value)


def check_not_empty(what: str, shape: Sequence[int]) -> None:
    """Raise UsageError for an array without an element; MXNet would end in a message of its own, or in none."""
    if 0 in shape:
        raise UsageError(f"{what} is {tuple(shape)}: expected at least one image of at least one pixel")


def constructor_options(cls: Type[Block], base: Type[Block]) -> Dict[str, Any]:
    """Option -> default of what ``cls`` and its ancestors below ``base`` take when they are made, by name."""
    found = {
        name: parameter.default
        for ancestor in reversed(cls.__mro__[: cls.__mro__.index(base)])
        for name, parameter in signature(ancestor.__init__).parameters.items()  # type: ignore[misc]
    }
    return {name: found[name] for name in sorted(found) if name not in ("self", "kwargs")}


def warn_of_batch_of_one(block: Block, x: mx.nd.NDArray) -> None:
    """Warn, once, when ``block`` is about to train on a batch ``x`` (N, ...) of one image and would suffer from it.

    After a global pool BatchNorm then sees one value per channel, whose variance is zero: MXNet returns zeros and
    zero gradients without a word. The blocks inside that have such a norm say so by ``norm_behind_pool``.
    """
    global _warned_of_batch_of_one
    if _warned_of_batch_of_one or x.shape[0] != 1 or not mx.autograd.is_training():
        return
    suffer: List[bool] = []
    block.apply(lambda inner: suffer.append(getattr(inner, "norm_behind_pool", False)))
    if any(suffer):
        _warned_of_batch_of_one = True
        warnings.warn(
            "training on a batch of one image: behind the global pool BatchNorm sees one value per channel, so the "
            "global branch gives zero and learns nothing. Use at least two images per device, or "
            "norm_kwargs={'use_global_stats': True}.",
            stacklevel=3,
        )
