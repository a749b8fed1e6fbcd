"""Sequential reading of storage files that have no index or are damaged.

An intact file is read through its index by rosbags. A truncated or corrupt file is scanned here from its
start: every whole message before the damage is yielded, then :class:`BagError` says where and what the damage
is. Sizes that a file claims are compared with the bytes that it has before any memory is taken for them.
Formats: https://mcap.dev/spec, and the tables ``topics`` and ``messages`` of rosbag2_storage_sqlite3.
"""

from __future__ import annotations

import struct
import sys
from binascii import crc32
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import quote

import apsw
from lz4.frame import LZ4FrameDecompressor

from geoseg_ros.errors import BagError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK_BYTES = 1 << 30
_RECORD_HEADER = struct.Struct("<BQ")
_CHUNK_HEADER = struct.Struct("<QQQII")
_MESSAGE_HEADER = struct.Struct("<HIQQ")
_FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 0x02, 0x03, 0x04, 0x05, 0x06


class Record(NamedTuple):
    """One message as stored: topic, type, recorded QoS (YAML text), receive time in ns, CDR bytes."""

    topic: str
    msgtype: str
    qos: str
    stamp: int
    data: bytes


def scan(path: Path) -> Iterator[Record]:
    """The messages of one ``.mcap`` or ``.db3`` file in stored order; BagError at the damage, if any."""
    if path.suffix == ".mcap":
        return _scan_mcap(path)
    return _scan_sqlite(path)


def bounded_zstd(data: bytes, size: int) -> bytes:
    """The content of a zstd frame up to ``size`` bytes, or what there is of it; ZstdError if it is damaged."""
    return zstd.ZstdDecompressor().decompress(data, max_length=size)


def is_cut_short(path: Path) -> bool:
    """Whether an SQLite file is shorter than its header says; its index may lead to missing pages."""
    return path.suffix == ".db3" and path.stat().st_size < _sqlite_size(path)[1]


class _WholePages(apsw.VFS):
    """Shows SQLite only the whole pages of a file: it would fill up a page that is cut short with zeros."""

    def __init__(self, page_size: int) -> None:
        self.name = f"geoseg-{id(self)}"
        self._page_size = page_size
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        page_size = self._page_size

        class File(apsw.VFSFile):
            def xFileSize(self) -> int:
                size = super().xFileSize()
                return size - size % page_size

        return File("", name, flags)


def _scan_sqlite(path: Path) -> Iterator[Record]:
    page_size, expected = _sqlite_size(path)
    pages = _WholePages(page_size)
    try:
        yield from _sqlite_rows(path, pages.name)
    except (apsw.Error, UnicodeDecodeError) as error:
        found = path.stat().st_size
        shorter = f"; it is truncated: {found} of {expected} bytes are there" if found < expected else ""
        raise BagError(f"{error}{shorter}") from error
    finally:
        pages.unregister()


def _sqlite_rows(path: Path, vfs: str) -> Iterator[Record]:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{quote(str(path.absolute()))}?immutable=1", flags, vfs)
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA writable_schema=ON")  # accepts a file that is shorter than its header says
        columns = {row[1] for row in connection.execute("PRAGMA table_info(topics)")}
        qos = "offered_qos_profiles" if "offered_qos_profiles" in columns else "''"
        topics = {row[0]: row[1:] for row in connection.execute(f"SELECT id, name, type, {qos} FROM topics")}
        order = "SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED ORDER BY id"
        for row, topic, stamp, data in connection.execute(order):
            if topic not in topics or not isinstance(stamp, int) or not isinstance(data, bytes):
                raise BagError(f"row {row} of the table 'messages' is damaged")
            name, msgtype, profiles = topics[topic]
            yield Record(str(name), str(msgtype), str(profiles or ""), stamp, data)
    finally:
        connection.close(True)


def _sqlite_size(path: Path) -> tuple[int, int]:
    """Page size and size in bytes that an SQLite header claims (https://sqlite.org/fileformat.html)."""
    with path.open("rb") as stream:
        header = stream.read(32)
    if len(header) < 32 or not header.startswith(b"SQLite format 3\0"):
        raise BagError("it does not start as an SQLite file does")
    page_size = struct.unpack_from(">H", header, 16)[0]
    page_size = 65536 if page_size == 1 else page_size
    if page_size < 512 or page_size & (page_size - 1):
        raise BagError(f"its SQLite header has page size {page_size}, expected a power of two from 512")
    return page_size, page_size * struct.unpack_from(">I", header, 28)[0]


class _Cursor:
    """Reads MCAP's little-endian fields out of a record; BagError past its end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            raise BagError(f"a field of {size} bytes does not fit its record of {len(self.data)} bytes")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def string(self) -> str:
        try:
            return self.take(self.number(4)).decode()
        except UnicodeDecodeError as error:
            raise BagError(f"a name is not UTF-8 text: {error}") from error

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.position)


class _Directory:
    """Schemas and channels met so far; turns a message record into a :class:`Record`."""

    def __init__(self) -> None:
        self.schemas: dict[int, str] = {0: ""}
        self.channels: dict[int, tuple[str, str, str]] = {}

    def read(self, opcode: int, content: bytes) -> Record | None:
        cursor = _Cursor(content)
        if opcode == _SCHEMA:
            key = cursor.number(2)
            self.schemas[key] = cursor.string()
        elif opcode == _CHANNEL:
            key, schema = cursor.number(2), cursor.number(2)
            topic, encoding = cursor.string(), cursor.string()
            if schema not in self.schemas or encoding != "cdr":
                raise BagError(
                    f"topic {topic!r} has encoding {encoding!r} and schema {schema}, expected cdr, declared"
                )
            metadata = _Cursor(cursor.take(cursor.number(4)))
            pairs = {}
            while metadata.position < len(metadata.data):
                name = metadata.string()
                pairs[name] = metadata.string()
            self.channels[key] = (topic, self.schemas[schema], pairs.get("offered_qos_profiles", ""))
        elif opcode == _MESSAGE:
            channel, _, stamp, _ = cursor.unpack(_MESSAGE_HEADER)
            if channel not in self.channels:
                raise BagError(f"a message names channel {channel}, which was not declared")
            return Record(*self.channels[channel], stamp, cursor.rest())
        return None


def _scan_mcap(path: Path) -> Iterator[Record]:
    size = path.stat().st_size
    directory = _Directory()
    with path.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise BagError("it does not start as an MCAP file does")
        while True:
            start = stream.tell()
            header = stream.read(_RECORD_HEADER.size)
            if len(header) < _RECORD_HEADER.size:
                raise BagError(f"it is truncated at byte {size}")
            opcode, length = _RECORD_HEADER.unpack(header)
            if opcode == 0:
                raise BagError(f"there is no record at byte {start}")
            remaining = size - stream.tell()
            try:
                if opcode == _CHUNK:
                    yield from _chunk(stream, min(length, remaining), length <= remaining, directory)
                elif length <= remaining:
                    if (record := directory.read(opcode, stream.read(length))) is not None:
                        yield record
            except BagError as error:
                raise BagError(f"record at byte {start}: {error}") from error
            if length > remaining:
                raise BagError(
                    f"it is truncated: byte {start} begins a record of {length} bytes, {remaining} are there"
                )
            if opcode == _FOOTER:
                if stream.read(len(MAGIC)) != MAGIC:
                    raise BagError("it does not end as an MCAP file does")
                return


def _chunk(stream: BinaryIO, length: int, whole: bool, directory: _Directory) -> Iterator[Record]:
    cursor = _Cursor(stream.read(length))
    try:
        _, _, size, checksum, name_length = cursor.unpack(_CHUNK_HEADER)
        compression = cursor.take(name_length).decode("ascii", "replace")
        stored = cursor.number(8)
        data = cursor.take(stored) if whole else cursor.rest()
    except BagError:
        if whole:
            raise
        return
    if size > MAX_CHUNK_BYTES:
        raise BagError(f"a chunk claims {size} bytes, at most {MAX_CHUNK_BYTES} are read")
    data = _decompress(data, compression, size)
    if whole and (len(data) != size or (checksum and crc32(data) != checksum)):
        raise BagError("a chunk's content does not match its size or checksum")
    position = 0
    while position + _RECORD_HEADER.size <= len(data):
        opcode, inner = _RECORD_HEADER.unpack_from(data, position)
        position += _RECORD_HEADER.size
        if position + inner > len(data):
            break
        if (record := directory.read(opcode, data[position : position + inner])) is not None:
            yield record
        position += inner
    if whole and position != len(data):
        raise BagError("a chunk ends inside a record")


def _decompress(data: bytes, compression: str, size: int) -> bytes:
    """At most ``size`` bytes; fewer when ``data`` is cut short."""
    if compression == "":
        return data[:size]
    try:
        if compression == "zstd":
            return bounded_zstd(data, size)
        if compression == "lz4":
            return LZ4FrameDecompressor().decompress(data, max_length=size)
    except (zstd.ZstdError, RuntimeError, ValueError) as error:
        raise BagError(f"a chunk cannot be decompressed: {error}") from error
    raise BagError(f"a chunk is compressed with {compression!r}, expected zstd, lz4 or nothing")
