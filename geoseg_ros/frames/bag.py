"""The frames of a bag's camera, with calibration and odometry."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from geoseg_ros.bags import BagReader
from geoseg_ros.bags.topics import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    find_camera,
    find_camera_info,
    find_odometry,
    topic_words,
)
from geoseg_ros.bags.types import TopicInfo, stamp_nanoseconds
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BagError, CameraError, GeosegError, ImageError
from geoseg_ros.frames.intrinsics import load_intrinsics
from geoseg_ros.frames.source import Frame, OnProblem
from geoseg_ros.image_messages import decode_compressed, decode_image

DECODERS = {IMAGE: decode_image, COMPRESSED: decode_compressed}


class BagFrames:
    """The frames of one camera of a bag; see :class:`~geoseg_ros.frames.FrameSource`.

    ``intrinsics`` names a calibration file that replaces the bag's ``camera_info``. Raises BagError when a
    named topic is missing or of another type, or when the bag has no camera. Calibration that is late in the
    bag holds from the first frame on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_topic: str | None = None,
        camera_topic: str | None = None,
        intrinsics: str | os.PathLike[str] | None = None,
    ) -> None:
        self._calibration = None if intrinsics is None else load_intrinsics(intrinsics)
        self.reader = BagReader(path)
        try:
            self.topic = self._image_topic(image_topic)
            self.camera_topic = self._camera_topic(camera_topic)
        except BagError:
            self.reader.close()
            raise
        self.odometry_topic = find_odometry(self.reader.topics)
        self.count: int | None = self.reader.topics[self.topic].count
        seconds = self.reader.duration / 1e9
        self.fps = (self.count - 1) / seconds if seconds > 0.0 and self.count > 1 else 1.0

    def frames(self, on_problem: OnProblem | None = None) -> Iterator[Frame]:
        """Frames by receive time; a bad image is skipped, bad calibration leaves ``camera`` None."""
        report = on_problem or _raise
        decode = DECODERS[self.reader.topics[self.topic].msgtype]
        calibration = self.first_calibration()
        odometry = None
        wanted = {self.topic, self.camera_topic, self.odometry_topic} - {None}
        for topic, _, _, message in self.reader.messages(wanted):
            if topic == self.camera_topic:
                calibration = message
            elif topic == self.odometry_topic:
                odometry = message
            else:
                try:
                    image = decode(message)
                except ImageError as error:
                    report(ImageError(f"{self.topic} at {_seconds(message)}: {error}"))
                    continue
                try:
                    camera = self.camera(calibration, image.shape[1], image.shape[0])
                except CameraError as error:
                    report(CameraError(f"{self.camera_topic} at {_seconds(message)}: {error}"))
                    camera = None
                header = message.header
                yield Frame(image, stamp_nanoseconds(header.stamp), header.frame_id, camera, odometry)

    def camera(self, calibration: Any, width: int, height: int) -> PinholeCamera | None:
        """The camera of images of this size while the ``camera_info`` message ``calibration`` (or None) holds;
        CameraError where it is for another size or impossible."""
        if self._calibration is not None:
            return self._calibration.camera_for(width, height)
        if calibration is None:
            return None
        camera = PinholeCamera.from_camera_info(calibration, rectified="rect" in topic_words(self.topic))
        if (camera.width, camera.height) != (width, height):
            raise CameraError(
                f"camera_info is for {camera.width}x{camera.height}, the image is {width}x{height}"
            )
        return camera

    def first_calibration(self) -> Any:
        """The first ``camera_info`` message, None where there is none to be read."""
        if self.camera_topic is None:
            return None
        messages = self.reader.messages([self.camera_topic])
        try:
            return next(messages, (None,))[-1]
        except BagError:
            return None  # damaged before the first one; reading the images reports it
        finally:
            messages.close()

    def close(self) -> None:
        """Close the bag."""
        self.reader.close()

    def __enter__(self) -> BagFrames:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _image_topic(self, name: str | None) -> str:
        topics, path = self.reader.topics, self.reader.path
        if name is None:
            name = find_camera(topics)[0]
            if name is None:
                raise BagError(f"{path} has no camera image topic, found {_listing(topics)}")
        elif name not in topics and f"{name}/compressed" in topics:
            name = f"{name}/compressed"
        require_topic(topics, path, name, tuple(DECODERS))
        return name

    def _camera_topic(self, name: str | None) -> str | None:
        if self._calibration is not None:
            return None
        if name is None:
            return find_camera_info(self.reader.topics, self.topic)
        require_topic(self.reader.topics, self.reader.path, name, (CAMERA_INFO,))
        return name


def require_topic(topics: Mapping[str, TopicInfo], path: Any, name: str, types: tuple[str, ...]) -> None:
    """BagError unless ``topics``, those of the bag ``path``, have the topic ``name`` and it is of one of ``types``."""
    if name not in topics:
        raise BagError(f"{path} has no topic {name}, found {_listing(topics)}")
    if topics[name].msgtype not in types:
        raise BagError(f"{path}: topic {name} holds {topics[name].msgtype}, expected {' or '.join(types)}")


def _listing(topics: Mapping[str, TopicInfo]) -> str:
    return ", ".join(f"{name} ({info.msgtype})" for name, info in sorted(topics.items())) or "no topic"


def _seconds(message: Any) -> str:
    return f"{stamp_nanoseconds(message.header.stamp) / 1e9:.3f} s"


def _raise(error: GeosegError) -> None:
    raise error
