"""Ego-motion from what determines it: optical flow, depth and the viewing rays, at 1/16 of the input.

Because the rays carry the intrinsics, one network serves cameras of different field of view.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import RepConv
from geoseg_ros.projection import pixel_grid, pose_from_vector

STRIDE = 16
ROTATION_SCALE = 0.01
TRANSLATION_SCALE = 0.1


class PoseHead(nn.Module):
    """Regresses axis-angle (rad) and translation (m) of ``previous_from_current``."""

    def __init__(self, hidden: int, width: int = 96):
        super().__init__()
        self.trunk = nn.Sequential(
            RepConv(hidden + 5, width, 3), RepConv(width, width, 3, stride=2), RepConv(width, width, 3)
        )
        self.attention = nn.Conv2d(width, 6, 1)
        self.predict = nn.Conv2d(width, 6, 1)

    def forward(self, hidden: Tensor, flow: Tensor, depth: Tensor, intrinsics: Tensor) -> Tensor:
        """Pose from motion and structure.

        Args:
            hidden: B×C×h×w, hidden features of the coarsest flow level.
            flow: B×2×h×w, flow_to_previous at 1/16, in full-size pixels.
            depth: B×1×H×W in metres.
            intrinsics: B×3×3 of the full-size image.

        Returns:
            B×4×4 ``previous_from_current``.
        """
        height, width = hidden.shape[-2:]
        inverse_depth = F.adaptive_avg_pool2d(1.0 / depth.float(), (height, width))
        focal = intrinsics[:, [0, 1], [0, 1]].view(-1, 2, 1, 1)
        centre = intrinsics[:, [0, 1], [2, 2]].view(-1, 2, 1, 1)
        pixels = (pixel_grid(height, width, hidden.device, torch.float32) + 0.5) * STRIDE - 0.5
        rays = (pixels - centre) / focal
        geometry = torch.cat([10 * flow / focal, rays, 10 * inverse_depth], 1).to(hidden.dtype)
        features = self.trunk(torch.cat([hidden, geometry], 1))
        weights = self.attention(features).float().flatten(2).softmax(2)
        vector = (weights * self.predict(features).float().flatten(2)).sum(2)
        scale = vector.new_tensor([ROTATION_SCALE] * 3 + [TRANSLATION_SCALE] * 3)
        return pose_from_vector(vector * scale)
