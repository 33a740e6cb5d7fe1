"""Residual blocks whose sum of branch and shortcut is a fusion (paper Fig. 3b).

All take ``make_fusion(channels) -> Fusion``; the fusion is called as attention(branch, shortcut). Children keep the
authors' names and positions. ``pool_shortcut`` tells the authors' two generations apart: True (release) averages
before a stride-1 projection, False (paper) projects with a strided convolution.
"""

from __future__ import annotations

from typing import Callable, Optional, Type

from mxnet.gluon import nn

from .fusion import Fusion
from .layers import GlobalAvgPool, Identity, NormKwargs, conv1x1, conv3x3, norm

MakeFusion = Callable[[int], Fusion]
NormLayer = Type[nn.HybridBlock]


def shrink(stride: int) -> nn.HybridBlock:
    """Average over ``stride`` x ``stride`` windows, rounding the map's size up; padding is not counted."""
    if stride == 1:
        return Identity()
    return nn.AvgPool2D(pool_size=stride, strides=stride, ceil_mode=True, count_include_pad=False)


def projection(
    channels: int,
    in_channels: int,
    stride: int,
    pool: bool,
    norm_layer: Optional[NormLayer],
    norm_kwargs: NormKwargs,
) -> nn.HybridSequential:
    """A shortcut that changes shape: [pool,] conv1x1 [, norm], (N, C, H, W) -> (N, channels, H/stride, W/stride)."""
    layers = nn.HybridSequential()
    with layers.name_scope():
        if pool:
            layers.add(shrink(stride))
        layers.add(conv1x1(channels, in_channels, stride=1 if pool else stride))
        if norm_layer is not None:
            layers.add(norm(channels, norm_layer, norm_kwargs))
    return layers


class PreActBlock(nn.HybridBlock):
    """Pre-activation block of the CIFAR ResNet: attention(resfwd(in), downsample(in) or in), nothing after.

    (N, in_channels, H, W) -> (N, channels, H/stride, W/stride). The projection, where channels change, has no norm.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int,
        stride: int,
        make_fusion: MakeFusion,
        pool_shortcut: bool = True,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.resfwd = nn.HybridSequential()
            with self.resfwd.name_scope():
                self.resfwd.add(norm(in_channels, norm_layer, norm_kwargs))
                self.resfwd.add(nn.Activation("relu"))
                self.resfwd.add(conv3x3(channels, in_channels, stride))
                self.resfwd.add(norm(channels, norm_layer, norm_kwargs))
                self.resfwd.add(nn.Activation("relu"))
                self.resfwd.add(conv3x3(channels, channels))
            self.downsample = None
            if channels != in_channels or stride != 1:
                self.downsample = projection(channels, in_channels, stride, pool_shortcut, None, None)
            self.attention = make_fusion(channels)

    def hybrid_forward(self, F, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.attention(self.resfwd(x), shortcut)


class SqueezeExcite(nn.HybridSequential):
    """Squeeze and excitation of the ResNeXt option ``use_se``: conv - relu - conv - sigmoid on the pooled map."""

    def __init__(self, channels: int, r: int = 16, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.add(conv1x1(channels // r, channels, use_bias=True))
            self.add(nn.Activation("relu"))
            self.add(conv1x1(channels, channels // r, use_bias=True))
            self.add(nn.Activation("sigmoid"))


class ResNeXtBlock(nn.HybridBlock):
    """ResNeXt block: relu(attention(body(in), downsample(in) or in)), output 4 x width channels.

    (N, in_channels, H, W) -> (N, 4 width, H/stride, W/stride). The grouped convolution has
    cardinality x floor(width x bottleneck_width / 64) channels. ``zero_gamma`` starts the last norm's gamma at zero.
    """

    def __init__(
        self,
        width: int,
        in_channels: int,
        stride: int,
        make_fusion: MakeFusion,
        cardinality: int = 32,
        bottleneck_width: int = 4,
        project: bool = False,
        pool_shortcut: bool = True,
        use_se: bool = False,
        zero_gamma: bool = False,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        grouped = cardinality * (width * bottleneck_width // 64)
        channels = 4 * width
        gamma = {"gamma_initializer": "zeros"} if zero_gamma else {}
        with self.name_scope():
            self.body = nn.HybridSequential()
            with self.body.name_scope():
                self.body.add(conv1x1(grouped, in_channels))
                self.body.add(norm(grouped, norm_layer, norm_kwargs))
                self.body.add(nn.Activation("relu"))
                self.body.add(conv3x3(grouped, grouped, stride, groups=cardinality))
                self.body.add(norm(grouped, norm_layer, norm_kwargs))
                self.body.add(nn.Activation("relu"))
                self.body.add(conv1x1(channels, grouped))
                self.body.add(norm(channels, norm_layer, norm_kwargs, **gamma))
            self.se = SqueezeExcite(channels) if use_se else None
            self.squeeze = GlobalAvgPool() if use_se else None
            self.downsample = None
            if project:
                self.downsample = projection(channels, in_channels, stride, pool_shortcut, norm_layer, norm_kwargs)
            self.attention = make_fusion(channels)

    def hybrid_forward(self, F, x):
        branch = self.body(x)
        if self.se is not None:
            branch = F.broadcast_mul(branch, self.se(self.squeeze(branch)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.attention(branch, shortcut))


class Bottleneck(nn.HybridBlock):
    """Bottleneck of the ImageNet ResNet: relu(attention(branch, downsample(in) or in)), output 4 x width channels.

    (N, in_channels, H, W) -> (N, 4 width, H/stride, W/stride); the 3x3 convolution carries stride and dilation.
    ``zero_gamma`` starts bn3's gamma at zero.
    """

    def __init__(
        self,
        width: int,
        in_channels: int,
        stride: int,
        make_fusion: MakeFusion,
        dilation: int = 1,
        pool_shortcut: bool = True,
        zero_gamma: bool = False,
        norm_layer: NormLayer = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = 4 * width
        gamma = {"gamma_initializer": "zeros"} if zero_gamma else {}
        with self.name_scope():
            self.conv1 = conv1x1(width, in_channels)
            self.bn1 = norm(width, norm_layer, norm_kwargs)
            self.relu1 = nn.Activation("relu")
            self.conv2 = conv3x3(width, width, stride, dilation=dilation)
            self.bn2 = norm(width, norm_layer, norm_kwargs)
            self.relu2 = nn.Activation("relu")
            self.conv3 = conv1x1(channels, width)
            self.bn3 = norm(channels, norm_layer, norm_kwargs, **gamma)
            self.relu3 = nn.Activation("relu")
            self.downsample = None
            if stride != 1 or in_channels != channels:
                self.downsample = projection(channels, in_channels, stride, pool_shortcut, norm_layer, norm_kwargs)
            self.attention = make_fusion(channels)

    def hybrid_forward(self, F, x):
        branch = self.relu1(self.bn1(self.conv1(x)))
        branch = self.relu2(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(self.attention(branch, shortcut))
