"""Truncated, corrupt and hostile bags: everything before the damage, then one clear error."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from binascii import crc32
from pathlib import Path

import lz4.frame
import pytest
import yaml
from camera_bags import write_camera_bag
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg_ros.bags import STORAGES, BagReader
from geoseg_ros.bags.recovery import MAGIC
from geoseg_ros.bags.types import build_message, serialise
from geoseg_ros.errors import BagError

STRING = "std_msgs/msg/String"
FRACTIONS = [0.0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]


def read_all(path: Path) -> tuple[list, BagError | None]:
    """(topic, stamp, type, checksum) of the messages that a bag yields, and the error that ends it."""
    messages: list = []
    try:
        with BagReader(path) as bag:
            for topic, stamp, msgtype, data in bag.raw_messages():
                messages.append((topic, stamp, msgtype, crc32(data)))
    except BagError as error:
        return messages, error
    return messages, None


@pytest.fixture(scope="module", params=STORAGES)
def sound(request, tmp_path_factory) -> tuple[Path, list]:
    """A storage file of 48 messages in several chunks or pages, and its messages."""
    folder = tmp_path_factory.mktemp("sound") / "bag"
    write_camera_bag(folder, frames=24, storage=request.param)
    file = next(file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    messages, error = read_all(file)
    assert error is None and len(messages) == 48
    return file, messages


def is_beginning(messages: list, whole: list) -> bool:
    return messages == whole[: len(messages)]


def cut(sound: tuple[Path, list], size: int, folder: Path) -> tuple[list, BagError | None]:
    path = folder / f"cut{sound[0].suffix}"
    path.write_bytes(sound[0].read_bytes()[:size])
    return read_all(path)


@pytest.mark.parametrize("fraction", FRACTIONS)
def test_a_truncated_file_yields_its_beginning_and_then_an_error(sound, tmp_path, fraction):
    messages, error = cut(sound, int(sound[0].stat().st_size * fraction), tmp_path)
    assert is_beginning(messages, sound[1])
    assert f"cut{sound[0].suffix}" in str(error)
    assert f"{len(messages)} messages were read" in str(error) or "no readable message" in str(error)


def test_the_longer_the_rest_the_more_is_read(sound, tmp_path):
    size = sound[0].stat().st_size
    counts = [len(cut(sound, int(size * fraction), tmp_path)[0]) for fraction in FRACTIONS]
    assert counts == sorted(counts)
    assert counts[-1] >= 44


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_cut_yields_a_beginning(sound, tmp_path, data):
    messages, error = cut(sound, data.draw(st.integers(0, sound[0].stat().st_size - 1)), tmp_path)
    assert is_beginning(messages, sound[1])
    assert error is not None


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_overwritten_bytes_end_in_a_bag_error_or_not_at_all(sound, tmp_path, data):
    content = bytearray(sound[0].read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.one_of(st.integers(0, 200), st.integers(0, len(content) - 1)))
        junk = data.draw(st.binary(min_size=1, max_size=12))
        content[start : start + len(junk)] = junk
    path = tmp_path / f"junk{sound[0].suffix}"
    path.write_bytes(content)
    messages, error = read_all(path)
    assert len(messages) <= 48
    assert error is None or path.name in str(error)


@settings(max_examples=40)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", MAGIC, b"SQLite format 3\0"]),
    st.sampled_from([".mcap", ".db3"]),
)
def test_files_of_other_kinds_are_refused(tmp_path_factory, content, start, suffix):
    path = tmp_path_factory.mktemp("junk") / f"junk{suffix}"
    path.write_bytes(start + content)
    messages, error = read_all(path)
    assert messages == [] and error is not None and path.name in str(error)


def test_a_tail_of_zeros_is_damage(tmp_path):
    file = write_camera_bag(tmp_path / "bag") / "bag.mcap"
    whole, _ = read_all(file)
    file.write_bytes(file.read_bytes()[:-60] + bytes(60))
    messages, error = read_all(file)
    assert messages == whole and "12 messages were read before the damage" in str(error)


def test_sqlite_rows_before_a_row_of_a_wrong_type_are_read(tmp_path):
    folder = write_camera_bag(tmp_path / "bag", storage="sqlite3")
    with sqlite3.connect(folder / "bag.db3") as connection:
        connection.execute("UPDATE messages SET topic_id = 'x' WHERE id = 5")
        connection.execute("DROP INDEX timestamp_idx")
        connection.execute("ALTER TABLE schema RENAME TO other")  # rosbags refuses it, the scan reads it
        connection.execute("ALTER TABLE topics DROP COLUMN type_description_hash")
    connection.close()
    messages, _ = read_all(folder / "bag.db3")
    assert len(messages) in (4, 11)


class Mcap:
    """Writes MCAP records by hand, to make files that no writer makes."""

    def __init__(self) -> None:
        self.content = bytearray(MAGIC)
        self.record(0x01, self.text("ros2") + self.text(""))

    @staticmethod
    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    @staticmethod
    def pack(opcode: int, body: bytes) -> bytes:
        return struct.pack("<BQ", opcode, len(body)) + body

    def record(self, opcode: int, body: bytes) -> Mcap:
        self.content += self.pack(opcode, body)
        return self

    def directory(self, encoding: str = "cdr") -> bytes:
        schema = struct.pack("<H", 1) + self.text(STRING) + self.text("ros2msg") + self.text("string data")
        channel = (
            struct.pack("<HH", 7, 1) + self.text("/chatter") + self.text(encoding) + struct.pack("<I", 0)
        )
        return self.pack(0x03, schema) + self.pack(0x04, channel)

    def message(self, text: str, stamp: int, channel: int = 7) -> bytes:
        data = bytes(serialise(build_message(STRING, {"data": text}), STRING))
        return self.pack(0x05, struct.pack("<HIQQ", channel, 0, stamp, stamp) + data)

    def chunk(
        self, records: bytes, compression: str = "", size: int | None = None, checksum: int = 0
    ) -> Mcap:
        stored = lz4.frame.compress(records) if compression == "lz4" else records
        head = struct.pack("<QQQI", 0, 9, len(records) if size is None else size, checksum)
        return self.record(0x06, head + self.text(compression) + struct.pack("<Q", len(stored)) + stored)

    def finish(self) -> Mcap:
        self.record(0x0F, struct.pack("<I", 0)).record(0x02, struct.pack("<QQI", 0, 0, 0))
        self.content += MAGIC
        return self

    def read(self, folder: Path) -> tuple[list[tuple[int, str]], BagError | None]:
        path = folder / "made.mcap"
        path.write_bytes(self.content)
        messages: list[tuple[int, str]] = []
        try:
            with BagReader(path) as bag:
                for _, stamp, _, message in bag.messages():
                    messages.append((stamp, message.data))
        except BagError as error:
            return messages, error
        return messages, None


@pytest.mark.parametrize("compression", ["", "lz4"])
def test_a_file_without_index_is_read_without_complaint(tmp_path, compression):
    mcap = Mcap()
    mcap.chunk(mcap.directory() + mcap.message("a", 5) + mcap.message("b", 3), compression).finish()
    assert mcap.read(tmp_path) == ([(5, "a"), (3, "b")], None)


def test_messages_outside_chunks_are_read(tmp_path):
    mcap = Mcap()
    mcap.content += mcap.directory() + mcap.message("a", 5)
    assert mcap.finish().read(tmp_path) == ([(5, "a")], None)


def sound_then(mcap: Mcap) -> Mcap:
    return mcap.chunk(mcap.directory() + mcap.message("a", 1))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda m: m.chunk(m.message("b", 2), size=1 << 40), "claims 1099511627776 bytes"),
        (lambda m: m.chunk(m.message("b", 2), size=9999), "does not match its size or checksum"),
        (lambda m: m.chunk(m.message("b", 2), checksum=1), "does not match its size or checksum"),
        (lambda m: m.chunk(m.message("b", 2), compression="brotli"), "compressed with 'brotli'"),
        (lambda m: m.chunk(m.message("b", 2), compression="zstd"), "cannot be decompressed"),
        (lambda m: m.chunk(m.message("b", 2, channel=9)), "channel 9, which was not declared"),
        (lambda m: m.chunk(m.message("b", 2)[:-3]), "ends inside a record"),
        (lambda m: m.record(0x06, b"123"), "does not fit its record"),
        (lambda m: m.record(0x05, b"123"), "does not fit its record"),
        (lambda m: m.chunk(m.directory("json")), "encoding 'json'"),
    ],
)
def test_hostile_records_end_the_reading_with_their_reason(tmp_path, damage, sentence):
    mcap = sound_then(Mcap())
    damage(mcap)
    messages, error = mcap.finish().read(tmp_path)
    assert messages == [(1, "a")]
    assert sentence in str(error) and "1 messages were read before the damage" in str(error)


def test_a_record_longer_than_the_file_takes_no_memory(tmp_path):
    mcap = sound_then(Mcap())
    mcap.content += struct.pack("<BQ", 0x05, 1 << 62) + b"abc"
    messages, error = mcap.read(tmp_path)
    assert messages == [(1, "a")] and "truncated" in str(error)


def test_a_lz4_bomb_stops_at_the_size_it_claims(tmp_path):
    mcap = sound_then(Mcap())
    bomb = lz4.frame.compress(bytes(1 << 26))
    mcap.record(
        0x06, struct.pack("<QQQI", 0, 9, 100, 0) + mcap.text("lz4") + struct.pack("<Q", len(bomb)) + bomb
    )
    messages, error = mcap.finish().read(tmp_path)
    assert messages == [(1, "a")] and "record at byte" in str(error)


def test_a_message_that_does_not_fit_its_type_is_named(tmp_path):
    mcap = Mcap()
    short = mcap.pack(0x05, struct.pack("<HIQQ", 7, 0, 2, 2) + b"\x00\x01\x00\x00\xff\xff\xff\x7fa")
    mcap.chunk(mcap.directory() + mcap.message("a", 1) + short).finish()
    messages, error = mcap.read(tmp_path)
    assert messages == [(1, "a")]
    assert "/chatter, after 1 messages" in str(error) and STRING in str(error)


def test_only_the_damaged_part_of_a_split_bag_is_lost(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part in (0, 1):
        write_camera_bag(tmp_path / f"bag_{part}")
        shutil.move(tmp_path / f"bag_{part}" / f"bag_{part}.mcap", folder)
    last = folder / "bag_1.mcap"
    last.write_bytes(last.read_bytes()[:-200])
    messages, error = read_all(folder)
    assert len(messages) == 24 and "bag_1.mcap" in str(error)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("nothing", "does not exist"), ("bag.txt", "ends in '.txt'"), ("folder", "neither metadata.yaml nor")],
)
def test_what_is_no_bag_is_refused(tmp_path, name, sentence):
    (tmp_path / "bag.txt").write_text("hello")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BagError, match=sentence):
        BagReader(tmp_path / name)


def with_metadata(folder: Path, **changes) -> Path:
    file = folder / "metadata.yaml"
    content = yaml.safe_load(file.read_text())
    content["rosbag2_bagfile_information"].update(changes)
    file.write_text(yaml.safe_dump(content))
    return folder


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 10}, "version 10, expected at most 9"),
        ({"version": "new"}, "version new"),
        ({"relative_file_paths": ["../../secret.mcap"]}, "names secret.mcap, which is missing"),
        ({"relative_file_paths": ["metadata.yaml"]}, "names metadata.yaml, expected .mcap or .db3"),
        ({"relative_file_paths": 5}, "damaged"),
        ({"relative_file_paths": [5]}, "damaged"),
    ],
)
def test_wrong_metadata_is_named(tmp_path, changes, sentence):
    with pytest.raises(BagError, match=sentence):
        BagReader(with_metadata(write_camera_bag(tmp_path / "bag"), **changes))


@pytest.mark.parametrize(
    "text", ["", "[", "a: !!python/object/apply:os.system ['true']", "[" * 5000, "\0", "5"], ids=range(6)
)
def test_metadata_that_is_no_metadata_is_refused_and_the_file_itself_opens(tmp_path, text):
    folder = write_camera_bag(tmp_path / "bag")
    (folder / "metadata.yaml").write_text(text)
    with pytest.raises(BagError, match="metadata.yaml is damaged.*open the storage file itself"):
        BagReader(folder)
    assert len(read_all(folder / "bag.mcap")[0]) == 12
