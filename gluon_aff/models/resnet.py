"""ImageNet ResNet-50, -101, -152 with bottleneck blocks (GluonCV's v1d flavour in the release, v1b in the paper)."""

from __future__ import annotations

from typing import List, Optional, Sequence, Type

from mxnet.gluon import nn

from ..errors import UsageError
from ..nn import positive_integer
from ..nn.blocks import Bottleneck
from ..nn.layers import GlobalAvgPool, NormKwargs, norm
from .common import (
    ClassificationNet,
    add_deep_stem,
    check_layers,
    classifier,
    is_release,
    make_stage,
    norm_settings,
    stage_fusions,
)


class ResNet(ClassificationNet):
    """(N, 3, H, W) -> (N, classes); made for 224x224.

    Parameters
    ----------
    layers : blocks in each of the four stages: (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) 101, (3, 8, 36, 3) 152. (The
        authors' 152 has (3, 4, 36, 3), by mistake; no weights were published for it.)
    fusion, r, start_layer : strategy, its bottleneck ratio, first stage (from 1) that uses it (3 in the published
        files).
    tag : "release" (deep stem, averaged shortcuts) or "paper" (7x7 stem, strided shortcuts). ``deep_stem`` overrides
        the stem, ``avg_down`` the shortcuts. stem_width : half the channels of a deep stem.
    in_channels : of the images; 3 in all published weights.
    classes : outputs; 0 for none, the features (N, 2048) instead.
    dilated : stages 3 and 4 keep the size of stage 2's map (output stride 8) with dilation 2 and 4; the first block of
        a stage dilates as the stage before it.
    last_gamma : start bn3 of every block at gamma 0.
    final_drop : dropout rate before the output. use_global_stats : norms use their running statistics in training.
    """

    input_size = 224
    initializer = "kaiming"
    output_layer = "fc"

    def __init__(
        self,
        layers: Sequence[int] = (3, 4, 6, 3),
        classes: int = 1000,
        fusion: str = "add",
        r: Optional[int] = 16,
        start_layer: int = 3,
        tag: str = "release",
        deep_stem: Optional[bool] = None,
        stem_width: int = 32,
        avg_down: Optional[bool] = None,
        dilated: bool = False,
        last_gamma: bool = False,
        final_drop: float = 0.0,
        in_channels: int = 3,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        use_global_stats: bool = False,
        **kwargs,
    ):
        super().__init__(in_channels, **kwargs)
        release = is_release(tag)
        deep_stem = release if deep_stem is None else deep_stem
        avg_down = release if avg_down is None else avg_down
        stem = 2 * positive_integer("stem_width", stem_width) if deep_stem else 64
        norm_kwargs = norm_settings(norm_kwargs, use_global_stats)
        check_layers(layers, 4)
        if not 0 <= final_drop < 1:
            raise UsageError(f"final_drop is {final_drop}: expected a rate of at least 0 and below 1")
        fusions = stage_fusions(fusion, r, start_layer, len(layers), norm_layer, norm_kwargs)
        strides, dilations = ((1, 2, 1, 1), (1, 1, 2, 4)) if dilated else ((1, 2, 2, 2), (1, 1, 1, 1))
        with self.name_scope():
            if deep_stem:
                self.conv1 = nn.HybridSequential(prefix="conv1_")
                with self.conv1.name_scope():
                    add_deep_stem(self.conv1, stem, 2, norm_layer, norm_kwargs, in_channels)
            else:
                self.conv1 = nn.Conv2D(64, 7, strides=2, padding=3, in_channels=in_channels, use_bias=False)
            self.bn1 = norm(stem, norm_layer, norm_kwargs)
            self.relu = nn.Activation("relu")
            self.maxpool = nn.MaxPool2D(pool_size=3, strides=2, padding=1)
            in_channels, width, before = stem, 64, 1
            for number, (count, stride, dilation) in enumerate(zip(layers, strides, dilations), 1):
                stage = make_stage(
                    count,
                    Bottleneck,
                    width,
                    in_channels,
                    4 * width,
                    stride,
                    fusions[number - 1],
                    dilation=dilation,
                    first={"dilation": before},
                    pool_shortcut=avg_down,
                    zero_gamma=last_gamma,
                    norm_layer=norm_layer,
                    norm_kwargs=norm_kwargs,
                    prefix=f"layers{number}_",
                )
                setattr(self, f"layer{number}", stage)
                in_channels, width, before = 4 * width, 2 * width, dilation
            self.avgpool = GlobalAvgPool()
            self.flat = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop else None
            self.fc = classifier(classes, in_channels)

    def stages(self) -> List[List[nn.HybridBlock]]:
        stem = [self.conv1, self.bn1, self.relu, self.maxpool]
        return [[*stem, self.layer1], [self.layer2], [self.layer3], [self.layer4]]

    def hybrid_forward(self, F, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.flat(self.avgpool(x))
        if self.drop is not None:
            x = self.drop(x)
        return self.fc(x)
