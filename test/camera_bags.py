"""Small camera bags for tests: known pictures, known stamps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.image_messages import encode_image

START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
CAMERA = PinholeCamera(64, 48, 60.0, 61.0, 31.5, 23.5, frame_id="camera_optical_frame")


def picture(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A smooth picture that moves to the right by two pixels a frame; H×W×3 uint8 RGB."""
    x, y = np.meshgrid(np.arange(width) - 2 * index, np.arange(height))
    channels = [128 + 100 * np.sin(x / 5), 128 + 100 * np.cos(y / 4), 128 + 60 * np.sin((x + y) / 7)]
    return np.stack(channels, axis=2).astype(np.uint8)


def header(index: int, frame_id: str = "camera_optical_frame") -> dict[str, Any]:
    return {"stamp": START + index * PERIOD, "frame_id": frame_id}


def image_fields(index: int) -> dict[str, Any]:
    return {"header": header(index), **encode_image(picture(index), "rgb8")}


def png_fields(index: int) -> dict[str, Any]:
    data = cv2.imencode(".png", cv2.cvtColor(picture(index), cv2.COLOR_RGB2BGR))[1]
    return {"header": header(index), "format": "rgb8; png compressed bgr8", "data": data}


def camera_info_fields(index: int, camera: PinholeCamera = CAMERA) -> dict[str, Any]:
    return {"header": header(index), **camera.to_camera_info()}


def write_camera_bag(
    path: Path, frames: int = 6, storage: str = "mcap", compressed: bool = False, calibrated: bool = True
) -> Path:
    """A bag with /camera/image_raw (or .../compressed, PNG) and /camera/camera_info."""
    with BagWriter(path, storage) as bag:
        for index in range(frames):
            stamp = START + index * PERIOD
            if calibrated:
                bag.write("/camera/camera_info", CAMERA_INFO, camera_info_fields(index), stamp)
            if compressed:
                bag.write("/camera/image_raw/compressed", COMPRESSED, png_fields(index), stamp + 1)
            else:
                bag.write("/camera/image_raw", IMAGE, image_fields(index), stamp + 1)
    return path
