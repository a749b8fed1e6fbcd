"""CamVid: a folder of images with labels beside it, as 8-bit ids of 11 classes or in the official colours."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.frames.intrinsics import Intrinsics, load_intrinsics
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data import files
from geoseg_ros.training.data.importers.camvid_colours import ids_of_colours
from geoseg_ros.training.data.importers.recording import START, Picture, Recording

_FPS = 30.0  # of the film that the numbers in the names count
_PAUSE = 10.0  # seconds between drives, so that nothing takes them for one
_NAME = re.compile(r"(?P<drive>[^_]+)_f?(?P<frame>\d+)")
_OFFICIAL, _OFFICIAL_LABELS = "701_StillsRaw_full", "LabeledApproved_full"


def open_recording(path: Path, intrinsics: Path | None = None) -> Recording:
    """The images of a split, in the order of drives and frames, each drive ten seconds after the one before.

    ``path`` holds ``images`` and ``labels``; or it is a folder of images with its labels in a folder of the same name
    and "annot" (SegNet's layout); or it is the official 701_StillsRaw_full with LabeledApproved_full beside it.
    No intrinsics are published; ``intrinsics`` names a file of your own.
    """
    folder, label_of = _layout(path)
    images = sorted(files.image_paths(folder), key=_drive_and_frame)
    calibration = None if intrinsics is None else load_intrinsics(intrinsics)
    return Recording(_stamps(images), _pictures(images, label_of, calibration), None, CAMVID_11)


def _layout(path: Path) -> tuple[Path, Callable[[Path], np.ndarray]]:
    """The folder of images, and a function from an image to its class ids."""
    path = path.absolute()
    if (path / "images").is_dir() and (path / "labels").is_dir():
        return path / "images", lambda image: _ids(path / "labels" / f"{image.stem}.png")
    annotations = path.with_name(f"{path.name}annot")
    if annotations.is_dir():
        return path, lambda image: _ids(annotations / f"{image.stem}.png")
    colours = path.with_name(_OFFICIAL_LABELS)
    if path.name == _OFFICIAL and colours.is_dir():
        return path, lambda image: _colour_ids(colours / f"{image.stem}_L.png")
    raise ConfigError(
        f"{path} has no labels, expected folders images and labels in it, {annotations.name} beside it, or "
        f"{_OFFICIAL} with {_OFFICIAL_LABELS} beside it"
    )


def _ids(path: Path) -> np.ndarray:
    ids = files.read_label(path)
    return np.where(ids < len(CAMVID_11.names), ids, CAMVID_11.ignore).astype(np.uint8)


def _colour_ids(path: Path) -> np.ndarray:
    return ids_of_colours(files.read_image(path), str(path))


def _drive_and_frame(image: Path) -> tuple[str, int]:
    match = _NAME.fullmatch(image.stem)
    if match is None:
        raise ConfigError(f"the image {image} has an unusual name, expected DRIVE_FRAME")
    return match["drive"], int(match["frame"])


def _stamps(images: list[Path]) -> np.ndarray:
    seconds, former, offset = [], None, 0.0
    for drive, frame in map(_drive_and_frame, images):
        if drive != former:
            offset, former = (seconds[-1] + _PAUSE if seconds else 0.0) - frame / _FPS, drive
        seconds.append(offset + frame / _FPS)
    return START + np.rint(np.array(seconds) * 1e9).astype(np.int64)


def _pictures(
    images: list[Path], label_of: Callable[[Path], np.ndarray], calibration: Intrinsics | None
) -> Iterator[Picture]:
    for image in images:
        yield Picture(image, calibration, label_of(image))
