"""Convolution blocks that the networks share, and their folding into plain convolutions for the robot.

``RepConv`` is the re-parameterisable block of RepVGG (Ding et al., CVPR 2021) and MobileOne (Vasu et al., CVPR 2023):
in training a k×k, a 1×1 and an identity branch, each with its own batch normalisation; after ``fuse`` one convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def _fold_batch_norm(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of ``norm(conv(x))`` for a convolution without bias."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class RepConv(nn.Module):
    """Convolution k×k with training-time 1×1 and identity branches; ReLU after the sum unless ``activate`` is false.

    Only depthwise convolutions that keep the size get the 1×1 branch, and only blocks that keep size and width the
    identity: elsewhere they cost more training time than they give.

    Input B×C_in×H×W, output B×C_out×⌈H/stride⌉×⌈W/stride⌉.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, groups: int = 1, activate: bool = True):
        super().__init__()
        self.geometry = dict(stride=stride, groups=groups)
        self.kernel = kernel
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False, **self.geometry)
        self.norm = nn.BatchNorm2d(c_out)
        self.point = None
        if kernel > 1 and groups > 1 and stride == 1:
            self.point = nn.Conv2d(c_in, c_out, 1, bias=False, **self.geometry)
            self.point_norm = nn.BatchNorm2d(c_out)
        self.skip_norm = nn.BatchNorm2d(c_out) if c_in == c_out and stride == 1 else None
        self.activation = nn.ReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        if self.point is not None:
            y = y + self.point_norm(self.point(x))
        if self.skip_norm is not None:
            y = y + self.skip_norm(x)
        return self.activation(y)

    def fuse(self) -> nn.Sequential:
        """One convolution with bias (and the activation) that gives the same output in evaluation mode."""
        weight, bias = _fold_batch_norm(self.conv.weight, self.norm)
        centre = self.kernel // 2
        if self.point is not None:
            point, point_bias = _fold_batch_norm(self.point.weight, self.point_norm)
            weight = weight + nn.functional.pad(point, [centre] * 4)
            bias = bias + point_bias
        if self.skip_norm is not None:
            identity = torch.zeros_like(self.conv.weight)
            rows = torch.arange(identity.shape[0])
            identity[rows, rows % identity.shape[1], centre, centre] = 1.0
            skip, skip_bias = _fold_batch_norm(identity, self.skip_norm)
            weight, bias = weight + skip, bias + skip_bias
        c_out, c_in_group = weight.shape[:2]
        groups = self.geometry["groups"]
        fused = nn.Conv2d(c_in_group * groups, c_out, self.kernel, padding=centre, **self.geometry)
        fused.weight.data.copy_(weight.detach())
        fused.bias.data.copy_(bias.detach())
        return nn.Sequential(fused, self.activation)


def separable(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Depthwise k×k, then pointwise 1×1, both re-parameterisable."""
    return nn.Sequential(RepConv(c_in, c_in, kernel, stride, groups=c_in), RepConv(c_in, c_out, 1))


def fuse(module: nn.Module) -> nn.Module:
    """Replace, in place, every ``RepConv`` and every Conv–BatchNorm pair in a ``Sequential`` by one convolution.

    The module must be in evaluation mode; outputs stay the same up to rounding.
    """
    for name, child in module.named_children():
        if isinstance(child, RepConv):
            setattr(module, name, child.fuse())
        else:
            fuse(child)
    return module


def count_parameters(module: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in module.parameters())
