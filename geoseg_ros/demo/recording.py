"""A recorded run, frame by frame: the camera's images, what the node published for them, and ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.arrivals import stamp_of_serialised
from geoseg_ros.bags import BagReader
from geoseg_ros.bags.types import deserialise, stamp_nanoseconds
from geoseg_ros.errors import ImageError
from geoseg_ros.frames.bag import BagFrames
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

TRUTH = {
    "semantic": "gt/semantic/image",
    "depth": "gt/depth/image",
    "flow": "gt/flow/image",
    "motion": "gt/motion/mask",
}
"""Ground truth by name, and how its topic ends."""

TRUTH_ODOMETRY = "gt/odom"
UNKNOWN_SCALE_VARIANCE = 1e3
_ENCODINGS = {
    "mono8": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
    "32FC2": (np.float32, 2),
}
_LATE_FRAMES = 4  # messages of one frame may come after those of this many later ones


@dataclass(frozen=True)
class RecordedFrame:
    """One image that the node answered.

    ``truth`` maps the names of :data:`TRUTH` to arrays in the outputs' conventions. ``consecutive`` says that
    the image before it in the recording was answered too, so that flow and its truth span the same time.
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
            self.truth_topics = {
                name: topic for name, ending in TRUTH.items() if (topic := _ending(bag.topics, ending))
            }
            self.truth_odometry = _ending(bag.topics, TRUTH_ODOMETRY)

    def frames(self) -> Iterator[RecordedFrame]:
        """The answered frames in order."""
        wanted = {f"{self.prefix}/{suffix}": suffix for suffix in (*IMAGE_OUTPUTS, "ego_motion")}
        with (
            BagFrames(self.source, self.image_topic) as source,
            BagReader(self.outputs) as outputs,
            BagReader(self.source) as truth_bag,
        ):
            answers = _ByStamp(grouped(outputs, {t: s for t, s in wanted.items() if t in outputs.topics}))
            truths = _ByStamp(grouped(truth_bag, {topic: name for name, topic in self.truth_topics.items()}))
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


def grouped(bag: BagReader, topics: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(header stamp, message by ``topics[topic]``) for the messages of equal stamp, in order of stamps."""
    pending: dict[int, dict[str, tuple[str, bytes]]] = {}
    if topics:
        for topic, _, msgtype, data in bag.raw_messages(list(topics)):
            pending.setdefault(stamp_of_serialised(data), {})[topics[topic]] = (msgtype, data)
            if len(pending) > _LATE_FRAMES:
                yield _deserialised(pending)
    while pending:
        yield _deserialised(pending)


def decode_array(message: Any) -> np.ndarray:
    """The values of an output image: H×W or H×W×2; 16UC1 depth becomes metres, NaN where it is 0.

    :raises ImageError: an encoding that no output has, or too little data.
    """
    if message.encoding not in _ENCODINGS:
        raise ImageError(f"encoding is '{message.encoding}', expected one of {', '.join(_ENCODINGS)}")
    dtype, channels = _ENCODINGS[message.encoding]
    dtype = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * dtype.itemsize
    data = np.frombuffer(message.data, np.uint8)
    if message.step < row or data.size < message.step * message.height:
        raise ImageError(
            f"data has {data.size} bytes and step {message.step}, expected {message.height} rows of {row}"
        )
    rows = np.ascontiguousarray(
        data[: message.step * message.height].reshape(message.height, message.step)[:, :row]
    )
    values = rows.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    values = values.reshape(message.height, message.width, channels)
    if message.encoding == "16UC1":
        return np.where(values[..., 0] > 0, values[..., 0] * np.float32(1e-3), np.float32("nan"))
    return values[..., 0] if channels == 1 else values


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


class _ByStamp:
    """Access to groups of messages by rising stamps."""

    def __init__(self, groups: Iterator[tuple[int, dict[str, Any]]]):
        self._groups = groups
        self._next = next(groups, None)

    def take(self, stamp: int) -> dict[str, Any]:
        while self._next is not None and self._next[0] < stamp:
            self._next = next(self._groups, None)
        return self._next[1] if self._next is not None and self._next[0] == stamp else {}


def _deserialised(pending: dict[int, dict[str, tuple[str, bytes]]]) -> tuple[int, dict[str, Any]]:
    stamp = min(pending)
    return stamp, {name: deserialise(data, msgtype) for name, (msgtype, data) in pending.pop(stamp).items()}


def _ending(topics: Iterable[str], ending: str) -> str | None:
    return min((topic for topic in topics if topic.endswith("/" + ending)), default=None)


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
