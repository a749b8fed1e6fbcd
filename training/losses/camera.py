"""How far optical flow is from that of a still scene: what shows the focal length of a camera that nobody calibrated.

Turning moves the image's edges more than its middle, by how much is the focal length's; a wrong one leaves flow that no pose
explains (Gordon et al., ICCV 2019). Depth's error moves a point along its epipolar line only, which counts little, as in
``geoseg_ros.egomotion``.
"""

from __future__ import annotations

from torch import Tensor

from geoseg_ros.egomotion import DEPTH_STD
from geoseg_ros.projection import rigid_flow_and_parallax
from geoseg_ros.training.losses.masked import full_precision, masked_mean

CUT = 3.0
"""Standard deviations at which a point counts half: Geman and McClure's loss."""


def camera_loss(
    flow: Tensor, depth: Tensor, intrinsics: Tensor, pose: Tensor, weight: Tensor, flow_std: float = 1.0
) -> Tensor:
    """Mean over the points of d² / (d² + CUT²), d their Mahalanobis distance from where depth and pose put them; 0 … 1.

    flow B×2×H×W in pixels of its grid; depth B×1×H×W; intrinsics B×3×3 of that grid; pose B×4×4, the other camera from this one;
    weight B×1×H×W, 0 or more; flow_std: expected error of flow per axis, pixels.
    """
    still, along, valid = rigid_flow_and_parallax(depth, intrinsics, pose)
    residual = full_precision(flow) - still
    parallel = (along * residual).sum(1, keepdim=True)
    variance = flow_std**2 + DEPTH_STD**2 * along.square().sum(1, keepdim=True)
    squared = (residual.square().sum(1, keepdim=True) - DEPTH_STD**2 * parallel.square() / variance) / flow_std**2
    return masked_mean(squared / (squared + CUT**2), valid, weight)
