"""Depth losses, most of them supervised, on log depth.

``prediction`` is B×1×H×W inverse depth (1/m, ``inverse=True``, what the networks give) or depth (m).
``target`` is B×1×H×W depth in metres, z not ray length: +inf is sky, NaN or <= 0 is unknown. ``far`` says
what sky means: None leaves it out of the loss; a distance in metres makes it that far, and nothing finite
counts as farther. Sources: Eigen et al. 2014 (scale-invariant loss); Li and Snavely 2018, MegaDepth (gradient
matching).
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, masked_mean
from geoseg_ros.training.losses.smoothness import differences, mean_normalise

SMALLEST_PREDICTION = 1e-6
LARGEST_LOG = 4.0
"""Log difference beyond which a depth costs no more, so that no pixel's gradient explodes."""

SKY_SHARE = 0.1
"""Of the mean inverse depth: a tenth of a street's 0.1/m is 100 m."""

WALL_SHARE = 0.4
"""Of the mean inverse depth: sky in a room is a bright wall."""


def log_depth_difference(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    far: float | None = None,
    inverse: bool = True,
) -> tuple[Tensor, Tensor]:
    """(log predicted depth − log target depth, zero where unknown; known mask): both B×1×H×W."""
    target = full_precision(target)
    known = ~torch.isnan(target) & (target > 0)
    if valid is not None:
        known = known & valid.bool()
    if far is None:
        known = known & torch.isfinite(target)
    else:
        target = target.clamp(max=far)
    log_target = torch.where(known, target, 1.0).log()
    log_prediction = full_precision(prediction).clamp(min=SMALLEST_PREDICTION).log()
    if inverse:
        log_prediction = -log_prediction
    return torch.where(known, log_prediction - log_target, 0.0), known


def scale_invariant_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    far: float | None = None,
    inverse: bool = True,
    variance_focus: float = 0.5,
) -> Tensor:
    """Mean over images of mean(δ²) − λ·mean(δ)², δ = log difference, λ = ``variance_focus``.

    λ = 0 is the squared log error, λ = 1 is blind to the image's scale, 0.5 is Eigen's choice. An image
    without a known pixel counts as zero.
    """
    difference, known = log_depth_difference(prediction, target, valid, far, inverse)
    count = known.sum((1, 2, 3)).clamp(min=1)
    mean = difference.sum((1, 2, 3)) / count
    return (difference.square().sum((1, 2, 3)) / count - variance_focus * mean.square()).mean()


def log_depth_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    far: float | None = None,
    inverse: bool = True,
    weight: Tensor | None = None,
) -> Tensor:
    """mean |δ| over known pixels, δ = log difference: metric scale counts. weight: B×1×H×W >= 0."""
    difference, known = log_depth_difference(prediction, target, valid, far, inverse)
    return masked_mean(difference.abs(), known, weight)


def relative_depth_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    far: float | None = None,
    inverse: bool = True,
) -> Tensor:
    """mean |z − z*| / z* over known pixels: the reported AbsRel. Where a pixel may be near or far, it answers nearer than
    the log loss does, since too far costs more than too near."""
    difference, known = log_depth_difference(prediction, target, valid, far, inverse)
    return masked_mean(difference.clamp(max=LARGEST_LOG).expm1().abs(), known)


def scale_drift_loss(prediction: Tensor, reference: Tensor, inverse: bool = True) -> Tensor:
    """Mean over images of mean(δ)², δ = log difference to a reference depth in metres: the scale must stay, the shape may go.

    The opposite of what ``scale_invariant_loss`` with λ = 1 sees.
    """
    difference, known = log_depth_difference(prediction, reference, inverse=inverse)
    return (difference.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1)).square().mean()


def sky_loss(inverse_depth: Tensor, sky: Tensor) -> Tensor:
    """Mean over the sky, bool B×1×H×W, of how much its inverse depth exceeds SKY_SHARE of the picture's mean inverse depth.

    Pictures tell the depth of empty sky as little as that of a wall, and smoothness draws it to the roofs before it. Beyond that
    distance farther is no better: what pushed it on would push all that looks alike. What is nearer than WALL_SHARE of the
    mean is not believed to be sky.
    """
    share = mean_normalise(inverse_depth)
    return masked_mean((share - SKY_SHARE).clamp(min=0), sky & (share < WALL_SHARE))


def gradient_matching_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    far: float | None = None,
    inverse: bool = True,
    scales: int = 4,
) -> Tensor:
    """Mean over scales 1, 1/2, 1/4 … of mean |∂x δ| + mean |∂y δ|: edges at the right place, scale-blind.

    Scale k takes every 2^k-th pixel; pairs with an unknown pixel do not count.
    """
    difference, known = log_depth_difference(prediction, target, valid, far, inverse)
    total = difference.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        along_x, along_y = differences(difference[..., ::step, ::step])
        seen = known[..., ::step, ::step]
        pairs_x = seen[..., :, 1:] & seen[..., :, :-1]
        pairs_y = seen[..., 1:, :] & seen[..., :-1, :]
        total = total + masked_mean(along_x.abs(), pairs_x) + masked_mean(along_y.abs(), pairs_y)
    return total / scales
