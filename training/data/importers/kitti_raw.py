"""A rectified drive of KITTI's raw data: ``DATE/DATE_drive_NNNN_sync`` with image_02 and oxts, the calibration files in
``DATE``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import files
from geoseg_ros.training.data.importers import kitti_files
from geoseg_ros.training.data.importers.recording import BodyTrack, Picture, Recording

_BODY = "imu_link"
_EARTH_RADIUS = 6378137.0  # metres, of the Mercator projection that the data set's own tools use
_LATITUDE, _LONGITUDE, _ALTITUDE, _ROLL, _PITCH, _YAW = range(6)


def open_recording(path: Path, camera: int = 2) -> Recording:
    """The images of one ``camera`` (0 … 3), with the poses of the GPS/IMU unit where the drive has ``oxts``."""
    kitti_files.check_camera(camera)
    folder = path / f"image_{camera:02d}"
    images = files.image_paths(folder / "data")
    stamps = _stamps_of(images, folder / "timestamps.txt")
    dates = [place for place in (path.absolute().parent, path) if (place / "calib_cam_to_cam.txt").exists()]
    if not dates:
        raise ConfigError(
            f"{path.absolute().parent / 'calib_cam_to_cam.txt'} is missing, expected the date's calibration"
        )
    file = dates[0] / "calib_cam_to_cam.txt"
    values = kitti_files.read_calibration(file)
    width, height = kitti_files.entry(values, f"S_rect_{camera:02d}", 2, file)
    projection = kitti_files.entry(values, f"P_rect_{camera:02d}", 12, file)
    intrinsics, from_first = kitti_files.rectified_camera(projection, (int(width), int(height)), file)
    pictures = (Picture(image, intrinsics) for image in images)
    return Recording(stamps, pictures, _track(path / "oxts", dates[0], values, from_first))


def _stamps_of(paths: list[Path], file: Path) -> np.ndarray:
    """The stamps (ns) of files whose names are line numbers of a file of dates."""
    try:
        lines = [line.strip() for line in file.read_text().splitlines()]
        times = np.array([line.replace(" ", "T") or "NaT" for line in lines], "datetime64[ns]")
        stamps = times[[int(path.stem) for path in paths]]
    except (OSError, ValueError) as error:
        raise ConfigError(f"the times {file} cannot be read: {error}") from error
    except IndexError as error:
        raise ConfigError(f"the times {file} have {len(lines)} lines, expected one for {paths[-1].name}") from error
    if np.isnat(stamps).any():
        raise ConfigError(f"the times {file} have an empty line for {paths[int(np.isnat(stamps).argmax())].name}")
    return stamps.astype(np.int64)


def _track(folder: Path, date: Path, cameras: dict[str, np.ndarray], from_first: np.ndarray) -> BodyTrack | None:
    if not folder.is_dir():
        return None
    paths = sorted((folder / "data").glob("*.txt"))
    if not paths:
        raise ConfigError(f"{folder / 'data'} has no .txt file, expected one per pose")
    rows = []
    for path in paths:
        try:
            rows.append([float(word) for word in path.read_text().split()[:6]])
        except (OSError, ValueError) as error:
            raise ConfigError(f"the pose {path} cannot be read: {error}") from error
        if len(rows[-1]) != 6:
            raise ConfigError(f"the pose {path} has {len(rows[-1])} numbers, expected at least 6")
    camera_from_imu = from_first @ _rectification(cameras, date / "calib_cam_to_cam.txt")
    for name in ("calib_velo_to_cam.txt", "calib_imu_to_velo.txt"):
        camera_from_imu = camera_from_imu @ _rigid(date / name)
    stamps = _stamps_of(paths, folder / "timestamps.txt")
    return BodyTrack(stamps, oxts_poses(np.array(rows)), _BODY, np.linalg.inv(camera_from_imu))


def oxts_poses(rows: np.ndarray) -> np.ndarray:
    """N×4×4 poses of the GPS/IMU unit (x forward, y left, z up; world x east, y north, z up, from the first place)
    from N×6 latitude, longitude (degrees), altitude (metres), roll, pitch, yaw (radians)."""
    scale = np.cos(np.radians(rows[0, _LATITUDE])) * _EARTH_RADIUS
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, 0, 3] = scale * np.radians(rows[:, _LONGITUDE])
    poses[:, 1, 3] = scale * np.log(np.tan(np.pi / 4 + np.radians(rows[:, _LATITUDE]) / 2))
    poses[:, 2, 3] = rows[:, _ALTITUDE]
    poses[:, :3, 3] -= poses[0, :3, 3].copy()
    (roll, pitch, yaw) = (rows[:, i] for i in (_ROLL, _PITCH, _YAW))
    poses[:, :3, :3] = _about(yaw, 0, 1) @ _about(pitch, 2, 0) @ _about(roll, 1, 2)
    return poses


def _about(angles: np.ndarray, first: int, second: int) -> np.ndarray:
    """N×3×3 rotations that turn axis ``first`` towards axis ``second``."""
    turns = np.tile(np.eye(3), (len(angles), 1, 1))
    turns[:, first, first] = turns[:, second, second] = np.cos(angles)
    turns[:, second, first], turns[:, first, second] = np.sin(angles), -np.sin(angles)
    return turns


def _rectification(values: dict[str, np.ndarray], path: Path) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = kitti_files.entry(values, "R_rect_00", 9, path).reshape(3, 3)
    return matrix


def _rigid(path: Path) -> np.ndarray:
    values = kitti_files.read_calibration(path)
    matrix = np.eye(4)
    matrix[:3, :3] = kitti_files.entry(values, "R", 9, path).reshape(3, 3)
    matrix[:3, 3] = kitti_files.entry(values, "T", 3, path)
    return matrix
