"""A trained model that tells what may move, and how far things are, while another one trains. It learns nothing and is no part
of the result."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geoseg_ros.backends.loading import load_network
from geoseg_ros.bundle import load_bundle
from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.perception import PerceptionOutput
from geoseg_ros.training.model_file import model_file

SKY_MARGIN = 6
"""Pixels: what is taken for sky beside it may be a twig."""


class Teacher:
    """Semantics, depth and motion of a ``perception`` model file; ``name`` as :func:`model_file` takes it."""

    def __init__(self, name: str, data_root: str) -> None:
        path = model_file(name, data_root)
        bundle = load_bundle(path)
        if bundle.architecture != "perception":
            raise ConfigError(f"the teacher {path} is a '{bundle.architecture}' model, expected 'perception'")
        self.network = load_network(bundle).for_inference()
        self._dynamic = torch.tensor(bundle.labels.dynamic_ids)
        self._sky = torch.tensor(bundle.labels.sky_ids)

    def dynamic(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Pixels of classes whose objects can move, bool B×1×H×W, of images B×3×H×W."""
        return self._is_of(image, intrinsics, self._dynamic)

    def sky(self, image: Tensor, intrinsics: Tensor) -> Tensor:
        """Pixels well inside the sky, bool B×1×H×W; none where the teacher's labels have no such class."""
        near, side = (~self._is_of(image, intrinsics, self._sky)).float(), 2 * SKY_MARGIN + 1
        for kernel, margin in (((side, 1), (SKY_MARGIN, 0)), ((1, side), (0, SKY_MARGIN))):  # as one square would, but faster
            near = F.max_pool2d(near, kernel, stride=1, padding=margin)
        return ~near.bool()

    @torch.no_grad()
    def _is_of(self, image: Tensor, intrinsics: Tensor, classes: Tensor) -> Tensor:
        logits = self.network.to(image.device)(image, intrinsics, heads=("semantic",)).logits
        found = torch.isin(logits.argmax(1, keepdim=True), classes.to(image.device))
        return found.repeat_interleave(2, 2).repeat_interleave(2, 3)

    @torch.no_grad()
    def depth(self, image: Tensor, other: Tensor, intrinsics: Tensor) -> Tensor:
        """Depth in metres, B×1×H×W, of images B×3×H×W, corrected by their parallax against ``other``."""
        return self._of_two(image, other, intrinsics).depth

    @torch.no_grad()
    def moving(self, image: Tensor, other: Tensor, intrinsics: Tensor) -> Tensor:
        """Pixels of ``image`` that have moved by themselves since, or before, ``other``; bool B×1×H×W."""
        return self._of_two(image, other, intrinsics).motion > 0

    def _of_two(self, image: Tensor, other: Tensor, intrinsics: Tensor) -> PerceptionOutput:
        network = self.network.to(image.device)
        return network(image, intrinsics, network(other, heads=()).state, heads=("motion",))
