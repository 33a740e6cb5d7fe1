"""Channel attention at two scales: the branches L and g, and MS-CAM (paper Section 3.1, Eqs. 1 to 3, Fig. 1)."""

from __future__ import annotations

from typing import Any, Optional, Sequence, Tuple, Type

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError
from .layers import (
    GlobalAvgPool,
    NormKwargs,
    check_not_empty,
    conv1x1,
    expand,
    norm,
    positive_integer,
    sigmoid,
    warn_of_batch_of_one,
)
from .native.operator import Mix, fuse


def context_branch(
    channels: int,
    r: Optional[int],
    pool: bool,
    norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
    norm_kwargs: NormKwargs = None,
    out_channels: Optional[int] = None,
) -> nn.HybridSequential:
    """L(X) of Eq. 2 (``pool=False``) or g(X) of Eq. 1 (``pool=True``), without the sigmoid.

    (N, C, H, W) -> (N, out_channels, H, W), or (N, out_channels, 1, 1) with ``pool``. The children are
    [pool,] conv1x1 C -> C//r, norm, relu, conv1x1 -> out_channels, norm; with ``r=None`` one conv1x1 and one norm.
    """
    out_channels = channels if out_channels is None else out_channels
    branch = nn.HybridSequential()
    with branch.name_scope():
        if pool:
            branch.add(GlobalAvgPool())
        if r is not None:
            middle = max(channels // positive_integer("r, the bottleneck ratio,", r), 1)
            branch.add(conv1x1(middle, channels, use_bias=True))
            branch.add(norm(middle, norm_layer, norm_kwargs))
            branch.add(nn.Activation("relu"))
            channels = middle
        branch.add(conv1x1(out_channels, channels, use_bias=True))
        branch.add(norm(out_channels, norm_layer, norm_kwargs))
    return branch


def attend(
    F: Any,
    mix: Mix,
    x: Any,
    residual: Optional[Any],
    branches: Sequence[nn.HybridSequential],
    attends: Sequence[str] = ("x",),
    z: Optional[Any] = None,
    pools: Tuple[bool, bool] = (False, True),
) -> Any:
    """Return mix(F, x, residual, w) with w = sigmoid(L(z) + g(z)), by the native operator where it fits.

    Parameters
    ----------
    mix : a formula of x, residual and w, all (N, C, H, W), in the operators of ``F``; linear in w, and in the maps.
    branches : L and g; ``pools`` says which of them give (N, C, 1, 1).
    attends : of which of "x" and "residual" z is the sum, unless ``z`` is given.
    """
    fused = fuse(F, mix, x, residual, branches, attends, z)
    if fused is not None:
        return fused
    if z is None:
        z = F.elemwise_add(x, residual) if len(attends) > 1 else x
    local, context = (branch(z) for branch in branches)
    if pools == (False, True):
        context = expand(F, context, z)
    weight = sigmoid(F, F.elemwise_add(local, context))
    return mix(F, x, residual, expand(F, weight, z) if pools[0] else weight)


class MSCAM(nn.HybridBlock):
    """MS-CAM, the multi-scale channel attention module: X' = X * M(X), M(X) = sigmoid(L(X) + g(X)) (Eq. 3).

    (N, C, H, W) -> (N, C, H, W), any H and W. A drop-in block for users' own networks.
    Children ``local_att`` and ``global_att`` are built as in the authors' fusion blocks.

    Parameters
    ----------
    channels : int
        C of the input and of the output.
    r : int or None
        Bottleneck ratio of the attention branches: their middle has C // r channels. None: no bottleneck.
    norm_layer, norm_kwargs
        The branches' normalisation, as in GluonCV's networks (default: BatchNorm).

    Raises
    ------
    UsageError
        For a bad value, and when called with a map of another shape.
    """

    def __init__(
        self,
        channels: int,
        r: Optional[int] = 4,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        """The parameters are described with the class."""
        super().__init__(**kwargs)
        self._channels = positive_integer("channels", channels)
        self.norm_behind_pool = not (norm_kwargs or {}).get("use_global_stats")
        with self.name_scope():
            self.local_att = context_branch(channels, r, False, norm_layer, norm_kwargs)
            self.global_att = context_branch(channels, r, True, norm_layer, norm_kwargs)

    def forward(self, x: Any) -> Any:
        """``x`` weighed by M(x), both (N, C, H, W)."""
        if isinstance(x, mx.nd.NDArray):
            if x.ndim != 4 or x.shape[1] != self._channels:
                raise UsageError(f"x is {x.shape}: this MS-CAM takes (N, {self._channels}, H, W)")
            check_not_empty("x", x.shape)
            warn_of_batch_of_one(self, x)
        return super().forward(x)

    def hybrid_forward(self, F, x):
        """(N, C, H, W) to the same; ``F`` is ``mx.nd`` or, hybridized, ``mx.sym``."""
        return attend(F, lambda F, x, _, weight: F.elemwise_mul(x, weight), x, None, (self.local_att, self.global_att))
