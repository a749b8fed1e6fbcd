"""Record topics to a rosbag2, serialised as they arrive, and when each message was published and received.

Run as ``python -m geoseg_ros.nodes.bag_recorder --ros-args -p bag:=out -p prefix:=/geoseg``. SIGINT and
SIGTERM finish the bag and the arrivals file (:mod:`geoseg_ros.arrivals`). Messages so far, by topic that is
subscribed to, are reported to the parent process as event ``counts`` (:mod:`geoseg_ros.process_events`).
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from geoseg_ros.arrivals import NO_STAMP, ArrivalWriter, stamp_of_serialised
from geoseg_ros.bags import BagWriter
from geoseg_ros.errors import ConfigError
from geoseg_ros.nodes import process
from geoseg_ros.nodes.message_types import message_class
from geoseg_ros.process_events import report_event

DISCOVERY_PERIOD_S = 0.1
DRAIN_S = 0.3
QUEUE_DEPTH = 100


class BagRecorder(Node):
    """Subscribes to the wanted topics as they appear, with their publishers' reliability and durability."""

    def __init__(self) -> None:
        super().__init__("bag_recorder")
        bag = self._parameter("bag", "", "folder of the rosbag2 to write, none when empty")
        storage = self._parameter("storage", "mcap", "storage of the bag: mcap or sqlite3")
        compress = self._parameter("compress", True, "compress an mcap bag, which costs processor time")
        arrivals = self._parameter("arrivals", "", "CSV file for the arrival times, none when empty")
        self._topics = self._parameter("topics", [""], "topics to record as soon as they are published")
        self._timed = self._parameter("timed", [""], "topics to note arrivals of without recording them")
        self._prefix = self._parameter("prefix", "", "record every topic below this name too")
        self._topics = {self.resolve_topic_name(name) for name in self._topics if name}
        self._timed = {self.resolve_topic_name(name) for name in self._timed if name}
        if not (self._topics or self._timed or self._prefix):
            raise ConfigError("topics, timed and prefix are empty, expected at least one topic or a prefix")
        self._recorded: dict[str, Subscription[Any] | None] = {}
        self._counts: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._writer = BagWriter(bag, storage, compress) if bag else None
        self._arrivals = ArrivalWriter(arrivals) if arrivals else None
        self._discovery = self.create_timer(DISCOVERY_PERIOD_S, self._discover)

    def record(self, stop: threading.Event) -> None:
        """Record until ``stop`` is set and every message that had arrived by then is written."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not stop.is_set():
            executor.spin_once(timeout_sec=DISCOVERY_PERIOD_S)
        self._discovery.cancel()
        recorded = -1
        while sum(self._counts.values()) != recorded:
            recorded = sum(self._counts.values())
            executor.spin_once(timeout_sec=DRAIN_S)

    def close(self) -> None:
        """Finish the bag and the arrivals file."""
        if self._writer is not None:
            self._writer.close()
        if self._arrivals is not None:
            self._arrivals.close()
        report_event("finished", counts=self._counts)

    def _parameter(self, name: str, default: Any, description: str) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return self.declare_parameter(name, default, descriptor).value

    def _discover(self) -> None:
        for topic, types in self.get_topic_names_and_types():
            if topic not in self._recorded and self._wanted(topic):
                publishers = self.get_publishers_info_by_topic(topic)
                if publishers:
                    self._subscribe(topic, types[0], [info.qos_profile for info in publishers])
        if self._arrivals is not None:
            self._arrivals.flush()
        if self._told != self._counts:
            self._told = dict(self._counts)
            report_event("counts", counts=self._counts)

    def _wanted(self, topic: str) -> bool:
        below_prefix = bool(self._prefix) and topic.startswith(self._prefix.rstrip("/") + "/")
        return below_prefix or topic in self._topics or topic in self._timed

    def _subscribe(self, topic: str, type_name: str, offered: list[QoSProfile]) -> None:
        message_type = message_class(type_name)
        if message_type is None:
            self.get_logger().warning(
                f"topic {topic} has type {type_name}, which is not installed: not recorded"
            )
            self._recorded[topic] = None
            return
        qos = _matching_qos(offered)
        latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        if self._writer is not None and topic not in self._timed:
            self._writer.add_topic(topic, type_name, latched=latched)
        self._counts[topic] = 0
        has_header = message_type.get_fields_and_field_types().get("header") == "std_msgs/Header"
        self._recorded[topic] = self.create_subscription(
            message_type, topic, partial(self._receive, topic, type_name, has_header), qos, raw=True
        )

    def _receive(
        self, topic: str, type_name: str, has_header: bool, data: bytes, info: dict[str, Any]
    ) -> None:
        received = info["received_timestamp"]
        self._counts[topic] += 1
        if self._writer is not None and topic not in self._timed:
            self._writer.write_raw(topic, type_name, data, received)
        if self._arrivals is not None:
            stamp = stamp_of_serialised(data) if has_header else NO_STAMP
            self._arrivals.write(topic, stamp, info["source_timestamp"], received, len(data))


def _matching_qos(offered: list[QoSProfile]) -> QoSProfile:
    """The strictest profile that every publisher satisfies."""
    reliable = all(qos.reliability == ReliabilityPolicy.RELIABLE for qos in offered)
    latched = all(qos.durability == DurabilityPolicy.TRANSIENT_LOCAL for qos in offered)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=QUEUE_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM, then take what has already arrived; returns the exit code."""

    def body(stop: threading.Event) -> int:
        recorder = BagRecorder()
        try:
            recorder.record(stop)
        finally:
            recorder.close()
            recorder.destroy_node()
        return 0

    return process.run("bag_recorder", body, args)


if __name__ == "__main__":
    sys.exit(main())
