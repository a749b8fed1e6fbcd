"""What every source of camera frames gives, be it a bag, a video or a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
