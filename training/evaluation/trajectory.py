"""The camera's true poses at the stamps of its images, from odometry in a bag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from geoseg_ros.bags import BagReader, stamp_nanoseconds
from geoseg_ros.bags.topics import find_odometry
from geoseg_ros.egomotion import exponential, logarithm
from geoseg_ros.ground_truth import true_odometry
from geoseg_ros.quaternion import rotation_of
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.metrics.egomotion import aligning_scale, chain

MAX_GAP = 500_000_000
"""Nanoseconds between two odometry messages between which no pose is known."""


@dataclass(frozen=True)
class Odometry:
    """Poses world_from_camera (N×4×4, metres) by stamps (N, ns, rising), the topic, and what they are poses of."""

    stamps: np.ndarray
    poses: np.ndarray
    topic: str
    frame: str

    def at(self, stamps: np.ndarray) -> np.ndarray:
        """Poses M×4×4 at other stamps, by constant twist between the neighbours; NaN outside and in gaps."""
        found = np.full((len(stamps), 4, 4), np.nan)
        for row, stamp in enumerate(stamps):
            after = int(np.searchsorted(self.stamps, stamp))
            if after < len(self.stamps) and self.stamps[after] == stamp:
                found[row] = self.poses[after]
            elif 0 < after < len(self.stamps):
                before, span = self.poses[after - 1], self.stamps[after] - self.stamps[after - 1]
                if span <= MAX_GAP:
                    part = (stamp - self.stamps[after - 1]) / span
                    found[row] = before @ exponential(part * logarithm(np.linalg.inv(before) @ self.poses[after]))
        return found


@dataclass(frozen=True)
class Drive:
    """A stretch of successive images with known poses: predicted and true steps previous_from_current (4×4 each)."""

    steps: list[np.ndarray]
    true_steps: list[np.ndarray]

    def paths(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Predicted and true positions (N×2: forward and left of the first camera, metres), seen from above, and
        the factor that brings the predicted ones closest to the true ones."""
        predicted, true = (chain(steps)[:, :3, 3] for steps in (self.steps, self.true_steps))
        return _from_above(predicted), _from_above(true), aligning_scale(predicted, true)


def read_odometry(bag: BagReader) -> Odometry | None:
    """The camera's odometry: ground truth where the bag has it, else the robot's own; None without either.

    The pose of a frame that is not an optical one is taken as the camera's, looking along that frame's x axis.
    Messages whose stamp does not rise, or whose pose is not finite, are left out.
    """
    topic = true_odometry(bag.topics) or find_odometry(bag.topics)
    if topic is None:
        return None
    stamps, poses, frame = [], [], ""
    for *_, message in bag.messages([topic]):
        stamp, pose = stamp_nanoseconds(message.header.stamp), _pose(message.pose.pose)
        if np.isfinite(pose).all() and (not stamps or stamp > stamps[-1]):
            stamps.append(stamp)
            poses.append(pose)
            frame = message.child_frame_id
    turned = np.eye(4)
    if "optical" not in frame:
        turned[:3, :3] = BODY_FROM_OPTICAL
    return Odometry(np.array(stamps, np.int64), np.array(poses).reshape(-1, 4, 4) @ turned, topic, frame)


def drives(steps: list[np.ndarray], poses: np.ndarray) -> list[Drive]:
    """Drives between gaps: N − 1 predicted steps between N images, and the images' true poses (N×4×4, NaN unknown)."""
    found: list[Drive] = []
    begun = False
    for step, before, after in zip(steps, poses[:-1], poses[1:], strict=True):
        known = bool(np.isfinite(before).all() and np.isfinite(after).all())
        if known and not begun:
            found.append(Drive([], []))
        if known:
            found[-1].steps.append(step)
            found[-1].true_steps.append(np.linalg.inv(before) @ after)
        begun = known
    return found


def _pose(message: Any) -> np.ndarray:
    """4×4 of a ``geometry_msgs/Pose``; NaN where its quaternion has no direction."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_of([getattr(message.orientation, axis) for axis in "xyzw"])
    pose[:3, 3] = [getattr(message.position, axis) for axis in "xyz"]
    return pose


def _from_above(positions: np.ndarray) -> np.ndarray:
    return np.column_stack([positions[:, 2], -positions[:, 0]])
