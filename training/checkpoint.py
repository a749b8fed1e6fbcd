"""Checkpoints without pickle: one safetensors file with network, optimizer and averaged weights, its header
the counters.

The file is written beside and renamed, so a run killed at any moment finds its last complete checkpoint.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.optimizers import MovingAverage

_HEADER = "geoseg_checkpoint"
_FORMAT = 1


@dataclass
class TrainingState:
    """What a run needs to go on exactly: ``step`` is the number of finished steps."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: MovingAverage | None
    step: int = 0


def save_checkpoint(state: TrainingState, path: Path) -> None:
    """Write the state to ``path``, atomically."""
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    for index, entries in state.optimizer.state_dict()["state"].items():
        tensors.update(
            {f"optimizer.{index}.{key}": value for key, value in entries.items() if value is not None}
        )
    header = {"format": _FORMAT, "step": state.step}
    if state.average is not None:
        values, header["average_updates"] = state.average.state()
        tensors.update({f"average.{name}": value for name, value in values.items()})
    temporary = path.with_name(f".{path.name}.partial")
    independent = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in tensors.items()
    }
    save_file(independent, temporary, metadata={_HEADER: json.dumps(header)})
    os.replace(temporary, path)


def load_checkpoint(state: TrainingState, path: Path) -> None:
    """Restore the state that :func:`save_checkpoint` wrote; ConfigError when the file does not fit the
    network."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ConfigError(f"the checkpoint {path} is missing or damaged: {error}") from error
    if header.get("format") != _FORMAT:
        raise ConfigError(
            f"the checkpoint {path} has format {header.get('format')}, this version reads {_FORMAT}"
        )
    try:
        state.network.load_state_dict(_part(tensors, "network."))
    except RuntimeError as error:
        raise ConfigError(f"the checkpoint {path} is of another network: {error}") from error
    _load_optimizer(state.optimizer, _part(tensors, "optimizer."))
    if state.average is not None:
        state.average.load(_part(tensors, "average."), header["average_updates"])
    state.step = header["step"]


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        entries.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if value.shape == parameter.shape:  # the memory layout of the parameter, as before the checkpoint
                state[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
