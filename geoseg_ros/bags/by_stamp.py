"""Messages of several topics that belong to one instant, by their header stamps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from geoseg_ros.arrivals import stamp_of_serialised
from geoseg_ros.bags.reader import BagReader
from geoseg_ros.bags.types import deserialise

_LATE_FRAMES = 4  # messages of one frame may come after those of this many later ones


def grouped(bag: BagReader, topics: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(header stamp, message by ``topics[topic]``) for the messages of equal stamp, in order of stamps."""
    pending: dict[int, dict[str, tuple[str, bytes]]] = {}
    if topics:
        for topic, _, msgtype, data in bag.raw_messages(list(topics)):
            pending.setdefault(stamp_of_serialised(data), {})[topics[topic]] = (msgtype, data)
            if len(pending) > _LATE_FRAMES:
                yield _deserialised(pending)
    while pending:
        yield _deserialised(pending)


class ByStamp:
    """Access to groups of messages by rising stamps."""

    def __init__(self, groups: Iterator[tuple[int, dict[str, Any]]]):
        self._groups = groups
        self._next = next(groups, None)

    def take(self, stamp: int) -> dict[str, Any]:
        """The messages of exactly this stamp; none where there are none. Stamps of later calls must rise."""
        while self._next is not None and self._next[0] < stamp:
            self._next = next(self._groups, None)
        return self._next[1] if self._next is not None and self._next[0] == stamp else {}


def _deserialised(pending: dict[int, dict[str, tuple[str, bytes]]]) -> tuple[int, dict[str, Any]]:
    stamp = min(pending)
    return stamp, {name: deserialise(data, msgtype) for name, (msgtype, data) in pending.pop(stamp).items()}
