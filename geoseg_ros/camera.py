"""The pinhole camera: intrinsics, lens distortion, and what resizing, cropping, binning and flipping do to
them.

Conventions: pixel centres are integers, so the top-left pixel is (0, 0) and its area spans -0.5 ... 0.5;
scaling an image by s maps a coordinate c to (c + 0.5) * s - 0.5. Camera frames are optical frames of REP 103:
x right, y down, z forward. Distortion follows OpenCV (``cv2.projectPoints``, ``cv2.fisheye``) and
``sensor_msgs/CameraInfo``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from geoseg_ros import distortion as lens
from geoseg_ros.errors import CameraError, UncalibratedCameraError

MAX_SIDE = 32768
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class PinholeCamera:
    """A calibrated camera; immutable and hashable.

    ``width`` and ``height`` in pixels, focal lengths ``fx``, ``fy`` and principal point ``cx``, ``cy`` in
    pixels. ``distortion`` holds the coefficients in OpenCV's order for ``model``: ``plumb_bob`` (k1 k2 p1 p2
    [k3]; may be empty), ``rational_polynomial`` (k1 k2 p1 p2 k3 k4 k5 k6) or ``equidistant`` (k1 k2 k3 k4, a
    fisheye lens). Raises CameraError where a value is impossible.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    model: str = "plumb_bob"
    frame_id: str = ""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, _side(name, getattr(self, name)))
        for name in ("fx", "fy", "cx", "cy"):
            value = _number(name, getattr(self, name))
            if name in ("fx", "fy") and value <= 0:
                raise CameraError(f"camera {name} is {value:g} pixels, expected a positive focal length")
            object.__setattr__(self, name, value)
        if self.model not in lens.COEFFICIENTS:
            raise CameraError(
                f"camera distortion model is {self.model!r}, expected one of {sorted(lens.COEFFICIENTS)}"
            )
        coefficients = tuple(_number("distortion coefficient", value) for value in self.distortion)
        if len(coefficients) not in lens.COEFFICIENTS[self.model]:
            expected = " or ".join(map(str, lens.COEFFICIENTS[self.model]))
            raise CameraError(
                f"camera distortion model {self.model} has {len(coefficients)} coefficients, "
                f"expected {expected}"
            )
        object.__setattr__(self, "distortion", coefficients)
        if not isinstance(self.frame_id, str):
            raise CameraError(f"camera frame_id is {self.frame_id!r}, expected a string")

    @classmethod
    def from_camera_info(cls, msg: Any, rectified: bool = False) -> PinholeCamera:
        """The camera of the image that a ``sensor_msgs/CameraInfo`` (of rclpy or rosbags) accompanies.

        The message's K describes the full sensor; its ROI is cropped and its binning applied, so the result
        has the size of the image. ``rectified`` says that the image has been rectified already
        (``image_rect``): then P and no distortion are used. Raises UncalibratedCameraError where the focal
        length is 0 or NaN (the message's way to say "not calibrated"), CameraError where another value is
        impossible.
        """
        matrix = (
            np.asarray(msg.p, dtype=np.float64).reshape(-1)
            if rectified
            else np.asarray(msg.k, dtype=np.float64)
        )
        if matrix.size != (12 if rectified else 9):
            raise CameraError(
                f"camera_info matrix has {matrix.size} values, expected {12 if rectified else 9}"
            )
        name, matrix = ("P", matrix.reshape(3, 4)) if rectified else ("K", matrix.reshape(3, 3))
        if not np.isfinite(matrix).all() or matrix[0, 0] == 0 or matrix[1, 1] == 0:
            raise UncalibratedCameraError(
                f"camera_info of frame {msg.header.frame_id!r} is not calibrated: "
                f"{name}[0] is {matrix[0, 0]:g} and {name}[{4 if name == 'K' else 5}] is {matrix[1, 1]:g}, "
                "expected focal lengths in pixels"
            )
        if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]):
            raise CameraError(f"camera_info {name}[1] (skew) is {matrix[0, 1]:g}, expected 0")
        model, coefficients = ("plumb_bob", ()) if rectified else _message_distortion(msg)
        camera = cls(
            width=int(msg.width),
            height=int(msg.height),
            fx=matrix[0, 0],
            fy=matrix[1, 1],
            cx=matrix[0, 2],
            cy=matrix[1, 2],
            distortion=coefficients,
            model=model,
            frame_id=str(msg.header.frame_id),
        )
        roi = msg.roi
        if roi.width or roi.height:
            camera = camera.crop(int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height))
        return camera.bin(max(int(msg.binning_x), 1), max(int(msg.binning_y), 1))

    def to_camera_info(self) -> dict[str, Any]:
        """Fields of a ``sensor_msgs/CameraInfo`` without its header: d, k, r, p are flat float64 arrays.

        R is the identity and P is K beside a zero column: rectifying keeps the intrinsics.
        """
        projection = np.zeros((3, 4))
        projection[:, :3] = self.matrix
        return {
            "height": self.height,
            "width": self.width,
            "distortion_model": self.model,
            "d": np.array(self.distortion or (0.0,) * min(n for n in lens.COEFFICIENTS[self.model] if n)),
            "k": self.matrix.reshape(-1),
            "r": np.array(IDENTITY),
            "p": projection.reshape(-1),
        }

    @property
    def matrix(self) -> np.ndarray:
        """The intrinsic matrix K, 3×3 float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def is_distorted(self) -> bool:
        """Whether the lens departs from the pinhole model (an equidistant lens always does)."""
        return self.model == "equidistant" or any(self.distortion)

    def resize(self, width: int, height: int) -> PinholeCamera:
        """The camera of the image resized to ``width`` × ``height`` pixels."""
        width, height = _side("width", width), _side("height", height)
        return self._scaled(width / self.width, height / self.height, width, height)

    def crop(self, x: int, y: int, width: int, height: int) -> PinholeCamera:
        """The camera of the part that starts at pixel (x, y); CameraError where it leaves the image."""
        width, height = _side("width", width), _side("height", height)
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise CameraError(
                f"region of interest {width}x{height} at ({x}, {y}) leaves the image, expected one inside "
                f"{self.width}x{self.height}"
            )
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def bin(self, bx: int, by: int) -> PinholeCamera:
        """The camera whose pixels average ``bx`` × ``by`` pixels of this one; a remainder is dropped."""
        if bx < 1 or by < 1:
            raise CameraError(f"binning is {bx}x{by}, expected 1 or more pixels")
        return self._scaled(1.0 / bx, 1.0 / by, self.width // bx, self.height // by)

    def hflip(self) -> PinholeCamera:
        """The camera of the image mirrored left to right."""
        coefficients = list(self.distortion)
        if self.model != "equidistant" and coefficients:
            coefficients[3] = -coefficients[3]
        return replace(self, cx=self.width - 1 - self.cx, distortion=tuple(coefficients))

    def rectified(self) -> PinholeCamera:
        """The camera of the rectified image: same size and K, no distortion."""
        return replace(self, distortion=(), model="plumb_bob")

    def rectification_maps(self) -> tuple[np.ndarray, np.ndarray]:
        """Maps for ``cv2.remap`` that turn an image of this camera into one of :meth:`rectified`.

        Fixed-point maps (1/32 pixel; int16 H×W×2, uint16 H×W), kept for the last cameras that asked; do not
        write to them.
        """
        return _rectification_maps(replace(self, frame_id=""))

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points N×3 of the camera frame to pixels N×2 (x, y), float64, with distortion.

        NaN for points that are not in front of the camera. Points outside the lens's field of view get
        whatever the distortion polynomial gives there, like in OpenCV.
        """
        points = _table("points", points, 3)
        z = points[:, 2:3]
        with np.errstate(divide="ignore", invalid="ignore"):
            normalised = np.where(z > 0, points[:, :2] / z, np.nan)
        return lens.distort(normalised, self.model, self.distortion) * (self.fx, self.fy) + (self.cx, self.cy)

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels N×2 (x, y) to viewing rays N×3 with z = 1, float64, without distortion; inverse of
        :meth:`project`.

        NaN where no ray in front of the camera reaches the pixel.
        """
        pixels = _table("pixels", pixels, 2)
        normalised = lens.undistort(
            (pixels - (self.cx, self.cy)) / (self.fx, self.fy), self.model, self.distortion
        )
        return np.concatenate([normalised, np.where(np.isnan(normalised[:, :1]), np.nan, 1.0)], axis=1)

    def to_dict(self) -> dict[str, Any]:
        """The camera as plain JSON types."""
        return {
            "width": self.width,
            "height": self.height,
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "distortion": list(self.distortion),
            "model": self.model,
            "frame_id": self.frame_id,
        }

    @classmethod
    def from_dict(cls, data: Any) -> PinholeCamera:
        """The camera of :meth:`to_dict`; CameraError names a missing, unknown or wrong entry."""
        if not isinstance(data, dict):
            raise CameraError(f"camera is a {type(data).__name__}, expected a mapping")
        required = {"width", "height", "fx", "fy", "cx", "cy"}
        if missing := sorted(required - data.keys()):
            raise CameraError(f"camera lacks {', '.join(missing)}")
        if unknown := sorted(map(str, data.keys() - required - {"distortion", "model", "frame_id"})):
            raise CameraError(f"camera has the unknown entry {unknown[0]!r}")
        distortion = data.get("distortion", ())
        if not isinstance(distortion, (list, tuple)):
            raise CameraError(f"camera distortion is {distortion!r}, expected a list of numbers")
        if not isinstance(data.get("model", "plumb_bob"), str):
            raise CameraError(f"camera distortion model is {data['model']!r}, expected a string")
        return cls(**{**data, "distortion": tuple(distortion)})

    def _scaled(self, sx: float, sy: float, width: int, height: int) -> PinholeCamera:
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
        )


@lru_cache(maxsize=8)
def _rectification_maps(camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    matrix, size = camera.matrix, (camera.width, camera.height)
    coefficients = np.array(camera.distortion or (0.0,) * 4)
    initialise = (
        cv2.fisheye.initUndistortRectifyMap if camera.model == "equidistant" else cv2.initUndistortRectifyMap
    )
    return initialise(matrix, coefficients, np.eye(3), matrix, size, cv2.CV_16SC2)


def _message_distortion(msg: Any) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients of a CameraInfo; trailing zeros past the model's coefficients are dropped."""
    model = str(msg.distortion_model)
    coefficients = tuple(float(value) for value in msg.d)
    if not model and not any(coefficients):
        return "plumb_bob", ()
    if model in lens.COEFFICIENTS:
        longest = max(lens.COEFFICIENTS[model])
        if not any(coefficients[longest:]):
            coefficients = coefficients[:longest]
    return model, coefficients


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not math.isfinite(value):
        raise CameraError(f"camera {name} is {value!r}, expected a finite number")
    return float(value)


def _side(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= MAX_SIDE:
        raise CameraError(
            f"camera {name} is {value!r}, expected a whole number of pixels from 1 to {MAX_SIDE}"
        )
    return int(value)


def _table(name: str, values: np.ndarray, columns: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != columns:
        raise CameraError(f"{name} have shape {values.shape}, expected N×{columns}")
    return values
