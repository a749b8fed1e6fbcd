"""FPN for segmentation: coarse features flow down a pyramid (Lin et al., CVPR 2017) whose levels are merged at 1/4 of the image
(the semantic branch of Panoptic FPN, Kirillov et al., CVPR 2019; batch instead of group normalisation, which folds away)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from geoseg_ros.networks.blocks import ConvBlock
from geoseg_ros.networks.segmenter import Segmentation, Segmenter, SegmenterConfig, at_size_of
from geoseg_ros.networks.upsampling import BILINEAR, NEAREST, upsample_to


@dataclass(frozen=True)
class FPNConfig(SegmenterConfig):
    """``upsampling``: on the way down the pyramid, nearest as published."""

    upsampling: str = NEAREST

    upsamplings: ClassVar[tuple[str, ...]] = (NEAREST, BILINEAR)


class FPN(Segmenter):
    """Pyramid of 256 channels at 1/4 … 1/32; each level reaches 1/4 by 3×3 convolutions to 128 channels, doubled bilinearly."""

    pyramid_width = 256
    merged_width = 128

    def __init__(self, config: FPNConfig):
        super().__init__(config)
        pyramid, merged = self.pyramid_width, self.merged_width
        levels = self.encoder.channels[1:]
        self.laterals = nn.ModuleList(nn.Conv2d(channels, pyramid, 1) for channels in levels)
        self.smooth = nn.ModuleList(nn.Conv2d(pyramid, pyramid, 3, padding=1) for _ in levels)
        self.merge = nn.ModuleList(
            nn.ModuleList(ConvBlock(merged if step else pyramid, merged) for step in range(max(1, level)))
            for level in range(len(levels))
        )
        self.head = nn.Conv2d(merged, config.classes, 1)

    def decode(self, features: Sequence[Tensor], image: Tensor) -> Segmentation:
        features = features[1:]
        pyramid = [lateral(x) for lateral, x in zip(self.laterals, features)]
        for finer, coarser in ((2, 3), (1, 2), (0, 1)):
            pyramid[finer] = pyramid[finer] + upsample_to(pyramid[coarser], pyramid[finer], self.config.upsampling)
        total = self.merge[0][0](self.smooth[0](pyramid[0]))
        for level in range(1, len(pyramid)):
            x = self.smooth[level](pyramid[level])
            for step, convolve in enumerate(self.merge[level], 1):
                x = upsample_to(convolve(x), features[level - step])
            total = total + x
        return at_size_of(image, self.head(total))
