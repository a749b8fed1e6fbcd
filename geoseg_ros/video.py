"""Writing pictures to video files, with OpenCV."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import VideoError

_CODECS = {".mp4": "mp4v", ".webm": "VP80", ".avi": "MJPG", ".mkv": "mp4v"}


class VideoWriter:
    """Writes RGB frames of one size to a video file; a context manager.

    The suffix chooses the codec: ``.mp4`` and ``.mkv`` MPEG-4, ``.webm`` VP8 (which browsers play), ``.avi``
    Motion JPEG. The file grows beside ``path`` and takes its name when it is closed, also after an exception
    if it has frames. Raises VideoError.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float) -> None:
        self.path = Path(path)
        if self.path.suffix not in _CODECS:
            raise VideoError(f"video {self.path} ends in {self.path.suffix!r}, expected {', '.join(_CODECS)}")
        if not self.path.absolute().parent.is_dir():
            raise VideoError(f"video {self.path} cannot be written: its folder does not exist")
        if not (math.isfinite(fps) and fps > 0.0):
            raise VideoError(f"video {self.path}: frame rate is {fps}, expected above 0 frames per second")
        self.fps = fps
        self.count = 0
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._partial: Path | None = None

    def write(self, image: np.ndarray) -> None:
        """Append an H×W×3 uint8 RGB picture; all have the first one's size."""
        height, width = image.shape[:2]
        if self._writer is None:
            self._open(width, height)
        if (width, height) != self._size:
            raise VideoError(f"video {self.path}: picture is {width}x{height}, expected {self._size}")
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.count += 1

    def close(self) -> None:
        """Finish the file and give it its name; without any frame there is no file."""
        if self._writer is not None:
            self._writer.release()
            self._writer = None
            os.replace(self._partial, self.path)

    def _open(self, width: int, height: int) -> None:
        handle, name = tempfile.mkstemp(
            prefix=f".{self.path.stem}.", suffix=self.path.suffix, dir=self.path.absolute().parent
        )
        os.close(handle)
        os.chmod(name, 0o644)
        codec = cv2.VideoWriter_fourcc(*_CODECS[self.path.suffix])
        with _without_stderr():
            self._writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, codec, self.fps, (width, height))
        if not self._writer.isOpened():
            self._writer = None
            os.remove(name)
            raise VideoError(f"video {self.path} of {width}x{height} cannot be written by this OpenCV")
        self._partial, self._size = Path(name), (width, height)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Keep a note of OpenCV's away from the user: it prints one about the codec tag for every ``.webm`` that it opens."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
