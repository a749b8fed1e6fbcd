"""Play a rosbag2 onto topics, in the recording's time: ``bag_player BAG [--rate 2] [--loop] [--clock]``.

Messages go out as they were recorded, byte for byte, so their stamps are the recording's. ROS arguments
follow ``--ros-args``. Stands in for ``ros2 bag play`` where that is not installed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from geoseg_ros.bags import BagReader, TopicInfo, stamp_fields
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.nodes import process
from geoseg_ros.nodes.message_types import fill, message_class

NANOSECONDS = 1_000_000_000
CLOCK_RATE = 100.0  # Hz
ACKNOWLEDGEMENT = Duration(seconds=2)
SETTLING = 0.3  # s; a subscriber may know its publisher a moment later than the publisher knows it
_QUEUE_DEPTH = 10
_POLL_PERIOD = 0.1  # s


class BagPlayer(Node):
    """Publishes the topics of a bag under their own names, or those that ``remap`` gives them."""

    def __init__(self, topics: dict[str, TopicInfo], remap: dict[str, str], clock: bool) -> None:
        super().__init__("bag_player")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._remap = remap
        self._publishers_by_topic: dict[str, Publisher] = {}
        for topic, info in topics.items():
            kind = message_class(info.msgtype)
            if kind is None:
                self.get_logger().warning(
                    f"topic {topic} has type {info.msgtype}, which is not installed: not played"
                )
                continue
            self._publishers_by_topic[topic] = self.create_publisher(
                kind, remap.get(topic, topic), _qos(info.latched)
            )
        self._clock_publisher = self.create_publisher(Clock, "/clock", _QUEUE_DEPTH) if clock else None

    def wait_for_subscribers(self, topics: Iterable[tuple[str, int]], stop: threading.Event) -> None:
        """Wait until each topic (named as in the bag) has so many subscribers; BagError for others."""
        waiting = []
        for topic, subscribers in topics:
            if topic not in self._publishers_by_topic:
                played = ", ".join(sorted(self._publishers_by_topic))
                raise BagError(f"topic {topic} to wait for is not played, expected some of {played}")
            waiting.append((self._publishers_by_topic[topic], subscribers))
        while not stop.is_set() and any(
            publisher.get_subscription_count() < count for publisher, count in waiting
        ):
            self._executor.spin_once(timeout_sec=_POLL_PERIOD)
        if waiting:
            self._sleep_until(time.monotonic() + SETTLING, stop)

    def play(
        self, messages: Iterable[tuple[str, int, str, bytes]], start: int, rate: float, stop: threading.Event
    ) -> None:
        """Publish (topic, time in ns, type, CDR bytes) when their time has come, ``rate`` times as fast."""
        began = time.monotonic()
        for topic, stamp, _, data in _with_ticks(
            messages, start, rate, ticking=self._clock_publisher is not None
        ):
            self._sleep_until(began + (stamp - start) / NANOSECONDS / rate, stop)
            if stop.is_set():
                return
            if not topic:
                self._clock_publisher.publish(fill(Clock(), {"clock": stamp_fields(stamp)}))
            elif topic in self._publishers_by_topic:
                self._publishers_by_topic[topic].publish(bytes(data))

    def finish(self) -> None:
        """Wait a moment for reliable subscribers to acknowledge the last messages."""
        for publisher in self._publishers_by_topic.values():
            publisher.wait_for_all_acked(ACKNOWLEDGEMENT)

    def _sleep_until(self, moment: float, stop: threading.Event) -> None:
        while not stop.is_set() and (left := moment - time.monotonic()) > 0.0:
            self._executor.spin_once(timeout_sec=min(left, _POLL_PERIOD))


def _with_ticks(
    messages: Iterable[tuple[str, int, str, bytes]], start: int, rate: float, ticking: bool
) -> Iterator[tuple[str, int, str, bytes]]:
    """The messages, with an entry of no topic wherever /clock is due (:data:`CLOCK_RATE` in wall time)."""
    period = int(NANOSECONDS * rate / CLOCK_RATE)
    tick = start
    for message in messages:
        while ticking and tick <= message[1]:
            yield "", tick, "", b""
            tick += period
        yield message


def _qos(latched: bool) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=_QUEUE_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _positive(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _renaming(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(":=")
    if not (old and separator and new):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form OLD:=NEW")
    return old, new


def _awaited(text: str) -> tuple[str, int]:
    topic, _, subscribers = text.partition(":")
    if subscribers and not (subscribers.isdecimal() and int(subscribers)):
        raise ConfigError(f"--wait-for is '{text}', expected TOPIC or TOPIC:SUBSCRIBERS")
    return topic, int(subscribers or 1)


def build_parser() -> argparse.ArgumentParser:
    """The arguments before ``--ros-args``."""
    parser = argparse.ArgumentParser(prog="bag_player", description="Play a rosbag2 onto topics.")
    parser.add_argument("bag", help="bag folder, or a .mcap or .db3 file")
    parser.add_argument("--rate", type=_positive, default=1.0, help="times as fast as recorded (default 1)")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until stopped")
    parser.add_argument("--clock", action="store_true", help="publish the recording's time on /clock")
    parser.add_argument("--topics", nargs="+", metavar="TOPIC", help="play only these")
    parser.add_argument(
        "--remap", nargs="+", type=_renaming, default=[], metavar="OLD:=NEW", help="publish OLD as NEW"
    )
    parser.add_argument(
        "--wait-for",
        nargs="+",
        default=[],
        metavar="TOPIC[:SUBSCRIBERS]",
        help="start once these topics of the bag have a subscriber, or as many as given",
    )
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Play until the end, SIGINT or SIGTERM; returns the exit code."""
    argv = list(sys.argv[1:] if args is None else args)
    split = argv.index("--ros-args") if "--ros-args" in argv else len(argv)
    options = build_parser().parse_args(argv[:split])

    def body(stop: threading.Event) -> int:
        with BagReader(options.bag) as reader:
            if not reader.count:
                raise BagError(f"{options.bag} holds no messages")
            topics = {
                name: info
                for name, info in reader.topics.items()
                if name in (options.topics or reader.topics)
            }
            player = BagPlayer(topics, dict(options.remap), options.clock)
            try:
                player.wait_for_subscribers(map(_awaited, options.wait_for), stop)
                for _ in count() if options.loop else range(1):
                    player.play(reader.raw_messages(options.topics), reader.start, options.rate, stop)
                    if stop.is_set():
                        return 0
                player.finish()
                return 0
            finally:
                player.destroy_node()

    return process.run("bag_player", body, argv[split:])


if __name__ == "__main__":
    sys.exit(main())
