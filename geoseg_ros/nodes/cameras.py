"""Which camera took an image: the camera_info of its stamp, else the latest of its frame and size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from geoseg_ros.camera import PinholeCamera

_KEPT_STAMPS = 30

Stamp = tuple[int, int]


class CameraCache:
    """Cameras by (frame_id, width, height); late, latched or absent camera_info never blocks an image."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, int, int], PinholeCamera] = {}
        self._by_stamp: OrderedDict[Stamp, PinholeCamera] = OrderedDict()

    def add(self, message: Any, rectified: bool) -> None:
        """Keep a ``sensor_msgs/CameraInfo``. Raises CameraError, and keeps nothing, for no valid camera."""
        camera = PinholeCamera.from_camera_info(message, rectified=rectified)
        with self._lock:
            self._latest[camera.frame_id, camera.width, camera.height] = camera
            self._by_stamp[_stamp(message)] = camera
            while len(self._by_stamp) > _KEPT_STAMPS:
                self._by_stamp.popitem(last=False)

    def find(self, header: Any, width: int, height: int) -> PinholeCamera | None:
        """The camera of an image with this header and size; None where none is known."""
        key = (header.frame_id, width, height)
        with self._lock:
            exact = self._by_stamp.get((header.stamp.sec, header.stamp.nanosec))
            if exact is not None and (exact.frame_id, exact.width, exact.height) == key:
                return exact
            return self._latest.get(key)

    def describe(self) -> str:
        """The frames and sizes known, in words."""
        with self._lock:
            known = [f"'{frame}' {width}×{height}" for frame, width, height in self._latest]
        return ", ".join(known) or "none"

    def clear(self) -> None:
        """Forget all cameras."""
        with self._lock:
            self._latest.clear()
            self._by_stamp.clear()


def _stamp(message: Any) -> Stamp:
    return message.header.stamp.sec, message.header.stamp.nanosec
