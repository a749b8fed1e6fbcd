"""PyTorch without Python between the operations: on a CPU, where a frame is some thousand small ones, that is faster.

The stream's ordinary step (all heads, camera and previous frame known) is traced once for each image size and then
replayed; every other step runs as in the eager backend. Where semantics is all that a network has, the image is all that its
ordinary step needs.
"""

from __future__ import annotations

import warnings
from itertools import islice

import torch
from torch import Tensor, nn

from geoseg_ros.backends.eager import EagerBackend
from geoseg_ros.bundle import Bundle
from geoseg_ros.networks.perception import HEADS, PerceptionOutput, State

SEMANTIC = frozenset({"semantic"})


class TracedBackend(EagerBackend):
    """As :class:`EagerBackend`, with the same results."""

    def __init__(self, bundle: Bundle, device: str, precision: str):
        super().__init__(bundle, device, precision)
        self._steps: dict[torch.Size, tuple[torch.jit.ScriptModule, _Layout]] = {}

    def run(
        self, image: Tensor, intrinsics: Tensor | None, previous: State | None, heads: frozenset[str]
    ) -> PerceptionOutput:
        beside = self._beside_the_image(intrinsics, previous, heads)
        if beside is None:
            return super().run(image, intrinsics, previous, heads)
        with torch.inference_mode():
            arguments = (image.to(self.device, memory_format=torch.channels_last), *beside)
            if image.shape not in self._steps:
                self._steps[image.shape] = self._trace(arguments)
            step, layout = self._steps[image.shape]
            return _unflatten(step(*arguments), layout)

    def _beside_the_image(
        self, intrinsics: Tensor | None, previous: State | None, heads: frozenset[str]
    ) -> tuple[Tensor, ...] | None:
        """What else the traced step takes; ``None`` where the step is not the ordinary one."""
        if self.heads == SEMANTIC:
            return () if heads >= SEMANTIC else None
        if previous is None or intrinsics is None or heads != frozenset(HEADS):
            return None
        return (intrinsics.to(self.device), *previous)

    def _trace(self, arguments: tuple[Tensor, ...]) -> tuple[torch.jit.ScriptModule, _Layout]:
        step = _Step(self.network).eval()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes become constants, as they should: one trace for each
            with self.autocast(cache=False):
                traced = torch.jit.trace(step, arguments, check_trace=False)
            return torch.jit.freeze(traced), step.layout  # outside: freezing computes constants, in full precision


_Layout = dict[str, int | None]
"""Fields of ``PerceptionOutput`` that a network gives: how many tensors, or None for one that stands alone."""


class _Step(nn.Module):
    """The ordinary step with tensors in and tensors out."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.layout: _Layout = {}

    def forward(self, image: Tensor, intrinsics: Tensor | None = None, *previous: Tensor) -> tuple[Tensor, ...]:
        given = {name: value for name, value in self.network(image, intrinsics, previous)._asdict().items() if value is not None}
        self.layout = {name: None if isinstance(value, Tensor) else len(value) for name, value in given.items()}
        return tuple(
            tensor for value in given.values() for tensor in ([value] if isinstance(value, Tensor) else value)
        )


def _unflatten(tensors: tuple[Tensor, ...], layout: _Layout) -> PerceptionOutput:
    fields, rest = dict.fromkeys(PerceptionOutput._fields), iter(tensors)
    for name, count in layout.items():
        fields[name] = next(rest) if count is None else tuple(islice(rest, count))
    return PerceptionOutput(**fields)
