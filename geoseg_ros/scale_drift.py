"""One scale from frame to frame, though a network judges each picture anew.

Depth from single pictures errs by a factor that the whole frame shares, and the translation that is measured with it errs
alike. The factor wanders with what is in sight. Two frames that see the same points tell by how much it changed, without
knowing it: with depth in truth e^b times what the network says, a point of depth z' in the previous camera by this frame, and
z by the previous one,

    b − b_previous = median ln(z / z').

This compares what SC-SfMLearner (Bian et al., NeurIPS 2019) trains to be equal. The changes are summed, and forgotten within
MEMORY: over longer times the network's own scale is right on average, and a sum of small errors is not. That average is seen by
something else that stays: a vehicle's camera keeps its height h above the road, so where a frame's road is nearer than usual the
whole frame is, and what remains after a while is not b = 0, the network's word, but

    ROAD_SHARE · d · (1 − d² / HEIGHT_CUT²)²,   d = mean ln h − ln h_now,

with Tukey's biweight, since a camera that seems to rise by a half has risen. Without a road it is b = 0.

All this is for poses that follow from flow and this depth: a pose network's translation errs by a factor of its own, which would be
taken for a change at every frame.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

MEMORY = 1.0
"""Seconds. Chosen on frames that models train on, where steps gain nothing beyond it (training/studies/stream_settings.py)."""

ROAD_SHARE = 0.5
"""How much of a height's departure from its mean is the scale's; the rest is slope, bounce and the fit's error. Chosen as MEMORY
was."""

HEIGHT_CUT = 0.4
"""Of ln h: what departs by more is no error of scale."""

HEIGHTS = 600
"""The mean height is that of about so many frames: a load changes it."""

GRID_POINTS = 2000
MIN_POINTS = 60
"""With fewer points in common the factor is taken to be unchanged."""

NEAREST, FARTHEST = 1e-3, 1e3
"""Depths that count, in the network's units."""


class ScaleDrift:
    """By how much one stream's depth and translation are to be multiplied. Changes are forgotten within ``memory`` seconds, at 0 at
    once; ``road_share``, 0 … 1: how much a departure of the camera's height counts."""

    def __init__(self, memory: float = MEMORY, road_share: float = ROAD_SHARE) -> None:
        self._memory, self._road_share = memory, road_share
        self._log = 0.0
        self._mean_height, self._heights = 0.0, 0
        self._previous: np.ndarray | None = None

    def update(
        self,
        depth: np.ndarray,
        K: np.ndarray,
        previous_from_current: np.ndarray | None,
        still: np.ndarray,
        dt: float,
        height: float | None = None,
    ) -> float:
        """The factor of this frame; 1 for the first one of a stream.

        depth H×W as the network gives it, positive where known; K 3×3 at that size; previous_from_current 4×4 with its
        translation as measured by this depth, None where there is no previous frame; still, bool H×W: what cannot move by
        itself; dt in seconds since the previous frame; height of the camera above the road by this depth, None where no road
        shows it.
        """
        fallback = self._by_height(height)
        if self._memory == 0 or self._previous is None or previous_from_current is None or self._previous.shape != depth.shape:
            self._log = 0.0
        else:
            change = _log_change(self._previous, depth, K, previous_from_current, still)
            kept = math.exp(-dt / self._memory)
            self._log = kept * (self._log + change) + (1 - kept) * fallback
        self._previous = depth
        return math.exp(self._log)

    def _by_height(self, height: float | None) -> float:
        """What the camera's height says of the log factor; 0 without a road."""
        if height is None:
            return 0.0
        self._heights = min(self._heights + 1, HEIGHTS)
        self._mean_height += (math.log(height) - self._mean_height) / self._heights
        departure = self._mean_height - math.log(height)
        return self._road_share * departure * max(1 - (departure / HEIGHT_CUT) ** 2, 0.0) ** 2


def _log_change(
    previous: np.ndarray, depth: np.ndarray, K: np.ndarray, previous_from_current: np.ndarray, still: np.ndarray
) -> float:
    """Median of ln(z / z') over the still points that both frames see; 0 where they are too few."""
    height, width = depth.shape
    stride = max(1, round(math.sqrt(height * width / GRID_POINTS)))
    rows, columns = np.mgrid[stride // 2 : height : stride, stride // 2 : width : stride]
    z = depth[rows, columns]
    known = still[rows, columns] & (z > NEAREST) & (z < FARTHEST)
    pixels = np.stack([columns[known], rows[known], np.ones(known.sum())])
    points = np.linalg.solve(K, pixels) * z[known]
    there = previous_from_current[:3, :3] @ points + previous_from_current[:3, 3:]
    there = there[:, there[2] > NEAREST]
    u, v, _ = (K @ (there / there[2])).astype(np.float32)
    inside = (u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1)
    expected = there[2, inside]
    seen = cv2.remap(previous, u[inside, None], v[inside, None], cv2.INTER_LINEAR)[:, 0] if inside.any() else expected[:0]
    valid = (seen > NEAREST) & (seen < FARTHEST)
    return float(np.median(np.log(seen[valid] / expected[valid]))) if valid.sum() >= MIN_POINTS else 0.0
