"""A folder of images (or its subfolder ``images``) with ``intrinsics.json``, ``poses.txt`` and ``depth``, each where it
exists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError, ImageError
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

    ``poses`` has one camera-to-world 3×4 matrix per image (optical axes, metres; KITTI's format). ``depth`` holds
    16-bit PNG files of the images' stems in millimetres, 0 where unknown.
    """
    images = files.image_paths(path / "images" if (path / "images").is_dir() else path)
    calibration = load_calibration(intrinsics, path / "intrinsics")
    stamps = even_stamps(len(images), frame_rate(fps, calibration, path))
    file = poses if poses is not None else path / "poses.txt"
    track = read_track(file, stamps) if poses is not None or file.exists() else None
    return Recording(stamps, _pictures(images, calibration, path / "depth"), track)


def _pictures(images: list[Path], calibration: Intrinsics | None, depths: Path) -> Iterator[Picture]:
    known = depths.is_dir()
    for image in images:
        depth = read_depth(depths / f"{image.stem}.png") if known else None
        yield Picture(image, calibration, depth=depth)


def read_depth(path: Path) -> np.ndarray:
    """H×W float32 metres of a 16-bit PNG in millimetres; NaN for its zeros."""
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype != np.uint16 or stored.ndim != 2:
        found = "missing or damaged" if stored is None else f"{stored.dtype} of shape {stored.shape}"
        raise ImageError(f"the depth {path} is {found}, expected 16 bits in one channel")
    return np.where(stored == 0, np.nan, stored * np.float32(0.001)).astype(np.float32)


def load_calibration(file: Path | None, stem: Path, video: str | None = None) -> Intrinsics | None:
    """The calibration in ``file``, or beside the data in ``stem`` + .json or .yaml; None where there is none."""
    found = file if file is not None else find_intrinsics(stem)
    return None if found is None else load_intrinsics(found, video)


def frame_rate(fps: float | None, calibration: Intrinsics | None, path: Path) -> float:
    """Images per second: as given, else of the calibration file."""
    rate = calibration.fps if fps is None and calibration is not None else fps
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
