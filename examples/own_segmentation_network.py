#!/usr/bin/env python
"""A segmentation network of your own with AFF inside, trained, evaluated and exported by the commands of the package.

    python examples/own_segmentation_network.py train own_unet --dataset shapes --save-dir runs/own
    python examples/own_segmentation_network.py evaluate --weights runs/own
    python examples/own_segmentation_network.py export runs/own --to onnx --out exported

Each command is one of gluon-aff's that also knows this task: predict, gradcam, attention and compare work alike, and
`train own_unet --resume runs/own` goes on. The network is any HybridBlock from images (N, 3, H, W) to logits
(N, classes, H, W) whose hybrid_forward uses F's operators alone; the package tells its head from that output.
"""

import gluon_aff  # before MXNet, which it makes importable

import mxnet as mx
from mxnet.gluon import nn

from gluon_aff.cli.main import entry
from gluon_aff.tasks import own_network, register_task
from gluon_aff.tasks.seg import Segmentation


def convolution(channels: int) -> nn.HybridSequential:
    """3x3, BatchNorm and ReLU: (N, any, H, W) -> (N, channels, H, W)."""
    block = nn.HybridSequential()
    block.add(nn.Conv2D(channels, 3, padding=1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    return block


class Up(nn.HybridBlock):
    """high (N, any, h, w), low (N, channels, H, W), H and W at most 2h and 2w -> (N, channels, H, W)."""

    def __init__(self, channels, fusion, r):
        super().__init__()
        with self.name_scope():
            self.up = nn.Conv2DTranspose(channels, 2, strides=2)
            self.fuse = gluon_aff.create_fusion(fusion, channels, r=r)
            self.convolution = convolution(channels)

    def hybrid_forward(self, F, high, low):
        high = F.slice_like(self.up(high), low, axes=(2, 3))  # where an odd size was halved
        return self.convolution(self.fuse(high, low))  # the learned branch first, then the shortcut


class UNet(nn.HybridBlock):
    """A U-Net of three levels whose skips are fused where others are concatenated."""

    def __init__(self, classes, fusion, r):
        super().__init__()
        with self.name_scope():
            self.level1, self.level2, self.level3 = convolution(16), convolution(32), convolution(64)
            self.pool = nn.MaxPool2D(2, ceil_mode=True)
            self.up2, self.up1 = Up(32, fusion, r), Up(16, fusion, r)
            self.last = nn.Conv2D(classes, 1)

    def hybrid_forward(self, F, x):
        first = self.level1(x)
        second = self.level2(self.pool(first))
        third = self.level3(self.pool(second))
        return self.last(self.up1(self.up2(third, second), first))


class OwnSegmentation(Segmentation):
    """The package's segmentation, its data sets, options, recipes and scores, with another network."""

    name = "own_unet"
    description = "Train a U-Net of one's own to find what a mask marks."

    def model_name(self, options):
        return f"own_unet_{options.fusion}"

    def network(self, options, outputs=None, ctx=None):
        def make() -> mx.gluon.HybridBlock:
            return UNet(options.classes, options.fusion, options.r or 4)

        return own_network(make, options, self.input_shape(options), ctx)


register_task(OwnSegmentation())

if __name__ == "__main__":
    entry()
