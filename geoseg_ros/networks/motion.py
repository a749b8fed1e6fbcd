"""What moves by itself: flow compared with the flow of a still scene, with semantics as prior.

A fixed threshold on the difference (OmegaNet, Tosi et al., CVPR 2020) needs depth, pose and flow that are nearly exact. This
head learns from exact synthetic motion how far to trust each of them, and that cars and people move rather than houses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, RepConv
from geoseg_ros.networks.upsampling import upsample_to

NOISE = 1.0
RELATIVE_NOISE = 0.2
"""Pixels, and share of the still scene's flow, that the difference is measured in."""


class MotionHead(nn.Module):
    """Logit of own motion from (all detached) flow, still-scene flow, semantics, depth and the flow's hidden features:
    decided at 1/4, drawn along the outlines of what can move at 1/2."""

    outline_width = 8
    scene_width = 4

    def __init__(self, classes: int, hidden: int, widths: Sequence[int] = (32, 32)):
        super().__init__()
        self.scene = nn.Conv2d(classes + 1, self.scene_width, 1)
        c_in = 5 + self.scene_width + hidden
        layers = []
        for width in widths:
            layers.append(RepConv(c_in, width, 3))
            c_in = width
        self.trunk = nn.Sequential(*layers)
        self.narrow = RepConv(c_in, self.outline_width, 1)
        self.outline = RepConv(self.outline_width + self.scene_width, self.outline_width, 3)
        self.predict = Readout(self.outline_width, 1, 3, padding=1)

    def forward(self, flow: Tensor, still: Tensor, hidden: Tensor, logits: Tensor, depth: Tensor) -> Tensor:
        """Motion logits B×1×H×W.

        Args:
            flow: B×2×H/4×W/4, estimated flow in full-size pixels.
            still: likewise, the flow that depth and pose predict for a still scene.
            hidden: B×C×H/4×W/4, hidden features of the finest flow level.
            logits: B×classes×H/2×W/2, semantics.
            depth: B×1×H/2×W/2 in metres.
        """
        difference = flow - still
        noise = NOISE + RELATIVE_NOISE * torch.hypot(still[:, :1], still[:, 1:])
        distance = torch.hypot(difference[:, :1], difference[:, 1:]) / noise
        contrast = torch.cat([difference / noise, still / 16, distance.log1p()], 1)
        contrast = contrast.to(hidden.dtype, memory_format=torch.channels_last)
        scene = self.scene(torch.cat([logits, depth.log()], 1)).sigmoid()
        features = self.narrow(self.trunk(torch.cat([contrast, F.avg_pool2d(scene, 2), hidden], 1)))
        drawn = self.outline(torch.cat([upsample_to(features, scene), scene], 1))
        return F.interpolate(self.predict(drawn), scale_factor=2.0, mode="bilinear", align_corners=False)
