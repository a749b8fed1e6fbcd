"""Camera frames from bags, videos and folders of images, through one interface."""

from __future__ import annotations

import os
from pathlib import Path

from geoseg_ros.bags import SUFFIXES, is_bag
from geoseg_ros.frames.bag import BagFrames
from geoseg_ros.frames.clips import FolderFrames, VideoFrames
from geoseg_ros.frames.source import Frame, FrameSource

__all__ = ["BagFrames", "FolderFrames", "Frame", "FrameSource", "VideoFrames", "open_frames"]


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
    path = Path(path)
    if is_bag(path) or path.suffix in SUFFIXES or not path.exists():
        return BagFrames(path, image_topic, camera_topic, intrinsics)
    if path.is_dir():
        return FolderFrames(path, intrinsics, fps)
    return VideoFrames(path, intrinsics, fps)
