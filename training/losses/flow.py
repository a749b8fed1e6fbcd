"""Optical flow: supervised on several levels, and unsupervised.

Flow is B×2×H×W (x, y) in pixels of the full-size image; ``flow_to_previous`` lives on the current grid.
Sources: Sun et al. 2018, PWC-Net (robust loss); Meister et al. 2018, UnFlow (census, forward-backward check);
Wang et al. 2018 (range map); Xu et al. 2022, GMFlow
(matching as classification); Liu et al. 2020, ARFlow (second-order smoothness, augmentation as
regularisation).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.projection import pixel_grid, warp
from geoseg_ros.training.losses.masked import full_precision, known_or, masked_mean
from geoseg_ros.training.losses.photometric import census_error
from geoseg_ros.training.losses.smoothness import second_order_smoothness
from geoseg_ros.training.losses.ssim import ssim

MIN_VISIBLE = 0.5
ESCAPE_MARGIN = 0.25


def robust_flow_loss(
    flow: Tensor, target: Tensor, valid: Tensor | None = None, exponent: float = 1.0, offset: float = 0.01
) -> Tensor:
    """Mean over known pixels of (|Δx| + |Δy| + ε)^q − ε^q, zero on the perfect flow.

    target: B×2×H×W, NaN or inf unknown; valid: bool B×1×H×W or None. q = ``exponent``: 1 is L1 (ε then plays
    no part), 0.4 is the robust fine-tuning loss of PWC-Net. ε = ``offset`` in pixels.
    """
    target, known = known_or(target, 0.0, valid)
    known = known.all(1, keepdim=True)
    distance = torch.where(known, (full_precision(flow) - target).abs().sum(1, keepdim=True), 0.0)
    return masked_mean((distance + offset) ** exponent - offset**exponent, known)


def multilevel_flow_loss(
    flows: Sequence[Tensor],
    target: Tensor,
    weights: Sequence[float],
    valid: Tensor | None = None,
    exponent: float = 1.0,
    offset: float = 0.01,
) -> Tensor:
    """Σ weight_i · robust loss of level i, each level brought to the target's size first.

    flows: B×2×h×w each, of any size, their vectors in pixels of the target's size (as ``FlowHead`` gives
    them): they are upsampled, not lengthened. Comparing at full size keeps unknown pixels exact, where
    shrinking the target would smear them.
    """
    height, width = target.shape[-2:]
    losses = [
        weight * robust_flow_loss(_upsample(flow, height, width), target, valid, exponent, offset)
        for flow, weight in zip(flows, weights, strict=True)
    ]
    return torch.stack(losses).sum()


def matching_loss(scores: Tensor, start: Tensor, target: Tensor, stride: int) -> Tensor:
    """Cross-entropy of a level's matching probabilities with where the target flow points, bilinear among four cells.

    scores: B×(2·r+1)²×h×w raw, channel (dy+r)·(2·r+1)+(dx+r) for the offset (dx, dy) in cells around ``start`` B×2×h×w
    (full-size pixels). target: B×2×H×W with H = stride·h, NaN or inf unknown. Only cells count whose target lies in the
    window and in the image.
    """
    side = math.isqrt(scores.shape[1])
    height, width = start.shape[-2:]
    target, known = known_or(target[..., stride // 2 :: stride, stride // 2 :: stride], 0.0)
    grid = pixel_grid(height, width, start.device, torch.float32)
    place = grid + target / stride
    limit = place.new_tensor([width - 1, height - 1]).view(1, 2, 1, 1)
    offset = (target - start) / stride + (side - 1) / 2
    known = known.all(1) & ((place >= 0) & (place <= limit) & (offset >= 0) & (offset <= side - 1)).all(1)
    corner = offset.clamp(0, side - 1 - 1e-3).floor()
    share = torch.where(known[:, None], offset - corner, 0.0)
    first = (corner[:, 1] * side + corner[:, 0]).long()[:, None]
    log_probability = full_precision(scores).log_softmax(1)
    likelihood = torch.zeros_like(share[:, 0])
    for dy, part_y in enumerate((1 - share[:, 1], share[:, 1])):
        for dx, part_x in enumerate((1 - share[:, 0], share[:, 0])):
            likelihood = likelihood + part_y * part_x * log_probability.gather(1, first + dy * side + dx)[:, 0]
    return masked_mean(-likelihood, known)


def _upsample(flow: Tensor, height: int, width: int) -> Tensor:
    """Bilinear resize of the field; the vectors keep their length."""
    if flow.shape[-2:] == (height, width):
        return flow
    return F.interpolate(full_precision(flow), (height, width), mode="bilinear", align_corners=False)


@torch.no_grad()
def forward_backward_visibility(
    flow: Tensor, reverse: Tensor, relative: float = 0.01, absolute: float = 0.5
) -> Tensor:
    """True (B×1×H×W) where ``flow`` and the ``reverse`` flow at its end cancel: seen in both images.

    |f + r|² < relative · (|f|² + |r|²) + absolute (px²). Pixels that leave the image are not visible.
    """
    flow = full_precision(flow)
    returned, inside = warp(full_precision(reverse), flow)
    mismatch = (flow + returned).square().sum(1, keepdim=True)
    magnitude = flow.square().sum(1, keepdim=True) + returned.square().sum(1, keepdim=True)
    return inside & (mismatch < relative * magnitude + absolute)


@torch.no_grad()
def range_map_visibility(reverse: Tensor, threshold: float = 0.5) -> Tensor:
    """True (B×1×H×W) where the other image's ``reverse`` flow lands with bilinear weight > threshold.

    Needs only the flow from the other image to this one; a pixel that nothing maps to is hidden there.
    """
    reverse = full_precision(reverse)
    batch, _, height, width = reverse.shape
    ends = pixel_grid(height, width, reverse.device, reverse.dtype) + reverse
    corner = ends.floor()
    fraction = ends - corner
    landed = reverse.new_zeros(batch, height * width)
    for step_y in (0, 1):
        for step_x in (0, 1):
            x, y = corner[:, 0] + step_x, corner[:, 1] + step_y
            share_x = fraction[:, 0] if step_x else 1 - fraction[:, 0]
            share_y = fraction[:, 1] if step_y else 1 - fraction[:, 1]
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            index = torch.where(inside, y * width + x, 0.0).long()
            landed.scatter_add_(1, index.flatten(1), torch.where(inside, share_x * share_y, 0.0).flatten(1))
    return landed.view(batch, 1, height, width) > threshold


def unsupervised_flow_loss(
    current: Tensor,
    previous: Tensor,
    flow_to_previous: Tensor,
    visible: Tensor | None = None,
    census_weight: float = 1.0,
    ssim_weight: float = 0.0,
    smoothness_weight: float = 75.0,
    escape_weight: float = 0.05,
) -> Tensor:
    """Census and SSIM error over visible pixels + second-order smoothness of flow/min(H, W), weighted.

    current, previous: B×3×H×W in [0, 1], not jittered. visible: bool B×1×H×W of one of the visibility checks;
    pixels that leave the image never count. 75 is ARFlow's smoothness weight.

    Masks alone would let the flow escape: a field that leaves the image, or that contradicts its reverse
    everywhere, has nothing left to pay for. So an image whose ``visible`` holds less than half of its pixels
    is judged without that mask (its flow is not good enough for the check to mean anything), and pixels that
    end farther outside than a quarter of the shorter side pay ``escape_weight`` per pixel of distance.
    """
    current, flow = full_precision(current), full_precision(flow_to_previous)
    warped, inside = warp(full_precision(previous), flow)
    mask = inside if visible is None else inside & (visible | ~_mostly(visible))
    error = census_weight * census_error(warped, current)
    if ssim_weight > 0:
        error = error + ssim_weight * ((1 - ssim(warped, current)) / 2).clamp(0, 1).mean(1, keepdim=True)
    shorter = min(flow.shape[-2:])
    loss = masked_mean(error, mask) + escape_weight * _escape(flow, ESCAPE_MARGIN * shorter)
    if smoothness_weight > 0:
        loss = loss + smoothness_weight * second_order_smoothness(flow / shorter, current)
    return loss


def _mostly(mask: Tensor) -> Tensor:
    """True (B×1×1×1) for the images of which at least MIN_VISIBLE is set."""
    return mask.float().mean((1, 2, 3), keepdim=True) >= MIN_VISIBLE


def _escape(flow: Tensor, margin: float) -> Tensor:
    """Mean over pixels of how far beyond ``margin`` px outside the image the flow ends, |x| + |y| in px."""
    height, width = flow.shape[-2:]
    ends = pixel_grid(height, width, flow.device, flow.dtype) + flow
    last = flow.new_tensor([width - 1, height - 1]).view(1, 2, 1, 1)
    outside = F.relu(-ends - margin) + F.relu(ends - last - margin)
    return outside.sum(1).mean()


def augmentation_distillation_loss(
    student: Tensor,
    teacher: Tensor,
    visible: Tensor | None = None,
    exponent: float = 0.4,
    offset: float = 0.01,
) -> Tensor:
    """Robust distance of the flow of an augmented pair to the equally transformed flow of the clean pair.

    No gradient flows into ``teacher``. visible: bool B×1×H×W of the clean pass, transformed alike. ARFlow:
    weight 0.02.
    """
    return robust_flow_loss(student, teacher.detach(), visible, exponent, offset)
