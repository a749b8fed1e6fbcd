"""Small bags of a camera that drives: every frame can be told apart, shifts and poses are known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.image_messages import encode_image
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL, odometry_fields
from geoseg_ros.training.data.static_frames import TF_STATIC, TF_TYPE, transform_fields

START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
IMAGE, CAMERA_INFO = "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
ODOMETRY = "nav_msgs/msg/Odometry"
CAMERA = PinholeCamera(64, 48, 60.0, 61.0, 30.0, 24.0, frame_id="camera_optical_frame")
FRAME = "camera_optical_frame"
MOUNT = np.eye(4)
MOUNT[:3, :3] = BODY_FROM_OPTICAL
MOUNT[:3, 3] = [1.2, 0.1, 1.5]
SHADE = 8
"""Grey levels between the marks of successive frames."""

_TEXTURE = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 255, (128, 1024, 3)).astype(np.uint8), (0, 0), 2.0)


def picture(number: int, shift: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A texture moved by ``shift`` pixels, with a mark of SHADE·number in its upper left corner; H×W×3 uint8."""
    image = _TEXTURE[:height, shift : shift + width].copy()
    image[:4, :4] = SHADE * number
    return image


def frame_numbers(images: np.ndarray) -> np.ndarray:
    """Which frames B×3×H×W uint8 images show, by their marks."""
    return np.rint(images[:, 0, 1, 1] / SHADE).astype(int)


def body_pose(x: float, yaw: float = 0.0, y: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[:2, 3] = x, y
    return pose


def write_drive(
    path: Path,
    shifts: Sequence[int] = (0, 4, 8, 12, 16, 20),
    stamps: Sequence[int] | None = None,
    poses: Sequence[np.ndarray] | None = None,
    pose_stamps: Sequence[int] | None = None,
    camera: PinholeCamera | None = CAMERA,
    mount: np.ndarray | None = None,
    size: tuple[int, int] = (64, 48),
    first: int = 0,
    images: dict[int, dict[str, Any]] | None = None,
) -> Path:
    """A bag with /camera/image_raw, /camera/camera_info (unless ``camera`` is None), /odom of base_link (where there
    are ``poses``) and /tf_static (where there is a ``mount``); ``images`` replaces the fields of single images."""
    stamps = [START + i * PERIOD for i in range(len(shifts))] if stamps is None else stamps
    with BagWriter(path) as bag:
        if mount is not None:
            bag.add_topic(TF_STATIC, TF_TYPE, latched=True)
            edge = transform_fields("base_link", FRAME, mount, stamps[0])
            bag.write(TF_STATIC, TF_TYPE, {"transforms": [edge]}, stamps[0])
        for i, (shift, stamp) in enumerate(zip(shifts, stamps, strict=True)):
            if camera is not None:
                fields = {"header": header(stamp), **camera.to_camera_info()}
                bag.write("/camera/camera_info", CAMERA_INFO, fields, stamp)
            fields = encode_image(picture(first + i, shift, *size), "rgb8") | (images or {}).get(i, {})
            bag.write("/camera/image_raw", IMAGE, {"header": header(stamp), **fields}, stamp)
        for pose, stamp in zip(poses or (), pose_stamps or stamps):
            fields = {"header": header(stamp, "odom"), **odometry_fields(pose, pose, 0.1, "base_link")}
            bag.write("/odom", ODOMETRY, fields, stamp)
    return path


def header(stamp: int, frame_id: str = FRAME) -> dict[str, Any]:
    return {"stamp": stamp, "frame_id": frame_id}
