"""What the segmentation networks share: the encoder, a ResNet of three stages, and the head."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Type

import mxnet as mx
from mxnet.gluon import nn

from ..errors import UsageError
from ..nn.blocks import projection
from ..nn.layers import NormKwargs, ResizeLike, conv3x3, norm, pad_to_multiple
from .common import SegmentationNet, check_layers, make_stage, norm_settings


class BasicBlock(nn.HybridBlock):
    """Post-activation block: relu(body(in) + (downsample(in) or in)), body = conv3x3 - norm - relu - conv3x3 - norm.

    (N, in_channels, H, W) -> (N, channels, H/stride, W/stride), rounded up.
    """

    def __init__(
        self,
        channels: int,
        in_channels: int,
        stride: int,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = nn.HybridSequential()
            with self.body.name_scope():
                self.body.add(conv3x3(channels, in_channels, stride), norm(channels, norm_layer, norm_kwargs))
                self.body.add(nn.Activation("relu"))
                self.body.add(conv3x3(channels, channels), norm(channels, norm_layer, norm_kwargs))
            self.downsample = None
            if channels != in_channels or stride != 1:
                self.downsample = projection(channels, in_channels, stride, False, norm_layer, norm_kwargs)

    def hybrid_forward(self, F, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(F.elemwise_add(self.body(x), shortcut))


class SegmentationHead(nn.HybridBlock):
    """conv3x3 to C/4 - norm - relu - dropout 0.1 - conv1x1, (N, C, H, W) -> (N, classes, H, W)."""

    def __init__(
        self,
        classes: int,
        in_channels: int,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        channels = in_channels // 4
        with self.name_scope():
            self.block = nn.HybridSequential()
            with self.block.name_scope():
                self.block.add(conv3x3(channels, in_channels), norm(channels, norm_layer, norm_kwargs))
                self.block.add(nn.Activation("relu"), nn.Dropout(0.1))
                self.block.add(nn.Conv2D(classes, kernel_size=1, in_channels=channels))

    def hybrid_forward(self, F, x):
        return self.block(x)


class EncoderDecoder(SegmentationNet):
    """(N, 3, H, W) -> logits (N, classes, H, W); made for 480x480. The decoder is a subclass's: see `_add_decoder`.

    Parameters
    ----------
    blocks : b, blocks in each of the three stages; the encoder's depth is 6b + 2. ``layers`` gives the three numbers
        one by one.
    channel_times : widens the channels 16, 32, 64 of the stages.
    classes : maps of logits; one, foreground against background, in the paper.
    in_channels : of the images.
    fusion, r : strategy of the two long skips, its bottleneck ratio (Table 2: 4; Table 4 compares at r = 2).
    stem : "std" (stride 4: H/4 x W/4 is where the logits are computed, then resized) or "tiny" (stride 1, for small
        targets).
    authors_fusion : iAFF and MS-SE as the paper-time FPN had them, see ``LongSkip``; other strategies have no such.

    At inference any size works: images are padded with zeros, right and below, to multiples of ``divisor`` (16 with
    the std stem, 4 with the tiny one), and the logits are cut back. In training H and W must be such multiples;
    UsageError names the nearest size that is. It is raised for images without pixels, too.
    """

    input_size = 480
    initializer = "kaiming"
    output_layer = "head.block.4"
    variants: Dict[str, Sequence[Any]] = {"stem": ("std", "tiny"), "fusion": ("add", "concat")}

    def __init__(
        self,
        blocks: int = 3,
        channel_times: int = 1,
        classes: int = 1,
        fusion: str = "add",
        r: Optional[int] = 4,
        stem: str = "std",
        authors_fusion: bool = False,
        layers: Optional[Sequence[int]] = None,
        in_channels: int = 3,
        norm_layer: Type[nn.HybridBlock] = nn.BatchNorm,
        norm_kwargs: NormKwargs = None,
        use_global_stats: bool = False,
        **kwargs,
    ):
        """The parameters are described with the class."""
        super().__init__(in_channels, **kwargs)
        if stem not in ("std", "tiny"):
            raise UsageError(f"stem is {stem!r}: choose 'std' (stride 4) or 'tiny' (stride 1)")
        norms: Dict[str, Any] = {"norm_layer": norm_layer, "norm_kwargs": norm_settings(norm_kwargs, use_global_stats)}
        layers = list(layers) if layers is not None else [blocks] * 3
        check_layers(layers, 3)
        self.divisor = 16 if stem == "std" else 4
        half, *widths = (channel_times * channels for channels in (8, 16, 32, 64))
        stem_convs = [(half, 2), (half, 1), (widths[0], 1)] if stem == "std" else [(widths[0], 1)]
        with self.name_scope():
            self.stem = nn.HybridSequential(prefix="stem_")
            with self.stem.name_scope():
                self.stem.add(norm(in_channels, **norms, scale=False, center=False))
                for channels, stride in stem_convs:
                    self.stem.add(conv3x3(channels, in_channels, stride), norm(channels, **norms))
                    self.stem.add(nn.Activation("relu"))
                    in_channels = channels
                if stem == "std":
                    self.stem.add(nn.MaxPool2D(pool_size=3, strides=2, padding=1))
            for number, (width, count, stride) in enumerate(zip(widths, layers, (1, 2, 2)), 1):
                self._add_stage(f"layer{number}", count, width, in_channels, stride, norms)
                in_channels = width
            skips = {"fusion": fusion, "r": r, "authors_fusion": authors_fusion, **norms}
            width = self._add_decoder(widths, layers, skips, norms)
            self.head = SegmentationHead(classes, width, **norms)
            self.resize = ResizeLike() if stem == "std" else None

    def _add_stage(
        self, name: str, count: int, width: int, in_channels: int, stride: int, norms: Dict[str, Any]
    ) -> None:
        """``count`` blocks, in_channels -> width, as the child ``name``."""
        stage = make_stage(count, BasicBlock, width, in_channels, width, stride, prefix=f"{name}_", **norms)
        setattr(self, name, stage)

    def _add_decoder(
        self, widths: Sequence[int], layers: Sequence[int], skips: Dict[str, Any], norms: Dict[str, Any]
    ) -> int:
        """Make the decoder's children, and return the channels of what it gives.

        ``widths`` and ``layers`` are the stages' channels and blocks, ``skips`` the options of a LongSkip.
        """
        raise NotImplementedError

    def _decode(self, first: Any, second: Any, third: Any) -> Any:
        """The stages' maps to one of the first one's size."""
        raise NotImplementedError

    def stages(self) -> List[List[nn.HybridBlock]]:
        return [[self.stem, self.layer1], [self.layer2], [self.layer3]]

    def check_input(self, x: mx.nd.NDArray) -> None:
        super().check_input(x)
        size = x.shape[2:]
        if mx.autograd.is_training() and any(length % self.divisor for length in size):
            near = [max(round(length / self.divisor), 1) * self.divisor for length in size]
            raise UsageError(
                f"the images are {size[0]}x{size[1]}: in training height and width must be multiples of "
                f"{self.divisor}, the nearest such size is {near[0]}x{near[1]}"
            )

    def hybrid_forward(self, F, x):
        padded = pad_to_multiple(F, x, self.divisor)
        first = self.layer1(self.stem(padded))
        second = self.layer2(first)
        logits = self.head(self._decode(first, second, self.layer3(second)))
        if self.resize is not None:
            logits = self.resize(logits, padded)
        return F.slice_like(logits, x, axes=(2, 3))
