"""What an importer makes of a data set, and how it becomes a bag.

Topics: ``/camera/image_raw/compressed`` (JPEG or PNG files byte for byte), ``/camera/camera_info`` where the camera is
known, ``/camera/gt/semantic/image`` (mono8, 255 unknown) and the latched ``/camera/gt/semantic/label_info`` where
there are labels, ``/camera/gt/depth/image`` (32FC1, metres) where there is depth. Where there are poses: ``/odom`` of
the body that they describe, ``/camera/gt/odom`` of ``camera_link`` (the camera's place, axes x forward, y left, z up),
and ``/tf_static`` with the camera's mounting.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagWriter
from geoseg_ros.errors import ConfigError, ImageError
from geoseg_ros.frames.intrinsics import Intrinsics
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import LabelSet
from geoseg_ros.messages import label_info
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL, odometry_fields
from geoseg_ros.training.data.static_frames import TF_STATIC, TF_TYPE, transform_fields

START = 1_700_000_000_000_000_000
"""Stamp (ns) of the first image of data sets without a clock: any plausible time, always the same."""

CAMERA_FRAME, LINK_FRAME, ODOMETRY_FRAME = "camera_optical_frame", "camera_link", "odom"
_JPEG_QUALITY = 95
_KINDS = {b"\xff\xd8\xff": "jpeg", b"\x89PNG": "png"}
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_CAMERA_INFO, _ODOMETRY = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry"
_LABEL_INFO = "vision_msgs/msg/LabelInfo"

Message = tuple[str, str, dict[str, Any]]
"""Topic, message type, fields."""


@dataclass(frozen=True)
class Picture:
    """One image: a JPEG or PNG file, or H×W×3 uint8 RGB; its calibration (scaled to the image where that has the same
    shape in another size), H×W uint8 class ids, and depth of any size (float32 metres along z, NaN unknown; the
    nearest value is taken for a pixel), each where known."""

    image: Path | np.ndarray
    intrinsics: Intrinsics | None = None
    semantic: np.ndarray | None = None
    depth: np.ndarray | None = None


@dataclass(frozen=True)
class BodyTrack:
    """Poses M×4×4 (``ODOMETRY_FRAME`` from the frame ``body``: x forward, y left, z up; metres) at M ``stamps`` (ns),
    and how the camera (optical axes) is mounted on the body: 4×4."""

    stamps: np.ndarray
    poses: np.ndarray
    body: str
    body_from_camera: np.ndarray


@dataclass(frozen=True)
class Recording:
    """N ``stamps`` (ns) and as many ``pictures``, made when they are asked for; track and label set where known."""

    stamps: np.ndarray
    pictures: Iterable[Picture]
    track: BodyTrack | None = None
    labels: LabelSet | None = None

    def __post_init__(self) -> None:
        if (np.diff(self.stamps) <= 0).any():
            at = int(np.argmax(np.diff(self.stamps) <= 0)) + 1
            raise ConfigError(f"image {at} has stamp {self.stamps[at]} ns, expected one after {self.stamps[at - 1]}")

    def cut(self, first: int, last: int) -> Recording:
        """The images [first, last) and the poses in their time."""
        count = len(self.stamps)
        if not 0 <= first < last <= count:
            raise ConfigError(f"frames are {first} to {last}, expected 0 <= first < last <= {count}")
        stamps, track = self.stamps[first:last], self.track
        if track is not None:
            inside = (track.stamps >= stamps[0]) & (track.stamps <= stamps[-1])
            track = replace(track, stamps=track.stamps[inside], poses=track.poses[inside])
        return replace(self, stamps=stamps, pictures=islice(self.pictures, first, last), track=track)


def even_stamps(count: int, fps: float) -> np.ndarray:
    """``count`` stamps from START at ``fps`` images per second."""
    return START + np.rint(np.arange(count) * (1e9 / fps)).astype(np.int64)


def camera_track(stamps: np.ndarray, world_from_camera: np.ndarray) -> BodyTrack:
    """The track of a camera whose poses N×4×4 are given in optical axes, world included: the body is camera_link."""
    turn = np.eye(4)
    turn[:3, :3] = BODY_FROM_OPTICAL
    return BodyTrack(stamps, turn @ world_from_camera @ turn.T, LINK_FRAME, turn)


def write_recording(
    recording: Recording,
    path: str | os.PathLike[str],
    storage: str = "mcap",
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Write a new bag; returns the number of images. ``advance`` is called after each; where writing fails or is
    interrupted nothing stays."""
    bag, images = BagWriter(path, storage), 0
    try:
        for stamp, messages in _in_time(recording):
            for topic, msgtype, fields in messages:
                latched = msgtype in (TF_TYPE, _LABEL_INFO)
                bag.add_topic(topic, msgtype, latched)
                bag.write(topic, msgtype, fields, stamp)
                if msgtype == _COMPRESSED:
                    images += 1
                    advance()
    except BaseException:
        bag.discard()
        raise
    bag.close()
    return images


def _in_time(recording: Recording) -> Iterator[tuple[int, list[Message]]]:
    """(stamp, messages) of the fixed facts, then of images and poses as time passes."""
    start = int(recording.stamps[0])
    fixed: list[Message] = []
    if recording.labels is not None:
        header = {"stamp": start, "frame_id": CAMERA_FRAME}
        fixed.append(
            ("/camera/gt/semantic/label_info", _LABEL_INFO, {"header": header, **label_info(recording.labels)})
        )
    moving: Iterator[tuple[int, list[Message]]] = iter(())
    if recording.track is not None and len(recording.track.stamps):
        start = min(start, int(recording.track.stamps[0]))
        mount = transform_fields(recording.track.body, CAMERA_FRAME, recording.track.body_from_camera, start)
        fixed.append((TF_STATIC, TF_TYPE, {"transforms": [mount]}))
        moving = _poses(recording.track)
    images = ((int(stamp), _image(int(stamp), p)) for stamp, p in zip(recording.stamps, recording.pictures))
    yield start, fixed
    yield from heapq.merge(moving, images, key=lambda item: item[0])


def _image(stamp: int, picture: Picture) -> list[Message]:
    header = {"stamp": stamp, "frame_id": CAMERA_FRAME}
    data, kind, (height, width) = _compressed(picture.image)
    fields = {"header": header, "format": f"rgb8; {kind} compressed bgr8", "data": data}
    messages = [("/camera/image_raw/compressed", _COMPRESSED, fields)]
    if picture.intrinsics is not None:
        camera = picture.intrinsics.camera_for(width, height).to_camera_info()
        messages.insert(0, ("/camera/camera_info", _CAMERA_INFO, {"header": header, **camera}))
    if picture.semantic is not None:
        if picture.semantic.shape != (height, width):
            found = "×".join(map(str, picture.semantic.shape[::-1]))
            raise ImageError(f"the labels of {picture.image} are {found}, expected {width}×{height} as the image")
        fields = {"header": header, **encode_image(picture.semantic, "mono8")}
        messages.append(("/camera/gt/semantic/image", _IMAGE, fields))
    if picture.depth is not None:
        depth = cv2.resize(picture.depth, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        messages.append(("/camera/gt/depth/image", _IMAGE, {"header": header, **encode_image(depth, "32FC1")}))
    return messages


def _compressed(image: Path | np.ndarray) -> tuple[np.ndarray, str, tuple[int, int]]:
    """The bytes of a JPEG or PNG, which of both it is, and its height and width."""
    if isinstance(image, np.ndarray):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1], "jpeg", image.shape[:2]
    try:
        data = np.fromfile(image, np.uint8)
    except OSError as error:
        raise ImageError(f"the image {image} cannot be read: {error.strerror}") from error
    kind = next((kind for start, kind in _KINDS.items() if data[:4].tobytes().startswith(start)), None)
    picture = None if kind is None else cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ImageError(f"the image {image} of {data.size} bytes cannot be decoded, expected a JPEG or PNG")
    return data, kind, picture.shape[:2]


def _poses(track: BodyTrack) -> Iterator[tuple[int, list[Message]]]:
    """Odometry of the body and of the camera's link; the twist is the motion since the pose before."""
    link_from_optical = np.eye(4)
    link_from_optical[:3, :3] = BODY_FROM_OPTICAL
    links = track.poses @ track.body_from_camera @ link_from_optical.T
    for topic_poses in (track.poses, links):
        if not np.isfinite(topic_poses).all():
            raise ConfigError(f"the poses of {track.body} are not finite, expected metres and rotations")
    for i, stamp in enumerate(map(int, track.stamps)):
        header = {"stamp": stamp, "frame_id": ODOMETRY_FRAME}
        messages = []
        for topic, child, poses in (("/odom", track.body, track.poses), ("/camera/gt/odom", LINK_FRAME, links)):
            before, span = _pose_before(track.stamps, poses, i)
            fields = {"header": header, **odometry_fields(poses[i], before, span, child)}
            messages.append((topic, _ODOMETRY, fields))
        yield stamp, messages


def _pose_before(stamps: np.ndarray, poses: np.ndarray, i: int) -> tuple[np.ndarray, float]:
    """The pose before number i and the seconds since; before the first one the motion is that to the second."""
    if len(poses) == 1:
        return poses[0], 1.0
    if i == 0:
        return poses[0] @ np.linalg.inv(poses[1]) @ poses[0], (stamps[1] - stamps[0]) * 1e-9
    return poses[i - 1], (stamps[i] - stamps[i - 1]) * 1e-9
