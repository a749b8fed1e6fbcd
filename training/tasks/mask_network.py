"""The network of SegDepth's boundary loss: it must find the foreground in the disparity alone. Used in training only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, RepConv

WIDTHS = (16, 32, 64)


class MaskNetwork(nn.Module):
    """A small U-Net (Ronneberger et al., MICCAI 2015): disparity B×1×H×W to foreground logits B×1×H×W."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (1, *WIDTHS[:-1])
        self.down = nn.ModuleList(RepConv(c, w, 3, 1 if i == 0 else 2) for i, (c, w) in enumerate(zip(inputs, WIDTHS)))
        self.up = nn.ModuleList(RepConv(coarse + fine, fine, 3) for fine, coarse in zip(WIDTHS, WIDTHS[1:]))
        self.predict = Readout(WIDTHS[0], 1, 1)

    def forward(self, disparity: Tensor) -> Tensor:
        maps = [disparity]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer in reversed(self.up):
            skip = maps.pop()
            x = layer(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="nearest"), skip], 1))
        return self.predict(x)
