"""The images of one bag as training wants them: decoded, rectified and resized, by several threads, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoseg_ros.bags import BagReader, stamp_nanoseconds
from geoseg_ros.bags.by_stamp import ByStamp, grouped
from geoseg_ros.bags.topics import IMAGE, ODOMETRY
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BagError, CameraError, ImageError, UncalibratedCameraError
from geoseg_ros.frames.bag import DECODERS, BagFrames, require_topic
from geoseg_ros.ground_truth import TRUTH, truth_topics
from geoseg_ros.image_messages import decode_array
from geoseg_ros.training.data.image_motion import small_grey
from geoseg_ros.training.data.label_files import rectified_ids
from geoseg_ros.training.data.odometry import Track
from geoseg_ros.training.data.static_frames import body_from_camera, read_static_edges

_AHEAD = 4  # images in work per thread
_LABEL_ENCODINGS = ("mono8", "8UC1")
_EARLY = 0.95  # share of the wanted period after which an image counts as due: cameras jitter


@dataclass(frozen=True)
class BagSettings:
    """What decides how a bag's images are prepared.

    ``size`` (width, height) or None for the smallest that covers ``cover`` and keeps the shape; images are never
    enlarged for ``cover``. Topics are found where they are None. ``max_rate`` thins to so many images per second.
    Inside gaps of the odometry of more than ``odometry_gap`` seconds poses are unknown. ``labelled`` keeps only the images
    that have labels: an image of ids of equal stamp on ``label_topic``.
    """

    size: tuple[int, int] | None
    cover: tuple[int, int]
    image_topic: str | None = None
    camera_info_topic: str | None = None
    odometry_topic: str | None = None
    use_camera_info: bool = True
    max_rate: float | None = None
    odometry_gap: float = 0.5
    labelled: bool = False
    label_topic: str | None = None


@dataclass(frozen=True)
class PreparedImage:
    """H×W×3 uint8 RGB at ``stamp`` (ns), the camera of it or None, what :class:`ImageMotion` compares, and the labels of a
    labelled bag, H×W uint8 ids as stored (255 outside a rectified picture)."""

    stamp: int
    image: np.ndarray
    camera: PinholeCamera | None
    small: np.ndarray
    labels: np.ndarray | None


class BagImages:
    """Reads one bag; a context manager.

    ``count`` is the number of images to expect at most, ``size`` what they will have. Raises BagError for a bag
    that is missing, damaged, without images or without a named topic.
    """

    def __init__(self, path: Path, settings: BagSettings) -> None:
        self.path = path
        self.settings = settings
        self.skipped = 0
        self._frames = BagFrames(path, settings.image_topic, settings.camera_info_topic)
        try:
            self._odometry_topic = self._find_odometry()
            self.label_topic = self._find_labels() if settings.labelled else None
            self._source_size, self._frame_id = self._first_image()
        except BaseException:
            self._frames.close()
            raise
        self.size = settings.size or covering_size(self._source_size, settings.cover)
        self._odometry: list[Any] = []

    @property
    def count(self) -> int:
        """How many images to expect at most."""
        count, seconds = self._frames.count, self._frames.reader.duration * 1e-9
        if self.label_topic is not None:
            count = min(count, self._frames.reader.topics[self.label_topic].count)
        if self.settings.max_rate is None:
            return count
        return min(count, int(seconds * self.settings.max_rate / _EARLY) + 1)

    def images(self, threads: int | None = None) -> Iterator[PreparedImage]:
        """The images in the order of the recording; undecodable ones are skipped and counted in ``skipped``.

        Raises BagError where the bag is damaged or mixes image sizes, CameraError where its calibration is
        impossible.
        """
        threads = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(threads) as pool:
            jobs = (pool.submit(self._prepare, *due) for due in self._due_messages())
            for job in _ahead(jobs, _AHEAD * threads):
                try:
                    yield job.result()
                except ImageError:
                    self.skipped += 1

    def poses(self, stamps: np.ndarray) -> tuple[np.ndarray, bool]:
        """N×4×4 poses at the stamps (NaN unknown) from the odometry seen by :meth:`images`, and whether they are the
        camera's (optical axes) or only those of the body that carries it."""
        track = Track.from_messages(self._odometry, f"{self.path}: topic {self._odometry_topic}")
        poses = track.at(stamps, self.settings.odometry_gap)
        mount = body_from_camera(read_static_edges(self._frames.reader), track.frame, self._frame_id)
        return (poses, False) if mount is None else (poses @ mount, True)

    def close(self) -> None:
        """Close the bag."""
        self._frames.close()

    def __enter__(self) -> BagImages:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _due_messages(self) -> Iterator[tuple[int, Any, Any, Any]]:
        """(stamp, image message, camera_info and label message or None) of the images to keep; gathers the odometry."""
        if self.label_topic is None:
            yield from ((*due, None) for due in self._due_images())
            return
        with BagReader(self.path) as bag:
            labels = ByStamp(grouped(bag, {self.label_topic: "labels"}))
            for stamp, image, calibration in self._due_images():
                if found := labels.take(stamp):
                    yield stamp, image, calibration, found["labels"]

    def _due_images(self) -> Iterator[tuple[int, Any, Any]]:
        frames, period = self._frames, 0 if self.settings.max_rate is None else 1e9 / self.settings.max_rate
        calibration, former = frames.first_calibration(), None
        self._odometry, self.skipped = [], 0
        for topic, received, _, message in frames.reader.messages(self._wanted()):
            if topic == frames.camera_topic:
                calibration = message
            elif topic == self._odometry_topic:
                self._odometry.append(message)
            else:
                stamp = stamp_nanoseconds(message.header.stamp) or received
                if former is None or not 0 <= stamp - former < _EARLY * period:
                    former = stamp
                    yield stamp, message, calibration

    def _wanted(self) -> set[str]:
        return {self._frames.topic, self._frames.camera_topic, self._odometry_topic} - {None}

    def _prepare(self, stamp: int, message: Any, calibration: Any, label_message: Any) -> PreparedImage:
        image = self._decode(message)
        height, width = image.shape[:2]
        if (width, height) != self._source_size:
            first = "×".join(map(str, self._source_size))
            raise BagError(
                f"{self.path}: {self._frames.topic} mixes image sizes, {first} and {width}×{height}, expected one"
            )
        camera = self._camera(calibration, width, height)
        labels = None if label_message is None else self._labels(label_message, camera, (width, height))
        if camera is not None and camera.is_distorted:
            image = cv2.remap(image, *camera.rectification_maps(), cv2.INTER_LINEAR)
        if (width, height) != self.size:
            shrinks = self.size[0] < width and self.size[1] < height
            image = cv2.resize(image, self.size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        camera = None if camera is None else camera.rectified().resize(*self.size)
        return PreparedImage(stamp, image, camera, small_grey(image), labels)

    def _labels(self, message: Any, camera: PinholeCamera | None, size: tuple[int, int]) -> np.ndarray:
        """The ids as the image is stored: rectified and resized by nearest values."""
        where = f"{self.path}: topic {self.label_topic}"
        if message.encoding not in _LABEL_ENCODINGS or (message.width, message.height) != size:
            raise BagError(
                f"{where} holds {message.encoding} of {message.width}×{message.height}, expected "
                f"{' or '.join(_LABEL_ENCODINGS)} of the image's {size[0]}×{size[1]}"
            )
        try:
            ids = decode_array(message)
        except ImageError as error:
            raise BagError(f"{where}: {error}") from error
        if camera is not None:
            ids = rectified_ids(ids, camera)
        return ids if size == self.size else cv2.resize(ids, self.size, interpolation=cv2.INTER_NEAREST_EXACT)

    def _decode(self, message: Any) -> np.ndarray:
        return DECODERS[self._frames.reader.topics[self._frames.topic].msgtype](message)

    def _camera(self, calibration: Any, width: int, height: int) -> PinholeCamera | None:
        if not self.settings.use_camera_info:
            return None
        try:
            return self._frames.camera(calibration, width, height)
        except UncalibratedCameraError:
            return None
        except CameraError as error:
            raise CameraError(f"{self.path}: {self._frames.camera_topic}: {error}") from error

    def _first_image(self) -> tuple[tuple[int, int], str]:
        """Size and frame_id of the first image that can be decoded."""
        topic, problem = self._frames.topic, "it holds no message"
        messages = self._frames.reader.messages([topic])
        try:
            for _, _, _, message in messages:
                try:
                    image = self._decode(message)
                except ImageError as error:
                    problem = str(error)
                    continue
                return (image.shape[1], image.shape[0]), message.header.frame_id
        finally:
            messages.close()
        raise BagError(f"{self.path}: topic {topic} has no image that can be decoded: {problem}")

    def _find_odometry(self) -> str | None:
        name = self.settings.odometry_topic
        if name is None:
            return self._frames.odometry_topic
        require_topic(self._frames.reader.topics, self.path, name, (ODOMETRY,))
        return name

    def _find_labels(self) -> str:
        topics = self._frames.reader.topics
        name = truth_topics(topics, self.settings.label_topic).get("semantic")
        if name is None:
            found = ", ".join(sorted(topics))
            raise BagError(f"{self.path} has no labels, expected a topic that ends in {TRUTH['semantic']}; found {found}")
        require_topic(topics, self.path, name, (IMAGE,))
        return name


def covering_size(size: tuple[int, int], cover: tuple[int, int]) -> tuple[int, int]:
    """The smallest (width, height) of the shape of ``size`` that covers ``cover``; never larger than ``size``."""
    scale = min(1.0, max(wanted / side for wanted, side in zip(cover, size)))
    return round(size[0] * scale), round(size[1] * scale)


def _ahead(jobs: Iterator[Future[PreparedImage]], count: int) -> Iterator[Future[PreparedImage]]:
    """The jobs in order, ``count`` of them started before the first is awaited."""
    waiting: deque[Future[PreparedImage]] = deque()
    for job in jobs:
        waiting.append(job)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
