"""The text files that KITTI's raw and odometry data share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.frames.intrinsics import Intrinsics

CAMERAS = (0, 1, 2, 3)
"""Left grey, right grey, left colour, right colour."""


def read_calibration(path: Path) -> dict[str, np.ndarray]:
    """{name: numbers} of a file with lines ``NAME: number number …``; lines without numbers are left out."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the calibration {path} cannot be read: {error}") from error
    values = {}
    for line in lines:
        name, _, text = line.partition(":")
        try:
            numbers = np.array([float(word) for word in text.split()])
        except ValueError:
            continue  # a date or the name of a place
        if numbers.size:
            values[name.strip()] = numbers
    return values


def entry(values: dict[str, np.ndarray], name: str, count: int, path: Path) -> np.ndarray:
    """The ``count`` finite numbers of a name; ConfigError where they are missing."""
    numbers = values.get(name)
    if numbers is None or numbers.size != count or not np.isfinite(numbers).all():
        found = "nothing" if numbers is None else f"{numbers.size} numbers"
        raise ConfigError(f"the calibration {path} has {found} for {name}, expected {count} finite numbers")
    return numbers


def check_camera(camera: int) -> None:
    """ConfigError for a number that KITTI's car does not have."""
    if camera not in CAMERAS:
        raise ConfigError(f"camera is {camera}, expected one of {', '.join(map(str, CAMERAS))}")


def rectified_camera(projection: np.ndarray, size: tuple[int, int], path: Path) -> tuple[Intrinsics, np.ndarray]:
    """The camera of a projection P (12 numbers, row by row) for images of ``size`` (width, height), and the 4×4 matrix
    that takes points of the rectified camera 0 into it."""
    matrix = projection.reshape(3, 4)
    camera = PinholeCamera(*size, matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2])
    from_first = np.eye(4)
    from_first[:3, 3] = np.linalg.solve(camera.matrix, matrix[:, 3])
    return Intrinsics(camera, None, path), from_first


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image file."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ConfigError(f"the image {path} cannot be decoded, expected a PNG or JPEG")
    return image.shape[1], image.shape[0]
