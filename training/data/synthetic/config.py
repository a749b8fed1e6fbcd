"""What can be chosen about a synthetic world beyond its seed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError


def default_camera() -> PinholeCamera:
    """A KITTI-like camera: 640×192, focal length 370 px."""
    return PinholeCamera(640, 192, 370.0, 370.0, 319.5, 95.5, frame_id="camera_optical_frame")


def default_room_camera() -> PinholeCamera:
    """An RGB-D camera's picture: 448×336, horizontal field of view 57°."""
    return PinholeCamera(448, 336, 412.0, 412.0, 223.5, 167.5, frame_id="camera_optical_frame")


@dataclass(frozen=True)
class WorldConfig:
    """Camera and recording of any world; everything else follows from the seed. ``fps`` in Hz, ``duration`` in seconds."""

    camera: PinholeCamera = field(default_factory=default_camera)
    fps: float = 10.0
    duration: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            raise ConfigError(f"synthetic fps is {self.fps}, expected a rate in (0, 1000]")
        if not 0 < self.duration <= 3600:
            raise ConfigError(f"synthetic duration is {self.duration} s, expected a time in (0, 3600]")
        if self.camera.is_distorted:
            raise ConfigError("synthetic worlds render undistorted cameras only, but the camera has distortion")

    @property
    def frames(self) -> int:
        """How many frames the duration holds."""
        return max(1, int(round(self.duration * self.fps)))


@dataclass(frozen=True)
class StreetConfig(WorldConfig):
    """Camera, its mounting and the recording of a street.

    Lengths in metres, angles in radians, duration in seconds. The mount's pitch is positive when the camera
    looks down, its roll positive clockwise as seen along the optical axis. ``hills`` and ``vibration`` scale
    the slopes of the ground and the shaking of the vehicle (0 switches them off); ``noise`` scales blur,
    sensor noise and vignetting.
    """

    camera_height: float = 1.65
    mount_pitch: float = 0.0
    mount_roll: float = 0.0
    hills: float = 1.0
    vibration: float = 1.0
    noise: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.1 <= self.camera_height <= 4:
            raise ConfigError(f"camera height is {self.camera_height} m, expected 0.1 to 4")


@dataclass(frozen=True)
class RoomConfig(WorldConfig):
    """Camera and recording of a room; where the camera is and how it moves follows from the seed. ``noise`` scales blur,
    sensor noise and vignetting."""

    camera: PinholeCamera = field(default_factory=default_room_camera)
    noise: float = 1.0


def _camera(rng: np.random.Generator, width: int, height: int, focal: float, spread: float) -> PinholeCamera:
    """A camera of about that focal length, its pixels nearly square, its principal point near the centre; vertically off by
    ``spread`` (standard deviation) of the height."""
    return PinholeCamera(
        width,
        height,
        focal,
        focal * float(rng.uniform(0.98, 1.02)),
        (width - 1) / 2 + width * float(rng.normal(0, 0.01)),
        (height - 1) / 2 + height * float(rng.normal(0, spread)),
        frame_id="camera_optical_frame",
    )


def random_config(seed: int, width: int = 640, height: int = 192, frames: int = 6) -> StreetConfig:
    """A camera and mounting drawn by seed: focal length 0.45–1.1 × width, height 0.4–2.2 m, slight pitch and
    roll."""
    rng = np.random.default_rng([seed, 0xCA3E7A])
    focal = width * float(np.exp(rng.uniform(np.log(0.45), np.log(1.1))))
    # cameras on cars, mostly; some on small robots
    camera_height = float(rng.uniform(1.2, 2.2) if rng.random() < 0.75 else rng.uniform(0.4, 1.2))
    fov_y = 2 * np.arctan(height / 2 / focal)
    camera = _camera(rng, width, height, focal, 0.03)
    fps = float(rng.choice([5.0, 10.0, 10.0, 10.0, 15.0, 20.0]))
    return StreetConfig(
        camera=camera,
        fps=fps,
        duration=frames / fps,
        camera_height=camera_height,
        mount_pitch=float(np.clip(rng.normal(0.02, 0.04), -0.25 * fov_y, 0.25 * fov_y)),
        mount_roll=float(rng.normal(0, 0.012)),
        hills=float(rng.uniform(0, 1.5)),
        vibration=float(rng.uniform(0.3, 2.0)),
    )


def random_room_config(seed: int, width: int = 448, height: int = 336, frames: int = 6) -> RoomConfig:
    """A camera drawn by seed: horizontal field of view 45–95°, 5–30 frames a second."""
    rng = np.random.default_rng([seed, 0x4F0D])
    focal = width / 2 / np.tan(np.deg2rad(rng.uniform(45, 95)) / 2)
    camera = _camera(rng, width, height, focal, 0.015)
    fps = float(rng.choice([5.0, 10.0, 10.0, 15.0, 30.0]))
    return RoomConfig(camera=camera, fps=fps, duration=frames / fps)
