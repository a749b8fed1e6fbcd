"""Optical flow by correlation in a feature pyramid, coarse to fine (PWC-Net, Sun et al., CVPR 2018).

The matching features of a frame depend on that frame alone, so a stream keeps those of the previous frame as state.
Flow is ``flow_to_previous``: it lives on the current grid and points to the previous image, in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import RepConv
from geoseg_ros.projection import warp

LEVEL_STRIDES = (4, 8, 16)
TILE = 8
"""Side of the square of pixels that the correlation compares at once."""
CONVEX_FACTOR = 2
"""From 1/4 to 1/2 by learned weights; the last doubling is bilinear, which costs a quarter and blurs half a pixel."""


class FlowEstimate(NamedTuple):
    """``full``: B×2×H×W; ``levels``: flows at 1/4, 1/8, 1/16, in full-size pixels too; ``hidden``: features at 1/4."""

    full: Tensor
    levels: tuple[Tensor, Tensor, Tensor]
    hidden: Tensor


def correlation(current: Tensor, previous: Tensor, radius: int) -> Tensor:
    """Mean product of ``current`` with ``previous`` shifted by every offset in a window; outside the image is zero.

    B×C×h×w twice → B×(2·radius+1)²×h×w; channel (dy+radius)·(2·radius+1)+(dx+radius) holds offset (dx, dy).
    Tile by tile, one matrix product compares the tile's pixels with all pixels in reach of any of them, and a gather
    picks the wanted ones: several times faster than shifting the whole image once per offset.
    """
    batch, channels, height, width = current.shape
    reach = TILE + 2 * radius
    pad_y, pad_x = -height % TILE, -width % TILE
    rows, columns = (height + pad_y) // TILE, (width + pad_x) // TILE
    tiles = F.pad((current / channels).permute(0, 2, 3, 1), [0, 0, 0, pad_x, 0, pad_y])
    tiles = tiles.reshape(batch, rows, TILE, columns, TILE, channels).transpose(2, 3).reshape(-1, TILE**2, channels)
    around = F.pad(previous, [radius, radius + pad_x, radius, radius + pad_y])
    around = around.unfold(2, reach, TILE).unfold(3, reach, TILE).permute(0, 2, 3, 1, 4, 5)
    products = torch.bmm(tiles, around.reshape(len(tiles), channels, reach**2))
    wanted = _window_indices(radius, current.device).expand(len(tiles), -1, -1)
    cost = products.gather(2, wanted).view(batch, rows, columns, TILE, TILE, -1).permute(0, 5, 1, 3, 2, 4)
    return cost.reshape(batch, -1, rows * TILE, columns * TILE)[:, :, :height, :width]


def _window_indices(radius: int, device: torch.device) -> Tensor:
    """For each pixel of a tile the places of its window in the tile's surroundings, TILE²×(2·radius+1)²."""
    tile, window = torch.arange(TILE, device=device), torch.arange(2 * radius + 1, device=device)
    line = tile[:, None] + window
    reach = TILE + 2 * radius
    return (line[:, None, :, None] * reach + line[None, :, None, :]).reshape(TILE**2, -1)


def convex_upsample(flow: Tensor, weights: Tensor, factor: int) -> Tensor:
    """Each fine vector is a convex combination of its 3×3 coarse neighbours (RAFT, Teed & Deng, ECCV 2020).

    ``flow`` B×2×h×w in fine pixels, ``weights`` B×(9·factor²)×h×w raw → B×2×(factor·h)×(factor·w).
    """
    batch, _, height, width = flow.shape
    weights = weights.float().view(batch, 9, factor * factor, height, width).softmax(1)
    neighbours = F.unfold(F.pad(flow.float(), [1] * 4, mode="replicate"), 3).view(batch, 2, 9, 1, height, width)
    fine = (weights.unsqueeze(1) * neighbours).sum(2)
    return F.pixel_shuffle(fine.reshape(batch, 2 * factor * factor, height, width), factor)


class FlowLevel(nn.Module):
    """One pyramid level: correlation, a small estimator, a flow update."""

    def __init__(self, channels: int, radius: int, extra: int, widths: Sequence[int]):
        super().__init__()
        self.radius = radius
        c_in = (2 * radius + 1) ** 2 + channels + extra + 2
        layers = []
        for width in widths:
            layers.append(RepConv(c_in, width, 3))
            c_in = width
        self.estimate = nn.Sequential(*layers)
        self.update = nn.Conv2d(c_in, 2, 3, padding=1)

    def forward(
        self, current: Tensor, previous: Tensor, flow: Tensor, extra: Sequence[Tensor], stride: int
    ) -> tuple[Tensor, Tensor]:
        """Improve ``flow`` B×2×h×w (full-size pixels) by matching around it; returns (flow, hidden features)."""
        local = flow / stride
        previous, _ = warp(previous, local)
        cost = correlation(current, previous.to(current.dtype), self.radius)
        inputs = [F.leaky_relu(cost, 0.1), current, (local / 8).to(current.dtype), *extra]
        hidden = self.estimate(torch.cat(inputs, 1))
        return flow + stride * self.update(hidden).float(), hidden


class FlowHead(nn.Module):
    """Matching features from the encoder's 1/4, 1/8 and 1/16 maps, and the coarse-to-fine estimator.

    Between the coarsest level and the others the caller may insert a prior, the flow that depth and ego-motion predict
    for a still scene. It carries the estimate through large motion, occlusion and the image border, where nothing can be
    matched; what moves by itself is found from there by matching.
    """

    feature_widths = (32, 64, 96)
    radii = (3, 4, 4)
    estimator_widths = ((48, 32, 32), (96, 64, 32), (128, 96, 64))

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.features = nn.ModuleList(
            nn.Sequential(RepConv(c, w, 1), RepConv(w, w, 3, activate=False))
            for c, w in zip(channels[1:4], self.feature_widths)
        )
        extra = (self.estimator_widths[1][-1], self.estimator_widths[2][-1] + 2, 0)
        self.levels = nn.ModuleList(
            FlowLevel(w, r, e, widths) for w, r, e, widths in zip(self.feature_widths, self.radii, extra, self.estimator_widths)
        )
        self.upsample_weights = nn.Conv2d(self.estimator_widths[0][-1], 9 * CONVEX_FACTOR**2, 1)

    def describe(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Matching features of one frame at 1/4, 1/8, 1/16: the state that a stream carries to the next frame."""
        return tuple(project(f) for project, f in zip(self.features, features[1:4]))

    def coarse(self, current: Sequence[Tensor], previous: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Flow at 1/16, B×2×h×w in full-size pixels, and its hidden features."""
        batch, _, height, width = current[2].shape
        still = torch.zeros(batch, 2, height, width, dtype=torch.float32, device=current[2].device)
        return self.levels[2](current[2], previous[2], still, (), LEVEL_STRIDES[2])

    def refine(
        self,
        current: Sequence[Tensor],
        previous: Sequence[Tensor],
        coarse: Tensor,
        hidden: Tensor,
        prior: Tensor | None = None,
    ) -> FlowEstimate:
        """From the coarse estimate, or the ``prior`` B×2×H/8×W/8 (full-size pixels) in its place, to full size."""
        flow = _resize(coarse, current[1])
        difference = torch.zeros_like(flow) if prior is None else (flow - prior) / LEVEL_STRIDES[1] / 8
        extra = (_resize(hidden, current[1]), difference.to(hidden.dtype))
        start = flow if prior is None else prior
        middle, hidden = self.levels[1](current[1], previous[1], start, extra, LEVEL_STRIDES[1])
        extra = (_resize(hidden, current[0]),)
        fine, hidden = self.levels[0](current[0], previous[0], _resize(middle, current[0]), extra, LEVEL_STRIDES[0])
        half = convex_upsample(fine, self.upsample_weights(hidden), CONVEX_FACTOR)
        full = F.interpolate(half, scale_factor=2.0, mode="bilinear", align_corners=False)
        return FlowEstimate(full, (fine, middle, coarse), hidden)


def _resize(x: Tensor, reference: Tensor) -> Tensor:
    return F.interpolate(x, size=reference.shape[-2:], mode="bilinear", align_corners=False)
