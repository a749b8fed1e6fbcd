"""Read the files of a data set into memory once: images, clips, intrinsics and poses, each checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def image_paths(folder: Path) -> list[Path]:
    """The images of a folder in name order; ConfigError when the folder is missing or has none."""
    if not folder.is_dir():
        raise ConfigError(f"the image folder {folder} is missing")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _IMAGE_SUFFIXES)
    if not paths:
        raise ConfigError(f"the image folder {folder} holds no {', '.join(_IMAGE_SUFFIXES)} files")
    return paths


def read_image(path: Path) -> np.ndarray:
    """An image file as H×W×3 uint8 RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ConfigError(f"the image {path} cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_label(path: Path) -> np.ndarray:
    """A label image as H×W uint8 ids."""
    return as_ids(stored_label(path), path)


def stored_label(path: Path) -> np.ndarray:
    """A label image as it is stored, H×W or H×W×C of any type, colours in the order blue, green, red."""
    if not path.is_file():  # OpenCV would print a warning of its own
        raise ConfigError(f"the label image {path} is missing")
    label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label is None:
        raise ConfigError(f"the label image {path} cannot be decoded")
    return label


def as_ids(label: np.ndarray, path: Path) -> np.ndarray:
    """The label image of ``path`` if it is H×W uint8, else ConfigError."""
    if label.ndim != 2 or label.dtype != np.uint8:
        raise ConfigError(
            f"the label image {path} is {label.dtype} {label.shape}, expected 8-bit ids in one channel"
        )
    return label


def read_clip(path: Path) -> list[np.ndarray]:
    """Every frame of a video file as H×W×3 uint8 RGB."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        found, frame = capture.read()
        if not found:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    capture.release()
    if not frames:
        raise ConfigError(f"the video {path} is missing or holds no frame that can be decoded")
    return frames


def read_intrinsics(path: Path, section: str | None, image_size: tuple[int, int]) -> np.ndarray:
    """The 3×3 matrix of a rectified camera from a JSON file with fx, fy, cx, cy (optionally inside
    ``section``).

    ConfigError when a number is missing, the camera is distorted, or the file states another image size
    (width, height).
    """
    values = _read_json(path)
    size = (values.get("width", image_size[0]), values.get("height", image_size[1]))
    if size != image_size:
        raise ConfigError(
            f"the intrinsics {path} are for {size[0]}×{size[1]}, "
            f"the images are {image_size[0]}×{image_size[1]}"
        )
    if section is not None:
        values = values.get(section)
        if not isinstance(values, dict):
            raise ConfigError(f"the intrinsics {path} have no section '{section}'")
    distortion = values.get("distortion", values.get("D", []))
    if any(distortion):
        raise ConfigError(f"the camera of {path} is distorted ({distortion}), expected rectified images")
    try:
        fx, fy, cx, cy = (float(values[key]) for key in ("fx", "fy", "cx", "cy"))
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the intrinsics {path} lack a number for fx, fy, cx or cy ({error})") from error
    if not (fx > 0 and fy > 0 and np.isfinite([fx, fy, cx, cy]).all()):
        raise ConfigError(
            f"the intrinsics {path} are fx {fx}, fy {fy}, cx {cx}, cy {cy}, expected finite, fx and fy > 0"
        )
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def read_poses(path: Path) -> np.ndarray:
    """N×4×4 camera-to-world poses in metres from a text file with one 3×4 row-major matrix per line (KITTI
    format)."""
    try:
        rows = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the poses {path} cannot be read: {error}") from error
    if rows.shape[1] != 12 or not np.isfinite(rows).all():
        raise ConfigError(f"the poses {path} have {rows.shape[1]} numbers per line, expected 12 finite ones")
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    return poses


def relative_pose(world_from_previous: np.ndarray, world_from_current: np.ndarray) -> np.ndarray:
    """previous_from_current: the 4×4 matrix that takes points of the current camera into the previous one."""
    return np.linalg.inv(world_from_previous) @ world_from_current


def slice_frames(frames: tuple[int, int] | None, count: int, what: str) -> slice:
    """The slice [first, last) of ``count`` frames; ConfigError when it is empty or reaches beyond them."""
    first, last = frames or (0, count)
    if not 0 <= first < last <= count:
        raise ConfigError(f"{what}: frames is [{first}, {last}], expected 0 <= first < last <= {count}")
    return slice(first, last)


def check_one_size(images: Sequence[np.ndarray], what: str) -> tuple[int, int]:
    """The common (width, height) of a sequence's images; ConfigError when they differ."""
    sizes = {(image.shape[1], image.shape[0]) for image in images}
    if len(sizes) != 1:
        raise ConfigError(f"{what} mixes images of sizes {sorted(sizes)}, expected one size per sequence")
    return sizes.pop()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"the intrinsics {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the intrinsics {path} hold a {type(values).__name__}, expected an object")
    return values
