"""Supervised relative pose: rotation as an angle, translation in metres, as a direction, or by its length alone.

Poses are B×4×4, ``previous_from_current`` (points of the current camera into the previous one), metres.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, known_or, masked_mean

MIN_DISTANCE = 0.01
"""Metres: what counts as the distance where everything stands still."""


def _safe_norm(vectors: Tensor) -> Tensor:
    """Euclidean norm over the last axis with gradient zero (not NaN) at zero."""
    squared = vectors.square().sum(-1)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def rotation_angle(prediction: Tensor, target: Tensor) -> Tensor:
    """Angle (rad, B, 0..π) of the rotation between poses (B×4×4 or B×3×3), by atan2: exact near zero."""
    first, second = full_precision(prediction)[:, :3, :3], full_precision(target)[:, :3, :3]
    # Elementwise on purpose: a matrix product would run in bf16 under autocast.
    relative = (first[:, :, :, None] * second[:, :, None, :]).sum(1)
    axis = torch.stack(
        (
            relative[:, 2, 1] - relative[:, 1, 2],
            relative[:, 0, 2] - relative[:, 2, 0],
            relative[:, 1, 0] - relative[:, 0, 1],
        ),
        dim=1,
    )
    trace = relative[:, 0, 0] + relative[:, 1, 1] + relative[:, 2, 2]
    return torch.atan2(_safe_norm(axis) / 2, (trace - 1) / 2)


def _known_poses(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(prediction, target with unknown poses replaced by the prediction, known B)."""
    prediction, target = full_precision(prediction), full_precision(target)
    known = torch.isfinite(target).all(2).all(1)
    return prediction, torch.where(known[:, None, None], target, prediction.detach()), known


def rotation_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean geodesic distance in radians over the poses whose target is finite."""
    prediction, target, known = _known_poses(prediction, target)
    return masked_mean(rotation_angle(prediction, target), known)


def translation_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean over known poses of |Δx| + |Δy| + |Δz| in metres."""
    prediction, target, known = _known_poses(prediction, target)
    return masked_mean((prediction[:, :3, 3] - target[:, :3, 3]).abs().sum(1), known)


def direction_loss(prediction: Tensor, target: Tensor, min_distance: float = 0.05) -> Tensor:
    """Mean of 1 − cos between the translations, over known poses that move ``min_distance`` metres."""
    prediction, target, known = _known_poses(prediction, target)
    moved, expected = prediction[:, :3, 3], target[:, :3, 3]
    length = _safe_norm(expected)
    cosine = (moved * expected).sum(1) / (_safe_norm(moved) * length).clamp(min=1e-7)
    return masked_mean(1 - cosine, known & (length >= min_distance))


def pose_loss(
    prediction: Tensor, target: Tensor, scene_depth: float = 10.0, direction_weight: float = 1.0
) -> Tensor:
    """Translation (m) + ``scene_depth`` · rotation (rad) + ``direction_weight`` · (1 − cos), in metres.

    The balance is geometric: a rotation error of δ rad shifts the image of a point Z metres away about as
    much as a translation error of Z·δ metres. ``scene_depth`` is that Z; 10 m is usual in a street, about 2 m
    indoors. The direction term keeps slow motion from drowning in fast motion; it does not see scale.
    """
    metric = translation_loss(prediction, target) + scene_depth * rotation_loss(prediction, target)
    return metric + direction_weight * direction_loss(prediction, target)


def velocity_loss(poses: Tensor, distance: Tensor) -> Tensor:
    """Mean of | ‖t‖ − distance | over the mean distance, of those that are known: metric scale from odometry's speed.

    poses: B×4×4, either way between two frames (the length of t is the same). distance: B, metres driven between them
    (speed times the time between), NaN unknown. Source: Guizilini et al. 2020, PackNet-SfM, whose loss is in metres; relative,
    one weight serves the steps of a car and the centimetres of a hand-held camera.
    """
    distance, known = known_or(distance, 0.0)
    error = masked_mean((_safe_norm(full_precision(poses)[:, :3, 3]) - distance).abs(), known)
    return error / masked_mean(distance, known).clamp(min=MIN_DISTANCE)
