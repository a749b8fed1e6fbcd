"""The semantic branch of ``perception`` by itself: its decoder and dense head, which answers at half of the image's size.

Positions are left out: they need the camera, and a segmenter reads an image alone. An auxiliary head at 1/4 helps to train it
from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from geoseg_ros.networks.decoder import DenseHead, TopDownDecoder
from geoseg_ros.networks.segmenter import Segmentation, SegmentationHead, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR


@dataclass(frozen=True)
class TopDownConfig(SegmenterConfig):
    """``encoder`` is the lite one by default; ``upsampling`` is bilinear."""

    encoder: str = "lite"

    upsamplings: ClassVar[tuple[str, ...]] = (BILINEAR,)


class TopDown(Segmenter):
    """Auxiliary logits come from what the decoder gives at 1/4."""

    def __init__(self, config: TopDownConfig):
        super().__init__(config)
        channels, width = self.encoder.channels, TopDownDecoder.widths[0]
        self.decoder = TopDownDecoder(channels, told_positions=False)
        self.semantic_head = DenseHead(channels, config.classes, told_positions=False)
        self.auxiliary_head = SegmentationHead(width, width, config.classes)

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        decoded = self.decoder(features)
        auxiliary = [self.auxiliary_head(decoded.coarse)] if self.training else []
        return at_size_of(image, self.semantic_head(decoded), auxiliary)
