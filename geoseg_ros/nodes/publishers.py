"""The node's outputs: published only while somebody listens, every message with the header of its image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Header

from geoseg_ros import optional
from geoseg_ros.labels import LabelSet
from geoseg_ros.messages import OUTPUTS, label_info
from geoseg_ros.nodes.message_types import fill, message_class

_QUEUE_DEPTH = 5
LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


class OutputPublishers:
    """Publishers of ``topics`` (names of :data:`OUTPUTS`) below the node's own name."""

    def __init__(self, node: LifecycleNode, topics: Iterable[str], lazy: Callable[[], bool]) -> None:
        self._node = node
        self._lazy = lazy
        self._listeners: dict[str, int] = {}
        self._messages: dict[str, Any] = {}  # one per topic, filled again and again
        self._publishers = {}
        for topic in topics:
            kind = message_class(OUTPUTS[topic].type)
            self._listeners[topic] = 0
            self._messages[topic] = kind()
            self._publishers[topic] = node.create_lifecycle_publisher(
                kind,
                f"~/{topic}",
                QoSProfile(
                    history=HistoryPolicy.KEEP_LAST,
                    depth=_QUEUE_DEPTH,
                    reliability=ReliabilityPolicy.RELIABLE,
                ),
                event_callbacks=PublisherEventCallbacks(matched=partial(self._matched, topic)),
            )

    def wanted(self) -> list[str]:
        """The topics to compute: those with a matched subscription, or all where publishing is not lazy."""
        if not self._lazy():
            return list(self._publishers)
        return [topic for topic, listeners in self._listeners.items() if listeners > 0]

    def publish(self, messages: Mapping[str, Mapping[str, Any]], header: Header) -> None:
        """Publish message fields by topic, all with ``header``."""
        for topic, fields in messages.items():
            message = fill(self._messages[topic], fields)
            message.header = header
            self._publishers[topic].publish(message)

    def destroy(self) -> None:
        """Withdraw the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
        self._listeners.clear()

    def _matched(self, topic: str, event: Any) -> None:
        self._listeners[topic] = event.current_count


class LabelPublisher:
    """``~/semantic/label_info``, latched, where ``vision_msgs`` is installed."""

    def __init__(self, node: LifecycleNode, labels: LabelSet) -> None:
        self._node = node
        self._publisher = None
        vision_msgs = optional.vision_msgs()
        if vision_msgs is None:
            return
        self._publisher = node.create_publisher(vision_msgs.LabelInfo, "~/semantic/label_info", LATCHED)
        header = Header(stamp=node.get_clock().now().to_msg())
        self._publisher.publish(fill(vision_msgs.LabelInfo(header=header), label_info(labels)))

    def destroy(self) -> None:
        """Withdraw the topic."""
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
