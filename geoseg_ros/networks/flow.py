"""Optical flow by matching in a feature pyramid, coarse to fine (PWC-Net, Sun et al., CVPR 2018).

The matching features of a frame depend on that frame alone, so a stream keeps those of the previous frame as state.
Flow is ``flow_to_previous``: it lives on the current grid and points to the previous image, in pixels.

At each level the similarities with a window around the present estimate become probabilities, whose mean is a first
answer without any learned regression (soft-argmax; GMFlow, Xu et al., CVPR 2022). So features learn to match from the
first step on, and the estimator only decides where to trust the match and what to add.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geoseg_ros.networks.blocks import Readout, RepConv
from geoseg_ros.networks.upsampling import upsample_to
from geoseg_ros.projection import warp

FINE, MIDDLE, COARSE = LEVEL_STRIDES = (4, 8, 16)
TILE = 8
"""Side of the square of pixels that the correlation compares at once."""
CONVEX_FACTOR = 2
"""From 1/4 to 1/2 by learned weights; the last doubling is bilinear, which costs a quarter and blurs half a pixel."""
FIRST_SHARPNESS = 10.0
"""Of the probabilities from cosines, before training."""


class LevelEstimate(NamedTuple):
    """One level's flow B×2×h×w in full-size pixels, its hidden features, the match: raw scores B×(2·radius+1)²×h×w (a
    softmax makes them probabilities) of the offsets around ``start`` B×2×h×w."""

    flow: Tensor
    hidden: Tensor
    scores: Tensor
    start: Tensor


class FlowEstimate(NamedTuple):
    """``half``: B×2×H/2×W/2 in full-size pixels; ``levels``: estimates at 1/4, 1/8, 1/16; ``still``: B×2×H/4×W/4, the flow
    that depth and pose predict for a still scene, if they are known."""

    half: Tensor
    levels: tuple[LevelEstimate, LevelEstimate, LevelEstimate]
    still: Tensor | None

    @property
    def full(self) -> Tensor:
        """Flow at full size, B×2×H×W."""
        return F.interpolate(self.half, scale_factor=2.0, mode="bilinear", align_corners=False)


def correlation(current: Tensor, previous: Tensor, radius: int) -> Tensor:
    """Product of ``current`` with ``previous`` shifted by every offset in a window; outside the image is zero.

    B×C×h×w twice → B×(2·radius+1)²×h×w, channels last in memory; channel (dy+radius)·(2·radius+1)+(dx+radius) holds offset (dx, dy).
    Tile by tile, one matrix product compares the tile's pixels with all pixels in reach of any of them, and a gather
    picks the wanted ones: several times faster than shifting the whole image once per offset.
    """
    batch, channels, height, width = current.shape
    reach = TILE + 2 * radius
    pad_y, pad_x = -height % TILE, -width % TILE
    rows, columns = (height + pad_y) // TILE, (width + pad_x) // TILE
    tiles = F.pad(current.permute(0, 2, 3, 1), [0, 0, 0, pad_x, 0, pad_y])
    tiles = tiles.reshape(batch, rows, TILE, columns, TILE, channels).transpose(2, 3).reshape(-1, TILE**2, channels)
    around = F.pad(previous, [radius, radius + pad_x, radius, radius + pad_y])
    around = around.unfold(2, reach, TILE).unfold(3, reach, TILE).permute(0, 2, 3, 1, 4, 5)
    products = torch.bmm(tiles, around.reshape(len(tiles), channels, reach**2))
    wanted = _window_indices(radius, current.device).expand(len(tiles), -1, -1)
    cost = products.gather(2, wanted).view(batch, rows, columns, TILE, TILE, -1).transpose(2, 3)
    return cost.reshape(batch, rows * TILE, columns * TILE, -1).permute(0, 3, 1, 2)[:, :, :height, :width]


def _window_indices(radius: int, device: torch.device) -> Tensor:
    """For each pixel of a tile the places of its window in the tile's surroundings, TILE²×(2·radius+1)²."""
    tile, window = torch.arange(TILE, device=device), torch.arange(2 * radius + 1, device=device)
    line = tile[:, None] + window
    reach = TILE + 2 * radius
    return (line[:, None, :, None] * reach + line[None, :, None, :]).reshape(TILE**2, -1)


def window_offsets(radius: int, device: torch.device) -> Tensor:
    """(dx, dy) of the channels of :func:`correlation`, 2×(2·radius+1)²."""
    line = torch.arange(-radius, radius + 1, device=device, dtype=torch.float32)
    dy, dx = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([dx.flatten(), dy.flatten()])


def soft_argmax(scores: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """The mean offset B×2×h×w in cells and the largest probability B×1×h×w of :func:`correlation`-like scores, float32.

    Computed channels last, as the scores lie in memory.
    """
    with torch.autocast(scores.device.type, enabled=False):
        probability = scores.permute(0, 2, 3, 1).softmax(-1)
        mean = probability @ window_offsets(radius, scores.device).T
    return mean.permute(0, 3, 1, 2), probability.amax(-1)[:, None]


def convex_upsample(flow: Tensor, weights: Tensor, factor: int) -> Tensor:
    """Each fine vector is a convex combination of its 3×3 coarse neighbours (RAFT, Teed & Deng, ECCV 2020).

    ``flow`` B×2×h×w in fine pixels, ``weights`` B×(9·factor²)×h×w raw → B×2×(factor·h)×(factor·w).
    """
    batch, _, height, width = flow.shape
    weights = weights.float().view(batch, 9, factor * factor, height, width).softmax(1)
    neighbours = F.unfold(F.pad(flow.float(), [1] * 4, mode="replicate"), 3).view(batch, 2, 9, 1, height, width)
    fine = (weights.unsqueeze(1) * neighbours).sum(2)
    return F.pixel_shuffle(fine.reshape(batch, 2 * factor * factor, height, width), factor)


class MatchingFeatures(nn.Module):
    """Unit vectors to compare, at 1/4, 1/8 and 1/16: the encoder's maps beside a few layers that see the image itself.

    The encoder learns what is the same for all cars; matching needs what tells one wheel from another.
    """

    stem_widths = (24, 32, 48, 64)
    widths = (32, 64, 96)

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        narrow, *levels = self.stem_widths
        self.first = RepConv(3, narrow, 3, stride=2)
        self.stem = nn.ModuleList(RepConv(a, b, 3, stride=2) for a, b in zip(self.stem_widths, levels))
        self.project = nn.ModuleList(
            nn.Sequential(RepConv(c + s, w, 1), RepConv(w, w, 3, activate=False))
            for c, s, w in zip(channels[1:4], levels, self.widths)
        )

    def forward(self, features: Sequence[Tensor], image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.first(image - 0.5)
        maps = []
        for stem, project, feature in zip(self.stem, self.project, features[1:4]):
            x = stem(x)
            maps.append(F.normalize(project(torch.cat([feature, x], 1)), dim=1, eps=1e-4))
        return tuple(maps)


class FlowLevel(nn.Module):
    """One pyramid level: match around a start, then a small estimator that weighs the match against an alternative."""

    def __init__(self, channels: int, radius: int, extra: int, widths: Sequence[int]):
        super().__init__()
        self.radius = radius
        c_in = (2 * radius + 1) ** 2 + channels + extra + 7
        layers = [RepConv(c_in, widths[0], 1)]
        layers.extend(RepConv(a, b, 3) for a, b in zip(widths, widths[1:]))
        self.estimate = nn.Sequential(*layers)
        self.update = Readout(widths[-1], 4, 3, padding=1)
        self.log_sharpness = nn.Parameter(torch.tensor(FIRST_SHARPNESS).log())

    def forward(
        self,
        current: Tensor,
        previous: Tensor,
        start: Tensor,
        stride: int,
        alternative: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> LevelEstimate:
        """Flow from matching features B×C×h×w of two frames.

        ``start`` B×2×h×w is where matching begins; the result moves from there by the match and a correction, and towards
        the ``alternative`` B×2×h×w, each as far as the estimator trusts it. Flow is in full-size pixels. ``hidden``: the
        coarser level's features at this size.
        """
        local = start / stride
        previous, _ = warp(previous, local)
        cosine = correlation(current, previous.to(current.dtype), self.radius)
        scores = cosine.float() * self.log_sharpness.exp()
        match, certainty = soft_argmax(scores, self.radius)
        detour = torch.zeros_like(local) if alternative is None else alternative / stride - local
        known = torch.cat([match, certainty, local / 8, detour / 8], 1)
        known = known.to(current.dtype, memory_format=torch.channels_last)
        inputs = [cosine, current, known] if hidden is None else [cosine, current, known, hidden]
        hidden = self.estimate(torch.cat(inputs, 1))
        update = self.update(hidden)
        trust = update[:, 2:].sigmoid()
        flow = start + stride * (update[:, :2] + trust[:, :1] * match + trust[:, 1:] * detour)
        return LevelEstimate(flow, hidden, scores, start)


class FlowHead(nn.Module):
    """Coarse-to-fine flow on top of the encoder's maps, in three steps between which the caller may look at the result.

    Into each of the later steps the caller may bring a prior, the flow that depth and ego-motion predict for a still scene.
    It carries the estimate through large motion, occlusion and the image border, where nothing can be matched; what moves
    by itself is found by matching.
    """

    radii = (2, 4, 4)
    estimator_widths = ((40, 40, 40, 32, 32), (96, 64, 64, 64, 32), (96, 96, 64))

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        self.describe = MatchingFeatures(channels)
        extra = (self.estimator_widths[1][-1], self.estimator_widths[2][-1], 0)
        self.levels = nn.ModuleList(
            FlowLevel(w, r, e, widths)
            for w, r, e, widths in zip(self.describe.widths, self.radii, extra, self.estimator_widths)
        )
        self.upsample_weights = nn.Conv2d(self.estimator_widths[0][-1], 9 * CONVEX_FACTOR**2, 1)

    def coarse(self, current: Sequence[Tensor], previous: Sequence[Tensor]) -> LevelEstimate:
        """The estimate at 1/16 from the matching features of two frames."""
        batch, _, height, width = current[2].shape
        still = torch.zeros(batch, 2, height, width, dtype=torch.float32, device=current[2].device)
        return self.levels[2](current[2], previous[2], still, COARSE)

    def middle(
        self, current: Sequence[Tensor], previous: Sequence[Tensor], coarse: LevelEstimate, prior: Tensor | None
    ) -> LevelEstimate:
        """The estimate at 1/8: around the prior B×2×H/8×W/8 with the coarse estimate as alternative, or around the latter."""
        flow, hidden = upsample_to(coarse.flow, current[1]), upsample_to(coarse.hidden, current[1])
        start, alternative = (flow, None) if prior is None else (prior, flow)
        return self.levels[1](current[1], previous[1], start, MIDDLE, alternative, hidden)

    def fine(
        self, current: Sequence[Tensor], previous: Sequence[Tensor], middle: LevelEstimate, prior: Tensor | None
    ) -> LevelEstimate:
        """The estimate at 1/4: around the middle one, with the prior B×2×H/4×W/4 as alternative."""
        flow, hidden = upsample_to(middle.flow, current[0]), upsample_to(middle.hidden, current[0])
        return self.levels[0](current[0], previous[0], flow, FINE, prior, hidden)

    def half(self, fine: LevelEstimate) -> Tensor:
        """Flow at half size, B×2×H/2×W/2 in full-size pixels."""
        return convex_upsample(fine.flow, self.upsample_weights(fine.hidden), CONVEX_FACTOR)
