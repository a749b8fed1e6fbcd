"""Where the camera is mounted on the body: the fixed transforms that a bag carries on ``/tf_static``, read and written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from geoseg_ros.bags import BagReader
from geoseg_ros.quaternion import rotation_of
from geoseg_ros.training.data.odometry import pose_fields

TF_STATIC, TF_TYPE = "/tf_static", "tf2_msgs/msg/TFMessage"

Edges = dict[str, tuple[str, np.ndarray]]
"""Child frame: (its parent, 4×4 parent_from_child)."""


def read_static_edges(bag: BagReader) -> Edges:
    """The fixed transforms of an open bag; none where it has no ``/tf_static``."""
    if TF_STATIC not in bag.topics or bag.topics[TF_STATIC].msgtype != TF_TYPE:
        return {}
    return static_edges(message for *_, message in bag.messages([TF_STATIC]))


def static_edges(messages: Iterable[Any]) -> Edges:
    """The fixed transforms in ``tf2_msgs/TFMessage`` messages; a later one replaces an earlier one."""
    edges: Edges = {}
    for message in messages:
        for item in message.transforms:
            shift, turn = item.transform.translation, item.transform.rotation
            matrix = np.eye(4)
            matrix[:3, 3] = [shift.x, shift.y, shift.z]
            values = np.array([turn.x, turn.y, turn.z, turn.w])
            if np.isfinite(matrix).all() and np.isfinite(values).all() and values.any():
                matrix[:3, :3] = rotation_of(values)
                edges[_name(item.child_frame_id)] = (_name(item.header.frame_id), matrix)
    return edges


def transform_fields(parent: str, child: str, parent_from_child: np.ndarray, stamp: int) -> dict[str, Any]:
    """Fields of a ``geometry_msgs/TransformStamped`` of a 4×4 matrix; ``stamp`` in ns."""
    return {
        "header": {"stamp": stamp, "frame_id": parent},
        "child_frame_id": child,
        "transform": pose_fields(parent_from_child, ("translation", "rotation")),
    }


def body_from_camera(edges: Edges, body: str, camera: str) -> np.ndarray | None:
    """4×4 matrix that takes points of the frame ``camera`` into the frame ``body``; None where the transforms do not
    connect them, or one has no name."""
    if not body or not camera:
        return None
    above_body, above_camera = _ancestors(edges, _name(body)), _ancestors(edges, _name(camera))
    for frame, from_camera in above_camera.items():
        if frame in above_body:
            return np.linalg.inv(above_body[frame]) @ from_camera
    return None


def _ancestors(edges: Edges, frame: str) -> dict[str, np.ndarray]:
    """{frame or ancestor: 4×4 ancestor_from_frame}, nearest first."""
    found = {frame: np.eye(4)}
    while frame in edges and edges[frame][0] not in found:
        parent, matrix = edges[frame]
        found[parent] = matrix @ found[frame]
        frame = parent
    return found


def _name(frame: str) -> str:
    return frame.lstrip("/")
