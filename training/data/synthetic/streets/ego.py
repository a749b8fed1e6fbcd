"""The vehicle that carries the camera: a drivable path, a speed over time, and its shaking."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.data.synthetic.config import StreetConfig
from geoseg_ros.training.data.synthetic.ground import Curve
from geoseg_ros.training.data.synthetic.streets.layout import Layout

TIME_STEP = 0.02
LEAD_TIME = 1.0  # seconds before the first frame that are known too
_FRONT = 1.2  # the camera sits this far ahead of the reference point of the body (m)


def speed_profile(rng: np.random.Generator, duration: float) -> np.ndarray:
    """Wished speeds (m/s) every TIME_STEP from -LEAD_TIME: stretches of constant acceleration between 0 and
    15 m/s."""
    count = int((duration + LEAD_TIME) / TIME_STEP) + 2
    speed = 0.0 if rng.random() < 0.12 else float(rng.uniform(1.5, 14.0))
    speeds, target, rate, left = np.empty(count), speed, 1.0, 0
    for index in range(count):
        if left <= 0:
            choice = rng.random()
            target = 0.0 if choice < 0.12 else float(rng.uniform(3.0, 15.0))
            if choice > 0.75:
                target = speed
            rate = float(rng.uniform(0.5, 2.5))
            left = int(rng.uniform(1.5, 6.0) / TIME_STEP)
        speed += float(np.clip(target - speed, -rate * TIME_STEP, rate * TIME_STEP))
        speeds[index] = max(speed, 0.0)
        left -= 1
    return speeds


class Ego:
    """Camera poses over time on a street."""

    def __init__(
        self, rng: np.random.Generator, layout: Layout, config: StreetConfig, speeds: np.ndarray
    ) -> None:
        self._layout = layout
        self.start = 0.0  # distance along the path at time 0
        self.path = self._path(rng, layout)
        self.times = -LEAD_TIME + TIME_STEP * np.arange(len(speeds))
        self.travelled = self._drive(speeds)
        amplitude = config.vibration * rng.uniform(0.2, 1.0)
        self._frequency = rng.uniform(0.7, 3.5, (3, 3))
        self._phase = rng.uniform(0, 2 * np.pi, (3, 3))
        # bounce (m), pitch and roll (rad)
        self._shake = amplitude * np.array([[0.008], [0.0035], [0.0025]]) * rng.uniform(0.2, 1.0, (3, 3))
        yaw_offset = float(rng.normal(0, 0.01))
        self.mount = _euler(config.mount_roll, config.mount_pitch, yaw_offset, config.camera_height)
        """4×4 body_from_camera (optical frame)."""
        self.mount[0, 3] = _FRONT
        self.mount[:3, :3] = self.mount[:3, :3] @ BODY_FROM_OPTICAL

    def _path(self, rng: np.random.Generator, layout: Layout) -> Curve:
        """The own lane, with a turn into a side road now and then, and gentle weaving."""
        curve, lane = layout.main.curve, -layout.drive * layout.section.lane_width * 0.5
        arms = [r for r in layout.sides if self._junction(layout, r) > 15]
        if arms and rng.random() < 0.3:
            arm = min(arms, key=lambda r: self._junction(layout, r))
            s = self._junction(layout, arm)
            left = np.sin(arm.curve.yaw(0.0) - curve.yaw(s)) > 0
            near = left == (layout.drive < 0)
            reach = float(rng.uniform(5.0, 7.0) if near else rng.uniform(8.0, 11.0))
            target_lane = -layout.drive * arm.section.lane_width * 0.5
            if rng.random() < 0.6:
                self.start = s - reach - float(rng.uniform(0, 9))
            before = curve.point(np.arange(curve.start, s - reach, 1.0), lane)
            after = arm.curve.point(np.arange(reach, arm.end, 1.0), target_lane)
            corner = _meeting(before[-1], curve.yaw(s), after[0], arm.curve.yaw(0.0))
            k = np.linspace(0, 1, 24)[1:-1, None]
            bend = (1 - k) ** 2 * before[-1] + 2 * k * (1 - k) * corner + k**2 * after[0]
            return Curve(np.concatenate([before, bend, after]), curve.start)
        s = np.arange(curve.start, curve.end, 1.0)
        weave = np.zeros_like(s)
        if rng.random() < 0.6:
            weave = rng.uniform(0, 0.35) * np.sin(2 * np.pi * s / rng.uniform(35, 90) + rng.uniform(0, 6.3))
        return Curve(curve.point(s, lane + weave), curve.start)

    @staticmethod
    def _junction(layout: Layout, arm) -> float:
        return float(layout.main.curve.s[np.argmin(((layout.main.curve.xy - arm.curve.xy[0]) ** 2).sum(1))])

    def _drive(self, wished: np.ndarray) -> np.ndarray:
        """Distance along the path over time, slowing down for bends."""
        path = self.path
        bend = np.abs(path.curvature(path.s)) + 1e-4
        limit = np.sqrt(2.2 / bend)
        for index in range(len(limit) - 2, -1, -1):  # brake in time
            step = path.s[index + 1] - path.s[index]
            limit[index] = min(limit[index], np.sqrt(limit[index + 1] ** 2 + 2 * 2.5 * step))
        s = self.start - TIME_STEP * float(wished[: int(LEAD_TIME / TIME_STEP)].sum())
        result = np.empty(len(wished))
        for index, speed in enumerate(wished):
            result[index] = s
            s += TIME_STEP * min(speed, float(np.interp(s, path.s, limit)))
        return result + self.start - np.interp(0.0, self.times, result)

    def body(self, time: float) -> np.ndarray:
        """4×4 pose of the vehicle in the world (x forward, y left, z up, on the ground)."""
        s = float(np.interp(time, self.times, self.travelled))
        rest = self._layout.ground.resting(self.path.point(s), np.asarray(self.path.yaw(s)))
        speed = (
            float(np.interp(time, self.times, self.travelled))
            - float(np.interp(time - 0.1, self.times, self.travelled))
        ) / 0.1
        moving = min(1.0, 0.08 + abs(speed) / 6.0)
        bounce, pitch, roll = (self._shake * np.sin(2 * np.pi * self._frequency * time + self._phase)).sum(
            1
        ) * moving
        return rest @ _euler(roll, pitch, 0.0, bounce)

    def world_from_camera(self, time: float) -> np.ndarray:
        """4×4 pose of the camera's optical frame in the world."""
        return self.body(time) @ self.mount


def _direction(yaw: float) -> np.ndarray:
    return np.array([np.cos(yaw), np.sin(yaw)])


def _meeting(a: np.ndarray, yaw_a: float, b: np.ndarray, yaw_b: float) -> np.ndarray:
    """Where the straight lines through a and b meet."""
    k = np.linalg.solve(np.stack([_direction(yaw_a), -_direction(yaw_b)], -1), b - a)
    return a + k[0] * _direction(yaw_a)


def _euler(roll: float, pitch: float, yaw: float, up: float) -> np.ndarray:
    """Roll about x, pitch about y (positive looks down), yaw about z, then raised."""
    cr, sr, cp, sp, cy, sy = (
        np.cos(roll),
        np.sin(roll),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(yaw),
        np.sin(yaw),
    )
    result = np.eye(4)
    result[:3, :3] = (
        np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    )
    result[2, 3] = up
    return result
