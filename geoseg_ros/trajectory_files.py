"""Trajectories as text files: TUM (``timestamp tx ty tz qx qy qz qw``) and KITTI (a 3×4 matrix by rows) lines.

A pose takes points of the camera's optical frame (x right, y down, z forward) into that of the first frame, metres.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.perception import EgoMotion
from geoseg_ros.quaternion import quaternion_of, rotation_of

FORMATS = (".tum", ".kitti")
_SECOND = 1_000_000_000


class Trajectory:
    """The poses of successive frames, by adding up their ego-motion; the first is the identity.

    A frame without ego-motion counts as standing still; ``unknown`` counts those after the first.
    """

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.poses: list[np.ndarray] = []
        self.unknown = 0

    def add(self, stamp: int, motion: EgoMotion | None) -> None:
        """The next frame: its stamp (ns) and how the camera moved since the one before."""
        pose = self.poses[-1] if self.poses else np.eye(4)
        if motion is not None:
            pose = pose @ motion.previous_from_current
        elif self.poses:
            self.unknown += 1
        self.stamps.append(stamp)
        self.poses.append(pose)


def check_trajectory_path(path: Path) -> None:
    """ConfigError unless the suffix names a format and the folder exists."""
    if path.suffix not in FORMATS:
        raise ConfigError(f"trajectory {path} ends in {path.suffix!r}, expected {' or '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"trajectory {path} cannot be written: its folder does not exist")


def write_trajectory(path: Path, stamps: Sequence[int], poses: Sequence[np.ndarray]) -> None:
    """Write poses (4×4 each) with their stamps (ns) in the format of the suffix, beside and then renamed.

    KITTI lines have no stamps. Raises ConfigError for another suffix, or where the file cannot be written.
    """
    check_trajectory_path(path)
    lines = map(_tum_line, stamps, poses) if path.suffix == ".tum" else map(_kitti_line, poses)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        os.replace(partial, path)
    except OSError as error:
        raise ConfigError(f"trajectory {path} cannot be written: {error.strerror}") from error


def read_trajectory(path: Path) -> tuple[np.ndarray | None, np.ndarray]:
    """Stamps (N, ns; None for KITTI) and poses (N×4×4) of a file in the format of its suffix.

    Lines that begin with # and empty ones are left out. Raises ConfigError, naming file and line, for what does
    not fit the format.
    """
    check_trajectory_path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"trajectory {path} cannot be read: {error}") from error
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    lines = [(number, words) for number, words in lines if words and not words[0].startswith("#")]
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    if path.suffix == ".kitti":
        poses[:, :3] = _numbers(path, lines, columns=12).reshape(-1, 3, 4)
        return None, poses
    values = _numbers(path, lines, columns=8)
    poses[:, :3, :3] = np.array([rotation_of(row[4:]) for row in values]).reshape(-1, 3, 3)
    poses[:, :3, 3] = values[:, 1:4]
    return np.array([_nanoseconds(words[0]) for _, words in lines], np.int64), poses


def _numbers(path: Path, lines: Iterable[tuple[int, list[str]]], columns: int) -> np.ndarray:
    rows = []
    for number, words in lines:
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ConfigError(f"trajectory {path}, line {number}: {error}") from error
        if len(row) != columns or not np.isfinite(row).all():
            raise ConfigError(f"trajectory {path}, line {number}: {len(row)} values, expected {columns} finite ones")
        if columns == 8 and not any(row[4:]):
            raise ConfigError(f"trajectory {path}, line {number}: the quaternion is zero, expected a rotation")
        rows.append(row)
    return np.array(rows, np.float64).reshape(-1, columns)


def _nanoseconds(text: str) -> int:
    """Seconds as decimal text in whole nanoseconds, without a float's loss of digits where it is plain."""
    seconds, point, fraction = text.partition(".")
    if seconds.isdigit() and (fraction.isdigit() or not point):
        return int(seconds) * _SECOND + int((fraction + "0" * 9)[:9])
    return round(float(text) * _SECOND)


def _tum_line(stamp: int, pose: np.ndarray) -> str:
    numbers = [*pose[:3, 3], *quaternion_of(pose[:3, :3])]
    return f"{stamp // _SECOND}.{stamp % _SECOND:09d} " + " ".join(f"{value:.9g}" for value in numbers)


def _kitti_line(pose: np.ndarray) -> str:
    return " ".join(f"{value:.12e}" for value in pose[:3].ravel())
