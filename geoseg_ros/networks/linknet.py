"""LinkNet: what was seen at every size is added on the way back up (Chaurasia and Culurciello, VCIP 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import ConvBlock
from geoseg_ros.networks.segmenter import Segmentation, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR, NEAREST, TRANSPOSED, ResizeConvolution, TransposedConvolution


@dataclass(frozen=True)
class LinkNetConfig(SegmenterConfig):
    """``upsampling``: transposed convolutions are published; the others interpolate before an ordinary one.

    Max-unpooling has no place here: blocks enlarge at a quarter of the channels, of which no finer map has as many.
    """

    upsampling: str = TRANSPOSED

    upsamplings: ClassVar[tuple[str, ...]] = (NEAREST, BILINEAR, TRANSPOSED)


class Enlargement(nn.Module):
    """To the size of a finer map by a learned 3×3 convolution, batch normalisation, ReLU."""

    def __init__(self, c_in: int, c_out: int, upsampling: str):
        super().__init__()
        if upsampling == TRANSPOSED:
            self.conv = TransposedConvolution(c_in, c_out, bias=False)
        else:
            self.conv = ResizeConvolution(upsampling, c_in, c_out, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x, finer)))


class LinkBlock(nn.Module):
    """1×1 to a quarter of the channels, enlarged to the size of the link, 1×1 to its channels, and added to it."""

    def __init__(self, c_in: int, c_link: int, upsampling: str):
        super().__init__()
        self.narrow = ConvBlock(c_in, c_in // 4, 1)
        self.enlarge = Enlargement(c_in // 4, c_in // 4, upsampling)
        self.widen = ConvBlock(c_in // 4, c_link, 1)

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        return self.widen(self.enlarge(self.narrow(x), link)) + link


class LinkNet(Segmenter):
    """As published, where the encoder is ResNet-18; the map at 1/2 gives its size alone, it is not linked."""

    width = 64

    def __init__(self, config: LinkNetConfig):
        super().__init__(config)
        channels = self.encoder.channels
        self.blocks = nn.ModuleList(
            LinkBlock(channels[level], channels[level - 1], config.upsampling) for level in (4, 3, 2)
        )
        narrow = channels[1] // 4
        self.unlinked = nn.Sequential(
            ConvBlock(channels[1], narrow, 1), ConvBlock(narrow, narrow), ConvBlock(narrow, self.width, 1)
        )
        half = self.width // 2
        self.enlarge = Enlargement(self.width, half, config.upsampling)
        self.refine = ConvBlock(half, half)
        if config.upsampling == TRANSPOSED:
            self.head = nn.ConvTranspose2d(half, config.classes, 2, 2)
        else:
            self.head = nn.Conv2d(half, config.classes, 1)

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        half, *links, x = features
        for block, link in zip(self.blocks, reversed(links)):
            x = block(x, link)
        logits = self.head(self.refine(self.enlarge(self.unlinked(x), half)))
        if self.config.upsampling == TRANSPOSED:
            return Segmentation(logits[..., : image.shape[-2], : image.shape[-1]].float(), ())
        return at_size_of(image, logits)
