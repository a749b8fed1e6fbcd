"""Rendered synthetic sequences, kept in the temporary folder so that the next evaluation starts at once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data import synthetic
from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticFrame, SyntheticStreet

ARRAYS = ("image", "depth", "semantic", "flow_to_previous", "motion_mask", "world_from_camera")


def cache_folder() -> Path:
    """A folder of this user alone under the temporary folder; ConfigError when somebody else owns it."""
    folder = Path(tempfile.gettempdir()) / f"geoseg_ros-{os.getuid()}" / "streets"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.parent.stat().st_uid != os.getuid():
        raise ConfigError(f"the cache folder {folder.parent} belongs to user {folder.parent.stat().st_uid}")
    return folder


def street_frames(seed: int, config: StreetConfig, frames: int, folder: Path) -> list[SyntheticFrame]:
    """The first ``frames`` frames of a street, from ``folder`` where an equal one was rendered before.

    The file's name holds a digest of the renderer's source, the seed and the configuration: a changed
    renderer never meets an old picture.
    """
    key = hashlib.sha256(f"{_source_digest()} {seed} {config} {frames}".encode()).hexdigest()[:24]
    path = folder / f"street-{seed}-{key}.npz"
    stored = _load(path)
    if stored is None:
        rendered = SyntheticStreet(seed, config)
        stored = [rendered.frame(i) for i in range(frames)]
        _save(stored, path)
    return stored


def _source_digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(synthetic.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _save(frames: list[SyntheticFrame], path: Path) -> None:
    arrays = {f"{name}_{i}": getattr(frame, name) for i, frame in enumerate(frames) for name in ARRAYS}
    arrays["stamps"] = np.array([frame.stamp for frame in frames], dtype=np.int64)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **arrays)
    os.replace(name, path)


def _load(path: Path) -> list[SyntheticFrame] | None:
    """The stored frames, or None when there are none or the file is damaged (it is then rendered again)."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [
                SyntheticFrame(index=i, stamp=int(stamp), **{name: arrays[f"{name}_{i}"] for name in ARRAYS})
                for i, stamp in enumerate(arrays["stamps"])
            ]
    except (FileNotFoundError, zipfile.BadZipFile, EOFError, KeyError, ValueError):
        return None
