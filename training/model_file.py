"""A model file by the name that recipes give it."""

from __future__ import annotations

from pathlib import Path

from geoseg_ros.bundle import default_bundle_path
from geoseg_ros.training.data.source import find_data

DEFAULT = "default"
"""Stands for the model that is installed with the package."""


def model_file(name: str, data_root: str) -> Path:
    """The file ``name``, a path or searched for as data is (:func:`~geoseg_ros.training.data.source.find_data`), or the
    installed model: DEFAULT."""
    if name == DEFAULT:
        return default_bundle_path()
    return Path(name) if Path(name).exists() else find_data(name, data_root)
