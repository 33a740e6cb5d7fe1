"""Where fusions stand: residual blocks (paper Fig. 3b), and long skips from a high-level map to a low one (Fig. 3c).

The residual blocks take ``make_fusion(channels) -> Fusion``; the fusion is called as attention(branch, shortcut).
Children keep the authors' names and positions. ``pool_shortcut`` tells the authors' two generations apart: True
(release) averages before a stride-1 projection, False (paper) projects with a strided convolution.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Type

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError
from .fusions import Fusion, canonical_fusion, create_fusion
from .layers import (
    GlobalAvgPool,
    Identity,
    NormKwargs,
    ResizeLike,
    conv1x1,
    conv3x3,
    norm,
    positive_integer,
    warn_of_batch_of_one,
)

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


#: The options that make a fusion what the paper-time FPN had under its name.
_PAPER_FPN: Dict[str, Dict[str, Any]] = {"iaff": {"double_stages": True}, "ms_se": {"attends": "sum"}}


class LongSkip(nn.HybridBlock):
    """One step of a top-down decoder: ``skip(high, low)``, two maps of unequal channels and sizes, fused.

    high (N, high_channels, h, w), low (N, low_channels, H, W) -> (N, out_channels, H, W), any sizes. With
    Y = ``high`` resized to H x W (bilinear, corners aligned) and X = ``low``:

    - ``decoder="reduce"`` (the authors' code): Y' = relu(norm(conv1x1(Y))), down to low_channels (``feature_high``);
      out = relu(norm(conv3x3(Z))), Z = fusion of X and Y', is low_channels wide (``post``).
    - ``decoder="expand"`` (the paper's figure): X' = relu(norm(conv1x1(X))), up to high_channels (``feature_low``);
      Z = fusion of X' and Y, and out is high_channels wide.
    - ``decoder=None`` (a U-Net's): both maps have one size and width, and are fused as they are.

    Y is the learned branch, the fusion's ``x``: AFF, iAFF and SK put their weight on it. Concatenation is plain, Y
    first, and ``post`` takes both. Convolutions have a bias. The fusion is the child ``fusion``; its arrays are named
    as if its children were this block's own (``local_att.0.weight``), as in the authors' files. The 1x1 convolution
    of Y runs before the resizing, with which it commutes, on fewer positions.

    ``authors_fusion`` makes iAFF and MS-SE what the paper-time FPN had: both stages of iAFF doubled, MS-SE attending
    X + Y'.

    Raises UsageError for an unknown fusion or decoder, and when called with maps of other channels.
    """

    input_names = ("high-level map", "low-level map")  # of the fusion's x and residual

    def __init__(
        self,
        high_channels: int,
        low_channels: int,
        fusion: str = "aff",
        r: Optional[int] = 4,
        decoder: Optional[str] = "reduce",
        authors_fusion: bool = False,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if decoder not in ("reduce", "expand", None):
            raise UsageError(f"decoder is {decoder!r}: choose 'reduce' (as the authors) or 'expand' (as Fig. 3c)")
        high, low = positive_integer("high_channels", high_channels), positive_integer("low_channels", low_channels)
        self._channels = {"high": high, "low": low}
        self.out_channels = high if decoder == "expand" else low
        self._concatenates = canonical_fusion(fusion) == "concat"
        norms = (norm_layer, norm_kwargs)
        fused = 2 * self.out_channels if self._concatenates else self.out_channels
        with self.name_scope():
            self.feature_high = self.feature_low = self.fusion = None
            self.resize = ResizeLike() if decoder else None
            if decoder == "reduce":
                self.feature_high = _conv_norm_relu(low, high, 1, "feature_high_", *norms)
            elif decoder == "expand":
                self.feature_low = _conv_norm_relu(high, low, 1, "feature_low_", *norms)
            if not self._concatenates:
                options = _PAPER_FPN.get(canonical_fusion(fusion), {}) if authors_fusion else {}
                self.fusion = create_fusion(
                    fusion, self.out_channels, r, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **options
                )
            self.post = _conv_norm_relu(self.out_channels, fused, 3, "post_", *norms)

    def forward(self, high: Any, low: Any) -> Any:
        if isinstance(high, mx.nd.NDArray) and isinstance(low, mx.nd.NDArray):
            for (name, channels), x in zip(self._channels.items(), (high, low)):
                if x.ndim != 4 or x.shape[1] != channels:
                    raise UsageError(f"{name} is {x.shape}: this LongSkip takes it as (N, {channels}, H, W)")
            warn_of_batch_of_one(self, high)
        return super().forward(high, low)

    def hybrid_forward(self, F, high, low):
        if self.resize is None:
            x, residual = high, low
        elif self.feature_low is not None:
            x, residual = self.resize(high, low), self.feature_low(low)
        else:
            conv, *rest = self.feature_high
            x, residual = self.resize(conv(high), low), low
            for layer in rest:
                x = layer(x)
        fused = F.concat(x, residual, dim=1) if self._concatenates else self.fusion(x, residual)
        return self.post(fused)

    def _collect_params_with_prefix(self, prefix: str = "") -> Dict[str, mx.gluon.Parameter]:
        """Arrays by structural name, those of the fusion without its own."""
        own = f"{prefix}." if prefix else ""
        inner = f"{own}fusion."
        arrays = super()._collect_params_with_prefix(prefix)
        return {own + name[len(inner) :] if name.startswith(inner) else name: p for name, p in arrays.items()}


def _conv_norm_relu(
    channels: int,
    in_channels: int,
    kernel: int,
    prefix: str,
    norm_layer: Type[nn.HybridBlock],
    norm_kwargs: NormKwargs,
) -> nn.HybridSequential:
    """A biased convolution that keeps the map's size, norm and relu."""
    layers = nn.HybridSequential(prefix=prefix)
    with layers.name_scope():
        layers.add(nn.Conv2D(channels, kernel, padding=kernel // 2, in_channels=in_channels))
        layers.add(norm(channels, norm_layer, norm_kwargs), nn.Activation("relu"))
    return layers
