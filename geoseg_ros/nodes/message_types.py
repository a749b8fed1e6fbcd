"""Message classes by name, and filling them from plain fields."""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from sensor_msgs.msg import PointField

from geoseg_ros import optional

_STRUCTURES: dict[str, type] = {"fields": PointField}


def message_class(type_name: str) -> type | None:
    """The class of ``package/msg/Name``, None where that package is not installed."""
    package, _, name = type_name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None


def fill(message: Any, fields: Mapping[str, Any], buffers: dict[str, array] | None = None) -> Any:
    """Set a message's fields from the dicts of :mod:`geoseg_ros.messages`; returns the message.

    uint8 arrays go through ``array.array('B')``, the one type that rclpy takes without looking at each byte.
    ``buffers`` keeps these by field name from one message to the next, which saves allocating them.
    """
    for name, value in fields.items():
        if isinstance(value, Mapping):
            fill(getattr(message, name), value)
        elif isinstance(value, np.ndarray) and value.dtype == np.uint8:
            setattr(message, name, _byte_array(value, name, buffers))
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            setattr(message, name, [fill(_structure(name)(), item) for item in value])
        else:
            setattr(message, name, value)
    return message


def _byte_array(data: np.ndarray, name: str, buffers: dict[str, array] | None) -> array:
    buffer = None if buffers is None else buffers.get(name)
    if buffer is None or len(buffer) != data.size:
        buffer = array("B", bytes(data.size))
        if buffers is not None:
            buffers[name] = buffer
    np.frombuffer(buffer, np.uint8)[:] = data
    return buffer


def _structure(field: str) -> type:
    if field == "class_map":
        return optional.vision_msgs().VisionClass
    return _STRUCTURES[field]
