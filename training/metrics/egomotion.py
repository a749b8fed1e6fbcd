"""Ego-motion over short snippets of a drive (5 frames, 4 steps), as in Zhou et al. 2017, SfMLearner.

Poses are 4×4 numpy arrays. A step is ``previous_from_current``; a drive is a list of steps. Within a snippet
steps are chained from its first frame: P_0 = I, P_i = P_{i-1} · step_i, so that P_i takes points of frame i
into frame 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.metrics.errors import MetricError, NothingToJudge

SNIPPET_FRAMES = 5
MIN_PATH = 0.5


@dataclass(frozen=True)
class EgoMotionScores:
    """Means over snippets; lengths in metres, ratios in percent.

    ate: root mean square distance of the 5 camera positions after scale alignment (some public code divides
    by N outside the root and prints a smaller number). translation: distance of the last position after scale
    alignment / true path length, % (KITTI's relative translation error, on snippets). translation_metric: the
    same without alignment. step_translation: Σ distances of the single steps' translations, aligned by the
    snippet's scale / path length, %; stricter, since errors of successive steps do not cancel. rotation:
    angle between the last orientations / true path length, °/m. scale: median over snippets of the aligning
    factor (1 when the prediction is metric and right). snippets, skipped: those judged, and those left out
    because the true path is shorter than 0.5 m.
    """

    ate: float
    translation: float
    translation_metric: float
    step_translation: float
    rotation: float
    scale: float
    snippets: int
    skipped: int


def chain(steps: Sequence[np.ndarray]) -> np.ndarray:
    """Poses (N+1)×4×4 of N steps in the first frame."""
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ step)
    return np.stack(poses)


def steps_of(world_from_camera: np.ndarray) -> list[np.ndarray]:
    """The N−1 steps previous_from_current of N poses world_from_camera (N×4×4)."""
    return [
        np.linalg.inv(world_from_camera[i - 1]) @ world_from_camera[i]
        for i in range(1, len(world_from_camera))
    ]


def aligning_scale(prediction: np.ndarray, target: np.ndarray) -> float:
    """The s >= 0 that minimises Σ‖s·prediction − target‖² over positions (N×3); 1 if the prediction is all 0.

    Without the bound a negative s would turn a reversed drive into a good one.
    """
    energy = float((prediction * prediction).sum())
    return max(float((prediction * target).sum()) / energy, 0.0) if energy > 0 else 1.0


def rotation_angle(a: np.ndarray, b: np.ndarray) -> float:
    """Angle in degrees between two rotations (3×3)."""
    relative = a.T @ b
    sine = np.linalg.norm(
        [relative[2, 1] - relative[1, 2], relative[0, 2] - relative[2, 0], relative[1, 0] - relative[0, 1]]
    )
    return float(np.degrees(np.arctan2(sine / 2, (np.trace(relative) - 1) / 2)))


class EgoMotionMetric:
    """Collects drives; every overlapping snippet of 5 frames counts once."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []
        self._skipped = 0

    def update(self, prediction: Sequence[np.ndarray], target: Sequence[np.ndarray]) -> None:
        """Add one drive: the same N steps previous_from_current (4×4), the target's in metres.

        A drive of fewer than 5 frames has no snippet.
        """
        if len(prediction) != len(target):
            raise MetricError(
                f"got {len(prediction)} predicted and {len(target)} true steps, expected as many"
            )
        length = SNIPPET_FRAMES - 1
        for start in range(len(target) - length + 1):
            row = _snippet(prediction[start : start + length], target[start : start + length])
            if row is None:
                self._skipped += 1
            else:
                self._rows.append(row)

    def scores(self) -> EgoMotionScores:
        """The scores of what was collected; raises NothingToJudge when no snippet moved."""
        if not self._rows:
            raise NothingToJudge(
                f"no snippet of {SNIPPET_FRAMES} frames moves {MIN_PATH} m; {self._skipped} stood still"
            )
        *means, scale = zip(*self._rows, strict=True)
        return EgoMotionScores(
            *(float(np.mean(values)) for values in means),
            scale=float(np.median(scale)),
            snippets=len(self._rows),
            skipped=self._skipped,
        )


def _snippet(steps: Sequence[np.ndarray], true_steps: Sequence[np.ndarray]) -> tuple[float, ...] | None:
    """The columns of :class:`EgoMotionScores` up to scale for one snippet; None when it stands still."""
    moves, true_moves = np.stack(steps)[:, :3, 3], np.stack(true_steps)[:, :3, 3]
    path = float(np.linalg.norm(true_moves, axis=1).sum())
    if path < MIN_PATH:
        return None
    poses, true_poses = chain(steps), chain(true_steps)
    positions, true_positions = poses[:, :3, 3], true_poses[:, :3, 3]
    scale = aligning_scale(positions, true_positions)
    distances = np.linalg.norm(scale * positions - true_positions, axis=1)
    return (
        float(np.sqrt(np.mean(distances**2))),
        100 * float(distances[-1]) / path,
        100 * float(np.linalg.norm(positions[-1] - true_positions[-1])) / path,
        100 * float(np.linalg.norm(scale * moves - true_moves, axis=1).sum()) / path,
        rotation_angle(poses[-1, :3, :3], true_poses[-1, :3, :3]) / path,
        scale,
    )
