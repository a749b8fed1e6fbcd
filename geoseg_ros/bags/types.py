"""Message types of bags: the type store, plain fields -> typed message, and what a bag says of a topic."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from geoseg_ros.errors import BagError

_VISION_MSGS = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
}
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag: message type, number of messages, recorded as latched (transient local) or not."""

    msgtype: str
    count: int
    latched: bool = False


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The message types that bags are read and written with: ROS 2 Kilted and ``vision_msgs/LabelInfo``.

    Definitions that a bag carries are not registered: they would be turned into code, and bags are untrusted.
    """
    store = get_typestore(Stores.ROS2_KILTED)
    types: dict[str, Any] = {}
    for name, text in _VISION_MSGS.items():
        types.update(get_types_from_msg(text, name))
    store.register(types)
    return store


def stamp_fields(stamp: int) -> dict[str, int]:
    """``builtin_interfaces/Time`` fields of a time in nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp), _NANOSECONDS)
    return {"sec": seconds, "nanosec": nanoseconds}


def stamp_nanoseconds(stamp: Any) -> int:
    """Nanoseconds of a ``builtin_interfaces/Time`` message."""
    return int(stamp.sec) * _NANOSECONDS + int(stamp.nanosec)


def build_message(msgtype: str, fields: Mapping[str, Any]) -> Any:
    """A typed message from plain fields.

    ``fields`` holds numbers, strings, arrays, lists, nested dicts or messages; a ``Time`` may be an int (ns).
    Fields that are left out are zero or empty. An unknown type or field raises BagError.
    """
    store = typestore()
    if msgtype not in store.fielddefs:
        raise BagError(f"message type {msgtype!r} is unknown, expected one of ROS 2 Kilted's")
    definitions = store.fielddefs[msgtype][1]
    if unknown := set(fields) - {name for name, _ in definitions}:
        expected = ", ".join(name for name, _ in definitions)
        raise BagError(f"{msgtype} has no field {sorted(unknown)[0]!r}, expected {expected}")
    values = {
        name: _field_value(f"{msgtype}.{name}", description, fields.get(name))
        for name, description in definitions
    }
    return store.types[msgtype](**values)


def deserialise(data: bytes | memoryview, msgtype: str) -> Any:
    """The message in ``data`` (CDR); BagError when the type is unknown or the bytes do not fit it."""
    if msgtype not in typestore().fielddefs:
        raise BagError(f"message type {msgtype!r} is unknown, expected one of ROS 2 Kilted's")
    try:
        return typestore().deserialize_cdr(data, msgtype)
    except (SerdeError, MemoryError, OverflowError, IndexError) as error:
        raise BagError(f"a {msgtype} message of {len(data)} bytes is damaged: {error}") from error


def serialise(message: Any, msgtype: str) -> memoryview:
    """CDR bytes of a typed message; BagError when a field has the wrong type or range."""
    try:
        return typestore().serialize_cdr(message, msgtype)
    except (SerdeError, struct.error, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise BagError(f"{msgtype} cannot be serialised: {error}") from error


def _field_value(where: str, description: Any, value: Any) -> Any:
    kind, detail = description
    if kind is Nodetype.BASE:
        return value if value is not None else ("" if detail[0] == "string" else _zero(detail[0]))
    if kind is Nodetype.NAME:
        return _nested(where, detail, value)
    (element_kind, element), length = detail
    if element_kind is Nodetype.BASE and element[0] != "string":
        array = np.asarray(() if value is None else _buffer(value), dtype=_dtype(element[0])).reshape(-1)
        if kind is Nodetype.ARRAY and value is None:
            array = np.zeros(length, dtype=_dtype(element[0]))
        if kind is Nodetype.ARRAY and array.size != length:
            raise BagError(f"{where} has {array.size} elements, expected {length}")
        return np.ascontiguousarray(array)
    return [_field_value(where, (element_kind, element), item) for item in (() if value is None else value)]


def _nested(where: str, msgtype: str, value: Any) -> Any:
    if value is None:
        return build_message(msgtype, {})
    if msgtype in ("builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration") and isinstance(
        value, (int, np.integer)
    ):
        return build_message(msgtype, stamp_fields(int(value)))
    if isinstance(value, Mapping):
        return build_message(msgtype, value)
    if getattr(value, "__msgtype__", None) == msgtype:
        return value
    raise BagError(f"{where} is a {type(value).__name__}, expected a dict or a {msgtype}")


def _buffer(value: Any) -> Any:
    return np.frombuffer(value, np.uint8) if isinstance(value, (bytes, bytearray, memoryview)) else value


def _dtype(name: str) -> str:
    return {"byte": "uint8", "char": "uint8", "octet": "uint8"}.get(name, name)


def _zero(name: str) -> Any:
    if name == "bool":
        return False
    return 0.0 if name.startswith("float") else 0
