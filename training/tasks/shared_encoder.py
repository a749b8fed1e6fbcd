"""What several tasks need to learn on one encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from geoseg_ros.networks.monodepth import MonodepthConfig, MonodepthNet


class DepthBranch(MonodepthNet):
    """Monodepth2's decoder and pose network on the maps of another network's encoder, which has the given name."""

    def __init__(self, encoder: str) -> None:
        super().__init__(MonodepthConfig(encoder=encoder))
        del self.encoder


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float) -> Tensor:
        ctx.share = share
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.share * gradient, None


def scale_gradients(features: Sequence[Tensor], share: float) -> list[Tensor]:
    """The same maps; what flows back through them is multiplied by ``share`` (Klingner et al., ECCV 2020)."""
    return [_ScaledGradient.apply(each, share) for each in features]


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Inside the block all of ``network`` is in evaluation mode; every part's own mode returns afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
