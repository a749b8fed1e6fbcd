"""Training tasks by name: which networks, which losses, one step.

A task lives in ``training/tasks/<module>.py`` and registers its class with :func:`register_task`; its
constructor takes the whole :class:`~geoseg_ros.training.config.Recipe` and reads ``recipe.network``,
``recipe.loss``, ``recipe.crop``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.schema import nearest

if TYPE_CHECKING:
    from geoseg_ros.bundle import Bundle
    from geoseg_ros.training.config import Recipe
    from geoseg_ros.training.data.source import Source

DATA_LICENCE = "as the licences of the training data allow (see provenance)"

Batch = dict[str, dict[str, Tensor]]  # source name -> key -> tensor, see training/data/source.py and jitter.py


class Task(Protocol):
    """What the trainer asks of a task.

    ``network`` holds every trained parameter. The trainer sets ``autocast`` before the first step: a function
    that opens the recipe's reduced precision. Run the network inside ``with self.autocast():`` and convert
    its outputs with ``.float()``; geometry and losses stay outside, in float32.
    """

    network: nn.Module
    autocast: Callable[[], AbstractContextManager[Any]]

    def step(self, batch: Batch, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to descend (0-D) and the scalars to log."""

    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Named H×W×3 uint8 RGB pictures of the network's outputs on ``batch``."""

    def bundle(self, provenance: dict[str, Any]) -> Bundle:
        """The model file of the network's present weights."""


@runtime_checkable
class ReadsSources(Protocol):
    """A task that must see the sources before the first step, for example to weigh classes by their labels."""

    def read_sources(self, sources: Mapping[str, Source]) -> None:
        """Called once, with the recipe's sources by name."""


_MODULES = {
    "joint": "geoseg_ros.training.tasks.joint",
    "multitask": "geoseg_ros.training.tasks.multitask",
    "segmentation": "geoseg_ros.training.tasks.segmentation",
    "self_supervised": "geoseg_ros.training.tasks.self_supervised",
}
_TASKS: dict[str, Callable[[Recipe], Task]] = {}


def register_task(name: str) -> Callable[[Any], Any]:
    """Class decorator: make a task known as ``name``."""

    def register(constructor: Any) -> Any:
        _TASKS[name] = constructor
        return constructor

    return register


def create_task(name: str, recipe: Recipe) -> Task:
    """The task called ``name``, built from ``recipe``; ConfigError names the nearest task when there is
    none."""
    if name not in _TASKS and name in _MODULES:
        importlib.import_module(_MODULES[name])
    if name not in _TASKS:
        raise ConfigError(f"task '{name}' does not exist; {nearest(name, sorted({*_TASKS, *_MODULES}))}")
    return _TASKS[name](recipe)
