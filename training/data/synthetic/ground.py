"""The lie of the land: heights of the ground, and curves that run over it."""

from __future__ import annotations

import numpy as np


class Ground:
    """Gentle hills: a sum of plane waves of 150–500 m; ``scale`` 0 is flat. World frame: z up, metres."""

    def __init__(self, rng: np.random.Generator, scale: float) -> None:
        wavelength = rng.uniform(150, 500, 4)
        angle = rng.uniform(0, 2 * np.pi, 4)
        self._wave = 2 * np.pi / wavelength[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        slope = rng.uniform(0.0, 0.022, 4) * scale * (rng.random() < 0.7)
        self._amplitude = slope * wavelength / (2 * np.pi)
        self._phase = rng.uniform(0, 2 * np.pi, 4)

    def height(self, xy: np.ndarray) -> np.ndarray:
        """Heights (...) at points (..., 2)."""
        return (np.sin(np.asarray(xy) @ self._wave.T + self._phase) * self._amplitude).sum(-1)

    def slope(self, xy: np.ndarray) -> np.ndarray:
        """Gradients (..., 2) of the height."""
        return (np.cos(np.asarray(xy) @ self._wave.T + self._phase) * self._amplitude) @ self._wave

    def lift(self, xy: np.ndarray, above: np.ndarray | float = 0.0) -> np.ndarray:
        """Points (..., 3) at a height above the ground."""
        xy = np.asarray(xy, float)
        return np.concatenate([xy, (self.height(xy) + above)[..., None]], -1)

    def upright(self, xy: np.ndarray, yaw: float, above: float = 0.0) -> np.ndarray:
        """4×4 pose of something that stands vertically on the ground."""
        c, s = np.cos(yaw), np.sin(yaw)
        x, y = float(xy[0]), float(xy[1])
        return np.array(
            [[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, float(self.height([x, y])) + above], [0, 0, 0, 1.0]]
        )

    def resting(self, xy: np.ndarray, yaw: np.ndarray, above: np.ndarray | float = 0.0) -> np.ndarray:
        """Poses (..., 4, 4) of vehicles whose wheels follow the slope; xy (..., 2), yaw (...)."""
        xy = np.asarray(xy, float)
        gradient = self.slope(xy)
        c, s = np.cos(yaw), np.sin(yaw)
        # forward: along the heading, as steep as the ground; left: across it, then made normal to forward
        forward = np.stack([c, s, gradient[..., 0] * c + gradient[..., 1] * s], -1)
        forward /= np.sqrt((forward**2).sum(-1, keepdims=True))
        left = np.stack([-s, c, gradient[..., 1] * c - gradient[..., 0] * s], -1)
        left -= forward * (forward * left).sum(-1, keepdims=True)
        left /= np.sqrt((left**2).sum(-1, keepdims=True))
        poses = np.zeros((*xy.shape[:-1], 4, 4))
        poses[..., :3, 0] = forward
        poses[..., :3, 1] = left
        poses[..., :3, 2] = np.cross(forward, left)
        poses[..., :3, 3] = self.lift(xy, above)
        poses[..., 3, 3] = 1
        return poses


class Curve:
    """A plane curve by arc length s (metres); t is the distance to its left."""

    def __init__(self, xy: np.ndarray, start: float = 0.0) -> None:
        """xy: N×2 points; start: the arc length of the first."""
        self.xy = np.asarray(xy, float)
        steps = np.diff(self.xy, axis=0)
        self.s = start + np.concatenate([[0], np.cumsum(np.hypot(*steps.T))])
        angles = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
        middle = (self.s[1:] + self.s[:-1]) / 2
        self._yaw = np.interp(self.s, middle, angles)

    @property
    def start(self) -> float:
        """Arc length of the first point."""
        return float(self.s[0])

    @property
    def end(self) -> float:
        """Arc length of the last point."""
        return float(self.s[-1])

    def yaw(self, s: np.ndarray) -> np.ndarray:
        """Heading (radians) at arc length."""
        return np.interp(s, self.s, self._yaw)

    def curvature(self, s: np.ndarray) -> np.ndarray:
        """Curvature (1/m) at arc length, over four metres."""
        return (self.yaw(np.asarray(s) + 2.0) - self.yaw(np.asarray(s) - 2.0)) / 4.0

    def point(self, s: np.ndarray, t: np.ndarray | float = 0.0) -> np.ndarray:
        """World points (..., 2) at arc length s and t to the left; s past the ends goes straight on."""
        s, t = np.broadcast_arrays(np.asarray(s, float), np.asarray(t, float))
        inside = np.clip(s, self.s[0], self.s[-1])
        over = s - inside
        yaw = self.yaw(inside)
        x = np.interp(inside, self.s, self.xy[:, 0]) + over * np.cos(yaw) - t * np.sin(yaw)
        y = np.interp(inside, self.s, self.xy[:, 1]) + over * np.sin(yaw) + t * np.cos(yaw)
        return np.stack([x, y], -1)

    def lane(self, start: float, end: float, t: float, step: float = 1.0) -> Curve:
        """The curve that runs beside this one from start to end (backwards where end < start)."""
        count = max(2, int(abs(end - start) / step) + 1)
        return Curve(self.point(np.linspace(start, end, count), t))

    def distance(self, xy: np.ndarray) -> np.ndarray:
        """Distances (...) of points (..., 2) to the curve's samples."""
        xy = np.asarray(xy, float)
        samples = self.xy[:: max(1, len(self.xy) // 600)]
        return np.sqrt(((xy[..., None, :] - samples) ** 2).sum(-1).min(-1))
