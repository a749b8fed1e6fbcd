"""Optimizer, learning-rate schedule and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from geoseg_ros.training.config import OptimizerConfig, ScheduleConfig


def create_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over the network's trainable parameters; vectors (norms, biases) have no weight decay."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps)


def learning_rate(step: int, steps: int, peak: float, config: ScheduleConfig) -> float:
    """The learning rate of 0-based ``step`` out of ``steps``: linear warm-up to ``peak``, then the schedule's
    fall."""
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    if config.name == "step":
        return peak * config.factor ** sum(step >= share * steps for share in config.at)
    progress = min(1.0, (step - config.warmup) / max(1, steps - 1 - config.warmup))
    share = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "poly": (1 - progress) ** config.power,
        "constant": 1.0,
    }[config.name]
    return peak * (config.final + (1 - config.final) * share)


class MovingAverage:
    """Exponential moving average of a network's parameters and floating-point buffers (batch-norm
    statistics).

    After the n-th update the weight of the past is min(decay, (1 + n)/(10 + n)), so that early steps are
    forgotten. Buffers that are not floating point are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        present = network.state_dict()
        floating = [name for name, value in self.values.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.values[n] for n in floating], [present[n] for n in floating], weight)
        for name in self.values.keys() - set(floating):
            self.values[name].copy_(present[name])

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Inside the block the network holds the averaged weights; its own return afterwards."""
        own = {name: value.detach().clone() for name, value in network.state_dict().items()}
        network.load_state_dict(self.values)
        try:
            yield
        finally:
            network.load_state_dict(own)

    def state(self) -> tuple[dict[str, Tensor], int]:
        """The averaged tensors and the number of updates, for a checkpoint."""
        return self.values, self.updates

    def load(self, values: dict[str, Tensor], updates: int) -> None:
        """Restore what :meth:`state` gave."""
        for name, value in self.values.items():
            value.copy_(values[name])
        self.updates = updates
