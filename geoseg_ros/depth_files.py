"""Depth as a folder of 16-bit PNG images."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.image_messages import depth_counts

UNITS = {"mm": 1000.0, "kitti": 256.0}
"""Counts per metre: millimetres reach to 65.5 m, KITTI's 1/256 m to 256 m."""

FACTS = "depth.json"


class DepthFolder:
    """Writes one image per frame, named by its stamp in seconds; 0 is unknown or too far. A context manager.

    ``depth.json`` in the folder says how many counts a metre has. The folder grows beside ``path`` and takes its
    name when it is closed, also after an exception if it has images. Raises ConfigError where ``path`` exists, its
    parent does not, or ``unit`` is none of :data:`UNITS`.
    """

    def __init__(self, path: str | os.PathLike[str], unit: str = "mm") -> None:
        self.path = Path(path)
        self.count = 0
        if unit not in UNITS:
            raise ConfigError(f"depth unit is {unit!r}, expected {' or '.join(UNITS)}")
        if self.path.exists():
            raise ConfigError(f"depth folder {self.path} exists already, expected a new name")
        if not self.path.absolute().parent.is_dir():
            raise ConfigError(f"depth folder {self.path} cannot be written: its parent folder does not exist")
        self._counts_per_metre = UNITS[unit]
        self._partial = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.absolute().parent))
        self._partial.chmod(0o755)

    def write(self, depth: np.ndarray, stamp: int) -> None:
        """Append the depth H×W (metres) of the frame with this stamp (ns)."""
        name = f"{stamp // 10**9}.{stamp % 10**9:09d}.png"
        if not cv2.imwrite(str(self._partial / name), depth_counts(depth, self._counts_per_metre)):
            raise ConfigError(f"depth image {self.path / name} cannot be written")
        self.count += 1

    def close(self) -> None:
        """Give the folder its name; without an image there is none."""
        if not self._partial.is_dir():
            return
        if not self.count:
            shutil.rmtree(self._partial)
            return
        facts = {"counts_per_metre": self._counts_per_metre, "unknown": 0, "images": self.count, "name": "stamp in seconds"}
        (self._partial / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="ascii")
        os.rename(self._partial, self.path)

    def __enter__(self) -> DepthFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
