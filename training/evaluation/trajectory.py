"""The camera's true poses at the stamps of its images, from odometry in a bag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.bags import BagReader
from geoseg_ros.bags.topics import ODOMETRY, find_odometry
from geoseg_ros.frames.bag import require_topic
from geoseg_ros.ground_truth import true_odometry
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL, Track
from geoseg_ros.training.data.static_frames import TF_STATIC, Edges, body_from_camera, read_static_edges
from geoseg_ros.training.metrics.egomotion import aligning_scale, chain

MAX_GAP = 0.5
"""Seconds between two odometry messages between which no pose is known."""


@dataclass(frozen=True)
class Odometry:
    """Where a body was (``track``), as ``topic`` tells it; ``edges``: the bag's fixed transforms."""

    topic: str
    track: Track
    edges: Edges

    def camera_poses(self, stamps: np.ndarray, camera: str) -> np.ndarray:
        """Poses N×4×4 of the frame ``camera`` (optical axes, metres) at N stamps (ns); NaN outside the track and in gaps."""
        mount = self._mount(camera)
        if mount is None:
            mount = np.eye(4)
            if "optical" not in self.track.frame:
                mount[:3, :3] = BODY_FROM_OPTICAL
        return self.track.at(stamps, MAX_GAP) @ mount

    def whose(self, camera: str) -> str:
        """Whose poses :meth:`camera_poses` are, for people."""
        how = "taken as the camera's" if self._mount(camera) is None else f"brought to {camera!r} by {TF_STATIC}"
        return f"the poses of {self.track.frame!r}, {how}"

    def assumption(self, camera: str) -> str | None:
        """What is assumed of the camera's place on the body; None where it is known, or where the topic's name says that the
        body is the camera (:mod:`geoseg_ros.ground_truth`)."""
        if self._mount(camera) is not None or true_odometry([self.topic]) is not None:
            return None
        return (
            f"{TF_STATIC} does not say where {camera!r} is on {self.track.frame!r}, the body of {self.topic}; it is taken to be "
            "at the body's origin and to look ahead"
        )

    def _mount(self, camera: str) -> np.ndarray | None:
        """4×4 body_from_camera; None where the fixed transforms do not connect the two."""
        return body_from_camera(self.edges, self.track.frame, camera)


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

    BagError where the topic holds something else, or the poses of several bodies.
    """
    topic = true_odometry(bag.topics) or find_odometry(bag.topics)
    if topic is None:
        return None
    require_topic(bag.topics, bag.path, topic, (ODOMETRY,))
    messages = (message for *_, message in bag.messages([topic]))
    return Odometry(topic, Track.from_messages(messages, f"{bag.path}: topic {topic}"), read_static_edges(bag))


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


def _from_above(positions: np.ndarray) -> np.ndarray:
    return np.column_stack([positions[:, 2], -positions[:, 0]])
