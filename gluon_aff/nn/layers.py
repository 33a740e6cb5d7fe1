"""Layers under the fusions and networks: arithmetic equal to Gluon's, arranged for speed.

On CPU, MXNet's global pooling is slow backwards and its ``sigmoid`` operator is several times slower than the same
function as an ``Activation``; ``benchmarks/fusion_speed.py`` measures what these choices are worth.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

from mxnet.gluon import nn

NormKwargs = Optional[Dict[str, Any]]


class GlobalAvgPool(nn.HybridBlock):
    """Mean over height and width: (N, C, H, W) -> (N, C, 1, 1)."""

    def hybrid_forward(self, F, x):
        return F.contrib.AdaptiveAvgPooling2D(x, output_size=1)


class Identity(nn.HybridBlock):
    """Hands its input on. Holds the place of a parameter-free layer whose position is part of published names."""

    def hybrid_forward(self, F, x):
        return F.identity(x)


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


def spread(F, x, like):
    """(N, C, 1, 1) -> the height and width of ``like``."""
    return F.broadcast_like(x, like)


def resize_like(F, x, like):
    """(N, C, h, w) -> the height and width of ``like``: bilinear, corners aligned."""
    return F.contrib.BilinearResize2D(x, like, mode="like")
