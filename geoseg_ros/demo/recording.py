"""A recorded run, frame by frame: the camera's images, what the node published for them, and ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagReader, stamp_nanoseconds
from geoseg_ros.bags.by_stamp import ByStamp, grouped
from geoseg_ros.frames.bag import BagFrames
from geoseg_ros.ground_truth import true_odometry, truth_topics
from geoseg_ros.image_messages import decode_array
from geoseg_ros.perception import EgoMotion, Perception

IMAGE_OUTPUTS = {
    "semantic/image": "semantic",
    "semantic/confidence": "confidence",
    "depth/image": "depth",
    "flow/image": "flow",
    "motion/probability": "motion_probability",
    "motion/mask": "motion_mask",
}
"""Output topics that are images, and the fields of :class:`Perception` that they fill."""

UNKNOWN_SCALE_VARIANCE = 1e3


@dataclass(frozen=True)
class RecordedFrame:
    """One image that the node answered.

    ``truth`` maps the names of :data:`~geoseg_ros.ground_truth.TRUTH` to arrays in the outputs' conventions.
    ``consecutive`` says that the image before it in the recording was answered too, so that flow and its truth
    span the same time.
    """

    index: int
    perception: Perception
    truth: Mapping[str, np.ndarray] = field(default_factory=dict)
    consecutive: bool = False


class Recording:
    """The bag that was played and the bag that was recorded from the node ``prefix`` (``/geoseg``)."""

    def __init__(self, source: Path, outputs: Path, prefix: str, image_topic: str | None = None):
        self.source, self.outputs, self.prefix, self.image_topic = source, outputs, prefix, image_topic
        with BagReader(source) as bag:
            self.truth_topics = truth_topics(bag.topics)
            self.truth_odometry = true_odometry(bag.topics)

    def frames(self) -> Iterator[RecordedFrame]:
        """The answered frames in order."""
        wanted = {f"{self.prefix}/{suffix}": suffix for suffix in (*IMAGE_OUTPUTS, "ego_motion")}
        with (
            BagFrames(self.source, self.image_topic) as source,
            BagReader(self.outputs) as outputs,
            BagReader(self.source) as truth_bag,
        ):
            answers = ByStamp(grouped(outputs, {t: s for t, s in wanted.items() if t in outputs.topics}))
            truths = ByStamp(grouped(truth_bag, {topic: name for name, topic in self.truth_topics.items()}))
            answered_before, last_stamp = False, None
            for index, frame in enumerate(source.frames(on_problem=lambda problem: None)):
                answer = answers.take(frame.stamp)
                if answer:
                    dt = 0.0 if last_stamp is None else (frame.stamp - last_stamp) * 1e-9
                    truth = {
                        name: decode_array(message) for name, message in truths.take(frame.stamp).items()
                    }
                    yield RecordedFrame(index, _perception(frame, answer, dt), truth, answered_before)
                    last_stamp = frame.stamp
                answered_before = bool(answer)

    def messages(self, topic: str) -> list[Any]:
        """All recorded messages of one topic, none where it was not recorded."""
        with BagReader(self.outputs) as outputs:
            return [message for *_, message in outputs.messages([topic])] if topic in outputs.topics else []

    def true_path(self) -> tuple[np.ndarray, np.ndarray]:
        """Stamps (N, ns) and positions (N×2, metres) of ground-truth odometry, from above.

        Forward and left of the first pose, which is the origin (REP 103: x forward, y left).
        """
        if self.truth_odometry is None:
            return np.empty(0, np.int64), np.empty((0, 2))
        with BagReader(self.source) as bag:
            messages = [message for *_, message in bag.messages([self.truth_odometry])]
        stamps = np.array([stamp_nanoseconds(message.header.stamp) for message in messages], np.int64)
        return stamps, _top_view([message.pose.pose for message in messages])


def camera_path(frames: Iterable[Perception]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Stamps (N, ns), positions (N×2, forward and left of the first camera), and whether these are metres.

    A frame without ego-motion counts as standing still; without any, positions are NaN.
    """
    pose, stamps, positions, metric, known = np.eye(4), [], [], False, False
    for perception in frames:
        ego = perception.ego_motion
        if ego is not None:
            pose = pose @ ego.previous_from_current
            metric = metric or ego.scale_source == "metric"
            known = True
        stamps.append(perception.stamp)
        positions.append((pose[2, 3], -pose[0, 3]))
    path = np.array(positions).reshape(-1, 2) if known else np.full((len(stamps), 2), np.nan)
    return np.array(stamps, np.int64), path, metric


def _perception(frame: Any, answer: Mapping[str, Any], dt: float) -> Perception:
    image, camera = frame.image, frame.camera
    if camera is not None and camera.is_distorted:
        image = cv2.remap(image, *camera.rectification_maps(), cv2.INTER_LINEAR)
        camera = camera.rectified()
    perception = Perception(stamp=frame.stamp, image=image, camera=camera)
    for suffix, name in IMAGE_OUTPUTS.items():
        if suffix in answer:
            setattr(perception, name, decode_array(answer[suffix]))
    if "ego_motion" in answer and dt > 0.0:
        perception.ego_motion = _ego_motion(answer["ego_motion"], dt)
    return perception


def _ego_motion(message: Any, dt: float) -> EgoMotion:
    twist = message.twist.twist
    linear = np.array([twist.linear.x, twist.linear.y, twist.linear.z])
    angular = np.array([twist.angular.x, twist.angular.y, twist.angular.z])
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(angular * dt)[0]
    motion[:3, 3] = linear * dt
    covariance = np.asarray(message.twist.covariance, float).reshape(6, 6)
    source = "metric" if covariance[0, 0] < UNKNOWN_SCALE_VARIANCE else "unknown"
    return EgoMotion(motion, dt, linear, angular, covariance, source)


def _top_view(poses: list[Any]) -> np.ndarray:
    """Forward and left (N×2) of poses given in x forward, y left, as seen from the first."""
    x, y = (np.array([getattr(pose.position, axis) for pose in poses]) for axis in "xy")
    q = poses[0].orientation
    heading = np.arctan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
    forward = (x - x[0]) * np.cos(heading) + (y - y[0]) * np.sin(heading)
    left = -(x - x[0]) * np.sin(heading) + (y - y[0]) * np.cos(heading)
    return np.column_stack([forward, left])
