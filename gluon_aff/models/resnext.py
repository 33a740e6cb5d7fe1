"""ResNeXt for CIFAR (depth 9b + 2, three stages) and ImageNet (four stages): one network, two stems."""

from __future__ import annotations

from typing import List, Optional, Sequence, Type

from mxnet.gluon import nn

from ..errors import UsageError
from ..nn import positive_integer
from ..nn.blocks import ResNeXtBlock
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


class _ResNeXt(ClassificationNet):
    """Stages, pool and output behind the stem that a subclass builds.

    Parameters of both hosts
    ------------------------
    layers : blocks in each stage. classes : outputs; 0 for none, the features instead.
    in_channels : of the images; 3 in all published weights.
    cardinality, bottleneck_width : groups of the 3x3 convolution, and their channels at width 64.
    fusion, r, start_layer : strategy, its bottleneck ratio, first stage (from 1) that uses it.
    tag : "release" or "paper", the authors' generation; they differ in the shortcut (and in the ImageNet stem).
        ``avg_down`` overrides the shortcut.
    last_gamma : start the last norm of every block at gamma 0 (False: 1). The authors' ResNeXt had this the other way
        round, so all their runs started at 0: ``authors_last_gamma=True`` reads ``last_gamma`` as they did.
    use_se : squeeze and excitation on the branch (off in all published files).
    """

    def __init__(
        self,
        layers: Sequence[int],
        width: int,
        classes: int,
        cardinality: int = 32,
        bottleneck_width: int = 4,
        fusion: str = "add",
        r: Optional[int] = 16,
        start_layer: int = 1,
        tag: str = "release",
        deep_stem: bool = False,
        avg_down: Optional[bool] = None,
        last_gamma: bool = False,
        authors_last_gamma: bool = False,
        use_se: bool = False,
        in_channels: int = 3,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        use_global_stats: bool = False,
        **kwargs,
    ):
        super().__init__(in_channels, **kwargs)
        release = is_release(tag)
        avg_down = release if avg_down is None else avg_down
        norm_kwargs = norm_settings(norm_kwargs, use_global_stats)
        check_layers(layers, self._stages)
        if width * bottleneck_width < 64:
            raise UsageError(
                f"width {width} with bottleneck_width {bottleneck_width} leaves no channel in a group: "
                "width x bottleneck_width must be at least 64"
            )
        fusions = stage_fusions(fusion, r, start_layer, len(layers), norm_layer, norm_kwargs)
        with self.name_scope():
            self.features = nn.HybridSequential()
            with self.features.name_scope():
                in_channels = self._add_stem(self.features, width, in_channels, deep_stem, norm_layer, norm_kwargs)
                for number, (count, make_fusion) in enumerate(zip(layers, fusions)):
                    stage = make_stage(
                        count,
                        ResNeXtBlock,
                        width,
                        in_channels,
                        4 * width,
                        2 if number > 0 else 1,
                        make_fusion,
                        cardinality,
                        bottleneck_width,
                        project=False,
                        first={"project": True},
                        pool_shortcut=avg_down and (number > 0 or self._pools_in_first_stage),
                        use_se=use_se,
                        zero_gamma=last_gamma != authors_last_gamma,
                        norm_layer=norm_layer,
                        norm_kwargs=norm_kwargs,
                    )
                    self.features.add(stage)
                    in_channels, width = 4 * width, 2 * width
                self.features.add(GlobalAvgPool())
            self.output = classifier(classes, in_channels)

    def stages(self) -> List[List[nn.HybridBlock]]:
        return split_at_stages(self.features)

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))


class CIFARResNeXt(_ResNeXt):
    """(N, 3, H, W) -> (N, classes); made for 32x32.

    Parameters
    ----------
    blocks : b, blocks in each of the three stages; depth 9b + 2. ``layers`` gives the three numbers one by one.
    channel_times : widths 16, 32, 64 times this; 4 (64, 128, 256) in all published weights.
    width : of the first stage, in the place of 16 x channel_times.
    cardinality : 32; None takes 64 for channel_times 8, as the authors do, and 32 otherwise.
    Others: see the base class.
    """

    input_size = 32
    _stages = 3
    _pools_in_first_stage = True  # a 1x1 pool, which only counts as a position in the names

    def __init__(
        self,
        blocks: int = 3,
        channel_times: int = 4,
        classes: int = 100,
        cardinality: Optional[int] = None,
        layers: Optional[Sequence[int]] = None,
        width: Optional[int] = None,
        **kwargs,
    ):
        width = 16 * channel_times if width is None else positive_integer("width", width)
        layers = list(layers) if layers is not None else [blocks] * 3
        if cardinality is None:
            cardinality = 64 if channel_times == 8 else 32
        super().__init__(layers, width, classes, cardinality, **kwargs)

    @staticmethod
    def _add_stem(features, width, in_channels, deep_stem, norm_layer, norm_kwargs):
        if deep_stem:
            add_deep_stem(features, width, 1, norm_layer, norm_kwargs, in_channels)
        else:
            features.add(conv3x3(width, in_channels))
        features.add(norm(width, norm_layer, norm_kwargs), nn.Activation("relu"))
        return width


class ResNeXt(_ResNeXt):
    """ImageNet ResNeXt (N, 3, H, W) -> (N, classes); made for 224x224. ``layers`` has four numbers.

    The release's stem is deep and ends in 128 channels, the paper's is one 7x7 convolution to 64;
    ``deep_stem`` overrides the tag's, ``stem_width`` is half the channels of a deep one. Others: see the base class.
    """

    input_size = 224
    initializer = "kaiming"
    _stages = 4
    _pools_in_first_stage = False

    def __init__(
        self,
        layers: Sequence[int] = (3, 4, 6, 3),
        classes: int = 1000,
        cardinality: int = 32,
        start_layer: int = 3,
        tag: str = "release",
        deep_stem: Optional[bool] = None,
        stem_width: int = 64,
        **kwargs,
    ):
        self._stem_channels = 2 * positive_integer("stem_width", stem_width)
        deep_stem = is_release(tag) if deep_stem is None else deep_stem
        super().__init__(
            layers, 64, classes, cardinality, start_layer=start_layer, tag=tag, deep_stem=deep_stem, **kwargs
        )

    def _add_stem(self, features, width, in_channels, deep_stem, norm_layer, norm_kwargs):
        channels = self._stem_channels if deep_stem else width
        if deep_stem:
            add_deep_stem(features, channels, 2, norm_layer, norm_kwargs, in_channels)
        else:
            features.add(nn.Conv2D(channels, 7, strides=2, padding=3, in_channels=in_channels, use_bias=False))
        features.add(norm(channels, norm_layer, norm_kwargs), nn.Activation("relu"))
        features.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
        return channels
