"""A video file, with intrinsics (JSON or YAML of its name beside it) and poses where there are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geoseg_ros.errors import VideoError
from geoseg_ros.frames.clips import VideoFrames
from geoseg_ros.frames.intrinsics import Intrinsics
from geoseg_ros.training.data.importers.folder import frame_rate, load_calibration, read_track
from geoseg_ros.training.data.importers.recording import Picture, Recording, even_stamps


def open_recording(
    path: Path, intrinsics: Path | None = None, poses: Path | None = None, fps: float | None = None
) -> Recording:
    """Every frame, stored as JPEG; ``poses`` as for a folder, ``fps`` instead of the recorded rate."""
    calibration = load_calibration(intrinsics, path.with_suffix(""), path.name)
    if fps is not None:
        frame_rate(fps, calibration, path)
    with VideoFrames(path, intrinsics, fps) as video:
        if video.count is None:
            raise VideoError(f"{path} does not say how many frames it has, expected a whole video file")
        stamps = even_stamps(video.count, video.fps)
    track = None if poses is None else read_track(poses, stamps)
    return Recording(stamps, _pictures(path, intrinsics, fps, calibration), track)


def _pictures(
    path: Path, intrinsics: Path | None, fps: float | None, calibration: Intrinsics | None
) -> Iterator[Picture]:
    with VideoFrames(path, intrinsics, fps) as video:
        for frame in video.frames():
            yield Picture(frame.image, calibration)
