"""Rendered synthetic sequences, kept in the temporary folder so that the next evaluation starts at once."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import synthetic
from geoseg_ros.training.data.synthetic import RoomConfig, StreetConfig, SyntheticFrame, SyntheticRoom, SyntheticStreet

ARRAYS = tuple(field.name for field in fields(SyntheticFrame) if field.name not in ("index", "stamp"))


def cache_folder() -> Path:
    """A folder of this user alone under the temporary folder; ConfigError when somebody else made it."""
    folder = Path(tempfile.gettempdir()) / f"geoseg_ros-worlds-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(
            f"{folder} belongs to user {status.st_uid}, expected a folder of user {os.getuid()}"
        )
    return folder


def world_frames(seed: int, config: StreetConfig | RoomConfig, frames: int, folder: Path) -> list[SyntheticFrame]:
    """The first ``frames`` frames of a street or a room, from ``folder`` where an equal one was rendered before.

    The file's name holds a digest of the renderer's source, the seed and the configuration: a changed
    renderer never meets an old picture.
    """
    key = hashlib.sha256(f"{_source_digest()} {seed} {config} {frames}".encode()).hexdigest()[:24]
    path = folder / f"world-{seed}-{key}.npz"
    stored = _load(path)
    if stored is None:
        world = SyntheticRoom(seed, config) if isinstance(config, RoomConfig) else SyntheticStreet(seed, config)
        stored = [world.frame(i) for i in range(frames)]
        _save(stored, path)
    return stored


def _source_digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(synthetic.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _save(frames: list[SyntheticFrame], path: Path) -> None:
    arrays = {f"{name}_{i}": getattr(frame, name) for i, frame in enumerate(frames) for name in ARRAYS}
    arrays["stamps"] = np.array([frame.stamp for frame in frames], dtype=np.int64)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _load(path: Path) -> list[SyntheticFrame] | None:
    """The stored frames, or None when there are none or the file is damaged (it is then rendered again)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [
                SyntheticFrame(index=i, stamp=int(stamp), **{name: arrays[f"{name}_{i}"] for name in ARRAYS})
                for i, stamp in enumerate(arrays["stamps"])
            ]
    except (FileNotFoundError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError):
        return None
