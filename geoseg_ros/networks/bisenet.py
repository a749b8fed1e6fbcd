"""BiSeNet v1: a wide, shallow path for detail beside a deep one for context (Yu et al., ECCV 2018).

    image ┬─ spatial path, 1/8 ─────────────────────────────┐
          └─ encoder ─ attention at 1/32 and 1/16 ─ context ┴─ fusion ─ logits

Attention and fusion weigh channels by one normalised 1×1 convolution, as public implementations came to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from geoseg_ros.networks.blocks import ConvBlock
from geoseg_ros.networks.segmenter import Segmentation, SegmentationHead, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR, NEAREST, upsample_to

CONTEXT_WIDTH = 128
AUXILIARY_WIDTH = 64


@dataclass(frozen=True)
class BiSeNetConfig(SegmenterConfig):
    """``upsampling``: of the context path. The published network is that of the defaults, or with ``resnet50``."""

    upsampling: str = NEAREST

    upsamplings: ClassVar[tuple[str, ...]] = (NEAREST, BILINEAR)


class ChannelAttention(nn.Sequential):
    """Weights of channels, B×C×1×1 in 0…1: the image mean, 1×1 convolution, batch normalisation, sigmoid."""

    def __init__(self, channels: int):
        super().__init__(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean((2, 3), keepdim=True))


class AttentionRefinement(nn.Module):
    """f·a(f) for f, the input by 3×3 convolution, and its channel attention a."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.project = ConvBlock(c_in, c_out)
        self.attention = ChannelAttention(c_out)

    def forward(self, x: Tensor) -> Tensor:
        features = self.project(x)
        return features * self.attention(features)


class FeatureFusion(nn.Module):
    """f + f·a(f) for f, both inputs concatenated and mixed by 1×1 convolution, and its channel attention a."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.mix = ConvBlock(c_in, c_out, 1)
        self.attention = ChannelAttention(c_out)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        features = self.mix(torch.cat([spatial, context], 1))
        return features + features * self.attention(features)


class ContextPath(nn.Module):
    """From the encoder's maps at 1/8, 1/16 and 1/32 to B×128 channels at 1/8 and at 1/16."""

    def __init__(self, channels: Sequence[int], upsampling: str):
        super().__init__()
        self.upsampling = upsampling
        self.tail = ConvBlock(channels[4], CONTEXT_WIDTH, 1)
        self.refine32 = AttentionRefinement(channels[4], CONTEXT_WIDTH)
        self.refine16 = AttentionRefinement(channels[3], CONTEXT_WIDTH)
        self.smooth16 = ConvBlock(CONTEXT_WIDTH, CONTEXT_WIDTH)
        self.smooth8 = ConvBlock(CONTEXT_WIDTH, CONTEXT_WIDTH)

    def forward(self, eighth: Tensor, sixteenth: Tensor, coarsest: Tensor) -> tuple[Tensor, Tensor]:
        x = self.refine32(coarsest) + self.tail(coarsest.mean((2, 3), keepdim=True))
        context16 = self.smooth16(upsample_to(x, sixteenth, self.upsampling))
        x = self.refine16(sixteenth) + context16
        return self.smooth8(upsample_to(x, eighth, self.upsampling)), context16


class BiSeNet(Segmenter):
    """Auxiliary logits come from the context at 1/8 and at 1/16."""

    def __init__(self, config: BiSeNetConfig):
        super().__init__(config)
        self.spatial = nn.Sequential(
            ConvBlock(3, 64, 7, 2), ConvBlock(64, 64, 3, 2), ConvBlock(64, 64, 3, 2), ConvBlock(64, CONTEXT_WIDTH, 1)
        )
        self.context = ContextPath(self.encoder.channels, config.upsampling)
        width = 2 * CONTEXT_WIDTH
        self.fusion = FeatureFusion(width, width)
        self.head = SegmentationHead(width, width, config.classes)
        self.auxiliary_heads = nn.ModuleList(
            SegmentationHead(CONTEXT_WIDTH, AUXILIARY_WIDTH, config.classes) for _ in range(2)
        )

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        context = self.context(*features[2:])
        fused = self.fusion(self.spatial(self.encoder.normalize(image)), context[0])
        auxiliary = [head(x) for head, x in zip(self.auxiliary_heads, context)] if self.training else []
        return at_size_of(image, self.head(fused), auxiliary)
