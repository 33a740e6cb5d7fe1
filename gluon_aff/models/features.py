"""Networks without their heads: the maps of every stage, for decoders and heads of one's own."""

from __future__ import annotations

from typing import Any, List, Optional, Sequence, Tuple

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError
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
    out_indices : sequence of int, optional
        The numbers of the maps that are given, in whatever order; negative ones count from the last (default: all).
        Stages behind the last of them are left away.

    Attributes
    ----------
    names : tuple of str
        Of the maps that are given: ``stage1``, ...
    channels, strides : tuple of int
        Of these maps.

    Raises
    ------
    UsageError
        For a network without stages, and for indices that are none of its maps' or are there twice.
    """

    def __init__(self, network: Network, out_indices: Optional[Sequence[int]] = None, **kwargs: Any):
        if not isinstance(network, Network):
            raise UsageError(f"{type(network).__name__} is no network of `list_models()`: only these give their maps")
        super().__init__(network._in_channels, **kwargs)
        stages = network.stages()
        count = len(stages)
        indices = range(count) if out_indices is None else out_indices
        self.indices = sorted(index % count for index in indices if -count <= index < count)
        if not self.indices or not len(set(self.indices)) == len(self.indices) == len(indices):
            raise UsageError(
                f"`out_indices` {list(indices)}: choose among the {count} maps, 0 to {count - 1}, each once"
            )
        self.names = tuple(f"stage{index + 1}" for index in self.indices)
        self.untouched = network.untouched
        self.stages_of_network = []
        for number, blocks in enumerate(stages[: max(self.indices) + 1], 1):
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
        return [maps[index] for index in self.indices]


def _shapes_of(features: FeatureMaps) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """(channels, strides) of the maps."""
    maps = mx.sym.Group(features(mx.sym.var("data")))
    _, shapes, _ = maps.infer_shape(data=(1, features._in_channels, _SIDE, _SIDE))
    return tuple(shape[1] for shape in shapes), tuple(round(_SIDE / shape[2]) for shape in shapes)
