"""Long skip connections (paper Fig. 3c): a high-level map is brought to a low-level one and fused with it."""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError
from .checks import positive_integer, warn_of_batch_of_one
from .fusion import canonical_fusion, create_fusion, fusion_class
from .layers import NormKwargs, ResizeLike, norm


class LongSkip(nn.HybridBlock):
    """One step of a top-down decoder: ``skip(high, low)``, two maps of unequal channels and sizes, fused.

    high (N, high_channels, h, w), low (N, low_channels, H, W) -> (N, out_channels, H, W), any sizes. With
    Y = ``high`` resized to H x W (bilinear, corners aligned) and X = ``low``:

    - ``decoder="reduce"`` (the authors' code): Y' = relu(norm(conv1x1(Y))), down to low_channels (``feature_high``);
      out = relu(norm(conv3x3(Z))), Z = fusion of X and Y', is low_channels wide (``post``).
    - ``decoder="expand"`` (the paper's figure): X' = relu(norm(conv1x1(X))), up to high_channels (``feature_low``);
      Z = fusion of X' and Y, and out is high_channels wide.

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
        decoder: str = "reduce",
        authors_fusion: bool = False,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if decoder not in ("reduce", "expand"):
            raise UsageError(f"decoder is {decoder!r}: choose 'reduce' (as the authors) or 'expand' (as Fig. 3c)")
        high, low = positive_integer("high_channels", high_channels), positive_integer("low_channels", low_channels)
        self._channels = {"high": high, "low": low}
        self.out_channels = low if decoder == "reduce" else high
        self._concatenates = canonical_fusion(fusion) == "concat"
        norms = (norm_layer, norm_kwargs)
        fused = 2 * self.out_channels if self._concatenates else self.out_channels
        with self.name_scope():
            self.feature_high = self.feature_low = self.fusion = None
            self.resize = ResizeLike()
            if decoder == "reduce":
                self.feature_high = _conv_norm_relu(low, high, 1, "feature_high_", *norms)
            else:
                self.feature_low = _conv_norm_relu(high, low, 1, "feature_low_", *norms)
            if not self._concatenates:
                options = fusion_class(fusion).paper_fpn_options if authors_fusion else {}
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
        if self.feature_low is not None:
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
