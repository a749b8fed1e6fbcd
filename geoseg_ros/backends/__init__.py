"""Ways to run the network: same inputs, same outputs, chosen by name."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from geoseg_ros.backends.precision import resolve_precision
from geoseg_ros.bundle import Bundle
from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.perception import PerceptionOutput, State

BACKENDS = ("auto", "eager", "traced")


class Backend(Protocol):
    """Runs a network that is ready for inference; ``heads`` are those that it has."""

    heads: frozenset[str]

    def run(
        self, image: Tensor, intrinsics: Tensor | None, previous: State | None, heads: frozenset[str]
    ) -> PerceptionOutput:
        """One step; arguments and result as in :meth:`geoseg_ros.networks.perception.PerceptionNet.forward`."""


def create_backend(name: str, bundle: Bundle, device: str, precision: str) -> Backend:
    """The backend of that name with the bundle's network loaded.

    Args:
        name: one of ``BACKENDS``; ``auto`` takes the fastest that is installed for the device.
        device: a torch device such as ``cpu`` or ``cuda:0``.
        precision: ``float32``, ``float16`` or ``bfloat16``, or ``auto`` for the fastest on the device.

    Raises:
        ConfigError: unknown backend or precision.
        BundleError: weights that do not fit the architecture.
    """
    if name not in BACKENDS:
        raise ConfigError(f"backend is {name!r}; expected one of {', '.join(BACKENDS)}")
    precision = resolve_precision(precision, device)
    if name == "traced" or (name == "auto" and device == "cpu"):
        from geoseg_ros.backends.traced import TracedBackend

        return TracedBackend(bundle, device, precision)
    from geoseg_ros.backends.eager import EagerBackend

    return EagerBackend(bundle, device, precision)
