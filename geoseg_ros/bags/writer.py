"""Writing rosbag2 recordings (mcap or sqlite3) with the rosbags library; no ROS needed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from geoseg_ros.bags.types import build_message, serialise, typestore
from geoseg_ros.errors import BagError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_METADATA_VERSION = 8  # the newest whose QoS text every distribution from Humble on reads
_FOREVER = QosTime(0, 0)


class BagWriter:
    """Writes one rosbag2 folder; a context manager.

    The bag grows in a hidden folder beside ``path`` and takes its name when it is closed. Leaving the context
    by an exception closes it too: a recording that ends early is a readable recording. Only a bag without any
    message is then discarded. MCAP chunks are compressed with zstd unless ``compress`` is False, which spares
    the processor while something is being measured.

    Raises BagError when ``path`` exists, the storage is unknown, or writing fails.
    """

    def __init__(self, path: str | os.PathLike[str], storage: str = "mcap", compress: bool = True) -> None:
        self.path = Path(path)
        if storage not in STORAGES:
            raise BagError(f"bag storage {storage!r} is unknown, expected one of {', '.join(STORAGES)}")
        if os.path.lexists(self.path):
            raise BagError(f"{self.path} exists already, expected a new name for the bag")
        self.storage = storage
        self.count = 0
        self._connections: dict[str, Connection] = {}
        try:
            self.path.absolute().parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(
                tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.absolute().parent)
            )
            self._writer: Writer | None = Writer(
                self._folder / self.path.name, version=_METADATA_VERSION, storage_plugin=STORAGES[storage]
            )
            if storage == "mcap" and compress:
                self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            self._writer.open()
        except (OSError, WriterError, sqlite3.Error) as error:
            raise BagError(f"bag {self.path} cannot be created: {error}") from error

    def add_topic(self, topic: str, msgtype: str, latched: bool = False) -> None:
        """Declare a topic before its first message; needed only for latched topics and for empty ones."""
        writer = self._opened()
        if topic in self._connections:
            if self._connections[topic].msgtype != msgtype:
                raise BagError(f"topic {topic} holds {self._connections[topic].msgtype}, not {msgtype}")
            return
        if not topic.startswith("/"):
            raise BagError(f"topic {topic!r} must start with '/'")
        if msgtype not in typestore().fielddefs:
            raise BagError(
                f"topic {topic}: message type {msgtype!r} is unknown, expected one of ROS 2 Kilted's"
            )
        try:
            self._connections[topic] = writer.add_connection(
                topic, msgtype, typestore=typestore(), offered_qos_profiles=[_qos(latched)]
            )
        except (OSError, WriterError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def write(self, topic: str, msgtype: str, fields: Mapping[str, Any], stamp: int) -> None:
        """Append a message given as plain fields (see :func:`build_message`), received at ``stamp`` ns."""
        self.write_raw(topic, msgtype, serialise(build_message(msgtype, fields), msgtype), stamp)

    def write_raw(self, topic: str, msgtype: str, data: bytes | memoryview, stamp: int) -> None:
        """Append a serialised (CDR) message, received at ``stamp`` ns."""
        self.add_topic(topic, msgtype)
        if stamp < 0:
            raise BagError(f"topic {topic}: stamp {stamp} ns is negative")
        try:
            self._opened().write(self._connections[topic], int(stamp), data)
        except (OSError, WriterError, sqlite3.Error) as error:
            raise self._failure(error) from error
        self.count += 1

    def close(self) -> None:
        """Write the index and metadata and give the bag its name; a second call does nothing."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.close()
            os.rename(writer.path, self.path)
            self._folder.rmdir()
        except (OSError, WriterError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def discard(self) -> None:
        """Close and delete what was written."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.abort()
            shutil.rmtree(self._folder)

    def _opened(self) -> Writer:
        if self._writer is None:
            raise BagError(f"bag {self.path} is closed")
        return self._writer

    def _failure(self, error: Exception) -> BagError:
        return BagError(
            f"bag {self.path} cannot be written: {error}; what was written lies in {self._folder}"
        )

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self.count == 0:
            self.discard()
        else:
            self.close()


def _qos(latched: bool) -> Qos:
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
