"""Sizes of images that a recipe names: those of training must suit the encoder; that of run time is a key of ``network`` which
is not the network's own."""

from __future__ import annotations

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.encoder import STRIDE
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.schema import convert

TASK_KEYS = ("name", "input_size")
"""Keys of the recipe's ``network`` that a task reads itself."""


def check_crops(recipe: Recipe) -> None:
    """ConfigError unless the encoder can halve every crop of the run."""
    for crop in recipe.crops:
        if any(side % STRIDE for side in crop):
            raise ConfigError(f"crop is {list(crop)}, expected multiples of {STRIDE}")


def input_size(recipe: Recipe) -> tuple[int, int]:
    """``network.input_size`` (width, height), by default the crop; ConfigError where it is none."""
    size = convert(tuple[int, int], recipe.network.get("input_size") or recipe.crop, "network: input_size")
    if min(size) < STRIDE:
        raise ConfigError(f"network: input_size is {list(size)}, expected at least {STRIDE} pixels each")
    return size


def network_settings(recipe: Recipe) -> dict[str, object]:
    """The keys of ``network`` that are the network's own."""
    return {key: value for key, value in recipe.network.items() if key not in TASK_KEYS}
