"""Ways to a finer map: nearest, bilinear, max-unpooling with remembered indices, transposed convolution.

Each takes a map B×C×⌈H/2⌉×⌈W/2⌉ and the finer one B×C'×H×W whose size it is brought to.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NEAREST, BILINEAR, UNPOOLING, TRANSPOSED = "nearest", "bilinear", "unpooling", "transposed"
UPSAMPLINGS = (NEAREST, BILINEAR, UNPOOLING, TRANSPOSED)


def upsample_to(x: Tensor, reference: Tensor, mode: str = BILINEAR) -> Tensor:
    """Nearest or bilinear resize of B×C×h×w to the height and width of ``reference``; pixel centres keep their place."""
    return F.interpolate(x, size=reference.shape[-2:], mode=mode)


class Interpolation(nn.Module):
    """Nearest or bilinear; the channels stay."""

    def __init__(self, mode: str, channels: int):
        super().__init__()
        self.mode, self.channels = mode, channels

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        return upsample_to(x, finer, self.mode)


class Unpooling(nn.Module):
    """Max-unpooling (SegNet, Badrinarayanan et al., TPAMI 2017): each value goes to where, in its 2×2 window of the finer map,
    the same channel is greatest; all else is zero. A 1×1 convolution first gives the values as many channels."""

    def __init__(self, c_in: int, channels: int):
        super().__init__()
        self.channels = channels
        self.project = nn.Conv2d(c_in, channels, 1)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        _, indices = F.max_pool2d(finer, 2, ceil_mode=True, return_indices=True)
        values = self.project(x).flatten(2)
        height, width = finer.shape[-2:]
        empty = values.new_zeros(*values.shape[:2], height * width)
        return empty.scatter(2, indices.flatten(2), values).unflatten(2, (height, width))


class TransposedConvolution(nn.ConvTranspose2d):
    """3×3 with stride 2 (Zeiler et al., CVPR 2010), to exactly the finer map's size."""

    def __init__(self, c_in: int, channels: int, bias: bool = True):
        super().__init__(c_in, channels, 3, 2, 1, bias=bias)
        self.channels = channels

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        return super().forward(x, finer.shape[-2:])


class ResizeConvolution(nn.Conv2d):
    """Interpolation, then 3×3: in place of a transposed convolution, without its checkerboard (Odena et al., Distill 2016)."""

    def __init__(self, mode: str, c_in: int, channels: int, bias: bool = True):
        super().__init__(c_in, channels, 3, padding=1, bias=bias)
        self.mode = mode

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        return super().forward(upsample_to(x, finer, self.mode))


def create_upsampling(name: str, c_in: int, c_finer: int) -> nn.Module:
    """The module of that name of UPSAMPLINGS; its ``channels`` are those of its result.

    Interpolation keeps ``c_in`` channels, the others give as many as the finer map has.
    """
    if name == UNPOOLING:
        return Unpooling(c_in, c_finer)
    if name == TRANSPOSED:
        return TransposedConvolution(c_in, c_finer)
    return Interpolation(name, c_in)
