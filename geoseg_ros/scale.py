"""Metric scale: how many metres one unit of the model's depth and ego-motion is, from odometry.

One camera cannot see scale. Where the robot knows its speed, the distance it drove between two frames over the length of
the predicted translation is a noisy sample of it; the median of the last samples is robust against slip and bad frames.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

WINDOW = 50
"""Samples remembered."""

ENOUGH = 5
"""Samples from which the scale counts as known."""

MIN_DISTANCE = 0.05
"""Metres between two frames below which a sample says nothing."""


def odometry_speed(message: Any) -> float | None:
    """m/s of a ``nav_msgs/Odometry`` (of rclpy or rosbags): the length of its linear twist; None where not finite."""
    linear = message.twist.twist.linear
    speed = math.hypot(linear.x, linear.y, linear.z)
    return speed if math.isfinite(speed) else None


class ScaleFilter:
    """Running median of log(distance / translation)."""

    def __init__(self) -> None:
        self._logs: deque[float] = deque(maxlen=WINDOW)

    def update(self, translation: float, distance: float) -> None:
        """One pair of frames: length of the predicted translation (model units) and distance driven (metres).

        Pairs that hardly moved, or are not finite, do not count.
        """
        if translation > 0 and MIN_DISTANCE < distance < math.inf and math.isfinite(translation):
            ratio = distance / translation
            if math.isfinite(ratio):
                self._logs.append(math.log(ratio))

    @property
    def known(self) -> bool:
        """Whether there are enough samples."""
        return len(self._logs) >= ENOUGH

    @property
    def scale(self) -> float:
        """Metres per model unit; 1 while unknown."""
        return math.exp(float(np.median(self._logs))) if self.known else 1.0

    @property
    def relative_std(self) -> float:
        """Standard error of the scale relative to it (1.4826 · MAD / √n); infinite while unknown."""
        if not self.known:
            return math.inf
        logs = np.asarray(self._logs)
        return float(1.4826 * np.median(np.abs(logs - np.median(logs))) / math.sqrt(len(logs)))
