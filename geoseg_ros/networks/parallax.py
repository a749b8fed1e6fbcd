"""Depth from one picture corrected by what the camera's motion shows: parallax.

A point of inverse depth r moves by f(r) between the frames. The single picture knows ln r with a standard deviation
DEPTH_STD, the measured flow knows f with FLOW_STD (pixels at half size, where this is done), and f changes by g for each
unit of ln r; so the most likely correction of ln r is the filter gain (Kalman 1960; Matthies, Kanade and Szeliski, IJCV
1989)

    g·(flow − f) / (g·g + FLOW_STD² / DEPTH_STD²).

Near things, where g is many pixels, follow the flow; far ones, and all when the camera stands, keep the picture's depth.
What moves by itself keeps it too, and the less a flow vector lies on the epipolar line the less it says.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.projection import rigid_flow_and_parallax

FLOW_STD = 0.5
DEPTH_STD = 0.2
MAX_CORRECTION = 0.7
"""Of ln r: a factor of two."""


def correct_depth(depth: Tensor, flow: Tensor, intrinsics: Tensor, pose: Tensor, moving: Tensor) -> Tensor:
    """Depth B×1×H×W in metres with the parallax of the flow taken into account.

    Args:
        depth: B×1×H×W in metres.
        flow: B×2×H×W, flow_to_previous in pixels of this size.
        intrinsics: B×3×3 of this size.
        pose: B×4×4, previous_from_current.
        moving: B×1×H×W, probability of own motion.
    """
    still, gradient, valid = rigid_flow_and_parallax(depth, intrinsics, pose)
    residual = flow - still
    along = (gradient * residual).sum(1, keepdim=True)
    squared = gradient.square().sum(1, keepdim=True)
    across = residual.square().sum(1, keepdim=True) - along.square() / squared.clamp(min=1e-6)
    trust = (1 - moving) * valid / (1 + across.clamp(min=0) / FLOW_STD**2)
    correction = trust * along / (squared + (FLOW_STD / DEPTH_STD) ** 2)
    return depth * torch.exp(-correction.clamp(-MAX_CORRECTION, MAX_CORRECTION))
