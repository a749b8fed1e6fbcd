"""A trained model that tells what may move, while another one trains. It learns nothing and is no part of the result."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from geoseg_ros.backends.loading import load_network
from geoseg_ros.bundle import default_bundle_path, load_bundle
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.source import find_data

DEFAULT = "default"
"""Stands for the model that is installed with the package."""


def model_file(name: str, data_root: str) -> Path:
    """The model file of that name (see :func:`~geoseg_ros.training.data.source.find_data`), or the installed one: DEFAULT."""
    return default_bundle_path() if name == DEFAULT else find_data(name, data_root)


class Teacher:
    """Semantics and motion of a ``perception`` model file; ``name`` is its path, or DEFAULT."""

    def __init__(self, name: str, data_root: str) -> None:
        path = model_file(name, data_root)
        bundle = load_bundle(path)
        if bundle.architecture != "perception":
            raise ConfigError(f"the teacher {path} is a '{bundle.architecture}' model, expected 'perception'")
        self.network = load_network(bundle).for_inference()
        self._dynamic = torch.tensor(bundle.labels.dynamic_ids)

    @torch.no_grad()
    def dynamic(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Pixels of classes whose objects can move, bool B×1×H×W, of images B×3×H×W."""
        logits = self.network.to(image.device)(image, intrinsics, heads=("semantic",)).logits
        dynamic = torch.isin(logits.argmax(1, keepdim=True), self._dynamic.to(image.device))
        return dynamic.repeat_interleave(2, 2).repeat_interleave(2, 3)

    @torch.no_grad()
    def moving(self, image: Tensor, other: Tensor, intrinsics: Tensor) -> Tensor:
        """Pixels of ``image`` that have moved by themselves since, or before, ``other``; bool B×1×H×W."""
        network = self.network.to(image.device)
        state = network(other, heads=()).state
        return network(image, intrinsics, state, heads=("motion",)).motion > 0
