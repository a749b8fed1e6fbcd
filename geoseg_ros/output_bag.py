"""Writing perceptions to a bag on the node's topics."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

from geoseg_ros.bags.types import stamp_fields
from geoseg_ros.bags.writer import BagWriter
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import LabelSet
from geoseg_ros.messages import OUTPUTS, label_info, output_messages
from geoseg_ros.perception import Perception

NAMESPACE = "/geoseg"
LABEL_INFO, LABEL_INFO_TYPE = "semantic/label_info", "vision_msgs/msg/LabelInfo"


def select_topics(names: Iterable[str]) -> list[str]:
    """Topic suffixes of :data:`~geoseg_ros.messages.OUTPUTS` for names or groups (``depth``, ``all``), in its
    order.

    Raises ConfigError for a name that is neither.
    """
    wanted: set[str] = set()
    for name in names:
        matches = {topic for topic in OUTPUTS if name in ("all", topic, topic.partition("/")[0])}
        if not matches:
            groups = dict.fromkeys(topic.partition("/")[0] for topic in OUTPUTS)
            raise ConfigError(
                f"output {name!r} is unknown, expected all, {', '.join(groups)} or {', '.join(OUTPUTS)}"
            )
        wanted |= matches
    return [topic for topic in OUTPUTS if topic in wanted]


class OutputBag:
    """A bag with the chosen output topics; a context manager (see :class:`~geoseg_ros.bags.writer.BagWriter`).

    Every message has the stamp and frame_id of its image, and that stamp as receive time.
    """

    def __init__(
        self, path: str | os.PathLike[str], topics: Collection[str], labels: LabelSet, storage: str = "mcap"
    ) -> None:
        self.topics = topics
        self.labels = labels
        self._writer = BagWriter(path, storage)
        for topic in topics:
            self._writer.add_topic(f"{NAMESPACE}/{topic}", OUTPUTS[topic].type)
        self._tells_labels = any("semantic" in OUTPUTS[topic].needs for topic in topics)

    def write(self, perception: Perception, frame_id: str) -> None:
        """Append one frame's messages; outputs that the frame lacks are left out."""
        header = {"stamp": stamp_fields(perception.stamp), "frame_id": frame_id}
        if self._tells_labels:
            self._tells_labels = False
            name = f"{NAMESPACE}/{LABEL_INFO}"
            self._writer.add_topic(name, LABEL_INFO_TYPE, latched=True)
            self._writer.write(
                name, LABEL_INFO_TYPE, {"header": header, **label_info(self.labels)}, perception.stamp
            )
        for topic, fields in output_messages(perception, self.labels, self.topics).items():
            self._writer.write(
                f"{NAMESPACE}/{topic}", OUTPUTS[topic].type, {"header": header, **fields}, perception.stamp
            )

    @property
    def count(self) -> int:
        """Messages written so far."""
        return self._writer.count

    def __enter__(self) -> OutputBag:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.__exit__(*exception)
