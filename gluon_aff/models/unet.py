"""U-Net of "Asymmetric Contextual Modulation" (Dai et al., WACV 2021), with any fusion in its two long skips.

The encoder is the FPN's; each of its maps is fused with the deeper one, brought to its size and width by a transposed
convolution, and goes through as many blocks as the encoder's stages have. One published file has these names.
"""

from __future__ import annotations

from mxnet.gluon import nn

from ..nn import LongSkip
from .encoder_decoder import EncoderDecoder


class UNet(EncoderDecoder):
    """(N, 3, H, W) -> logits (N, classes, H, W), made for 480x480; for options and errors see `EncoderDecoder`.

    In the fusions' terms Y, the learned branch, is the deeper map behind its transposed convolution, X the encoder's.
    """

    cam_layer = "uplayer1"  # the last maps, of full resolution

    def _add_decoder(self, widths, layers, skips, norms):
        for number in (2, 1):
            high, low = widths[number], widths[number - 1]
            deconv = nn.Conv2DTranspose(low, 4, 2, padding=1, in_channels=high, prefix=f"deconv{number}_")
            setattr(self, f"deconv{number}", deconv)
            self._add_stage(f"uplayer{number}", layers[number - 1], low, low, 1, norms)
            setattr(self, f"fuse{number}", LongSkip(low, low, decoder=None, **skips))
        return widths[0]

    def _decode(self, first, second, third):
        second = self.uplayer2(self.fuse2(self.deconv2(third), second))
        return self.uplayer1(self.fuse1(self.deconv1(second), first))
