"""CIFAR ResNet with pre-activation blocks: the short-skip host of the paper's CIFAR tables (depth 6b + 2)."""

from __future__ import annotations

from typing import List, Optional, Sequence, Type

from mxnet.gluon import nn

from ..errors import UsageError
from ..nn import positive_integer
from ..nn.blocks import PreActBlock
from ..nn.layers import GlobalAvgPool, NormKwargs, conv3x3, norm
from .common import (
    ClassificationNet,
    add_deep_stem,
    check_layers,
    classifier,
    is_release,
    make_stage,
    norm_settings,
    split_at_stages,
    stage_fusions,
)


def channels_of(channels: Optional[Sequence[int]], channel_times: int) -> List[int]:
    """Channels of the stem and of the three stages. Raises UsageError for another number of them."""
    if channels is None:
        return [channel_times * width for width in (16, 16, 32, 64)]
    if len(channels) != 4:
        raise UsageError(f"channels is {tuple(channels)}: expected four numbers, for the stem and each stage")
    return [positive_integer("a stage's number of channels", width) for width in channels]


class CIFARResNet(ClassificationNet):
    """(N, 3, H, W) -> (N, classes); made for 32x32.

    Parameters
    ----------
    blocks : b, blocks in each of the three stages; depth 6b + 2. ``layers`` gives the three numbers one by one.
    channel_times : widens the channels 16, 16, 32, 64; 1 in the paper's tables, 4 in all published weights.
        ``channels`` gives the four numbers, stem first, one by one.
    fusion, r, start_layer : strategy, its bottleneck ratio, first stage (from 1) that uses it.
    tag : "release" or "paper", the authors' generation; they differ in the shortcut.
    in_channels : of the images; 3 in all published weights.
    classes : outputs; 0 for none, the features (N, 64 x channel_times) instead.
    deep_stem : three 3x3 convolutions for the first one (an option of the release).
    """

    input_size = 32

    def __init__(
        self,
        blocks: int = 3,
        channel_times: int = 4,
        classes: int = 100,
        fusion: str = "add",
        r: Optional[int] = 4,
        start_layer: int = 1,
        tag: str = "release",
        deep_stem: bool = False,
        layers: Optional[Sequence[int]] = None,
        channels: Optional[Sequence[int]] = None,
        in_channels: int = 3,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        use_global_stats: bool = False,
        **kwargs,
    ):
        super().__init__(in_channels, **kwargs)
        release = is_release(tag)
        norm_kwargs = norm_settings(norm_kwargs, use_global_stats)
        layers = list(layers) if layers is not None else [blocks] * 3
        check_layers(layers, 3)
        stem, *widths = channels_of(channels, channel_times)
        fusions = stage_fusions(fusion, r, start_layer, len(layers), norm_layer, norm_kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential()
            with self.features.name_scope():
                self.features.add(norm(in_channels, norm_layer, norm_kwargs, scale=False, center=False))
                if deep_stem:
                    add_deep_stem(self.features, stem, 1, norm_layer, norm_kwargs, in_channels)
                else:
                    self.features.add(conv3x3(stem, in_channels))
                in_channels = stem
                for width, count, stride, make_fusion in zip(widths, layers, (1, 2, 2), fusions):
                    self.features.add(
                        make_stage(
                            count,
                            PreActBlock,
                            width,
                            in_channels,
                            width,
                            stride,
                            make_fusion,
                            pool_shortcut=release,
                            norm_layer=norm_layer,
                            norm_kwargs=norm_kwargs,
                        )
                    )
                    in_channels = width
                self.features.add(norm(in_channels, norm_layer, norm_kwargs))
                self.features.add(nn.Activation("relu"), GlobalAvgPool(), nn.Flatten())
            self.output = classifier(classes, in_channels)

    def stages(self) -> List[List[nn.HybridBlock]]:
        return split_at_stages(self.features)

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))
