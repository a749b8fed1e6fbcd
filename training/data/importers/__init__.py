"""Importers: data sets of other layouts as a :class:`~geoseg_ros.training.data.importers.recording.Recording`.

Each module has ``open_recording(path, ...)``; its keyword arguments are the options that its kind takes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.schema import nearest

if TYPE_CHECKING:
    from geoseg_ros.training.data.importers.recording import Recording

IMPORTERS = {  # kind, which is also the module: options that it takes
    "kitti_raw": ("camera",),
    "kitti_odometry": ("camera",),
    "folder": ("intrinsics", "poses", "fps"),
    "video": ("intrinsics", "poses", "fps"),
    "camvid": ("intrinsics",),
    "cityscapes": (),
}


def open_recording(kind: str, path: Path, **options: Any) -> Recording:
    """The data set at ``path``; ``options`` that are None count as not given.

    ConfigError for an unknown kind, a path that does not exist, or an option that the kind does not take.
    """
    if kind not in IMPORTERS:
        raise ConfigError(f"kind is '{kind}'; {nearest(kind, IMPORTERS)}")
    if not path.exists():
        raise ConfigError(f"{path} does not exist, expected data of the kind {kind}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in IMPORTERS[kind]:
            takers = ", ".join(taker for taker, names in IMPORTERS.items() if name in names)
            raise ConfigError(f"{name} is given, but {kind} does not take it; it is for {takers}")
    module = importlib.import_module(f"geoseg_ros.training.data.importers.{kind}")
    return module.open_recording(path, **given)
