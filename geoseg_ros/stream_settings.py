"""The constants of a stream that were chosen by trying: training/studies/stream_settings.py repeats the choice."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg_ros import depth_memory, scale_drift
from geoseg_ros.egomotion import DEPTH_STD
from geoseg_ros.errors import ConfigError

MATCHED_SHARE = 0.5
"""The corrected flow is less noisy than the matched one, but confirms the pose that it was corrected with."""


@dataclass(frozen=True)
class StreamSettings:
    """How one frame helps the next, and how ego-motion is found; ConfigError for values that mean nothing.

    ``depth_memory``: seconds within which depth forgets earlier frames (:mod:`geoseg_ros.depth_memory`), 0 or more.
    ``scale_memory``: seconds for which lengths keep the scale of the frames before, 0 or more, and ``road_share``, 0 … 1: how
    much the camera's height above the road counts in that (:mod:`geoseg_ros.scale_drift`). ``depth_std``: expected relative error
    of depth (:mod:`geoseg_ros.egomotion`), more than 0. ``matched_share``, 0 … 1: of the flow as it was matched; the rest is what
    depth and pose made of it (:mod:`geoseg_ros.networks.parallax`).
    """

    depth_memory: float = depth_memory.MEMORY
    scale_memory: float = scale_drift.MEMORY
    road_share: float = scale_drift.ROAD_SHARE
    depth_std: float = DEPTH_STD
    matched_share: float = MATCHED_SHARE

    def __post_init__(self) -> None:
        for name in ("depth_memory", "scale_memory"):
            value = getattr(self, name)
            if not value >= 0:
                raise ConfigError(f"{name} is {value:g} s, expected 0 or more")
        if not self.depth_std > 0:
            raise ConfigError(f"depth_std is {self.depth_std:g}, expected more than 0")
        for name in ("road_share", "matched_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value:g}, expected 0 … 1")
