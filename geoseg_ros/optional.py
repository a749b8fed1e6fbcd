"""Packages that ROS 2 desktop installs have but the Python wheels lack; ``None`` when absent."""

from __future__ import annotations

import importlib
from types import ModuleType


def _import(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def cv_bridge() -> ModuleType | None:
    """``cv_bridge``, which knows image encodings that :mod:`geoseg_ros.image_messages` does not."""
    return _import("cv_bridge")


def vision_msgs() -> ModuleType | None:
    """``vision_msgs.msg``, which has the standard message for class names."""
    return _import("vision_msgs.msg")
