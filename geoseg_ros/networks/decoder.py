"""Top-down decoder: one per dense task, from the encoder's five maps to one map at half the input size."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import RepConv, separable


def upsample_to(x: Tensor, reference: Tensor) -> Tensor:
    """Bilinear resize of B×C×h×w to the height and width of ``reference``."""
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)


class GlobalContext(nn.Module):
    """Adds the projected image mean to every position: the coarsest bin of PSPNet (Zhao et al., CVPR 2017)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.project = RepConv(c_in, c_out, 1)
        self.pool = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x) + self.pool(x.mean((2, 3), keepdim=True))


class TopDownDecoder(nn.Module):
    """Lateral 1×1 connections summed top-down (FPN, Lin et al., CVPR 2017), refined by separable convolutions.

    Input: features at 1/2 … 1/32. Output: B×out_channels×H/2×W/2, raw (no activation).
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int], out_channels: int):
        super().__init__()
        self.context = GlobalContext(channels[4], widths[3])
        self.laterals = nn.ModuleList(RepConv(c, w, 1, activate=False) for c, w in zip(channels[:4], widths))
        self.refiners = nn.ModuleList([RepConv(widths[0], widths[0], 3)])
        self.refiners.extend(separable(w, narrower) for narrower, w in zip(widths, widths[1:]))
        self.sharpen = RepConv(widths[0], widths[0], 3)
        self.predict = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.context(features[4])
        for level in (3, 2, 1):
            x = upsample_to(x, features[level]) + self.laterals[level](features[level])
            x = self.refiners[level](F.relu(x))
        x = self.sharpen(x)
        x = upsample_to(x, features[0]) + self.laterals[0](features[0])
        return self.predict(self.refiners[0](F.relu(x)))
