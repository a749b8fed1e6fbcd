"""Subscriptions that join whatever publishes: found by discovery, with the publisher's reliability, and
rebound.

A subscription made before its publisher is known has to guess the quality of service; one that asks for more
than is offered receives nothing. So each input looks for publishers first, subscribes as they offer, and
looks again periodically and on every incompatible-QoS event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

DISCOVERY_PERIOD = 0.2  # s
_QUEUE_DEPTH = 5  # drained at once into the slot of one; a little room so that bursts are counted, not lost
_RELIABILITY = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}


class Source(NamedTuple):
    """A topic (resolved name) with the type expected there."""

    topic: str
    message: type

    @property
    def type_name(self) -> str:
        """The type as the graph names it, ``sensor_msgs/msg/Image``."""
        package, kind, _ = self.message.__module__.split(".", 2)
        return f"{package}/{kind}/{self.message.__name__}"


class _Binding(NamedTuple):
    source: Source
    reliability: ReliabilityPolicy
    durability: DurabilityPolicy


class TopicInput:
    """One input, subscribed to the first of its ``sources()`` that is published.

    ``callback(message, topic)`` receives the messages. ``latched``: take the last message of a latched
    publisher. ``reliability()`` is auto, reliable or best_effort. ``found`` tells what is listened to,
    ``problem`` what hinders.
    """

    def __init__(
        self,
        node: Node,
        sources: Callable[[], Sequence[Source]],
        callback: Callable[[Any, str], None],
        reliability: Callable[[], str],
        latched: bool = False,
    ) -> None:
        self._node = node
        self._sources = sources
        self._callback = callback
        self._reliability = reliability
        self._latched = latched
        self._binding: _Binding | None = None
        self._subscription: Subscription | None = None
        self.problem = ""
        self._look_again = node.create_guard_condition(self.update)
        self._timer = node.create_timer(
            DISCOVERY_PERIOD, self.update, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self.update()

    @property
    def topic(self) -> str:
        """The topic that is listened to, or the first one waited for."""
        return self._binding.source.topic if self._binding else self._sources()[0].topic

    @property
    def publishers(self) -> int:
        """How many publishers the subscription is matched with by topic and type."""
        return len(self._publishers(self._binding.source)) if self._binding else 0

    def update(self) -> None:
        """Subscribe, or subscribe anew, where what is published has changed."""
        choice = self._choose()
        if choice is None or choice == self._binding:
            return
        self._unsubscribe()
        self._binding = choice
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_QUEUE_DEPTH,
            reliability=choice.reliability,
            durability=choice.durability,
        )
        topic = choice.source.topic
        self._subscription = self._node.create_subscription(
            choice.source.message,
            topic,
            lambda message: self._callback(message, topic),
            profile,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=lambda _: self._look_again.trigger()),
        )
        self._node.get_logger().info(
            f"listening to {topic} ({choice.source.message.__name__}, {choice.reliability.name.lower()}, "
            f"{choice.durability.name.lower()})"
        )

    def destroy(self) -> None:
        """Stop listening."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_guard_condition(self._look_again)
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        self._binding = None

    def _choose(self) -> _Binding | None:
        """The present source while it is published, else the first that is; None: nothing to change."""
        sources = list(self._sources())
        if self._binding is not None and self._binding.source in sources:
            sources.sort(key=lambda source: source != self._binding.source)
        for source in sources:
            profiles = self._publishers(source)
            if profiles:
                self.problem = ""
                return _Binding(source, self._reliability_for(profiles), self._durability_for(profiles))
        self.problem = self._wrong_type(sources[0])
        return None

    def _publishers(self, source: Source) -> list[QoSProfile]:
        endpoints = self._node.get_publishers_info_by_topic(source.topic)
        return [endpoint.qos_profile for endpoint in endpoints if endpoint.topic_type == source.type_name]

    def _wrong_type(self, source: Source) -> str:
        for endpoint in self._node.get_publishers_info_by_topic(source.topic):
            return f"{source.topic} has type {endpoint.topic_type}, expected {source.type_name}"
        return ""

    def _reliability_for(self, profiles: Sequence[QoSProfile]) -> ReliabilityPolicy:
        asked = self._reliability()
        if asked != "auto":
            return _RELIABILITY[asked]
        reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _durability_for(self, profiles: Sequence[QoSProfile]) -> DurabilityPolicy:
        latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
        return DurabilityPolicy.TRANSIENT_LOCAL if self._latched and latched else DurabilityPolicy.VOLATILE


def image_sources(node: Node, transport: str) -> list[Source]:
    """Where images may come from: ``image`` and ``image/compressed`` after remapping, raw preferred.

    ``image/compressed`` follows a remapping of ``image`` unless it is remapped itself; a topic that ``image``
    was remapped to may itself carry compressed images.
    """
    raw = node.resolve_topic_name("image")
    compressed = node.resolve_topic_name("image/compressed")
    if compressed == node.resolve_topic_name("image/compressed", only_expand=True):
        compressed = f"{raw}/compressed"
    sources = []
    if transport in ("auto", "raw"):
        sources.append(Source(raw, Image))
    if transport in ("auto", "compressed"):
        sources += [Source(compressed, CompressedImage), Source(raw, CompressedImage)]
    return sources
