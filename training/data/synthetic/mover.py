"""One that moves by itself: a figure on a path, and where it is at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.ground import Curve, Ground
from geoseg_ros.training.data.synthetic.people import Figure


@dataclass(frozen=True)
class Mover:
    """A figure that follows a path: distances along it (m) at ``times``; ``radius`` (m) for keeping clear of
    others."""

    figure: Figure
    path: Curve
    times: np.ndarray
    travelled: np.ndarray
    above: float
    radius: float
    cycle: float = 0.0

    def distance(self, time: float) -> float:
        """Distance along the path at a time (s)."""
        return float(np.interp(time, self.times, self.travelled))

    def part_poses(self, body: np.ndarray, time: float) -> list[np.ndarray]:
        """World poses of the figure's parts, given its 4×4 pose at that time."""
        cycle = self.cycle + self.distance(time) / self.figure.stride
        return [body @ part.local(cycle) for part in self.figure.parts]


def body_poses(movers: Sequence[Mover], ground: Ground, time: float) -> np.ndarray:
    """World poses M×4×4 of M movers at a time."""
    distances = [mover.distance(time) for mover in movers]
    xy = np.array([mover.path.point(s) for mover, s in zip(movers, distances, strict=True)]).reshape(-1, 2)
    yaw = np.array([mover.path.yaw(s) for mover, s in zip(movers, distances, strict=True)])
    return ground.resting(xy, yaw, np.array([mover.above for mover in movers]))
