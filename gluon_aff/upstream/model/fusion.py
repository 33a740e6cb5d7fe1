"""The authors' ``model.fusion``: their three fusions, called as ``fuse(x, residual)``."""

from __future__ import annotations

from typing import Any, Dict, Optional

import mxnet as mx
from mxnet.gluon import nn

from ...errors import UsageError
from ...nn import AFF, IAFF


def gluons(keywords: Dict[str, Any]) -> Dict[str, Any]:
    """What Gluon itself takes of ``keywords``; the others the authors' classes ignore."""
    return {name: value for name, value in keywords.items() if name in ("prefix", "params")}


class DirectAddFuse(nn.HybridBlock):
    """x + residual, of one shape. Raises UsageError for two."""

    def __init__(self, **ignored: Any) -> None:
        super().__init__(**gluons(ignored))

    def forward(self, x: Any, residual: Any) -> Any:
        if isinstance(x, mx.nd.NDArray) and isinstance(residual, mx.nd.NDArray) and x.shape != residual.shape:
            raise UsageError(f"x is {x.shape}, residual is {residual.shape}: resize or project one of them first")
        return super().forward(x, residual)

    def hybrid_forward(self, F: Any, x: Any, residual: Any) -> Any:
        return F.elemwise_add(x, residual)


class ASKCFuse(AFF):
    """AFF: 2 x w + 2 residual (1 - w), w = M(x + residual); see `gluon_aff.nn.AFF`."""

    def __init__(self, channels: int = 64, r: Optional[int] = 4, **ignored: Any) -> None:
        super().__init__(channels, r, **gluons(ignored))


class ResGlobLocaforGlobLocaChaFuse(IAFF):
    """iAFF, without a factor 2; see `gluon_aff.nn.IAFF`."""

    def __init__(self, channels: int = 64, r: Optional[int] = 4, **ignored: Any) -> None:
        super().__init__(channels, r, **gluons(ignored))
