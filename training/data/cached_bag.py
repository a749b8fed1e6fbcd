"""One bag's frames in one file: uncompressed images that are mapped into memory, and what is known of each.

The file holds N images of H×W×3 bytes, one after the other, then the other arrays as an ``.npz``, then the length of
that (8 bytes, little endian) and a mark. It grows beside its name and takes it when it is complete.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.cache_room import hold

_MARK = b"GEOSEGF1"
_TAIL = 8 + len(_MARK)


@dataclass(frozen=True)
class CachedBag:
    """The frames of one bag, in the order of the recording.

    ``images`` N×H×W×3 uint8 RGB, rectified; ``stamps`` int64 ns; ``matrices`` N×3×3 (K of the stored images, assumed
    where ``intrinsics_known`` is False); ``motion``: pixels of the stored images that the picture moved since the
    previous frame (NaN on the first); ``poses`` N×4×4 in metres (NaN unknown), of the camera (optical axes) where
    ``poses_of_camera``, else of the body that carries it; ``labels`` N×H×W uint8 ids of a labelled bag, else 0×0×0;
    ``skipped``: images that could not be decoded;
    ``signature``: what the file was made from.
    """

    images: np.ndarray
    stamps: np.ndarray
    matrices: np.ndarray
    intrinsics_known: np.ndarray
    motion: np.ndarray
    poses: np.ndarray
    poses_of_camera: bool
    labels: np.ndarray
    skipped: int
    signature: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the images."""
        return self.images.shape[2], self.images.shape[1]


def read_cached_bag(path: Path) -> CachedBag | None:
    """The frames in a file, its images mapped, which holds the file (:func:`~geoseg_ros.training.data.cache_room.hold`);
    None where it is missing or not whole."""
    try:
        with path.open("rb") as file:
            hold(file)
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _TAIL))
            tail = file.read()
            length = int.from_bytes(tail[:8], "little")
            if tail[8:] != _MARK or length > end - _TAIL:
                return None
            file.seek(end - _TAIL - length)
            with np.load(io.BytesIO(file.read(length)), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            shape = tuple(int(side) for side in arrays.pop("shape"))
            if int(np.prod(shape)) != end - _TAIL - length:
                return None
            images = np.memmap(file, np.uint8, "r", shape=shape)
        scalars = {name: arrays.pop(name).item() for name in ("poses_of_camera", "skipped", "signature")}
        return CachedBag(images=images, **arrays, **scalars)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None  # a file of another version, or not ours: it is made anew


class CachedBagWriter:
    """Writes the file of a :class:`CachedBag`; a context manager. Without :meth:`finish` nothing stays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._file = self._partial.open("wb")
        self._shape: tuple[int, ...] | None = None
        self.count = 0

    def append(self, image: np.ndarray) -> None:
        """Add the next image, H×W×3 uint8; all have the first one's shape."""
        if self._shape not in (None, image.shape):
            raise ValueError(f"image has shape {image.shape}, expected {self._shape}")
        self._shape = image.shape
        self._file.write(np.ascontiguousarray(image).data)
        self.count += 1

    def finish(self, **others: object) -> None:
        """Complete the file with the other fields of :class:`CachedBag` and give it its name."""
        expected = {field.name for field in fields(CachedBag)} - {"images"}
        if others.keys() != expected:
            raise ValueError(f"fields are {sorted(others)}, expected {sorted(expected)}")
        table = io.BytesIO()
        np.savez(table, shape=np.array([self.count, *(self._shape or (0, 0, 3))]), **others)
        self._file.write(table.getbuffer())
        self._file.write(len(table.getbuffer()).to_bytes(8, "little") + _MARK)
        self._file.close()
        os.replace(self._partial, self._path)

    def __enter__(self) -> CachedBagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"the frame cache {self._path} cannot be written: {error.strerror}") from error
