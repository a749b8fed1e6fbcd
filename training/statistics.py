"""Batch normalisation with kept statistics.

A network that trains with the statistics of small batches learns to rely on them, and misses them at run time: what a batch
of eight crops says of the scene is gone. So the last part of a training measures the statistics once, over many batches
(precise statistics; Wu and Johnson, "Rethinking Batch in BatchNorm", 2021), keeps them, and trains on what will run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


def normalisations(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch normalisations of a network that are in training mode."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d) and module.training]


@torch.no_grad()
def measure_statistics(network: nn.Module, forward: Callable[[Any], Any], batches: Iterable[Any]) -> None:
    """Set the running mean and variance of the network's normalisations, those in training mode, to their means over
    ``forward`` of all ``batches``. What the batches never reach stays as it is."""
    norms = normalisations(network)
    before = [(norm.momentum, {name: value.clone() for name, value in norm.state_dict().items()}) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean
    for batch in batches:
        forward(batch)
    for norm, (momentum, state) in zip(norms, before, strict=True):
        norm.momentum = momentum
        if norm.num_batches_tracked == 0:
            norm.load_state_dict(state)
