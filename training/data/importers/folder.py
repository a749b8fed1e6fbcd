"""A folder of images (or its subfolder ``images``) with ``intrinsics.json`` and ``poses.txt``, each where it exists."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.frames.intrinsics import Intrinsics, find_intrinsics, load_intrinsics
from geoseg_ros.training.data import files
from geoseg_ros.training.data.importers.recording import (
    BodyTrack,
    Picture,
    Recording,
    camera_track,
    even_stamps,
)


def open_recording(
    path: Path, intrinsics: Path | None = None, poses: Path | None = None, fps: float | None = None
) -> Recording:
    """The images in name order, ``fps`` (default: of the intrinsics file) per second.

    ``poses`` has one camera-to-world 3×4 matrix per image (optical axes, metres; KITTI's format).
    """
    images = files.image_paths(path / "images" if (path / "images").is_dir() else path)
    calibration = load_calibration(intrinsics, path / "intrinsics")
    stamps = even_stamps(len(images), frame_rate(fps, calibration, None, path))
    file = poses if poses is not None else path / "poses.txt"
    track = read_track(file, stamps) if poses is not None or file.exists() else None
    return Recording(stamps, (Picture(image, calibration) for image in images), track)


def load_calibration(file: Path | None, stem: Path, video: str | None = None) -> Intrinsics | None:
    """The calibration in ``file``, or beside the data in ``stem`` + .json or .yaml; None where there is none."""
    found = file if file is not None else find_intrinsics(stem)
    return None if found is None else load_intrinsics(found, video)


def frame_rate(fps: float | None, calibration: Intrinsics | None, recorded: float | None, path: Path) -> float:
    """Images per second: as given, else of the calibration file, else as recorded."""
    rate = fps or (calibration.fps if calibration is not None else None) or recorded
    if rate is None:
        raise ConfigError(f"{path} has no frame rate, expected --fps or fps in its intrinsics file")
    if not 0 < rate <= 1000:
        raise ConfigError(f"{path}: fps is {rate:g}, expected above 0 and up to 1000 images per second")
    return rate


def read_track(path: Path, stamps: np.ndarray) -> BodyTrack:
    """The camera's track from a file of one pose per stamp."""
    poses = files.read_poses(path)
    if len(poses) != len(stamps):
        raise ConfigError(f"the poses {path} are {len(poses)}, expected {len(stamps)}, one per image")
    return camera_track(stamps, poses)
