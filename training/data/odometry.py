"""Poses over time: from ``nav_msgs/Odometry`` messages to the stamps of images, and back into messages.

Poses are 4×4 matrices that take points of the body (axes x forward, y left, z up; REP 103) into the odometry's
frame, in metres; stamps are nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import stamp_nanoseconds
from geoseg_ros.errors import BagError
from geoseg_ros.quaternion import quaternion_of, rotation_of

BODY_FROM_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""Camera optical axes (x right, y down, z forward) in body axes (x forward, y left, z up)."""

_VARIANCE = 1e-6
_SMALLEST_NORM = 0.5  # of a quaternion that says anything: some drivers leave all four numbers 0
_NEARLY_PARALLEL = 0.9995  # cosine from which quaternions are interpolated along the straight line


@dataclass(frozen=True)
class Track:
    """Where a body was: N increasing ``stamps`` (int64 ns), ``positions`` N×3 (metres), ``quaternions`` N×4 (x y z w,
    NaN where the message had none), and the name of the body's ``frame``."""

    stamps: np.ndarray
    positions: np.ndarray
    quaternions: np.ndarray
    frame: str

    @classmethod
    def from_messages(cls, messages: Iterable[Any], what: str) -> Track:
        """The track in ``nav_msgs/Odometry`` messages; those whose position is not finite leave a gap.

        BagError when their child_frame_id changes; ``what`` names the topic in it.
        """
        stamps, rows, frame = [], [], None
        for message in messages:
            if frame is None:
                frame = message.child_frame_id
            elif message.child_frame_id != frame:
                raise BagError(
                    f"{what}: child_frame_id changes from {frame!r} to {message.child_frame_id!r}, expected one body"
                )
            position, turn = message.pose.pose.position, message.pose.pose.orientation
            row = [position.x, position.y, position.z, turn.x, turn.y, turn.z, turn.w]
            if np.isfinite(row[:3]).all():
                stamps.append(stamp_nanoseconds(message.header.stamp))
                rows.append(row)
        times, order = np.unique(np.array(stamps, np.int64), return_index=True)
        values = np.array(rows, np.float64).reshape(-1, 7)[order]
        norms = np.linalg.norm(values[:, 3:], axis=1, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            quaternions = np.where(norms >= _SMALLEST_NORM, values[:, 3:] / norms, np.nan)
        return cls(times, values[:, :3], quaternions, frame or "")

    def at(self, stamps: np.ndarray, max_gap: float) -> np.ndarray:
        """M×4×4 poses at M stamps, between the neighbouring messages (positions straight, rotations on the sphere).

        NaN outside the track and inside gaps of more than ``max_gap`` seconds; where only the rotation is unknown,
        only it is NaN.
        """
        poses = np.full((len(stamps), 4, 4), np.nan)
        if not len(self.stamps):
            return poses
        after = np.searchsorted(self.stamps, stamps, side="right").clip(1, max(len(self.stamps) - 1, 1))
        before, after = after - 1, np.minimum(after, len(self.stamps) - 1)
        span = self.stamps[after] - self.stamps[before]
        since = np.asarray(stamps, np.int64) - self.stamps[before]
        before, after = np.where(since == span, after, before), np.where(since == 0, before, after)
        known = (since == 0) | (since == span) | ((since > 0) & (since < span) & (span <= max_gap * 1e9))
        share = np.where(span > 0, since / np.maximum(span, 1), 0.0)[known, None]
        first, last = before[known], after[known]
        found = np.tile(np.eye(4), (len(first), 1, 1))
        found[:, :3, 3] = (1 - share) * self.positions[first] + share * self.positions[last]
        found[:, :3, :3] = rotation_of(_slerp(self.quaternions[first], self.quaternions[last], share))
        poses[known] = found
        return poses


def _slerp(first: np.ndarray, last: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Quaternions N×4 at ``share`` N×1 of the shorter way between unit quaternions."""
    cosine = (first * last).sum(1, keepdims=True)
    last, cosine = np.where(cosine < 0, -last, last), np.abs(cosine)
    angle = np.arccos(np.minimum(cosine, 1.0))
    sine = np.where(cosine > _NEARLY_PARALLEL, 1.0, np.sin(angle))
    straight = (1 - share) * first + share * last
    around = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * last) / sine
    result = np.where(cosine > _NEARLY_PARALLEL, straight, around)
    return result / np.linalg.norm(result, axis=1, keepdims=True)


def odometry_fields(pose: np.ndarray, before: np.ndarray, span: float, child: str) -> dict[str, Any]:
    """Fields of an Odometry (without header) from a 4×4 pose now and ``span`` seconds before; the twist is in
    the child's frame, as the message demands."""
    relative = np.linalg.inv(before) @ pose
    linear = pose[:3, :3].T @ (pose[:3, 3] - before[:3, 3]) / span
    angular = cv2.Rodrigues(relative[:3, :3])[0].ravel() / span
    covariance = (np.eye(6) * _VARIANCE).reshape(-1)
    return {
        "child_frame_id": child,
        "pose": {"pose": pose_fields(pose), "covariance": covariance},
        "twist": {
            "twist": {
                "linear": dict(zip("xyz", map(float, linear))),
                "angular": dict(zip("xyz", map(float, angular))),
            },
            "covariance": covariance,
        },
    }


def pose_fields(pose: np.ndarray, names: tuple[str, str] = ("position", "orientation")) -> dict[str, Any]:
    """Fields of a ``geometry_msgs/Pose`` of a 4×4 matrix; of a ``Transform`` with its two ``names``."""
    return {
        names[0]: dict(zip("xyz", map(float, pose[:3, 3]))),
        names[1]: dict(zip("xyzw", map(float, quaternion_of(pose[:3, :3])))),
    }
