"""Networks by name: ``create_network("perception", {"encoder": "lite"})``.

A network is described by its name and a small typed configuration, the pair that a model file stores.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from torch import nn

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks.bisenet import BiSeNet, BiSeNetConfig
from geoseg_ros.networks.fpn import FPN, FPNConfig
from geoseg_ros.networks.linknet import LinkNet, LinkNetConfig
from geoseg_ros.networks.monodepth import MonodepthConfig, MonodepthNet
from geoseg_ros.networks.perception import PerceptionConfig, PerceptionNet
from geoseg_ros.networks.pspnet import PSPNet, PSPNetConfig
from geoseg_ros.networks.segmenter import SegmenterConfig
from geoseg_ros.networks.topdown import TopDown, TopDownConfig
from geoseg_ros.networks.unet import UNet

NETWORKS: dict[str, tuple[type, type[nn.Module]]] = {
    "bisenet": (BiSeNetConfig, BiSeNet),
    "fpn": (FPNConfig, FPN),
    "linknet": (LinkNetConfig, LinkNet),
    "monodepth": (MonodepthConfig, MonodepthNet),
    "perception": (PerceptionConfig, PerceptionNet),
    "pspnet": (PSPNetConfig, PSPNet),
    "topdown": (TopDownConfig, TopDown),
    "unet": (SegmenterConfig, UNet),
}


def create_network(name: str, config: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network from its name and configuration values.

    Raises:
        ConfigError: unknown name, unknown configuration key, or a value of the wrong type.
    """
    if name not in NETWORKS:
        raise ConfigError(f"network is {name!r}; expected one of {', '.join(sorted(NETWORKS))}")
    config_type, network_type = NETWORKS[name]
    known = {field.name: field for field in dataclasses.fields(config_type)}
    for key in config or {}:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ConfigError(f"network {name!r} has no setting {key!r}; the nearest one is {nearest!r}")
    return network_type(config_type(**(config or {})))
