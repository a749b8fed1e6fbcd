"""What moves by itself: flow compared with the flow of a still scene, with semantics as prior, at 1/4 of the input.

A fixed threshold on the difference (OmegaNet, Tosi et al., CVPR 2020) needs depth, pose and flow that are nearly exact. This
head learns from exact synthetic motion how far to trust each of them, and that cars and people move rather than houses.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import RepConv

STRIDE = 4
NOISE = 1.0
RELATIVE_NOISE = 0.2
"""Pixels, and share of the still scene's flow, that the difference is measured in."""


class MotionHead(nn.Module):
    """Logit of own motion from (all detached, at 1/4) flow, still-scene flow, class probabilities, inverse depth and the
    flow's hidden features."""

    def __init__(self, classes: int, hidden: int, widths: Sequence[int] = (48, 32)):
        super().__init__()
        c_in = 6 + classes + hidden
        layers = []
        for width in widths:
            layers.append(RepConv(c_in, width, 3))
            c_in = width
        self.trunk = nn.Sequential(*layers)
        self.predict = nn.Conv2d(c_in, 1, 3, padding=1)

    def forward(self, flow: Tensor, still: Tensor, hidden: Tensor, logits: Tensor, depth: Tensor) -> Tensor:
        """Motion logits B×1×H×W.

        Args:
            flow: B×2×H/4×W/4, estimated flow in full-size pixels.
            still: likewise, the flow that depth and pose predict for a still scene.
            hidden: B×C×H/4×W/4, hidden features of the finest flow level.
            logits: B×classes×H/2×W/2, semantics.
            depth: B×1×H×W in metres.
        """
        size = flow.shape[-2:]
        difference = flow - still
        noise = NOISE + RELATIVE_NOISE * still.norm(dim=1, keepdim=True)
        distance = difference.norm(dim=1, keepdim=True) / noise
        inverse_depth = F.adaptive_avg_pool2d(1.0 / depth.float(), size)
        classes = F.adaptive_avg_pool2d(logits.float().softmax(1), size)
        geometry = torch.cat([difference / noise, still / 16, distance.log1p(), 10 * inverse_depth, classes], 1)
        features = self.trunk(torch.cat([geometry.to(hidden.dtype), hidden], 1))
        return F.interpolate(
            self.predict(features).float(), scale_factor=float(STRIDE), mode="bilinear", align_corners=False
        )
