"""Weights that a run starts from: a model file, or an encoder's weights as torchvision saves them (ImageNet)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from geoseg_ros.bundle import MAX_FILE_BYTES, METADATA_KEY, load_bundle
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.model_file import model_file

ENCODER = "encoder."
TORCH_SUFFIXES = (".pt", ".pth")


def initialise(network: nn.Module, recipe: Recipe) -> tuple[str, list[dict[str, Any]]]:
    """Copy the weights of the file ``recipe.init`` where name and shape match; returns the report of
    the match, and the runs that made that file: name, steps and git commit of each, oldest first."""
    path = model_file(recipe.init, recipe.data_root)
    own = network.state_dict()
    found, provenance = load_pretrained(path)
    matching = {
        name: value for name, value in found.items() if name in own and own[name].shape == value.shape
    }
    if not matching:
        raise ConfigError(f"init: no weight of {path} has a name and shape of this recipe's network")
    network.load_state_dict(matching, strict=False)
    missing = [name for name in own if name not in matching]
    unused = [name for name in found if name not in matching]
    report = (
        f"weights from {path}: {len(matching)} of {len(own)} taken"
        f"{_examples('kept as initialised', missing)}{_examples('not used', unused)}"
    )
    return report, runs_behind(provenance)


def runs_behind(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs behind a model file, from its header, which may hold anything."""
    history, recipe = provenance.get("history"), provenance.get("recipe")
    run = {
        "name": recipe.get("name") if isinstance(recipe, dict) else None,
        "steps": provenance.get("steps"),
        "git_commit": provenance.get("git_commit"),
    }
    return [*(history if isinstance(history, list) else []), run]


def load_pretrained(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights by name, floats as float32, and the provenance that the file tells.

    A model file's weights keep their names. Those of a state dict (.pth, .pt, or .safetensors without a model file's header) are
    an encoder's: ``conv1.weight`` becomes ``encoder.conv1.weight``; its provenance is its name. Nothing in a file is executed.

    Raises:
        BundleError: a model file that cannot be used.
        ConfigError: a .pth or .pt file that is not a state dict.
    """
    if path.suffix in TORCH_SUFFIXES:
        weights = _load_torch(path)
    elif _is_model_file(path):
        bundle = load_bundle(path)
        return bundle.weights, bundle.provenance
    else:
        weights = load_file(path)
    named = {f"{ENCODER}{name}": value.float() if value.is_floating_point() else value for name, value in weights.items()}
    return named, {"recipe": {"name": path.name}}


def _is_model_file(path: Path) -> bool:
    """Whether the header is a model file's; true also for what cannot be read, of which load_bundle says why."""
    try:
        with safe_open(path, "pt") as file:
            return METADATA_KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return True


def _load_torch(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ConfigError(f"init: {path} has {size} bytes, expected at most {MAX_FILE_BYTES}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"init: {path} is no file of weights alone: {reason}") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConfigError(f"init: {path} holds a {type(content).__name__}, expected a state dict: names and tensors")
    return content


def _examples(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"; {len(names)} {what} ({shown})" if names else ""
