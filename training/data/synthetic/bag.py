"""A synthetic street as a rosbag2: the camera's topics and their ground truth, in the conventions of the
node's outputs.

Topics: ``/camera/image_raw`` (rgb8; or ``/camera/image_raw/compressed``, JPEG), ``/camera/camera_info``,
``/odom`` (nav_msgs/Odometry of ``base_link``, on the ground below the vehicle: pose in ``odom``, twist in
``base_link``) and, below ``/camera/gt/``: ``semantic/image`` mono8, ``depth/image`` 32FC1 (metres, +inf sky),
``flow/image`` 32FC2 (x_current − x_previous, NaN on the first frame), ``motion/mask`` mono8 (0, 255),
``odom`` (of ``camera_link``, the camera's position with axes x forward, y left, z up: pose in ``odom``, twist
in ``camera_link``). All frames of an instant share their stamp. The latched ``/tf_static`` leads from ``base_link`` to
``camera_link`` to the frame of the images, ``camera_optical_frame``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagWriter
from geoseg_ros.image_messages import encode_image
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL, odometry_fields
from geoseg_ros.training.data.static_frames import TF_STATIC, TF_TYPE, transform_fields
from geoseg_ros.training.data.synthetic.streets.street import SyntheticStreet
from geoseg_ros.training.data.synthetic.world import SyntheticFrame

START = 1_700_000_000_000_000_000  # stamp of the first frame (ns): any plausible time, always the same
_IMAGE = "sensor_msgs/msg/Image"
_ODOMETRY = "nav_msgs/msg/Odometry"
_TWIST_SPAN = 0.01  # seconds over which velocities are taken
_JPEG_QUALITY = 95


def write_street_bag(
    street: SyntheticStreet,
    path: str | Path,
    storage: str = "mcap",
    compressed: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Render all frames of a street into a new bag; ``advance`` is called after each. Raises BagError where
    the bag exists or cannot be written."""
    optical_from_link = np.eye(4)
    optical_from_link[:3, :3] = BODY_FROM_OPTICAL.T

    def world_from_link(time: float) -> np.ndarray:
        return street.camera_pose(time) @ optical_from_link

    mounting = [
        transform_fields("base_link", "camera_link", street.camera_mount @ optical_from_link, START),
        transform_fields("camera_link", street.camera.frame_id, np.linalg.inv(optical_from_link), START),
    ]
    with BagWriter(path, storage) as bag:
        bag.add_topic(TF_STATIC, TF_TYPE, latched=True)
        bag.write(TF_STATIC, TF_TYPE, {"transforms": mounting}, START)
        for frame in street.frames():
            stamp, time = START + frame.stamp, frame.stamp * 1e-9
            header = {"stamp": stamp, "frame_id": street.camera.frame_id}
            for topic, msgtype, fields in _camera_messages(frame, street, compressed):
                bag.write(topic, msgtype, {"header": header, **fields}, stamp)
            for topic, child, pose in (
                ("/odom", "base_link", street.vehicle_pose),
                ("/camera/gt/odom", "camera_link", world_from_link),
            ):
                fields = odometry_fields(pose(time), pose(time - _TWIST_SPAN), _TWIST_SPAN, child)
                bag.write(topic, _ODOMETRY, {"header": {"stamp": stamp, "frame_id": "odom"}, **fields}, stamp)
            advance()


def _camera_messages(
    frame: SyntheticFrame, street: SyntheticStreet, compressed: bool
) -> list[tuple[str, str, dict[str, Any]]]:
    messages = [("/camera/camera_info", "sensor_msgs/msg/CameraInfo", street.camera.to_camera_info())]
    if compressed:
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        fields = {"format": "rgb8; jpeg compressed bgr8", "data": data.reshape(-1)}
        messages.append(("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", fields))
    else:
        messages.append(("/camera/image_raw", _IMAGE, encode_image(frame.image, "rgb8")))
    for suffix, array, encoding in (
        ("semantic/image", frame.semantic, "mono8"),
        ("depth/image", frame.depth, "32FC1"),
        ("flow/image", -frame.flow_to_previous, "32FC2"),
        ("motion/mask", frame.motion_mask, "mono8"),
    ):
        messages.append((f"/camera/gt/{suffix}", _IMAGE, encode_image(array, encoding)))
    return messages
