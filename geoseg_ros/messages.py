"""From a :class:`~geoseg_ros.perception.Perception` to the fields of the ROS messages that publish it, and
images back.

The one place that decides how an output looks as a message. No rclpy here: fields are dicts that fit rclpy's
and rosbags' message classes alike; the header is the caller's, copied from the image that the output came
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from geoseg_ros import colorize
from geoseg_ros.errors import ConfigError
from geoseg_ros.image_messages import ENCODINGS, decode_compressed, decode_image, depth_counts, encode_image
from geoseg_ros.labels import LabelSet

if TYPE_CHECKING:
    from geoseg_ros.perception import EgoMotion, Perception

__all__ = [
    "DEPTH_ENCODINGS",
    "ENCODINGS",
    "OUTPUTS",
    "Output",
    "decode_compressed",
    "decode_image",
    "encode_image",
    "label_info",
    "needed_outputs",
    "output_messages",
]

DEPTH_ENCODINGS = ("32FC1", "16UC1")
_IMAGE = "sensor_msgs/msg/Image"


class Output(NamedTuple):
    """What one topic carries: message type, and the pipeline outputs that it is made from."""

    type: str
    needs: frozenset[str]


OUTPUTS: dict[str, Output] = {
    "semantic/image": Output(_IMAGE, frozenset({"semantic"})),
    "semantic/confidence": Output(_IMAGE, frozenset({"confidence"})),
    "semantic/color": Output(_IMAGE, frozenset({"semantic"})),
    "depth/image": Output(_IMAGE, frozenset({"depth"})),
    "depth/camera_info": Output("sensor_msgs/msg/CameraInfo", frozenset({"depth"})),
    "depth/color": Output(_IMAGE, frozenset({"depth"})),
    "depth/points": Output("sensor_msgs/msg/PointCloud2", frozenset({"depth", "semantic"})),
    "flow/image": Output(_IMAGE, frozenset({"flow"})),
    "flow/color": Output(_IMAGE, frozenset({"flow"})),
    "motion/mask": Output(_IMAGE, frozenset({"motion"})),
    "motion/probability": Output(_IMAGE, frozenset({"motion"})),
    "ego_motion": Output("geometry_msgs/msg/TwistWithCovarianceStamped", frozenset({"ego_motion"})),
}

_POINT_FIELDS = ("x", "y", "z", "rgb", "label")  # four bytes each
_POINT_STEP = 4 * len(_POINT_FIELDS)
_FLOAT32, _UINT32 = 7, 6  # sensor_msgs/PointField


def needed_outputs(topics: Iterable[str]) -> frozenset[str]:
    """The pipeline outputs that these topics are made from."""
    return frozenset().union(*(OUTPUTS[topic].needs for topic in topics))


def output_messages(
    perception: Perception, labels: LabelSet, topics: Iterable[str], depth_encoding: str = "32FC1"
) -> dict[str, dict[str, Any]]:
    """Message fields (without header) by topic suffix, for those of ``topics`` that this frame has data for.

    A frame without a calibrated camera has no depth, motion and ego-motion; one without a previous frame has
    no motion and ego-motion, and a flow of NaN. ``depth_encoding``: 32FC1 (metres, NaN unknown) or 16UC1
    (millimetres, 0 unknown or beyond 65.535 m). Raises :class:`ConfigError` for an unknown depth encoding and
    KeyError for a topic not in :data:`OUTPUTS`.
    """
    if depth_encoding not in DEPTH_ENCODINGS:
        raise ConfigError(
            f"depth_encoding is '{depth_encoding}', expected one of {', '.join(DEPTH_ENCODINGS)}"
        )
    messages = {topic: _BUILDERS[topic](perception, labels, depth_encoding) for topic in topics}
    return {topic: fields for topic, fields in messages.items() if fields is not None}


def label_info(labels: LabelSet, threshold: float = 0.0) -> dict[str, Any]:
    """Fields of a ``vision_msgs/LabelInfo`` without header; class ids as in ``semantic/image``."""
    classes = [{"class_id": index, "class_name": name} for index, name in enumerate(labels.names)]
    return {"class_map": classes, "threshold": threshold}


def _semantic_image(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    if perception.semantic is None:
        return None
    return encode_image(perception.semantic, "mono8" if perception.semantic.dtype == np.uint8 else "mono16")


def _semantic_confidence(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return None if perception.confidence is None else encode_image(perception.confidence, "32FC1")


def _semantic_color(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    if perception.semantic is None:
        return None
    return encode_image(colorize.colorize_semantic(perception.semantic, labels, perception.image), "rgb8")


def _depth_image(perception: Perception, labels: LabelSet, encoding: str) -> dict[str, Any] | None:
    if perception.depth is None:
        return None
    if encoding == "32FC1":
        return encode_image(perception.depth, encoding)
    return encode_image(depth_counts(perception.depth, 1000.0), encoding)


def _depth_camera_info(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    if perception.depth is None or perception.camera is None:
        return None
    return perception.camera.to_camera_info()


def _depth_color(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return (
        None if perception.depth is None else encode_image(colorize.colorize_depth(perception.depth), "rgb8")
    )


def _depth_points(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    """An organised cloud (one point per pixel, row by row; NaN where depth is unknown), so that pixels keep
    their place.

    Fields x, y, z (metres, optical frame), rgb (packed 0x00RRGGBB as PCL and RViz read it), label (class id).
    """
    depth, camera = perception.depth, perception.camera
    if depth is None or camera is None:
        return None
    height, width = depth.shape
    z = np.where((depth > 0.0) & (depth < np.inf), depth, np.float32("nan"))
    x = z * ((np.arange(width, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.fx))
    y = z * ((np.arange(height, dtype=np.float32) - np.float32(camera.cy)) / np.float32(camera.fy))[:, None]
    rgb = cv2.cvtColor(perception.image, cv2.COLOR_RGB2BGRA).view("<u4")[..., 0] & 0x00FFFFFF
    label = np.full(depth.shape, labels.ignore) if perception.semantic is None else perception.semantic
    points = cv2.merge([x, y, z, rgb.view("<f4"), label.astype("<u4").view("<f4")])
    return {
        "height": height,
        "width": width,
        "fields": [
            {
                "name": name,
                "offset": 4 * index,
                "datatype": _UINT32 if name == "label" else _FLOAT32,
                "count": 1,
            }
            for index, name in enumerate(_POINT_FIELDS)
        ],
        "is_bigendian": False,
        "point_step": _POINT_STEP,
        "row_step": width * _POINT_STEP,
        "data": points.reshape(-1).view(np.uint8),
        "is_dense": bool(np.isfinite(z).all()),
    }


def _flow_image(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return None if perception.flow is None else encode_image(perception.flow, "32FC2")


def _flow_color(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return None if perception.flow is None else encode_image(colorize.colorize_flow(perception.flow), "rgb8")


def _motion_mask(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return None if perception.motion_mask is None else encode_image(perception.motion_mask, "mono8")


def _motion_probability(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    return (
        None
        if perception.motion_probability is None
        else encode_image(perception.motion_probability, "32FC1")
    )


def _ego_motion(perception: Perception, labels: LabelSet, _: str) -> dict[str, Any] | None:
    """The camera's twist in its own optical frame; covariance row-major: x y z, rotation about x y z."""
    ego: EgoMotion | None = perception.ego_motion
    if ego is None:
        return None
    twist = {
        "linear": dict(zip("xyz", map(float, ego.linear))),
        "angular": dict(zip("xyz", map(float, ego.angular))),
    }
    return {"twist": {"twist": twist, "covariance": np.asarray(ego.covariance, np.float64).reshape(36)}}


_BUILDERS: dict[str, Callable[[Any, LabelSet, str], dict[str, Any] | None]] = {
    "semantic/image": _semantic_image,
    "semantic/confidence": _semantic_confidence,
    "semantic/color": _semantic_color,
    "depth/image": _depth_image,
    "depth/camera_info": _depth_camera_info,
    "depth/color": _depth_color,
    "depth/points": _depth_points,
    "flow/image": _flow_image,
    "flow/color": _flow_color,
    "motion/mask": _motion_mask,
    "motion/probability": _motion_probability,
    "ego_motion": _ego_motion,
}
