"""Which topics of a bag are its camera: image, calibration, odometry."""

from __future__ import annotations

import re
from collections.abc import Mapping

from geoseg_ros.bags.types import TopicInfo

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO, ODOMETRY = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry"
_DERIVED = {
    "gt",
    "geoseg",
    "depth",
    "semantic",
    "segmentation",
    "flow",
    "motion",
    "disparity",
    "mask",
    "label",
}
_GREY = {"mono", "gray", "grey", "ir", "infra1", "infra2"}


def find_camera(topics: Mapping[str, TopicInfo]) -> tuple[str | None, str | None]:
    """Image topic and matching ``camera_info`` topic of a bag's camera, None where there is none.

    Images that are made from others (below ``gt`` or ``geoseg``, depth, masks ...) are no cameras. Among
    several, calibrated ones come first, then colour, then raw before compressed, then by name.
    """
    candidates = [
        name for name, info in topics.items() if info.msgtype in (IMAGE, COMPRESSED) and _is_camera(name)
    ]
    if not candidates:
        return None, None

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        return (
            find_camera_info(topics, name) is None,
            bool(topic_words(name) & _GREY),
            topics[name].msgtype == COMPRESSED,
            name,
        )

    image = min(candidates, key=rank)
    return image, find_camera_info(topics, image)


def find_camera_info(topics: Mapping[str, TopicInfo], image_topic: str) -> str | None:
    """The ``camera_info`` beside an image topic, or else in the nearest namespace above it."""
    namespace = _base(image_topic)
    while namespace:
        namespace = namespace.rpartition("/")[0]
        name = f"{namespace}/camera_info"
        if name in topics and topics[name].msgtype == CAMERA_INFO:
            return name
    return None


def find_odometry(topics: Mapping[str, TopicInfo]) -> str | None:
    """The first odometry topic that is not ground truth."""
    names = (name for name, info in topics.items() if info.msgtype == ODOMETRY)
    return min((name for name in names if not topic_words(name) & {"gt", "geoseg"}), default=None)


def topic_words(topic: str) -> set[str]:
    """The words of a topic's name, in lower case, without the transport."""
    return set(re.split("[/_]", _base(topic).lower()))


def _base(topic: str) -> str:
    return topic[: -len("/compressed")] if topic.endswith("/compressed") else topic


def _is_camera(topic: str) -> bool:
    return not topic_words(topic) & _DERIVED and not topic.endswith(("/compressedDepth", "/theora", "/zstd"))
