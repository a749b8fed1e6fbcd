"""The ground-truth images of a bag at the stamps of its camera's images, checked to be what the metrics expect."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from geoseg_ros.bags import BagReader
from geoseg_ros.bags.by_stamp import ByStamp, grouped
from geoseg_ros.bags.topics import IMAGE
from geoseg_ros.errors import ImageError
from geoseg_ros.frames import Frame
from geoseg_ros.frames.bag import require_topic
from geoseg_ros.ground_truth import truth_topics
from geoseg_ros.image_messages import decode_array
from geoseg_ros.labels import LabelSet
from geoseg_ros.output_bag import LABEL_INFO_TYPE
from geoseg_ros.training.data.source import IGNORE

ENCODINGS = {
    "semantic": ("mono8", "8UC1", "mono16"),
    "depth": ("32FC1", "16UC1"),
    "flow": ("32FC2",),
    "motion": ("mono8",),
}
"""By the names of :data:`~geoseg_ros.ground_truth.TRUTH`."""


class TruthImages:
    """Ground truth of an open bag for images with rising stamps.

    ``topics``: those of :func:`~geoseg_ros.ground_truth.truth_topics`.
    ``notes``: why one is not used: semantics, where ``label_info`` beside them names other classes than ``labels``. BagError
    where such a topic does not exist or holds no images.
    """

    def __init__(self, bag: BagReader, labels: LabelSet, label_topic: str | None = None) -> None:
        self.topics = truth_topics(bag.topics, label_topic)
        self._labels = labels
        self.notes: list[str] = []
        for topic in self.topics.values():
            require_topic(bag.topics, bag.path, topic, (IMAGE,))
        classes = _classes(bag, self.topics["semantic"]) if "semantic" in self.topics else None
        if classes not in (None, labels.names):
            del self.topics["semantic"]
            self.notes.append(
                f"semantic is not judged: the bag's classes are {', '.join(classes)}, the model's {', '.join(labels.names)}"
            )
        self._groups = ByStamp(grouped(bag, {topic: name for name, topic in self.topics.items()}))

    def take(self, frame: Frame, report: Callable[[str], None]) -> dict[str, np.ndarray]:
        """What is known of a frame, by name: arrays of the image's size, depth of any; ``report`` hears what is not usable."""
        truth = {}
        for name, message in self._groups.take(frame.stamp).items():
            try:
                truth[name] = self._checked(name, message, frame.image.shape[:2])
            except ImageError as error:
                report(f"{self.topics[name]} at {frame.stamp / 1e9:.3f} s: {error}")
        return truth

    def _checked(self, name: str, message: Any, shape: tuple[int, int]) -> np.ndarray:
        """The array of a message; ImageError where it cannot be compared with an output of ``shape`` (height, width)."""
        if message.encoding not in ENCODINGS[name]:
            raise ImageError(f"encoding is '{message.encoding}', expected {' or '.join(ENCODINGS[name])}")
        array = decode_array(message)
        if name != "depth" and array.shape[:2] != shape:
            found, expected = (f"{width}×{height}" for height, width in (array.shape[:2], shape))
            raise ImageError(f"size is {found}, expected {expected} as the image")
        if name == "semantic":
            array = np.where(array == IGNORE, self._labels.ignore, array).astype(array.dtype)
            unknown = array[(array >= len(self._labels.names)) & (array != self._labels.ignore)]
            if unknown.size:
                expected = f"0 to {len(self._labels.names) - 1} or {self._labels.ignore}"
                raise ImageError(f"class is {unknown[0]}, expected {expected} of the model's labels {self._labels.name}")
        return array


def _classes(bag: BagReader, semantic: str) -> tuple[str, ...] | None:
    """The names in ``label_info`` beside a topic of class ids, in order of the ids; None where there is none."""
    topic = f"{semantic.rpartition('/')[0]}/label_info"
    if topic not in bag.topics or bag.topics[topic].msgtype != LABEL_INFO_TYPE:
        return None
    messages = bag.messages([topic])
    try:
        classes = next(messages, (None,))[-1]
    finally:
        messages.close()
    return None if classes is None else tuple(c.class_name for c in sorted(classes.class_map, key=lambda c: c.class_id))
