"""AFF-InceptionNet for CIFAR, the paper's same-layer host ("Inception-ResNet-20-b", Tables 3 and 4, Fig. 7a).

Every 3x3 convolution is two branches on the same input, a 3x3 and a "5x5" one, brought together by a fusion. No
weights were published for it.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Sequence, Type

from mxnet.gluon import nn

from ..errors import UsageError
from ..nn import canonical_fusion, create_fusion, selects_softly
from ..nn.layers import GlobalAvgPool, NormKwargs, conv1x1, norm
from .common import ClassificationNet, check_layers, classifier, make_stage, norm_settings, split_at_stages


class FusedConv(nn.HybridBlock):
    """fusion(X = 3x3 branch, Y = 5x5 branch), (N, in_channels, H, W) -> (N, channels, H/stride, W/stride).

    A branch is a biased convolution and a norm (no norm where the fusion is add or concat), without activation. The
    5x5 branch is a 3x3 convolution of dilation 2 (``kernel5="dilated"``) or a real 5x5 one (``"true"``). As in Eq. 4
    the weight of a soft selection multiplies X, the 3x3 branch, and there is no factor 2.
    """

    input_names = ("5x5 branch", "3x3 branch")  # of the fusion's x and residual

    def __init__(
        self,
        channels: int,
        in_channels: int,
        stride: int,
        fusion: str,
        r: Optional[int],
        kernel5: str = "dilated",
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kernel5 not in ("dilated", "true"):
            raise UsageError(f"kernel5 is {kernel5!r}: choose 'dilated' (3x3, dilation 2) or 'true' (5x5)")
        shapes = {"feature_spatial_3": (3, 1), "feature_spatial_5": (3, 2) if kernel5 == "dilated" else (5, 1)}
        options = {"weight_on": "residual", "factor": 1} if selects_softly(fusion) else {}
        with self.name_scope():
            self.attention = create_fusion(
                fusion, channels, r, norm_layer=norm_layer, norm_kwargs=norm_kwargs, **options
            )
            for name, (kernel, dilation) in shapes.items():
                branch = nn.HybridSequential(prefix=f"{name}_")
                with branch.name_scope():
                    branch.add(
                        nn.Conv2D(
                            channels,
                            kernel,
                            strides=stride,
                            padding=dilation * (kernel // 2),
                            dilation=dilation,
                            in_channels=in_channels,
                        )
                    )
                    if canonical_fusion(fusion) not in ("add", "concat"):
                        branch.add(norm(channels, norm_layer, norm_kwargs))
                setattr(self, name, branch)

    def hybrid_forward(self, F, x):
        return self.attention(self.feature_spatial_5(x), self.feature_spatial_3(x))


class InceptionBlock(nn.HybridBlock):
    """Pre-activation block: bn1 - relu - conv1 (fused, stride) - bn2 - relu - conv2 (fused), added to the shortcut.

    (N, in_channels, H, W) -> (N, channels, H/stride, W/stride); between the two convolutions are ``middle`` channels.
    The sum with the shortcut is plain: only the branches of ``FusedConv`` are fused.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int,
        stride: int,
        middle: int,
        fused_conv: Callable[[int, int, int], FusedConv],
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.bn1 = norm(in_channels, norm_layer, norm_kwargs)
            self.conv1 = fused_conv(middle, in_channels, stride)
            self.bn2 = norm(middle, norm_layer, norm_kwargs)
            self.conv2 = fused_conv(channels, middle, 1)
            self.downsample = None
            if channels != in_channels or stride != 1:
                self.downsample = conv1x1(channels, in_channels, stride=stride)

    def hybrid_forward(self, F, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.conv1(F.relu(self.bn1(x)))
        x = self.conv2(F.relu(self.bn2(x)))
        return F.elemwise_add(x, shortcut)


class CIFARInception(ClassificationNet):
    """(N, 3, H, W) -> (N, classes); made for 32x32.

    Parameters
    ----------
    blocks : b, blocks in each of the three stages; depth 6b + 2. ``layers`` gives the three numbers one by one.
    channel_times : widens the channels 16, 16, 32, 64.
    fusion, r : strategy and its bottleneck ratio (Table 2: 4; Table 4 compares at equal budgets, 2 for AFF).
    mid_width : "input" (the authors' width quirk: conv1 has as many channels as the stage's input, which matches a
        plain ResNet's parameters) or "output" (the stage's own width).
    kernel5 : "dilated" or "true", see FusedConv.
    in_channels : of the images. classes : outputs; 0 for none, the features instead.
    """

    input_size = 32
    variants = {"mid_width": ("input", "output"), "kernel5": ("dilated", "true")}

    def __init__(
        self,
        blocks: int = 3,
        channel_times: int = 1,
        classes: int = 100,
        fusion: str = "add",
        r: Optional[int] = 4,
        mid_width: str = "input",
        kernel5: str = "dilated",
        layers: Optional[Sequence[int]] = None,
        in_channels: int = 3,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        use_global_stats: bool = False,
        **kwargs,
    ):
        super().__init__(in_channels, **kwargs)
        norm_kwargs = norm_settings(norm_kwargs, use_global_stats)
        norms: Dict[str, Any] = {"norm_layer": norm_layer, "norm_kwargs": norm_kwargs}
        if mid_width not in ("input", "output"):
            raise UsageError(f"mid_width is {mid_width!r}: choose 'input' (as the authors) or 'output'")
        layers = list(layers) if layers is not None else [blocks] * 3
        check_layers(layers, 3)

        def fused_conv(channels: int, in_channels: int, stride: int) -> FusedConv:
            return FusedConv(channels, in_channels, stride, fusion, r, kernel5, **norms)

        widths = [channel_times * channels for channels in (16, 16, 32, 64)]
        with self.name_scope():
            self.features = nn.HybridSequential()
            with self.features.name_scope():
                self.features.add(norm(in_channels, **norms, scale=False, center=False))
                self.features.add(fused_conv(widths[0], in_channels, 1))
                for before, width, count, stride in zip(widths, widths[1:], layers, (1, 2, 2)):
                    middle = before if mid_width == "input" else width
                    self.features.add(
                        make_stage(count, InceptionBlock, width, before, width, stride, middle, fused_conv, **norms)
                    )
                self.features.add(norm(widths[-1], **norms))
                self.features.add(nn.Activation("relu"), GlobalAvgPool(), nn.Flatten())
            self.output = classifier(classes, widths[-1])

    def stages(self) -> List[List[nn.HybridBlock]]:
        return split_at_stages(self.features)

    def hybrid_forward(self, F, x):
        return self.output(self.features(x))
