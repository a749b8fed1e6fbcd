"""Convolution blocks that the networks share, and their folding into plain convolutions for the robot."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvBlock(nn.Sequential):
    """Convolution k×k, batch normalisation, ReLU: B×C_in×H×W to B×C_out×⌈H/stride⌉×⌈W/stride⌉."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)
        )


class RepConv(nn.Module):
    """Convolution k×k, batch normalisation, the input added where size and width stay, ReLU unless ``activate`` is false.

    Re-parameterisable as in RepVGG (Ding et al., CVPR 2021): after ``fuse`` one convolution. Of RepVGG's branches only the
    identity is kept, and that without normalisation: on a CPU the others cost more training time than they give. A block
    that keeps its shape starts as the identity (Goyal et al., 2017), so that one can be added to a trained network.

    Input B×C_in×H×W, output B×C_out×⌈H/stride⌉×⌈W/stride⌉.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 3, stride: int = 1, activate: bool = True, dilation: int = 1
    ):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, dilation * (kernel // 2), dilation, bias=False)
        self.norm = nn.BatchNorm2d(c_out)
        self.keeps_shape = c_in == c_out and stride == 1
        if self.keeps_shape:
            nn.init.zeros_(self.norm.weight)
        self.activation = nn.ReLU(inplace=True) if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return self.activation(y + x if self.keeps_shape else y)

    def fuse(self) -> nn.Sequential:
        """One convolution with bias (and the activation) that gives the same output in evaluation mode."""
        scale = self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)
        weight = self.conv.weight * scale[:, None, None, None]
        if self.keeps_shape:
            channels, centre = torch.arange(weight.shape[0]), self.conv.kernel_size[0] // 2
            identity = torch.zeros_like(weight)
            identity[channels, channels, centre, centre] = 1.0
            weight = weight + identity
        conv = self.conv
        fused = nn.Conv2d(
            conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation
        )
        fused.weight.data.copy_(weight.detach())
        fused.bias.data.copy_((self.norm.bias - self.norm.running_mean * scale).detach())
        return nn.Sequential(fused, self.activation)


class Readout(nn.Conv2d):
    """A head's last convolution, for depth, flow and the like whose last bits count: B×C×H×W to float32.

    Under autocast the products are rounded to half precision, but the bias, which holds the typical value, is added in
    float32: what is rounded is the deviation from it.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight, None).float() + self.bias[:, None, None]


def store_convolutions_as(dtype: torch.dtype, module: nn.Module) -> nn.Module:
    """Keep, in place, the weights of ordinary convolutions in ``dtype``, so that autocast need not convert them each time."""
    for child in module.modules():
        if type(child) is nn.Conv2d:
            child.to(dtype)
    return module


def fuse(module: nn.Module) -> nn.Module:
    """Replace, in place, every ``RepConv`` by one convolution, and fold each batch normalisation that is registered right
    after a convolution into that convolution.

    The module must be in evaluation mode; outputs stay the same up to rounding.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, [*children[1:], ("", None)]):
        if isinstance(child, RepConv):
            setattr(module, name, child.fuse())
        elif isinstance(child, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(following, nn.BatchNorm2d):
            transposed = isinstance(child, nn.ConvTranspose2d)
            setattr(module, name, fuse_conv_bn_eval(child, following, transposed))
            setattr(module, next_name, nn.Identity())
        else:
            fuse(child)
    return module


def count_parameters(module: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in module.parameters())
