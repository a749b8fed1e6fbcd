"""From the encoder's five maps to dense predictions: one top-down decoder for all tasks, then a small head for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks import position
from geoseg_ros.networks.blocks import RepConv
from geoseg_ros.networks.upsampling import upsample_to


class Decoded(NamedTuple):
    """What the dense heads share: ``coarse`` B×C×H/4×W/4, decoded; ``fine`` B×C'×H/2×W/2, encoder's map and its position where
    it is told."""

    coarse: Tensor
    fine: Tensor


class GlobalContext(nn.Module):
    """Adds the projected image mean to every position: the coarsest bin of PSPNet (Zhao et al., CVPR 2017)."""

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.project = RepConv(c_in, c_out, 1)
        self.pool = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x) + self.pool(x.mean((2, 3), keepdim=True))


class TopDownDecoder(nn.Module):
    """Lateral 1×1 connections summed top-down (FPN, Lin et al., CVPR 2017), refined by 3×3 convolutions.

    Every level is told its pixels' positions (networks/position.py), unless ``told_positions`` is false.
    """

    widths = (64, 96, 128)

    def __init__(self, channels: Sequence[int], told_positions: bool = True):
        super().__init__()
        extra = position.CHANNELS if told_positions else 0
        self.context = GlobalContext(channels[4] + extra, self.widths[2])
        self.laterals = nn.ModuleList(
            RepConv(c + extra, w, 1, activate=False) for c, w in zip(channels[1:4], self.widths)
        )
        narrower = (self.widths[0], *self.widths[:2])
        self.refiners = nn.ModuleList(RepConv(w, n, 3) for w, n in zip(self.widths, narrower))

    def forward(self, features: Sequence[Tensor], positions: Sequence[Tensor] | None = None) -> Decoded:
        """``features`` at 1/2 … 1/32, and ``positions`` there where they are told."""
        maps = features
        if positions is not None:
            maps = [torch.cat([f, p.to(f.dtype)], 1) for f, p in zip(features, positions)]
        x = self.context(maps[4])
        for lateral, refine, skip in zip(reversed(self.laterals), reversed(self.refiners), reversed(maps[1:4])):
            x = refine(F.relu(upsample_to(x, skip) + lateral(skip)))
        return Decoded(x, maps[0])


class DenseHead(nn.Module):
    """One task's prediction, B×out_channels×H/2×W/2, raw (no activation), by a convolution of the type ``last``.

    Positions as in :class:`TopDownDecoder`.
    """

    width = 24

    def __init__(
        self,
        encoder_channels: Sequence[int],
        out_channels: int,
        last: type[nn.Conv2d] = nn.Conv2d,
        told_positions: bool = True,
    ):
        super().__init__()
        width, extra = self.width, position.CHANNELS if told_positions else 0
        self.narrow = RepConv(TopDownDecoder.widths[0], width, 3)
        self.lateral = RepConv(encoder_channels[0] + extra, width, 1, activate=False)
        self.refine = RepConv(width, width, 3)
        self.sharpen = RepConv(width, width, 3)
        self.predict = last(width, out_channels, 3, padding=1)

    def forward(self, decoded: Decoded) -> Tensor:
        x = upsample_to(self.narrow(decoded.coarse), decoded.fine) + self.lateral(decoded.fine)
        return self.predict(self.sharpen(self.refine(F.relu(x))))
