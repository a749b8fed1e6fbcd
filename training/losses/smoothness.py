"""Maps are smooth except where the image has an edge.

Sources: Godard et al. 2017/2019 (first order, on mean-normalised disparity); Liu et al. 2020, ARFlow (second
order).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.training.losses.masked import full_precision


def differences(values: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences along x (B×C×H×(W-1)) and y (B×C×(H-1)×W)."""
    return values[..., :, 1:] - values[..., :, :-1], values[..., 1:, :] - values[..., :-1, :]


def edge_weights(image: Tensor, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
    """e^{−sharpness · |∂I|} along x and y, |∂I| averaged over channels: B×1×H×(W-1) and B×1×(H-1)×W."""
    along_x, along_y = differences(full_precision(image))
    return (
        (-sharpness * along_x.abs().mean(1, keepdim=True)).exp(),
        (-sharpness * along_y.abs().mean(1, keepdim=True)).exp(),
    )


def mean_normalise(values: Tensor, eps: float = 1e-7) -> Tensor:
    """Each image of ``values`` (B×1×H×W, positive) divided by its own mean, so that scale earns nothing."""
    values = full_precision(values)
    return values / (values.mean((2, 3), keepdim=True) + eps)


def first_order_smoothness(disparity: Tensor, image: Tensor, sharpness: float = 1.0) -> Tensor:
    """mean |∂x d*| e^{−|∂x I|} + mean |∂y d*| e^{−|∂y I|} with d* the mean-normalised disparity; a scalar.

    disparity: B×1×H×W inverse depth. image: B×C×H×W in [0, 1], not jittered.
    """
    along_x, along_y = differences(mean_normalise(disparity))
    weight_x, weight_y = edge_weights(image, sharpness)
    return (along_x.abs() * weight_x).mean() + (along_y.abs() * weight_y).mean()


def multi_scale_smoothness(disparities: Sequence[Tensor], image: Tensor) -> Tensor:
    """Mean over scales s = 0, 1 … of first-order smoothness / 2^s, each at its own size (Monodepth2); a scalar.

    disparities: B×1×H/2^s×W/2^s each, finest first. image: B×C×H×W in [0, 1], shrunk by area averaging.
    """
    losses = []
    for scale, disparity in enumerate(disparities):
        shrunk = F.interpolate(image, disparity.shape[-2:], mode="area")
        losses.append(first_order_smoothness(disparity, shrunk) / 2**scale)
    return torch.stack(losses).mean()


def second_order_smoothness(flow: Tensor, image: Tensor, sharpness: float = 10.0) -> Tensor:
    """(mean |∂²x f| e^{−s|∂x I|} + mean |∂²y f| e^{−s|∂y I|}) / 2; a scalar, zero on affine flow.

    flow: B×2×H×W; ARFlow divides it by min(H, W) beforehand, see ``flow.unsupervised_flow_loss``. image:
    B×C×H×W in [0, 1]. The weight of a second difference is that of the image edge between its middle and
    right (lower) pixel.
    """
    flow = full_precision(flow)
    first_x, first_y = differences(flow)
    second_x, second_y = differences(first_x)[0], differences(first_y)[1]
    weight_x, weight_y = edge_weights(image, sharpness)
    return ((second_x.abs() * weight_x[..., 1:]).mean() + (second_y.abs() * weight_y[..., 1:, :]).mean()) / 2
