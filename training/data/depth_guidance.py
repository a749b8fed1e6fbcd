"""Depth of a frozen model for labelled images: computed once per image, kept in the cache folder, read as one more picture.

A set of images has one ``.npy`` file: every image's H×W float16 depth, one after the other, mapped into memory. Its name holds
digests of what it was made from, the model's bytes among it; a file of another model or of images that changed is replaced.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.progress import progress_bar, say
from geoseg_ros.training.data.cache_folder import amount, check_disk, default_folder, locked
from geoseg_ros.training.data.cache_room import LIMIT_GB, fill_level, hold, make_room

WHAT = "depth cache"
_FORMAT = 1  # to be raised when the same model and images give other depth
_LARGEST = float(np.finfo(np.float16).max)


class DepthGuide:
    """Depth by the model file ``model``; ``folder`` is where it is kept (default: that of the frame cache), which holds
    ``limit_gb`` gigabytes at most (see :mod:`~geoseg_ros.training.data.cache_room`).

    The model runs in full precision, each image by itself.
    """

    def __init__(
        self, model: Path, folder: str | Path | None = None, device: str = "auto", limit_gb: float = LIMIT_GB
    ) -> None:
        self.model = model
        self._folder = default_folder() if folder is None else Path(folder)
        self._device = device
        self._limit_gb = limit_gb
        self._pipeline: Pipeline | None = None
        self._model_digest: str | None = None

    def depths(
        self, name: str, place: str, signature: str, images: Sequence[np.ndarray], matrices: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """H×W float16 depth of every image (H×W×3 uint8 RGB, rectified, with its 3×3 intrinsics), read-only.

        ``name`` is shown; ``place`` says which set of images this is and ``signature`` in which state. Processes that ask at
        once compute it once. ConfigError where the model gives no depth, or folder or disk have no room; BundleError where it
        is no model file.
        """
        shapes = [image.shape[:2] for image in images]
        ends = np.cumsum([0] + [height * width for height, width in shapes])
        stem = f"{Path(name).name}-{_digest(_FORMAT, place)}"
        file = self._folder / f"{stem}-{_digest(self._digest_of_model(), signature, shapes)}.npy"
        with locked(self._folder, WHAT):
            flat = _mapped(file, int(ends[-1]))
            if flat is None:
                for outdated in self._folder.glob(f"{stem}-*.npy"):
                    outdated.unlink()
                self._compute(name, file, images, matrices, ends)
                flat = _mapped(file, int(ends[-1]))
        if flat is None:
            raise ConfigError(f"the {WHAT} {file} was written but cannot be read back, expected a whole file")
        return [flat[start:end].reshape(shape) for start, end, shape in zip(ends, ends[1:], shapes)]

    def _digest_of_model(self) -> str:
        if self._model_digest is None:
            try:
                self._model_digest = hashlib.sha256(self.model.read_bytes()).hexdigest()
            except OSError as error:
                raise ConfigError(f"guidance: the model {self.model} cannot be read: {error.strerror}") from error
        return self._model_digest

    def _loaded(self) -> Pipeline:
        if self._pipeline is None:
            self._pipeline = Pipeline(self.model, self._device, precision="float32", backend="eager")
        return self._pipeline

    def _compute(
        self, name: str, file: Path, images: Sequence[np.ndarray], matrices: Sequence[np.ndarray], ends: np.ndarray
    ) -> None:
        needed = 2 * int(ends[-1])
        make_room(self._folder, f"the depth maps of {name}", needed, self._limit_gb, {file}, "raise it")
        check_disk(self._folder, WHAT, needed)
        partial = file.with_name(f".{file.name}.partial")
        try:
            flat = np.lib.format.open_memmap(partial, "w+", np.float16, (int(ends[-1]),))
            with progress_bar(Console(stderr=True), transient=True) as progress:
                task = progress.add_task(f"depth of {name}", total=len(images))
                for image, matrix, start, end in zip(images, matrices, ends, ends[1:]):
                    flat[start:end] = self._depth(np.asarray(image), matrix).ravel()
                    progress.advance(task)
            flat.flush()
            os.replace(partial, file)
        except OSError as error:
            raise ConfigError(f"the {WHAT} {file} cannot be written: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
        level = fill_level(self._folder, self._limit_gb)
        say(f"{WHAT} {self._folder}: {len(images)} images of {name} by {self.model.name}, {amount(needed)}; {level}")

    def _depth(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        camera = PinholeCamera(
            width, height, float(matrix[0, 0]), float(matrix[1, 1]), float(matrix[0, 2]), float(matrix[1, 2])
        )
        pipeline = self._loaded()
        pipeline.reset()
        depth = pipeline.step(image, camera, 0, outputs={"depth"}).depth
        if depth is None:
            raise ConfigError(
                f"guidance: the model {self.model} ('{pipeline.bundle.architecture}') gives no depth, expected one that does"
            )
        return np.minimum(depth, _LARGEST).astype(np.float16)


def _digest(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _mapped(file: Path, count: int) -> np.ndarray | None:
    """The file's ``count`` values, mapped, which holds the file; None where it is missing or not whole."""
    try:
        with file.open("rb") as stored:
            hold(stored)
            version = np.lib.format.read_magic(stored)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stored)
            if (version, shape, dtype) != ((1, 0), (count,), np.float16):
                return None
            return np.memmap(stored, dtype, "r", stored.tell(), shape)
    except (OSError, ValueError):
        return None
