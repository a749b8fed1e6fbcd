"""A few items of a stream whose length is not known, evenly spread over it."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")


class EvenSample(Generic[Item]):
    """Keeps every n-th item, n doubled whenever more than twice ``count`` are kept."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[Item] = []
        self._stride = 1
        self._seen = 0

    def add(self, item: Item) -> None:
        """The next item of the stream."""
        if self._seen % self._stride == 0:
            self._kept.append(item)
            if len(self._kept) > 2 * self._count:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._seen += 1

    def items(self) -> list[Item]:
        """At most ``count`` items in the order of the stream, its first one among them."""
        picks = np.linspace(0, len(self._kept) - 1, min(self._count, len(self._kept))).round().astype(int)
        return [self._kept[index] for index in dict.fromkeys(picks.tolist())]
