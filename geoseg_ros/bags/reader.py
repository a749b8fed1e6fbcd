"""Reading a rosbag2 recording: a folder or a single ``.mcap`` or ``.db3`` file, damaged ones up to the damage."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any

import yaml
from rosbags.rosbag2 import Reader

from geoseg_ros.bags.recovery import MAX_CHUNK_BYTES, bounded_zstd, is_cut_short, scan
from geoseg_ros.bags.topics import find_camera
from geoseg_ros.bags.types import TopicInfo, deserialise
from geoseg_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SUFFIXES = (".mcap", ".db3")
_KINDS = " or ".join(SUFFIXES)
_NEWEST_METADATA = 9


class _File:
    """One storage file: through its index where that is intact, by a sequential scan where it is not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader: Reader | None = None
        self.topics: dict[str, TopicInfo] = {}
        self.start, self.end = sys.maxsize, 0
        reader = _open_by_index(path)
        if reader is None:
            self._survey()
            return
        self.reader = reader
        for connection in reader.connections:
            latched = any(
                qos.durability.name == "TRANSIENT_LOCAL" for qos in connection.ext.offered_qos_profiles
            )
            self._add(connection.topic, connection.msgtype, connection.msgcount, latched)
        if reader.message_count:
            self.start, self.end = reader.start_time, reader.end_time - 1

    def _survey(self) -> None:
        """Topics and times of a file without a sound index; reading the messages reports its damage."""
        try:
            for record in scan(self.path):
                self._add(record.topic, record.msgtype, 1, _is_latched(record.qos))
                self.start, self.end = min(self.start, record.stamp), max(self.end, record.stamp)
        except BagError as error:
            if not self.topics:
                raise BagError(f"{self.path} holds no readable message: {error}") from error

    def _add(self, topic: str, msgtype: str, count: int, latched: bool) -> None:
        known = self.topics.get(topic)
        if known is not None:
            if known.msgtype != msgtype:
                raise _two_types(self.path, topic, known.msgtype, msgtype)
            count, latched = count + known.count, latched or known.latched
        self.topics[topic] = TopicInfo(msgtype, count, latched)

    def records(self, topics: Collection[str] | None) -> Iterator[tuple[str, int, str, bytes]]:
        count = 0
        try:
            for record in self._records(topics):
                yield record
                count += 1
        except GeneratorExit:
            raise
        except Exception as error:
            raise BagError(
                f"{self.path} is damaged, {count} messages were read before the damage: "
                f"{error or type(error).__name__}"
            ) from error

    def _records(self, topics: Collection[str] | None) -> Iterator[tuple[str, int, str, bytes]]:
        if self.reader is None:
            for record in scan(self.path):
                if topics is None or record.topic in topics:
                    yield record.topic, record.stamp, record.msgtype, record.data
            return
        wanted = [c for c in self.reader.connections if topics is None or c.topic in topics]
        if wanted:
            for connection, stamp, data in self.reader.messages(connections=wanted):
                yield connection.topic, stamp, connection.msgtype, data

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()


def _open_by_index(path: Path) -> Reader | None:
    """The file's reader, or None where it has no sound index."""
    try:
        if is_cut_short(path):
            return None
        reader = Reader(path)
        reader.open()
    except Exception:  # whatever the library trips over in a foreign file: the scan says what is wrong
        return None
    if path.suffix == ".mcap" and not reader.storage.chunks:
        reader.close()
        return None
    return reader


def is_bag(path: Path) -> bool:
    """Whether a folder is a bag: it has ``metadata.yaml`` or storage files."""
    return path.is_dir() and (
        (path / "metadata.yaml").exists() or any(f.suffix in SUFFIXES for f in path.iterdir())
    )


class BagReader:
    """Reads a rosbag2 recording; a context manager.

    ``path`` is the bag's folder (``metadata.yaml`` may be missing) or one storage file. A truncated or
    corrupt file yields every message before the damage, then BagError names the file and how many messages
    were read.

    ``topics`` maps names to :class:`TopicInfo`; ``start`` and ``duration`` are nanoseconds; messages come by
    receive time, file by file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self._message_compression = False
        try:
            self._files = [self._open(file) for file in self._storage_files()]
        except BaseException:
            self._stack.close()
            raise
        self.topics: dict[str, TopicInfo] = {}
        for file in self._files:
            for name, info in file.topics.items():
                known = self.topics.get(name, TopicInfo(info.msgtype, 0))
                if known.msgtype != info.msgtype:
                    raise _two_types(self.path, name, known.msgtype, info.msgtype)
                latched = known.latched or info.latched
                self.topics[name] = TopicInfo(info.msgtype, known.count + info.count, latched)
        self.count = sum(info.count for info in self.topics.values())
        self.start = min((file.start for file in self._files if file.end), default=0)
        self.duration = max((file.end for file in self._files), default=0) - self.start if self.count else 0

    def raw_messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, str, bytes]]:
        """(topic, receive time in ns, message type, CDR bytes) of all messages, or of those on ``topics``."""
        self._check(topics)
        for file in self._files:
            for topic, stamp, msgtype, data in file.records(topics):
                if self._message_compression:
                    data = self._decompress(file.path, data)
                yield topic, stamp, msgtype, data

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, str, Any]]:
        """(topic, receive time in ns, message type, message) of every message, or of those on ``topics``.

        Messages have the fields of their ROS type; arrays are NumPy arrays. Types unknown to ROS 2 Kilted
        raise BagError: name the topics to read in a bag that holds such types.
        """
        for index, (topic, stamp, msgtype, data) in enumerate(self.raw_messages(topics)):
            try:
                message = deserialise(data, msgtype)
            except BagError as error:
                raise BagError(f"{self.path}: topic {topic}, after {index} messages: {error}") from error
            yield topic, stamp, msgtype, message

    def camera_topics(self) -> tuple[str | None, str | None]:
        """Image topic and matching ``camera_info`` topic of the bag's camera, None where there is none."""
        return find_camera(self.topics)

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self._stack.close()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, topics: Collection[str] | None) -> None:
        for topic in topics or ():
            if topic not in self.topics:
                found = ", ".join(sorted(self.topics)) or "none"
                raise BagError(f"{self.path} has no topic {topic}, found {found}")

    def _open(self, path: Path) -> _File:
        if path.suffix == ".zstd":
            path = self._unpack(path)
        file = _File(path)
        self._stack.callback(file.close)
        return file

    def _unpack(self, path: Path) -> Path:
        target = Path(self._stack.enter_context(tempfile.TemporaryDirectory())) / path.stem
        try:
            with zstd.open(path, "rb") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        except (zstd.ZstdError, EOFError) as error:
            if not target.stat().st_size:
                raise BagError(f"{path} cannot be decompressed: {error}") from error
        return target

    def _decompress(self, path: Path, data: bytes) -> bytes:
        try:
            return bounded_zstd(data, MAX_CHUNK_BYTES)
        except zstd.ZstdError as error:
            raise BagError(f"{path}: a message cannot be decompressed: {error}") from error

    def _storage_files(self) -> list[Path]:
        if not self.path.exists():
            raise BagError(f"{self.path} does not exist, expected a bag folder or a {_KINDS} file")
        if self.path.is_file():
            if self.path.suffix not in SUFFIXES:
                raise BagError(f"{self.path} ends in {self.path.suffix!r}, expected {_KINDS}")
            return [self.path]
        metadata = self.path / "metadata.yaml"
        if metadata.exists():
            return self._listed_files(metadata)
        found = [file for file in self.path.iterdir() if file.suffix in SUFFIXES]
        if not found:
            raise BagError(f"{self.path} is no bag: it has neither metadata.yaml nor a {_KINDS} file")
        return sorted(found, key=_natural_order)

    def _listed_files(self, metadata: Path) -> list[Path]:
        try:
            content = yaml.safe_load(metadata.read_text())["rosbag2_bagfile_information"]
            version, names = content["version"], content["relative_file_paths"]
            mode = str(content.get("compression_mode") or "").lower()
            files = [self.path / PurePath(name).name for name in names]
        except (
            OSError,
            ValueError,
            yaml.YAMLError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise BagError(f"{metadata} is damaged: {error!r}; open the storage file itself") from error
        if not isinstance(version, int) or version > _NEWEST_METADATA:
            raise BagError(f"{metadata} has version {version}, expected at most {_NEWEST_METADATA}")
        self._message_compression = mode == "message"
        for file in files:
            if not file.is_file():
                raise BagError(f"{metadata} names {file.name}, which is missing")
            if file.with_suffix("" if file.suffix == ".zstd" else file.suffix).suffix not in SUFFIXES:
                raise BagError(f"{metadata} names {file.name}, expected {_KINDS} files")
        return files


def _two_types(path: Path, topic: str, first: str, second: str) -> BagError:
    return BagError(f"{path}: topic {topic} holds {first} and {second}, expected one type")


def _is_latched(qos: str) -> bool:
    """True when recorded QoS text says transient local: as a name (metadata 9) or as its number 1."""
    return "transient_local" in qos or "durability: 1" in qos


def _natural_order(path: Path) -> tuple[int, str]:
    digits = path.stem.rpartition("_")[2]
    return (int(digits) if digits.isascii() and digits.isdigit() else -1, path.name)
