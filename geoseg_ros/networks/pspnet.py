"""PSPNet: every pixel is told what stands in the whole image, in its halves, thirds and sixths (Zhao et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from geoseg_ros.networks.blocks import ConvBlock
from geoseg_ros.networks.segmenter import Segmentation, SegmentationHead, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR, upsample_to

BINS = (1, 2, 3, 6)
DROPOUT = 0.1


@dataclass(frozen=True)
class PSPNetConfig(SegmenterConfig):
    """``output_stride``: 8 dilates the encoder, as published; 16 and 32 are faster and coarser. ``upsampling`` is bilinear."""

    output_stride: int = 8

    upsamplings: ClassVar[tuple[str, ...]] = (BILINEAR,)


class PyramidPooling(nn.Module):
    """B×C×H×W to B×2C×H×W: the input, and for each number of bins its mean over that many rows and columns, C/4 channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), ConvBlock(channels, channels // len(BINS), 1)) for bins in BINS
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, *(upsample_to(branch(x), x) for branch in self.branches)], 1)


class PSPNet(Segmenter):
    """Auxiliary logits come from the encoder's last map but one."""

    def __init__(self, config: PSPNetConfig):
        super().__init__(config, config.output_stride)
        *_, shallow, deep = self.encoder.channels
        self.pyramid = PyramidPooling(deep)
        self.head = SegmentationHead(2 * deep, deep // 4, config.classes, DROPOUT)
        self.auxiliary_head = SegmentationHead(shallow, shallow // 4, config.classes, DROPOUT)

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        *_, shallow, deep = features
        auxiliary = [self.auxiliary_head(shallow)] if self.training else []
        return at_size_of(image, self.head(self.pyramid(deep)), auxiliary)
