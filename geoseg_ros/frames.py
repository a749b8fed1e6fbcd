"""The common interface of everything that camera frames come from: bags, videos, image folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import GeosegError

OnProblem = Callable[[GeosegError], None]


@dataclass(frozen=True)
class Frame:
    """One camera image with what belongs to it.

    Attributes:
        image: H×W×3 uint8 RGB.
        stamp: nanoseconds, when the image was taken.
        frame_id: of the camera's optical frame.
        camera: describes ``image``; None where it is not calibrated.
        odometry: the newest ``nav_msgs/Odometry`` so far, or None.
    """

    image: np.ndarray
    stamp: int
    frame_id: str
    camera: PinholeCamera | None = None
    odometry: Any = None


class FrameSource(Protocol):
    """A context manager that yields frames in order.

    Attributes:
        topic: the name under which the images are known, for messages and logs.
        count: how many frames are expected, None if unknown.
        fps: frames per second; of a bag the mean, of a still 1.
    """

    topic: str
    count: int | None
    fps: float

    def frames(self, on_problem: OnProblem | None = None) -> Iterator[Frame]:
        """Frames in order. A bad one is skipped and its error goes to ``on_problem``, or is raised."""
        ...

    def __enter__(self) -> FrameSource: ...

    def __exit__(self, *exception: object) -> None: ...


def open_frames(
    path: str | os.PathLike[str],
    image_topic: str | None = None,
    camera_topic: str | None = None,
    intrinsics: str | os.PathLike[str] | None = None,
    fps: float | None = None,
) -> FrameSource:
    """The frames of a bag (folder or storage file), a video file or a folder of images, told apart by what is
    there.

    ``image_topic`` and ``camera_topic`` choose a bag's topics; ``intrinsics`` (a JSON or YAML file) and
    ``fps`` complete a video or folder. Raises BagError or VideoError.
    """
    from geoseg_ros.bag_frames import BagFrames
    from geoseg_ros.bags import SUFFIXES, is_bag
    from geoseg_ros.video import FolderFrames, VideoFrames

    path = Path(path)
    if is_bag(path) or path.suffix in SUFFIXES or not path.exists():
        return BagFrames(path, image_topic, camera_topic, intrinsics)
    if path.is_dir():
        return FolderFrames(path, intrinsics, fps)
    return VideoFrames(path, intrinsics, fps)
