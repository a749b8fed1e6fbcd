"""Metric scale: how many metres one unit of the model's depth and ego-motion is.

One camera cannot see scale. Three things tell it, in this order: odometry (the distance driven between two frames over the
length of the predicted translation), the camera's known height (over its predicted height above the road's plane),
and the scale of the scenes that the model was trained on. Samples of the first two are noisy; the median of the
last ones is robust against slip and bad frames.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.road_plane import RoadPlane

ODOMETRY, ROAD_PLANE, MODEL, NONE = "odometry", "road_plane", "model", "none"

WINDOW = 50
"""Samples remembered."""

ENOUGH = 5
"""Samples from which the scale counts as known."""

MIN_DISTANCE = 0.05
"""Metres between two frames below which a sample says nothing."""

MAX_CAMERA_HEIGHT = 100.0
PLANE_STD = 0.1
"""Relative standard error of the road's plane above which a frame is no sample."""

ODOMETRY_STD, ROAD_PLANE_STD, MODEL_STD = 0.01, 0.03, 0.2
"""What no number of samples takes away, relative: slip, the road's slope and the body's bounce, other scenes."""

MEDIAN_LOSS = math.sqrt(math.pi / 2)
"""Standard error of a median over that of a mean, for Gaussian samples."""

TOLERANCE = 0.1
"""Relative error within which a scale counts as right in its confidence."""


@dataclass(frozen=True)
class Scale:
    """Metres per model unit (1 while unknown), its relative standard error (inf while unknown), and what told it."""

    factor: float
    relative_std: float
    source: str

    @property
    def known(self) -> bool:
        """Whether lengths are metres."""
        return self.source != NONE

    @property
    def confidence(self) -> float:
        """Probability that lengths are right within 10 %, for Gaussian errors; 0 while unknown."""
        return math.erf(TOLERANCE / (math.sqrt(2) * self.relative_std)) if self.known else 0.0


UNKNOWN = Scale(1.0, math.inf, NONE)


def odometry_speed(message: Any) -> float | None:
    """m/s of a ``nav_msgs/Odometry`` (of rclpy or rosbags): the length of its linear twist; None where not finite."""
    linear = message.twist.twist.linear
    speed = math.hypot(linear.x, linear.y, linear.z)
    return speed if math.isfinite(speed) else None


def check_camera_height(height: float) -> None:
    """ConfigError unless ``height`` is 0 (unknown) or a possible height in metres."""
    if not 0 <= height <= MAX_CAMERA_HEIGHT:
        raise ConfigError(
            f"camera_height is {height} m, expected above 0 and up to {MAX_CAMERA_HEIGHT:g} m, or 0 for unknown"
        )


class ScaleFilter:
    """Running median of log(metres / model units), with a standard error that never falls below ``systematic``."""

    def __init__(self, systematic: float = 0.0) -> None:
        self._systematic = systematic
        self._logs: deque[float] = deque(maxlen=WINDOW)

    def update(self, units: float, metres: float) -> None:
        """One length as the model predicts it and as it is; what is not positive and finite does not count."""
        if 0 < units < math.inf and 0 < metres < math.inf:
            ratio = metres / units
            if 0 < ratio < math.inf:
                self._logs.append(math.log(ratio))

    @property
    def known(self) -> bool:
        """Whether there are enough samples."""
        return len(self._logs) >= ENOUGH

    @property
    def factor(self) -> float:
        """Metres per model unit; 1 while unknown."""
        return math.exp(float(np.median(self._logs))) if self.known else 1.0

    @property
    def relative_std(self) -> float:
        """Standard error of the factor relative to it: that of the median, √(π/2) · 1.4826 · MAD / √n, and what is
        systematic; inf while unknown."""
        if not self.known:
            return math.inf
        logs = np.asarray(self._logs)
        spread = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
        return math.hypot(self._systematic, MEDIAN_LOSS * spread / math.sqrt(len(logs)))


class MetricScale:
    """The best scale of one camera stream. ``camera_height``: metres above the road, 0 where it is not known."""

    def __init__(self, model_is_metric: bool, camera_height: float = 0.0) -> None:
        self._fallback = Scale(1.0, MODEL_STD, MODEL) if model_is_metric else UNKNOWN
        self._camera_height = camera_height
        self._odometry = ScaleFilter(ODOMETRY_STD)
        self._road = ScaleFilter(ROAD_PLANE_STD)

    def drove(self, translation: float, distance: float) -> None:
        """Length of the predicted translation between two frames (model units), and the metres driven.

        Frames that hardly moved do not count.
        """
        if distance > MIN_DISTANCE:
            self._odometry.update(translation, distance)

    def saw_road(self, plane: RoadPlane) -> None:
        """The road of a frame, in model units; it counts where the camera's height is known and the plane is sure."""
        if self._camera_height > 0 and plane.relative_std < PLANE_STD:
            self._road.update(plane.height, self._camera_height)

    @property
    def current(self) -> Scale:
        """From odometry, else from the road's plane, else the model's own."""
        for source, samples in ((ODOMETRY, self._odometry), (ROAD_PLANE, self._road)):
            if samples.known:
                return Scale(samples.factor, samples.relative_std, source)
        return self._fallback
