"""Depth of two frames must be of one scale: SC-SfMLearner (Bian et al., NeurIPS 2019).

Where a point of the target, moved into the source camera, is nearer or farther than the source's own depth says, one of the
depths is wrong, or the point moved, or something hides it. The relative difference is a loss, and its complement tells how
far to trust a pixel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, masked_mean


def depth_inconsistency(projected: Tensor, sampled: Tensor) -> Tensor:
    """D_diff = |projected − sampled| / (projected + sampled), B×1×H×W in [0, 1]; symmetric, blind to common scale.

    projected: z of the target's points in the source camera; sampled: the source's depth where they are seen. Both
    B×1×H×W; a pixel where either is not positive is 1, as unlike as can be.
    """
    projected, sampled = full_precision(projected), full_precision(sampled)
    known = (projected > 0) & (sampled > 0)
    first, second = torch.where(known, projected, 1.0), torch.where(known, sampled, 1.0)
    return torch.where(known, (first - second).abs() / (first + second), 1.0)


def geometry_consistency_loss(inconsistency: Tensor, valid: Tensor | None = None) -> Tensor:
    """L_GC: mean of D_diff (B×1×H×W) over ``valid`` (bool) pixels; without one it is zero."""
    return masked_mean(inconsistency, valid)


def consistency_weight(inconsistency: Tensor) -> Tensor:
    """The self-discovered mask M = 1 − D_diff, B×1×H×W in [0, 1]: little where things move or hide. No gradient flows
    through it: a network must not be rewarded for being inconsistent where images do not fit."""
    return 1 - inconsistency.detach()
