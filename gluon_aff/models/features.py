"""Networks without their heads: the maps of every stage, for decoders and heads of one's own."""

from __future__ import annotations

from typing import Any, List, Tuple

import mxnet as mx
from mxnet.gluon import nn

from .common import Network

_SIDE = 128  # pixels of the image by which strides are told


class FeatureMaps(Network):
    """The stages of a network: images (N, in_channels, H, W) to a list of maps, one for each stage, the largest first.

    Map number i is (N, channels[i], H / strides[i], W / strides[i]), sizes rounded up. It is what the stage's last
    block gives: behind a ReLU in post-activation networks (ImageNet ResNet, ResNeXt, the FPN's backbone), in
    pre-activation ones (CIFAR ResNet and Inception) a sum without norm and activation. What lies behind the last stage
    is no part of it; weights are shared with ``network``.

    Parameters
    ----------
    network : Network
        One with ``stages()``.

    Attributes
    ----------
    channels, strides : tuple of int
        Of every map.

    Raises
    ------
    UsageError
        For a network without stages.
    """

    def __init__(self, network: Network, **kwargs: Any):
        super().__init__(network._in_channels, **kwargs)
        self.untouched = network.untouched
        self.stages_of_network = []
        for number, blocks in enumerate(network.stages(), 1):
            stage = nn.HybridSequential(prefix="")
            stage.add(*blocks)
            setattr(self, f"stage{number}", stage)
            self.stages_of_network.append(stage)
        self.channels, self.strides = _shapes_of(self)

    def stages(self) -> List[List[nn.HybridBlock]]:
        return [[stage] for stage in self.stages_of_network]

    def hybrid_forward(self, F, x):
        maps = []
        for stage in self.stages_of_network:
            x = stage(x)
            maps.append(x)
        return maps


def _shapes_of(features: FeatureMaps) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """(channels, strides) of the maps."""
    maps = mx.sym.Group(features(mx.sym.var("data")))
    _, shapes, _ = maps.infer_shape(data=(1, features._in_channels, _SIDE, _SIDE))
    return tuple(shape[1] for shape in shapes), tuple(round(_SIDE / shape[2]) for shape in shapes)
