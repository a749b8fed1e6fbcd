"""Calibration files: plain JSON or YAML (fx, fy, cx, cy, width ...) and ROS ``camera_calibration`` YAML."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import CameraError, VideoError

SUFFIXES = (".json", ".yaml", ".yml")
MAX_FILE_BYTES = 1 << 20
_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class Intrinsics:
    """What a calibration file says: the camera, the frame rate if it is there, and the file for messages."""

    camera: PinholeCamera
    fps: float | None
    path: Path

    def camera_for(self, width: int, height: int) -> PinholeCamera:
        """The camera of images of this size; CameraError when their shape is not that of the calibration."""
        camera = self.camera
        if abs(width * camera.height / (height * camera.width) - 1.0) > _ASPECT_TOLERANCE:
            raise CameraError(
                f"{self.path} is for {camera.width}x{camera.height}, the image is {width}x{height}"
            )
        return camera.resize(width, height) if (camera.width, camera.height) != (width, height) else camera


def find_intrinsics(stem: Path) -> Path | None:
    """The calibration file ``stem`` + .json, .yaml or .yml, if there is one."""
    return next((file for suffix in SUFFIXES if (file := Path(f"{stem}{suffix}")).is_file()), None)


def load_intrinsics(path: str | os.PathLike[str], video: str | None = None) -> Intrinsics:
    """Read a calibration file.

    Plain files hold ``fx fy cx cy width height``, and may hold ``distortion`` or ``D`` with
    ``distortion_model`` (or a text that begins with "none"), ``fps``, ``frame_id``. Values of several videos
    may stand in parts that each name their ``video``; ``video`` then picks one. ROS files hold ``image_width
    image_height camera_matrix distortion_model distortion_coefficients``. Raises VideoError for an unreadable
    file, CameraError for values.
    """
    path = Path(path)
    content = _read(path)
    if video is not None:
        parts = [part for part in content.values() if isinstance(part, dict) and part.get("video") == video]
        if parts:
            content = {**content, **parts[0]}
    try:
        camera = _from_ros(content) if "camera_matrix" in content else _from_plain(content)
    except CameraError as error:
        raise CameraError(f"{path}: {error}") from error
    fps = content.get("fps")
    if fps is not None and not (_is_number(fps) and 0.0 < fps <= 1000.0):
        raise VideoError(f"{path}: fps is {fps!r}, expected a number of frames per second up to 1000")
    return Intrinsics(camera, None if fps is None else float(fps), path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise VideoError(f"intrinsics file {path} cannot be read: {error.strerror}") from error
    if len(text) > MAX_FILE_BYTES:
        raise VideoError(f"intrinsics file {path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        content = yaml.safe_load(text.replace(b"\t", b" "))  # YAML includes JSON but for its tabs
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise VideoError(f"intrinsics file {path} is neither JSON nor YAML: {reason}") from error
    if not isinstance(content, dict):
        raise VideoError(f"intrinsics file {path} holds a {type(content).__name__}, expected named values")
    return content


def _from_plain(content: dict[str, Any]) -> PinholeCamera:
    if missing := [name for name in ("fx", "fy", "cx", "cy", "width", "height") if name not in content]:
        raise CameraError(f"{', '.join(missing)} missing, expected fx, fy, cx, cy, width and height")
    coefficients = content.get("distortion", content.get("D", ()))
    return _camera(
        content, [content[name] for name in ("fx", "fy", "cx", "cy")], coefficients, "width", "height"
    )


def _from_ros(content: dict[str, Any]) -> PinholeCamera:
    matrix = _data(content, "camera_matrix")
    if len(matrix) != 9:
        raise CameraError(f"camera_matrix has {len(matrix)} values, expected 9")
    if missing := [name for name in ("image_width", "image_height") if name not in content]:
        raise CameraError(f"{', '.join(missing)} missing")
    coefficients = _data(content, "distortion_coefficients") if "distortion_coefficients" in content else ()
    focal = [matrix[0], matrix[4], matrix[2], matrix[5]]
    return _camera(content, focal, coefficients, "image_width", "image_height")


def _camera(
    content: dict[str, Any], focal: list[Any], coefficients: Any, width: str, height: str
) -> PinholeCamera:
    if not isinstance(coefficients, (list, tuple)):
        raise CameraError(f"distortion is {coefficients!r}, expected a list of numbers")
    model = str(content.get("distortion_model") or "plumb_bob")
    if model.startswith("none"):
        if any(coefficients):
            raise CameraError(f"distortion_model is {model!r}, but the coefficients are {coefficients!r}")
        model, coefficients = "plumb_bob", ()
    values = dict(zip(("fx", "fy", "cx", "cy"), focal, strict=True))
    return PinholeCamera(
        width=content[width],
        height=content[height],
        **values,
        distortion=tuple(coefficients),
        model="equidistant" if model == "fisheye" else model,
        frame_id=str(content.get("frame_id", "")),
    )


def _data(content: dict[str, Any], name: str) -> list[Any]:
    entry = content[name]
    data = entry.get("data") if isinstance(entry, dict) else entry
    if not isinstance(data, list):
        raise CameraError(f"{name} is {entry!r}, expected rows, cols and a list of data")
    return data


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
