"""Cityscapes: ``leftImg8bit`` or ``leftImg8bit_sequence`` (whole, a split, or a city), with ``gtFine`` and ``camera``
beside it where they exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import CameraError, ConfigError
from geoseg_ros.frames.intrinsics import Intrinsics
from geoseg_ros.labels import CITYSCAPES_19
from geoseg_ros.training.data import files
from geoseg_ros.training.data.importers.recording import START, Picture, Recording

_FPS = 17.0
_PAUSE = 10.0  # seconds between sequences, so that nothing takes them for one
_NAME = re.compile(r"(?P<city>.+)_(?P<sequence>\d+)_(?P<frame>\d+)_leftImg8bit\.png")
_IMAGES = "leftImg8bit"
_SIZE = (2048, 1024)  # that the calibration files are for
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""labelIds of the 19 training classes, in the order of CITYSCAPES_19."""

_TRAIN_IDS = np.full(256, CITYSCAPES_19.ignore, np.uint8)
_TRAIN_IDS[list(_IDS)] = np.arange(len(_IDS))


def open_recording(path: Path) -> Recording:
    """All images by name; stamps count at 17 Hz from the frame numbers, ten seconds lie between sequences.

    Labels are those of the 19 training classes, on images that have them.
    """
    root = _image_root(path)
    images = sorted(path.rglob(f"*_{_IMAGES}.png"))
    if not images:
        raise ConfigError(f"{path} holds no *_{_IMAGES}.png file")
    return Recording(_stamps(images), _pictures(images, root), None, CITYSCAPES_19)


def _image_root(path: Path) -> Path:
    """The folder leftImg8bit or leftImg8bit_sequence that ``path`` is, or lies in, or holds."""
    path = path.absolute()
    for place in (path, *path.parents):
        if place.name in (_IMAGES, f"{_IMAGES}_sequence"):
            return place
    for name in (_IMAGES, f"{_IMAGES}_sequence"):
        if (path / name).is_dir():
            return path / name
    raise ConfigError(f"{path} is neither inside nor above a folder {_IMAGES} or {_IMAGES}_sequence")


def _stamps(images: list[Path]) -> np.ndarray:
    seconds, former, offset = [], None, 0.0
    for image in images:
        name = _parts(image)
        frame = int(name["frame"]) / _FPS
        if former is None or former != (name["city"], name["sequence"]):
            offset = (seconds[-1] + _PAUSE if seconds else 0.0) - frame
            former = name["city"], name["sequence"]
        seconds.append(offset + frame)
    return START + np.rint(np.array(seconds) * 1e9).astype(np.int64)


def _parts(image: Path) -> dict[str, str]:
    match = _NAME.fullmatch(image.name)
    if match is None:
        raise ConfigError(f"the image {image} has an unusual name, expected CITY_SEQUENCE_FRAME_{_IMAGES}.png")
    return match.groupdict()


def _pictures(images: list[Path], root: Path) -> Iterator[Picture]:
    for image in images:
        place = image.absolute().parent.relative_to(root)
        stem = image.name.removesuffix(f"_{_IMAGES}.png")
        label = root.parent / "gtFine" / place / f"{stem}_gtFine_labelIds.png"
        semantic = _TRAIN_IDS[files.read_label(label)] if label.exists() else None
        yield Picture(image, _camera(root.parent / "camera" / place, stem), semantic)


def _camera(folder: Path, stem: str) -> Intrinsics | None:
    """The calibration of an image, or of the labelled one of its sequence."""
    exact = folder / f"{stem}_camera.json"
    if exact.exists():
        return _load_camera(exact)
    others = sorted(folder.glob(f"{stem.rpartition('_')[0]}_*_camera.json"))
    return _load_camera(others[0]) if others else None


@lru_cache(maxsize=64)
def _load_camera(path: Path) -> Intrinsics:
    try:
        values = json.loads(path.read_text())["intrinsic"]
        camera = PinholeCamera(*_SIZE, *(values[name] for name in ("fx", "fy", "u0", "v0")))
    except (OSError, ValueError, KeyError, TypeError, CameraError) as error:
        raise ConfigError(f"the calibration {path} cannot be used: {error!r}, expected fx, fy, u0, v0") from error
    return Intrinsics(camera, None, path)
