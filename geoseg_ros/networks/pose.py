"""Ego-motion from what determines it: optical flow and depth, by weighted Gauss-Newton inside the network.

A regressed pose is never exact enough for the flow of a still scene: 0.1° of rotation is already 0.6 px. Least squares over
hundreds of flow vectors is, and it is right for any camera. What is learned is the confidence of each vector. The depth's
error along the epipolar lines and outliers are weighed as in ``geoseg_ros.egomotion``, which refines the result at run time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout
from geoseg_ros.networks.flow import COARSE, MIDDLE, LevelEstimate
from geoseg_ros.projection import pixel_grid, pose_from_vector, rigid_flow

FLOW_STD = 1.0
"""Expected error of flow in full-size pixels."""
DEPTH_STD = 0.15
"""Expected relative error of depth."""
MIN_SCALE = 0.5
"""Standard deviations below which a residual's size says nothing about outliers."""
MIN_DEPTH_RATIO = 0.05
MIN_CONFIDENCE = 1e-3
PRIOR_STD = (3.0, 3.0, 3.0, 0.3, 0.3, 0.3)
"""Metres and rad of a step: holds what the picture does not show."""
FIRST_ITERATIONS, MIDDLE_ITERATIONS, LAST_ITERATIONS = 3, 1, 2


class PoseHead(nn.Module):
    """Pose ``previous_from_current`` B×4×4, from the coarse flow, then again from the better ones at 1/8 and 1/4."""

    def __init__(self, coarse_hidden: int, middle_hidden: int, fine_hidden: int):
        super().__init__()
        self.coarse_confidence = Readout(coarse_hidden, 1, 1)
        self.middle_confidence = Readout(middle_hidden, 1, 1)
        self.fine_confidence = Readout(fine_hidden, 1, 1)

    def coarse(self, flow: LevelEstimate, depth: Tensor, intrinsics: Tensor) -> Tensor:
        """From the estimate at 1/16, depth B×1×H/2×W/2 (m) and the full-size image's intrinsics B×3×3."""
        still = torch.eye(4, device=depth.device).expand(len(depth), 4, 4)
        confidence = self.coarse_confidence(flow.hidden)
        return solve_pose(flow.flow, confidence, depth, intrinsics, still, COARSE, FIRST_ITERATIONS)

    def middle(self, flow: LevelEstimate, depth: Tensor, intrinsics: Tensor, pose: Tensor) -> Tensor:
        """``pose`` improved by the estimate at 1/8."""
        confidence = self.middle_confidence(flow.hidden)
        return solve_pose(flow.flow, confidence, depth, intrinsics, pose.detach(), MIDDLE, MIDDLE_ITERATIONS)

    def fine(self, flow: LevelEstimate, depth: Tensor, intrinsics: Tensor, pose: Tensor) -> Tensor:
        """``pose`` improved by the estimate at 1/4, whose means over 2×2 cells say as much at a quarter of the cost."""
        confidence = F.avg_pool2d(self.fine_confidence(flow.hidden), 2)
        means = F.avg_pool2d(flow.flow, 2)
        return solve_pose(means, confidence, depth, intrinsics, pose.detach(), MIDDLE, LAST_ITERATIONS)


def solve_pose(
    flow: Tensor, confidence: Tensor, depth: Tensor, intrinsics: Tensor, pose: Tensor, stride: int, iterations: int
) -> Tensor:
    """The pose B×4×4 near ``pose`` that explains ``flow`` B×2×h×w (full-size pixels, on the grid of that stride) best.

    ``confidence`` B×1×h×w is raw (a sigmoid follows), depth is B×1×H/2×W/2. Differentiable in flow, confidence and depth.
    """
    with torch.autocast(flow.device.type, enabled=False):
        flow, weight = flow.flatten(2), confidence.sigmoid().flatten(1) + MIN_CONFIDENCE
        matrix = grid_intrinsics(intrinsics, stride)
        focal, centre = matrix[:, [0, 1], [0, 1]] * stride, matrix[:, [0, 1], [2, 2]]
        inverse_depth = 1.0 / pool_depth(depth, stride).flatten(1)
        pixels = pixel_grid(*confidence.shape[-2:], flow.device, torch.float32).flatten(2)
        rays = (pixels - centre[..., None]) * stride / focal[..., None]
        prior = torch.tensor(PRIOR_STD, device=flow.device).pow(-2).diag()
        for _ in range(iterations):
            normal, gradient = _normal_equations(flow, weight, inverse_depth, rays, focal, pose)
            step = -torch.linalg.solve(normal + prior, gradient)
            pose = pose_from_vector(step[:, [3, 4, 5, 0, 1, 2]]) @ pose
    return pose


def _normal_equations(
    flow: Tensor, weight: Tensor, inverse_depth: Tensor, rays: Tensor, focal: Tensor, pose: Tensor
) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr, B×6×6 and B×6, for a small translation and rotation after ``pose``. Points are B×N."""
    turned = pose[:, :3, :2] @ rays + pose[:, :3, 2:3]
    moved = turned + pose[:, :3, 3:] * inverse_depth[:, None]
    ratio = moved[:, 2].clamp(min=MIN_DEPTH_RATIO)
    a, b = moved[:, 0] / ratio, moved[:, 1] / ratio
    fx, fy = focal[:, :1], focal[:, 1:]
    residual = torch.stack([fx * (a - rays[:, 0]), fy * (b - rays[:, 1])], 1) - flow
    near, zero = inverse_depth / ratio, torch.zeros_like(a)
    of_x = torch.stack([near, zero, -near * a, -a * b, 1 + a * a, -b], 1) * fx[:, None]
    of_y = torch.stack([zero, near, -near * b, -1 - b * b, a * b, a], 1) * fy[:, None]
    jacobian = torch.stack([of_x, of_y], 1)
    along = (jacobian[:, :, :3] * pose[:, None, :3, 3:]).sum(2)
    discount = DEPTH_STD**2 / (FLOW_STD**2 + DEPTH_STD**2 * along.square().sum(1))
    weight = weight * _inliers(residual, along, discount, weight) / FLOW_STD**2
    projected = (jacobian * along[:, :, None]).sum(1)
    lost = weight * discount
    normal = torch.einsum("bkin,bn,bkjn->bij", jacobian, weight, jacobian)
    normal = normal - torch.einsum("bin,bn,bjn->bij", projected, lost, projected)
    gradient = torch.einsum("bkin,bn,bkn->bi", jacobian, weight, residual)
    gradient = gradient - torch.einsum("bin,bn->bi", projected, lost * (along * residual).sum(1))
    return normal, gradient


@torch.no_grad()
def _inliers(residual: Tensor, along: Tensor, discount: Tensor, weight: Tensor) -> Tensor:
    """Cauchy's weights B×N of the Mahalanobis distances, whose scale is their geometric mean."""
    squared = residual.square().sum(1) - discount * (along * residual).sum(1).square()
    squared = squared.clamp(min=MIN_SCALE**2) / FLOW_STD**2
    scale = ((weight * squared.log()).sum(1, keepdim=True) / weight.sum(1, keepdim=True)).exp()
    return 1.0 / (1.0 + squared / scale)


def grid_intrinsics(intrinsics: Tensor, stride: int) -> Tensor:
    """B×3×3 of the grid whose cells are stride×stride pixels."""
    scaled = intrinsics.clone()
    scaled[:, :2] /= stride
    scaled[:, :2, 2] += 0.5 / stride - 0.5
    return scaled


def pool_depth(depth: Tensor, stride: int) -> Tensor:
    """Depth B×1×H/2×W/2 on the grid of that stride: the mean of the inverse depth."""
    return 1.0 / F.avg_pool2d(1.0 / depth, stride // 2)


def still_scene_flow(depth: Tensor, intrinsics: Tensor, pose: Tensor, stride: int) -> Tensor:
    """Rigid flow on the grid of that stride, B×2×h×w in full-size pixels, of depth B×1×H/2×W/2."""
    flow, _ = rigid_flow(pool_depth(depth, stride), grid_intrinsics(intrinsics, stride), pose)
    return stride * flow
