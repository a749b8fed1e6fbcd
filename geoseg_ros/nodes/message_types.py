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


def fill(message: Any, fields: Mapping[str, Any]) -> Any:
    """Set a message's fields from the dicts of :mod:`geoseg_ros.messages`; returns the message.

    Bytes are copied into the ``array.array('B')`` that the message has already, so that filling the same
    message again allocates nothing; other types would be looked at byte by byte.
    """
    for name, value in fields.items():
        if isinstance(value, Mapping):
            fill(getattr(message, name), value)
        elif isinstance(value, np.ndarray) and value.dtype == np.uint8:
            if len(getattr(message, name)) != value.size:
                setattr(message, name, array("B", bytes(value.size)))
            np.frombuffer(getattr(message, name), np.uint8)[:] = value
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            setattr(message, name, [fill(_structure(name)(), item) for item in value])
        else:
            setattr(message, name, value)
    return message


def _structure(field: str) -> type:
    if field == "class_map":
        return optional.vision_msgs().VisionClass
    return _STRUCTURES[field]
