"""Depth that remembers what earlier frames showed.

Each frame's depth comes from one picture and from the parallax against the frame before (networks/parallax.py). What earlier
pairs showed is lost, but where the camera went since is known. So for every pixel the depth of the frame before, moved along,
and the present one are two measurements of ln z, and their mean by inverse variances is the better one (Kalman 1960; Matthies,
Kanade and Szeliski, IJCV 1989). In units of what a single picture knows, a frame's depth has the precision

    1 + g² · (DEPTH_STD / FLOW_STD)²,   g = dp' / d ln r,

g in pixels at half size, where this is done, and the constants those of the network's own parallax. Precisions add up, and fade
within MEMORY, since errors of successive frames are much alike. Where both differ by more than CUT, what is seen is not the
same: an edge has covered it, or it moved. Tukey's biweight lets go of it, and so does what can move by itself.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from geoseg_ros.networks.parallax import DEPTH_STD, FLOW_STD

MEMORY = 0.3
"""Seconds. On streets that models train on nothing is better (training/studies/stream_settings.py)."""

CUT = 0.3
"""Of ln z."""

NEAREST, FARTHEST = 1e-3, 1e3
"""Depths are held between these, in the network's units."""


class DepthMemory:
    """Merges the depth of one stream's frames. What earlier frames showed fades within ``memory`` seconds, at 0 at once."""

    def __init__(self, memory: float = MEMORY) -> None:
        self._memory = memory
        self._inverse: np.ndarray | None = None
        self._precision: np.ndarray | None = None

    def forget(self) -> None:
        """For a frame without depth: the next one has no predecessor."""
        self._inverse = self._precision = None

    def update(
        self, depth: np.ndarray, K: np.ndarray, previous_from_current: np.ndarray | None, still: np.ndarray, dt: float
    ) -> np.ndarray:
        """The frame's depth H×W, merged with those before.

        depth H×W in the lengths of the frame before, positive, +inf where infinitely far; K 3×3 at that size;
        previous_from_current 4×4 in the same lengths, None where there is no previous frame; still, bool H×W: what cannot move
        by itself; dt in seconds.
        """
        if self._memory == 0:
            return depth
        height, width = depth.shape
        half = (width // 2, height // 2)
        with np.errstate(divide="ignore"):
            inverse = cv2.resize(1 / depth, half, interpolation=cv2.INTER_AREA)  # linear in the pixels of a plane
        inverse = np.clip(inverse, 1 / FARTHEST, 1 / NEAREST)
        precision = np.ones_like(inverse)
        if self._inverse is not None and self._inverse.shape == inverse.shape and previous_from_current is not None:
            moved = _Moved.of(inverse, np.asarray(K), previous_from_current)
            precision += np.float32((DEPTH_STD / FLOW_STD) ** 2) * moved.squared_parallax
            before = cv2.remap(self._inverse, moved.u, moved.v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            departure = -np.log(before * moved.depth)
            kept = cv2.remap(self._precision, moved.u, moved.v, cv2.INTER_LINEAR)
            kept *= np.float32(math.exp(-dt / self._memory)) * np.maximum(1 - (departure / np.float32(CUT)) ** 2, 0) ** 2
            kept *= cv2.resize(still.astype(np.float32), half, interpolation=cv2.INTER_AREA)
            precision += kept
            factor = np.exp(kept / precision * np.clip(departure, -CUT, CUT))
            inverse /= factor
            depth = depth * cv2.resize(factor, (width, height), interpolation=cv2.INTER_LINEAR)
        self._inverse, self._precision = inverse, precision
        return depth


class _Moved:
    """Where the previous camera saw the points of a frame: its half-size pixels ``u`` and ``v``, their ``depth``
    there, and ``squared_parallax`` g² in half-size pixels²; all h×w float32."""

    def __init__(self, u: np.ndarray, v: np.ndarray, depth: np.ndarray, squared_parallax: np.ndarray) -> None:
        self.u, self.v, self.depth, self.squared_parallax = u, v, depth, squared_parallax

    @classmethod
    def of(cls, inverse: np.ndarray, K: np.ndarray, previous_from_current: np.ndarray) -> _Moved:
        fx, fy, cx, cy = (np.float32(value / 2) for value in (K[0, 0], K[1, 1], K[0, 2] - 0.5, K[1, 2] - 0.5))
        x, y = _rays(inverse.shape, fx, fy, cx, cy)
        pose = previous_from_current.astype(np.float32)
        tx, ty, tz = pose[:3, 3]
        depth = 1 / inverse
        px, py, pz = (depth * (row[0] * x + row[1] * y + row[2]) + row[3] for row in pose[:3])
        pz = np.maximum(pz, np.float32(NEAREST))
        a, b = px / pz, py / pz
        gx, gy = fx * (tx - a * tz) / pz, fy * (ty - b * tz) / pz
        return cls(fx * a + cx, fy * b + cy, pz, gx * gx + gy * gy)


@lru_cache(maxsize=4)
def _rays(shape: tuple[int, int], fx: float, fy: float, cx: float, cy: float) -> tuple[np.ndarray, np.ndarray]:
    """x/z of every column, 1×w, and y/z of every row, h×1."""
    height, width = shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return ((columns - cx) / fx)[None], ((rows - cy) / fy)[:, None]
