"""AFF-FPN, the paper's long-skip host ("ResNet-20-b + FPN"; StopSign in Table 2): segmentation in logits.

A ResNet of three stages, whose maps are fused from the top down, each with the one below it. No weights were published.
"""

from __future__ import annotations

from typing import Any

from ..nn import LongSkip
from .encoder_decoder import EncoderDecoder


class FPN(EncoderDecoder):
    """Feature pyramid network: (N, 3, H, W) -> logits (N, classes, H, W).

    Parameters
    ----------
    decoder : "reduce", the authors' (Y goes down to X's width; the decoder is 32, then 16 wide, the head 4) or
        "expand", the paper's Fig. 3c (X goes up to Y's width: 64, 64 and 16), see ``LongSkip``.

    The other options, and what it raises, are `EncoderDecoder`'s.
    """

    variants = {"stem": ("std", "tiny"), "decoder": ("reduce", "expand"), "fusion": ("add", "concat")}
    cam_layer = "fuse12"  # the last fusion, of full resolution

    def __init__(self, *, decoder: str = "reduce", **kwargs: Any):
        """The parameters are described with the class."""
        self._decoder = decoder
        super().__init__(**kwargs)

    def _add_decoder(self, widths, layers, skips, norms):
        self.fuse23 = LongSkip(widths[2], widths[1], decoder=self._decoder, **skips)
        self.fuse12 = LongSkip(self.fuse23.out_channels, widths[0], decoder=self._decoder, **skips)
        return self.fuse12.out_channels

    def _decode(self, first, second, third):
        return self.fuse12(self.fuse23(third, second), first)
