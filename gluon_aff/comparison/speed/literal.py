"""AFF and the global pool as their formulas are written, without any rearrangement for speed: what to compare with."""

from __future__ import annotations

from typing import Any
from unittest import mock

import mxnet as mx
from mxnet.gluon import nn

from ...models import build_model
from ...nn import AFF


class LiteralAFF(AFF):
    """2 x w + 2 residual (1 - w), w = sigmoid(L + g), by broadcast operators and MXNet's ``sigmoid``."""

    def hybrid_forward(self, F, x, residual):  # noqa: ANN001, ANN201
        z = x + residual
        weight = F.sigmoid(F.broadcast_add(self.local_att(z), self.global_att(z)))
        return 2 * F.broadcast_mul(x, weight) + 2 * F.broadcast_mul(residual, 1 - weight)


def literal_model(name: str, **options: Any) -> mx.gluon.HybridBlock:
    """A network with `LiteralAFF` for AFF and GlobalAvgPool2D for global pools."""

    def create(fusion: str, channels: int, r: Any = 4, **more: Any) -> mx.gluon.HybridBlock:
        return LiteralAFF(channels, r, **more)

    with mock.patch("gluon_aff.models.common.create_fusion", create), mock.patch(
        "gluon_aff.nn.attention.GlobalAvgPool", nn.GlobalAvgPool2D
    ), mock.patch("gluon_aff.models.cifar_resnet.GlobalAvgPool", nn.GlobalAvgPool2D):
        return build_model(name, **options)
