"""The constants of ego-motion in a stream that were chosen by trying: training/studies/ego_motion_settings.py repeats the choice."""

from __future__ import annotations

from dataclasses import dataclass

from geoseg_ros.egomotion import DEPTH_STD
from geoseg_ros.errors import ConfigError
from geoseg_ros.scale_drift import MEMORY, ROAD_SHARE

MATCHED_SHARE = 0.5
"""The corrected flow is less noisy than the matched one, but confirms the pose that it was corrected with."""


@dataclass(frozen=True)
class EgoMotionSettings:
    """How a stream's ego-motion is found; ConfigError for values that mean nothing.

    ``scale_memory``: seconds for which lengths keep the scale of the frames before, 0 or more, and ``road_share``, 0 … 1: how much
    the camera's height above the road counts in that (:mod:`geoseg_ros.scale_drift`). ``depth_std``: expected relative error of
    depth (:mod:`geoseg_ros.egomotion`), more than 0. ``matched_share``, 0 … 1: of the flow as it was matched; the rest is what
    depth and pose made of it (:mod:`geoseg_ros.networks.parallax`).
    """

    scale_memory: float = MEMORY
    road_share: float = ROAD_SHARE
    depth_std: float = DEPTH_STD
    matched_share: float = MATCHED_SHARE

    def __post_init__(self) -> None:
        if not self.scale_memory >= 0:
            raise ConfigError(f"scale_memory is {self.scale_memory:g} s, expected 0 or more")
        if not self.depth_std > 0:
            raise ConfigError(f"depth_std is {self.depth_std:g}, expected more than 0")
        for name in ("road_share", "matched_share"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} is {value:g}, expected 0 … 1")
