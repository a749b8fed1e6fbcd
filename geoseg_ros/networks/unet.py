"""U-Net: what was seen at every size is concatenated on the way back up (Ronneberger et al., MICCAI 2015).

The contracting half is an encoder, as in most uses since; unlike the original's, all convolutions are padded and normalised, and
the widths of the expanding half do not depend on the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from geoseg_ros.networks.blocks import ConvBlock
from geoseg_ros.networks.segmenter import Segmentation, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR, UNPOOLING, create_upsampling


class ExpandingBlock(nn.Module):
    """Upsample to the skip's size, concatenate the skip, two 3×3 convolutions."""

    def __init__(self, c_in: int, c_skip: int, c_out: int, upsampling: str):
        super().__init__()
        self.upsample = create_upsampling(upsampling, c_in, c_skip)
        self.merge = nn.Sequential(ConvBlock(self.upsample.channels + c_skip, c_out), ConvBlock(c_out, c_out))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.merge(torch.cat([self.upsample(x, skip), skip], 1))


class UNet(Segmenter):
    """The expanding half's last block reaches the image's size, where there is no skip, and hence nothing to unpool by: with
    ``unpooling`` that block is bilinear."""

    widths = (256, 128, 64, 32, 16)

    def __init__(self, config: SegmenterConfig):
        super().__init__(config)
        skips = self.encoder.channels[-2::-1]
        inputs = (self.encoder.channels[-1], *self.widths)
        self.blocks = nn.ModuleList(
            ExpandingBlock(c_in, c_skip, c_out, config.upsampling)
            for c_in, c_skip, c_out in zip(inputs, skips, self.widths)
        )
        c_in, c_out = self.widths[-2:]
        last = BILINEAR if config.upsampling == UNPOOLING else config.upsampling
        self.upsample = create_upsampling(last, c_in, c_in)
        self.finest = nn.Sequential(ConvBlock(c_in, c_out), ConvBlock(c_out, c_out))
        self.head = nn.Conv2d(c_out, config.classes, 3, padding=1)

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        *skips, x = features
        for block, skip in zip(self.blocks, reversed(skips)):
            x = block(x, skip)
        return at_size_of(image, self.head(self.finest(self.upsample(x, image))))
