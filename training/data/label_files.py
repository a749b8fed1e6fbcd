"""Images with label files beside them: ids in one channel, or the colours of a label set's palette."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import LabelSet
from geoseg_ros.progress import say
from geoseg_ros.training.data import files
from geoseg_ros.training.data.source import IGNORE

BLACK = (0, 0, 0)
"""What a pixel without a class has in colour, as Cityscapes, CamVid and this package draw it."""


def labelled_images(folder: Path) -> list[tuple[Path, Path]]:
    """Every image of ``folder``/images with its label file ``folder``/labels/STEM.png, which may be missing."""
    return [(image, folder / "labels" / f"{image.stem}.png") for image in files.image_paths(folder / "images")]


def read_labelled(
    image_path: Path, label_path: Path, labels: LabelSet, void: Collection[int] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """An image H×W×3 uint8 RGB and its labels H×W uint8: ids of ``labels``, IGNORE where it has none or ``void`` says so.

    ConfigError names the file that cannot be read, differs in size, or holds an id or a colour that the label set has not.
    """
    image = files.read_image(image_path)
    ids = read_label_ids(label_path, labels, void)
    if ids.shape != image.shape[:2]:
        found, expected = (f"{width}×{height}" for height, width in (ids.shape, image.shape[:2]))
        raise ConfigError(f"{label_path} is {found}, expected {expected} as its image {image_path}")
    return image, ids


def read_label_ids(path: Path, labels: LabelSet, void: Collection[int] = ()) -> np.ndarray:
    """A label file as H×W uint8 ids of ``labels``, IGNORE where a pixel has no class.

    A picture of three or four channels (an indexed PNG is one, once decoded) is read by the palette; black that is no class's
    colour is IGNORE. ConfigError names file and found ids or colour where the label set has them not.
    """
    stored = files.stored_label(path)
    if stored.dtype == np.uint8 and stored.ndim == 3:
        return _ids_of_colours(np.ascontiguousarray(stored[..., 2::-1]), path, labels)
    return checked_ids(files.as_ids(stored, path), str(path), labels, void)


def checked_ids(ids: np.ndarray, what: str, labels: LabelSet, void: Collection[int] = ()) -> np.ndarray:
    """Ids H×W uint8 with those of ``void`` and the label set's own ignored one as IGNORE; ConfigError names ``what`` and the
    ids that are neither a class nor ignored, or an impossible id of ``void``."""
    if impossible := [i for i in void if not 0 <= i <= 255]:
        raise ConfigError(f"void is {impossible[0]}, expected ids from 0 to 255")
    classes, ignored = len(labels.names), {IGNORE, labels.ignore, *void}
    counts = np.bincount(ids.ravel(), minlength=256)
    wrong = [i for i in np.flatnonzero(counts).tolist() if i >= classes and i not in ignored]
    if wrong:
        raise ConfigError(
            f"{what} holds the ids {wrong}, expected 0 … {classes - 1} of {labels.name}, "
            f"{' or '.join(map(str, sorted({IGNORE, labels.ignore})))}, or ids listed under 'void'"
        )
    table = np.array([IGNORE if i in ignored else i for i in range(256)], np.uint8)
    return table[ids]


def rectified_ids(ids: np.ndarray, camera: PinholeCamera, ignore: int = IGNORE) -> np.ndarray:
    """Ids H×W uint8 of the picture of ``camera`` as its rectified picture shows them, by nearest values; ``ignore`` outside."""
    if not camera.is_distorted:
        return ids
    maps = camera.rectification_maps()
    return cv2.remap(ids, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=ignore)


def _ids_of_colours(picture: np.ndarray, path: Path, labels: LabelSet) -> np.ndarray:
    known = {BLACK: IGNORE} | {colour: i for i, colour in enumerate(labels.palette)}
    if len(set(labels.palette)) < len(labels.palette):
        raise ConfigError(f"{path} holds colours, but the palette of {labels.name} repeats one, expected ids in one channel")
    codes = _codes(picture)
    colours = np.array(list(known), np.uint8)
    order = np.argsort(_codes(colours))
    sorted_codes, ids = _codes(colours)[order], np.array(list(known.values()), np.uint8)[order]
    places = np.searchsorted(sorted_codes, codes).clip(max=len(ids) - 1)
    wrong = sorted_codes[places] != codes
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise ConfigError(
            f"{path} is a colour picture and holds {tuple(picture[row, column].tolist())} at row {row}, column {column}, which "
            f"the palette of {labels.name} has not; expected its colours (red, green, blue), or ids in one channel"
        )
    return ids[places]


def _codes(colours: np.ndarray) -> np.ndarray:
    """One number for each colour, …×3 uint8."""
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def warn_of_absent_classes(what: str, label_maps: Iterable[np.ndarray], labels: LabelSet) -> None:
    """Say on stderr which classes no pixel of the label maps has: a model cannot learn them here. ConfigError where there is
    no pixel of any class."""
    counts = np.zeros(256, np.int64)
    for ids in label_maps:
        counts += np.bincount(ids.ravel(), minlength=256)
    absent = [name for name, count in zip(labels.names, counts) if not count]
    if len(absent) == len(labels.names):
        raise ConfigError(f"{what} has no pixel of a class of {labels.name}, expected some of {', '.join(absent)}")
    if absent:
        say(f"warning: {what} never shows {', '.join(absent)} of {labels.name}")
