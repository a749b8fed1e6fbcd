"""Video files and image folders as frame sources, read with OpenCV."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import CameraError, GeosegError, ImageError, VideoError
from geoseg_ros.frames.intrinsics import Intrinsics, find_intrinsics, load_intrinsics
from geoseg_ros.frames.source import Frame, OnProblem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
FIRST_STAMP = 1_000_000_000  # ns; a stamp of zero means "not set" in ROS
FRAME_ID = "camera_optical_frame"
_NANOSECONDS = 1_000_000_000


class _Clip:
    """What a video and a folder of images share: calibration, frame rate, stamps."""

    def __init__(self, path: Path, calibration: Intrinsics | None, fps: float | None) -> None:
        if fps is not None and not (math.isfinite(fps) and 0.0 < fps <= 1000.0):
            raise VideoError(
                f"{path}: frame rate is {fps}, expected above 0 and up to 1000 frames per second"
            )
        if fps is None:
            raise VideoError(
                f"{path} has no frame rate, expected fps in its intrinsics file or as an argument"
            )
        self.path = path
        self.topic = path.name
        self.calibration = calibration
        self.fps = fps

    def _frame(self, index: int, picture: np.ndarray, report: OnProblem) -> Frame:
        image = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
        camera: PinholeCamera | None = None
        if self.calibration is not None:
            try:
                camera = self.calibration.camera_for(image.shape[1], image.shape[0])
            except CameraError as error:
                report(error)
        frame_id = camera.frame_id if camera is not None and camera.frame_id else FRAME_ID
        return Frame(image, FIRST_STAMP + round(index * _NANOSECONDS / self.fps), frame_id, camera)


class VideoFrames(_Clip):
    """The frames of a video file; see :class:`~geoseg_ros.frames.FrameSource`.

    ``intrinsics`` is a calibration file; without it the JSON or YAML file of the video's name beside it, if
    there is one. Stamps are index / fps (of the argument, the calibration file, or the video, in this order)
    after one second. A video that ends before the length it claims raises VideoError after its last frame.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        intrinsics: str | os.PathLike[str] | None = None,
        fps: float | None = None,
    ) -> None:
        path = Path(path)
        if not path.is_file():
            raise VideoError(f"{path} does not exist, expected a video file")
        file = intrinsics if intrinsics is not None else find_intrinsics(path.with_suffix(""))
        calibration = None if file is None else load_intrinsics(file, path.name)
        self._capture = cv2.VideoCapture(str(path.absolute()))
        if not self._capture.isOpened():
            raise VideoError(
                f"{path} of {path.stat().st_size} bytes is damaged or no video that OpenCV reads"
            )
        recorded = self._capture.get(cv2.CAP_PROP_FPS)
        fps = fps or (calibration.fps if calibration else None) or (recorded if recorded > 0 else None)
        super().__init__(path, calibration, fps)
        claimed = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count: int | None = claimed if claimed > 0 else None

    def frames(self, on_problem: OnProblem | None = None) -> Iterator[Frame]:
        """The frames from the start."""
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
        index = 0
        while True:
            found, picture = self._capture.read()
            if not found:
                break
            yield self._frame(index, picture, on_problem or _raise)
            index += 1
        if index == 0 or (self.count is not None and index < self.count - max(2, self.count // 100)):
            raise VideoError(f"{self.path} is damaged: {index} frames were read, {self.count} were expected")

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def __enter__(self) -> VideoFrames:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class FolderFrames(_Clip):
    """The images of a folder (or of its subfolder ``images``) by name, as frames; see FrameSource.

    The calibration is ``intrinsics`` or the folder's ``intrinsics.json`` (or .yaml); it or ``fps`` gives the
    frame rate.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        intrinsics: str | os.PathLike[str] | None = None,
        fps: float | None = None,
    ) -> None:
        path = Path(path)
        images = path / "images" if (path / "images").is_dir() else path
        if not images.is_dir():
            raise VideoError(f"{path} does not exist, expected a folder of images")
        self.files = sorted(file for file in images.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        if not self.files:
            raise VideoError(f"{images} holds no image, expected {', '.join(IMAGE_SUFFIXES)} files")
        file = intrinsics if intrinsics is not None else find_intrinsics(path / "intrinsics")
        calibration = None if file is None else load_intrinsics(file)
        super().__init__(path, calibration, fps or (calibration.fps if calibration else None))
        self.count: int | None = len(self.files)

    def frames(self, on_problem: OnProblem | None = None) -> Iterator[Frame]:
        """The frames from the first; unreadable images are skipped and keep their time."""
        report = on_problem or _raise
        for index, file in enumerate(self.files):
            try:
                picture = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
            except cv2.error as error:
                report(ImageError(f"{file} is damaged or no image that OpenCV reads: {error.err}"))
                continue
            if picture is None:
                report(ImageError(f"{file} is damaged or no image that OpenCV reads"))
                continue
            yield self._frame(index, picture, report)

    def __enter__(self) -> FolderFrames:
        return self

    def __exit__(self, *exception: object) -> None:
        return None


def _raise(error: GeosegError) -> None:
    raise error
