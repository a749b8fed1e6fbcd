"""Which pixels leave the photometric loss because their objects move (Klingner et al., ECCV 2020, SGDepth).

A car that stands is where the neighbouring frame, warped by depth and pose, shows it; one that drives is not. So the overlap
(IoU) of a frame's dynamic classes with the warped ones tells the images with moving objects. Over the last part of a
training, pixels of dynamic classes, the frame's own and the warped ones, are left out of ever fewer images: those whose overlap
ranks below a share that falls from all to none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MEMORY = 512
"""Overlaps that are remembered, about an epoch of a short drive; the paper ranks those of one epoch."""
_EMPTY = -1.0


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of masks, bool B×1×H×W, for each image: B; NaN where both are empty."""
    both, either = (mask.flatten(1).sum(1).float() for mask in (first & second, first | second))
    return both / either


class DynamicMasking(nn.Module):
    """Masks from ``begin`` on, a share of the training; remembers overlaps in a buffer, so that a resumed run goes on alike."""

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.begin = begin
        self.register_buffer("overlaps", torch.full((MEMORY,), _EMPTY))

    @torch.no_grad()
    def forward(self, own: Tensor, warped: Sequence[Tensor], progress: float) -> Tensor:
        """Pixels to leave out, bool B×1×H×W.

        own: dynamic classes of the frames, bool B×1×H×W. warped: those of each neighbour, seen from the frames. progress: the
        finished share of the training, ``begin`` … 1.
        """
        overlaps = torch.stack([overlap(own, each) for each in warped]).nanmean(0)
        self._remember(overlaps[overlaps.isfinite()])
        known = self.overlaps[self.overlaps > _EMPTY]
        rank = (known < overlaps[:, None]).float().mean(1)
        masked = rank < (1 - progress) / (1 - self.begin)
        dynamic = torch.stack([own, *warped]).any(0)
        return dynamic & masked.view(-1, 1, 1, 1)

    def _remember(self, overlaps: Tensor) -> None:
        self.overlaps.copy_(torch.cat([self.overlaps, overlaps])[-MEMORY:])
