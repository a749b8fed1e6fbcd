"""Geometry-guided segmentation: class maps may change where the depth of a frozen network changes.

Source: Papadopoulos, Mademlis, Pitas. The second exponent of the holistic loss is |∂y D| (the published
slide's |∂x D| is a slip, as the per-class loss shows). Used in training only; the segmenter and its run time
stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision
from geoseg_ros.training.losses.smoothness import differences


def _depth_weights(depth: Tensor) -> tuple[Tensor, Tensor]:
    """e^{−|∂x D|}, e^{−|∂y D|} of mean-normalised depth, without gradient; 0 beside a non-finite pixel."""
    depth = full_precision(depth.detach())
    known = torch.isfinite(depth)
    count = known.sum((2, 3), keepdim=True).clamp(min=1)
    mean = torch.where(known, depth, 0.0).sum((2, 3), keepdim=True) / count
    weights = (-difference.abs() for difference in differences(depth / mean.clamp(min=1e-7)))
    along_x, along_y = (
        torch.nan_to_num(weight, nan=-torch.inf, neginf=-torch.inf).exp() for weight in weights
    )
    return along_x, along_y


def per_class_guidance(probabilities: Tensor, depth: Tensor) -> Tensor:
    """L_p = Σ_c mean(|∂x S_c| e^{−|∂x D|}) + mean(|∂y S_c| e^{−|∂y D|}); a scalar.

    probabilities: B×C×H×W, softmax over C. depth: B×1×H×W of any scale, no gradient flows into it.
    """
    along_x, along_y = differences(full_precision(probabilities))
    weight_x, weight_y = _depth_weights(depth)
    return (along_x.abs() * weight_x).mean((0, 2, 3)).sum() + (along_y.abs() * weight_y).mean((0, 2, 3)).sum()


def holistic_guidance(probabilities: Tensor, depth: Tensor) -> Tensor:
    """L_h = mean(max_c |∂x S_c| e^{−|∂x D|}) + mean(max_c |∂y S_c| e^{−|∂y D|}); a scalar.

    Arguments as in :func:`per_class_guidance`.
    """
    along_x, along_y = differences(full_precision(probabilities))
    weight_x, weight_y = _depth_weights(depth)
    strongest_x = along_x.abs().amax(1, keepdim=True)
    strongest_y = along_y.abs().amax(1, keepdim=True)
    return (strongest_x * weight_x).mean() + (strongest_y * weight_y).mean()
