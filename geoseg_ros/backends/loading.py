"""From a bundle to a network with its weights."""

from __future__ import annotations

from torch import nn

from geoseg_ros.bundle import Bundle
from geoseg_ros.errors import BundleError, ConfigError
from geoseg_ros.networks import create_network
from geoseg_ros.networks.segmenter import SegmentationStream, Segmenter


def load_network(bundle: Bundle) -> nn.Module:
    """The bundle's network with its weights, in training form (see ``for_inference``).

    Raises:
        BundleError: unknown architecture or configuration, or weights whose names or shapes do not fit it.
    """
    try:
        network = create_network(bundle.architecture, bundle.config)
    except (ConfigError, TypeError, ValueError) as error:
        raise BundleError(f"the model's architecture cannot be built: {error}") from error
    expected = network.state_dict()
    missing = sorted(expected.keys() - bundle.weights.keys())
    unknown = sorted(bundle.weights.keys() - expected.keys())
    if missing or unknown:
        raise BundleError(
            f"the model's weights do not fit its architecture {bundle.architecture!r}: "
            f"{len(missing)} missing (first: {missing[:1]}), {len(unknown)} unknown (first: {unknown[:1]})"
        )
    for name, value in expected.items():
        if bundle.weights[name].shape != value.shape:
            raise BundleError(
                f"weight {name!r} has shape {tuple(bundle.weights[name].shape)}; "
                f"the architecture expects {tuple(value.shape)}"
            )
    network.load_state_dict(bundle.weights)
    return network


def load_stream_network(bundle: Bundle) -> nn.Module:
    """The bundle's network, ready for inference, with arguments and result of :meth:`PerceptionNet.forward` and its ``heads``.

    Raises:
        BundleError: as :func:`load_network`.
    """
    network = load_network(bundle).for_inference()
    return SegmentationStream(network) if isinstance(network, Segmenter) else network
