"""The newest frame wins: a slot of one between the subscription and the one thread that infers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds at most one item; a newer one takes its place."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> bool:
        """Leave an item for the next :meth:`take`; True if it displaced one that nobody had taken."""
        with self._changed:
            displaced = self._item is not None
            self._item = item
            self._changed.notify()
        return displaced

    def take(self) -> T | None:
        """Wait for an item; None once the slot is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None)
            if self._closed:
                return None
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Drop what waits and let :meth:`take` return None from now on."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()


class SlotWorker(Generic[T]):
    """One thread that processes the newest item; it goes on after ``failed`` took what ``process`` raised."""

    def __init__(
        self, process: Callable[[T], None], failed: Callable[[T, Exception], None], name: str
    ) -> None:
        self._process = process
        self._failed = failed
        self._slot: Slot[T] = Slot()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: T) -> bool:
        """Hand over an item without waiting; True if an older one is skipped for it."""
        return self._slot.put(item)

    def stop(self) -> None:
        """Finish the item in work, drop the one that waits, end the thread."""
        self._slot.close()
        self._thread.join()

    def _run(self) -> None:
        while (item := self._slot.take()) is not None:
            try:
                self._process(item)
            except Exception as error:  # the boundary of the thread: reported, never fatal
                self._failed(item, error)
