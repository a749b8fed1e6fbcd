"""PyTorch, as it comes: the reference that the other backends are compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from geoseg_ros.backends.loading import load_stream_network
from geoseg_ros.backends.precision import PRECISIONS
from geoseg_ros.bundle import Bundle
from geoseg_ros.networks.blocks import store_convolutions_as
from geoseg_ros.networks.perception import PerceptionOutput, State


class EagerBackend:
    """Runs the network with fused blocks in channels-last memory; half precision by autocast."""

    def __init__(self, bundle: Bundle, device: str, precision: str):
        self.device = torch.device(device)
        self.dtype = PRECISIONS[precision]
        network = store_convolutions_as(self.dtype, load_stream_network(bundle))
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.heads = frozenset(network.heads)

    @torch.inference_mode()
    def run(
        self, image: Tensor, intrinsics: Tensor | None, previous: State | None, heads: frozenset[str]
    ) -> PerceptionOutput:
        image = image.to(self.device, memory_format=torch.channels_last)
        intrinsics = None if intrinsics is None else intrinsics.to(self.device)
        with self.autocast():
            return self.network(image, intrinsics, previous, heads)

    def autocast(self, cache: bool = True) -> torch.autocast:
        """The context that computes in the wanted precision; ``cache``: of converted weights."""
        half = self.dtype is not torch.float32
        return torch.autocast(self.device.type, self.dtype, enabled=half, cache_enabled=cache)
