"""A sequence of KITTI's odometry benchmark: ``sequences/NN`` with image_2, calib.txt, times.txt; ``poses/NN.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import files
from geoseg_ros.training.data.importers import kitti_files
from geoseg_ros.training.data.importers.recording import (
    START,
    BodyTrack,
    Picture,
    Recording,
    camera_track,
    even_stamps,
)

_FPS = 10.0
_CENTRE = (0.3, 0.7)  # where the principal point lies in images that the calibration is for, as share of the width


def open_recording(path: Path, camera: int = 2) -> Recording:
    """The images of one ``camera`` (0 … 3); poses where ``poses/NN.txt`` beside ``sequences`` has them.

    Published poses are camera 0's; those of the others are beside it, as calib.txt says.
    """
    kitti_files.check_camera(camera)
    images = files.image_paths(path / f"image_{camera}")
    calibration = path / "calib.txt"
    projection = kitti_files.entry(kitti_files.read_calibration(calibration), f"P{camera}", 12, calibration)
    size = kitti_files.image_size(images[0])
    if not _CENTRE[0] < projection[2] / size[0] < _CENTRE[1]:
        raise ConfigError(
            f"{calibration}: cx of camera {camera} is {projection[2]:g}, expected near the middle of images "
            f"{size[0]} pixels wide (resized images need a calib.txt of their own)"
        )
    intrinsics, from_first = kitti_files.rectified_camera(projection, size, calibration)
    stamps = _stamps(path / "times.txt", len(images))
    pictures = (Picture(image, intrinsics) for image in images)
    return Recording(stamps, pictures, _track(path, stamps, from_first))


def _stamps(path: Path, count: int) -> np.ndarray:
    if not path.exists():
        return even_stamps(count, _FPS)
    try:
        seconds = np.loadtxt(path, dtype=np.float64, ndmin=1)
    except ValueError as error:
        raise ConfigError(f"the times {path} cannot be read: {error}") from error
    if seconds.shape != (count,) or not np.isfinite(seconds).all():
        raise ConfigError(f"the times {path} are {seconds.size} numbers, expected {count} finite ones, one per image")
    return START + np.rint(seconds * 1e9).astype(np.int64)


def _track(path: Path, stamps: np.ndarray, from_first: np.ndarray) -> BodyTrack | None:
    file = path.absolute().parent.parent / "poses" / f"{path.absolute().name}.txt"
    if not file.exists():
        return None
    poses = files.read_poses(file)
    if len(poses) != len(stamps):
        raise ConfigError(f"the poses {file} are {len(poses)}, expected {len(stamps)}, one per image")
    return camera_track(stamps, poses @ np.linalg.inv(from_first))
