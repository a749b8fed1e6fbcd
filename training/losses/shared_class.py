"""The regulariser of Chen et al. (CVPR 2019, SceneNet): disparity is smooth between neighbours of one class.

    mean of |d − shift(d)| ⊙ (1 − |ψ(s) − ψ(shift(s))|) along x, and the same along y

ψ is 1 for a pixel's most probable class and 0 for the others. |ψ − ψ'| is half the sum over classes: 0 where two neighbours
share their class, 1 where not, so that 1 − |ψ − ψ'| = Σ_c ψ_c ψ'_c. Disparity is mean-normalised: its scale earns nothing.

ψ has no gradient: as published, the loss teaches disparity. Beside the depth of a frozen network that would teach nobody, so
that there, and only there, ψ passes its gradient straight through to the probabilities (Bengio et al. 2013): where disparity
changes inside one class, neighbours lose their common class. This reading is ours, the seed does not give its own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision, known_or
from geoseg_ros.training.losses.smoothness import differences


def class_indicator(probabilities: Tensor) -> Tensor:
    """ψ of softmax maps B×C×H×W, of the same shape; its gradient is that of ``probabilities``."""
    probabilities = full_precision(probabilities)
    hard = F.one_hot(probabilities.argmax(1), probabilities.shape[1]).movedim(-1, 1)
    return hard + (probabilities - probabilities.detach())


def shared_class_smoothness(disparity: Tensor, indicator: Tensor) -> Tensor:
    """mean(|∂x d*| Σ_c ψ_c ψ'_c) + mean(|∂y d*| Σ_c ψ_c ψ'_c); a scalar.

    disparity: B×1×H×W, at least 0, not finite where unknown; such pixels add nothing. indicator: ψ, B×C×H×W.
    """
    disparity, known = known_or(disparity, 0.0)
    mean = disparity.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
    normalised = torch.where(known, disparity / mean.clamp(min=1e-7), torch.nan)
    steps = differences(normalised)
    shared = (
        (indicator[..., :, 1:] * indicator[..., :, :-1]).sum(1, keepdim=True),
        (indicator[..., 1:, :] * indicator[..., :-1, :]).sum(1, keepdim=True),
    )
    along_x, along_y = (torch.where(step.isfinite(), step, 0.0).abs() * both for step, both in zip(steps, shared))
    return along_x.mean() + along_y.mean()


def frozen_depth_regulariser(probabilities: Tensor, depth: Tensor) -> Tensor:
    """The regulariser beside the depth of a frozen network; a scalar that teaches the probabilities.

    probabilities: B×C×H×W, softmax over C. depth: B×1×H×W above 0 in any unit, not finite where unknown; it gets no gradient.
    """
    return shared_class_smoothness(1 / full_precision(depth.detach()), class_indicator(probabilities))
