"""Writing and reading intact bags: values, storages, metadata, refusals."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from camera_bags import (
    CAMERA,
    IMAGE,
    START,
    camera_info_fields,
    header,
    image_fields,
    png_fields,
    write_camera_bag,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from geoseg_ros.bags import STORAGES, BagReader, BagWriter, build_message, stamp_fields, stamp_nanoseconds
from geoseg_ros.bags.types import deserialise, serialise, typestore
from geoseg_ros.errors import BagError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.messages import OUTPUTS, label_info, output_messages
from geoseg_ros.perception import EgoMotion, Perception

ODOMETRY = "nav_msgs/msg/Odometry"


def plain(message: Any) -> Any:
    """A message as nested dicts and lists, for comparison."""
    if hasattr(message, "__msgtype__"):
        return {
            name: plain(getattr(message, name))
            for name in message.__dataclass_fields__
            if name != "__msgtype__"
        }
    if isinstance(message, np.ndarray):
        return [str(message.dtype), message.tobytes()]
    return [plain(item) for item in message] if isinstance(message, list) else message


def some_perception() -> Perception:
    rng = np.random.default_rng(1)
    depth = rng.uniform(1, 80, (48, 64)).astype(np.float32)
    depth[0] = np.nan
    ego = EgoMotion(
        np.eye(4), 0.1, np.array([0.1, -0.2, 9.0]), np.array([0.0, 0.01, -0.02]), np.eye(6), "model"
    )
    return Perception(
        stamp=START,
        image=rng.integers(0, 256, (48, 64, 3), np.uint8),
        camera=CAMERA,
        semantic=rng.integers(0, 11, (48, 64), np.uint8),
        confidence=rng.random((48, 64), np.float32),
        depth=depth,
        flow=rng.normal(size=(48, 64, 2)).astype(np.float32),
        motion_probability=rng.random((48, 64), np.float32),
        motion_mask=rng.choice(np.array([0, 255], np.uint8), (48, 64)),
        ego_motion=ego,
    )


def messages_of_every_kind() -> list[tuple[str, str, dict[str, Any]]]:
    outputs = output_messages(some_perception(), CAMVID_11, OUTPUTS)
    pose = {
        "pose": {"position": {"x": 1.5, "y": -2.0}, "orientation": {"w": 1.0}},
        "covariance": np.arange(36.0),
    }
    return [
        *(
            (f"/geoseg/{topic}", OUTPUTS[topic].type, {"header": header(0), **outputs[topic]})
            for topic in OUTPUTS
        ),
        ("/camera/image_raw", IMAGE, image_fields(0)),
        ("/camera/image_raw/compressed", "sensor_msgs/msg/CompressedImage", png_fields(0)),
        ("/camera/camera_info", "sensor_msgs/msg/CameraInfo", camera_info_fields(0)),
        ("/odom", ODOMETRY, {"header": header(0, "odom"), "child_frame_id": "base", "pose": pose}),
        ("/labels", "vision_msgs/msg/LabelInfo", {"header": header(0), **label_info(CAMVID_11)}),
        (
            "/diagnostics",
            "diagnostic_msgs/msg/DiagnosticArray",
            {"status": [{"name": "a", "level": 2, "values": [{"key": "rate", "value": "9.8"}]}]},
        ),
        ("/chatter", "std_msgs/msg/String", {"data": "grüße"}),
    ]


@pytest.mark.parametrize("storage", STORAGES)
def test_every_message_comes_back_as_it_was_written(tmp_path, storage):
    written = messages_of_every_kind()
    with BagWriter(tmp_path / "bag", storage) as bag:
        for index, (topic, msgtype, fields) in enumerate(written):
            bag.write(topic, msgtype, fields, START + index)
    with BagReader(tmp_path / "bag") as bag:
        read = list(bag.messages())
        raw = list(bag.raw_messages())
    assert len(read) == len(written) == len(raw)
    for index, ((topic, msgtype, fields), found) in enumerate(zip(written, read, strict=True)):
        assert found[:3] == (topic, START + index, msgtype)
        assert plain(found[3]) == plain(build_message(msgtype, fields))
        assert raw[index][3] == bytes(serialise(found[3], msgtype))


def test_fields_have_the_values_that_were_given():
    odometry = build_message(
        ODOMETRY,
        {"header": {"stamp": 12_345_678_901, "frame_id": "odom"}, "twist": {"twist": {"linear": {"x": 3.5}}}},
    )
    assert (odometry.header.stamp.sec, odometry.header.stamp.nanosec) == (12, 345_678_901)
    assert odometry.twist.twist.linear.x == 3.5 and odometry.twist.twist.linear.y == 0.0
    assert odometry.pose.covariance.shape == (36,) and not odometry.pose.covariance.any()
    assert odometry.child_frame_id == ""
    image = build_message(IMAGE, {"data": b"\x01\x02", "is_bigendian": 1})
    assert image.data.dtype == np.uint8 and image.data.tolist() == [1, 2]
    nested = build_message(IMAGE, {"header": odometry.header})
    assert nested.header is odometry.header


@given(st.integers(-(2**31), 2**31 - 1), st.integers(0, 999_999_999))
def test_a_stamp_survives_both_ways(seconds, nanoseconds):
    stamp = seconds * 1_000_000_000 + nanoseconds
    assert stamp_fields(stamp) == {"sec": seconds, "nanosec": nanoseconds}
    assert stamp_nanoseconds(SimpleNamespace(**stamp_fields(stamp))) == stamp


@settings(max_examples=60)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([("32FC1", np.float32), ("mono16", np.uint16)]),
    st.text(),
    st.data(),
)
def test_any_image_survives_serialisation(height, width, encoding, frame_id, data):
    size = height * width * np.dtype(encoding[1]).itemsize
    samples = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), encoding[1]).reshape(
        height, width
    )
    frame_id = frame_id.replace("\0", "").encode("utf-8", "ignore").decode()
    fields = {"header": {"stamp": 5, "frame_id": frame_id}, **encode_image(samples, encoding[0])}
    message = deserialise(serialise(build_message(IMAGE, fields), IMAGE), IMAGE)
    assert message.header.frame_id == frame_id
    assert (message.height, message.width, message.encoding) == (height, width, encoding[0])
    assert message.data.tobytes() == samples.tobytes()


@pytest.mark.parametrize("storage", STORAGES)
def test_what_a_bag_says_of_itself(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage) as bag:
        bag.add_topic("/labels", "vision_msgs/msg/LabelInfo", latched=True)
        bag.add_topic("/never", "std_msgs/msg/String")
        bag.write("/labels", "vision_msgs/msg/LabelInfo", {}, 1_000)
        bag.write("/chatter", "std_msgs/msg/String", {"data": "a"}, 500)
        bag.write("/chatter", "std_msgs/msg/String", {"data": "b"}, 2_500)
    with BagReader(tmp_path / "bag") as bag:
        found = {name: (info.msgtype, info.count, info.latched) for name, info in bag.topics.items()}
        assert found == {
            "/labels": ("vision_msgs/msg/LabelInfo", 1, True),
            "/never": ("std_msgs/msg/String", 0, False),
            "/chatter": ("std_msgs/msg/String", 2, False),
        }
        assert (bag.count, bag.start, bag.duration) == (3, 500, 2_000)
        assert [message.data for *_, message in bag.messages(["/chatter"])] == ["a", "b"]
        assert [stamp for _, stamp, _, _ in bag.messages()] == [500, 1_000, 2_500]
    metadata = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["storage_identifier"] == storage and metadata["message_count"] == 3
    hashes = {
        entry["topic_metadata"]["type_description_hash"] for entry in metadata["topics_with_message_count"]
    }
    assert typestore().hash_rihs01("std_msgs/msg/String") in hashes


@pytest.mark.parametrize("storage", STORAGES)
def test_an_empty_bag_is_readable(tmp_path, storage):
    with BagWriter(tmp_path / "bag", storage):
        pass
    with BagReader(tmp_path / "bag") as bag:
        assert (bag.topics, bag.count, bag.start, bag.duration, list(bag.messages())) == ({}, 0, 0, 0, [])
        assert bag.camera_topics() == (None, None)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_storage_file_alone_and_a_folder_without_metadata_read_alike(tmp_path, storage):
    folder = write_camera_bag(tmp_path / "bag", storage=storage)
    file = next(file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    with BagReader(folder) as bag:
        expected = list(bag.raw_messages())
    assert len(expected) == 12
    with BagReader(file) as bag:
        assert list(bag.raw_messages()) == expected
    (folder / "metadata.yaml").unlink()
    with BagReader(folder) as bag:
        assert list(bag.raw_messages()) == expected


@pytest.mark.parametrize("version", range(1, 10))
def test_all_metadata_versions_are_read(tmp_path, version):
    folder = write_camera_bag(tmp_path / "bag")
    file = folder / "metadata.yaml"
    content = yaml.safe_load(file.read_text())
    information = content["rosbag2_bagfile_information"]
    information["version"] = version
    if version < 5:
        del information["files"]
    if version < 4:
        information["relative_file_paths"] = [f"bag/{name}" for name in information["relative_file_paths"]]
        del information["compression_mode"]
    file.write_text(yaml.safe_dump(content))
    with BagReader(folder) as bag:
        assert len(list(bag.messages())) == 12


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_compressed_bags_are_read(tmp_path, mode):
    writer = Writer(tmp_path / "bag", version=8, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/camera/image_raw", IMAGE, typestore=typestore())
        for index in range(3):
            writer.write(
                connection, START + index, serialise(build_message(IMAGE, image_fields(index)), IMAGE)
            )
    with BagReader(tmp_path / "bag") as bag:
        assert [m.data.tobytes() for *_, m in bag.messages()] == [
            image_fields(i)["data"].tobytes() for i in range(3)
        ]


def test_the_parts_of_a_split_bag_follow_each_other(tmp_path):
    folder = tmp_path / "bag"
    folder.mkdir()
    for part in (0, 1, 2, 10):
        with BagWriter(tmp_path / f"bag_{part}") as bag:
            bag.write("/chatter", "std_msgs/msg/String", {"data": str(part)}, START + part)
        shutil.move(tmp_path / f"bag_{part}" / f"bag_{part}.mcap", folder)
    with BagReader(folder) as bag:
        assert [message.data for *_, message in bag.messages()] == ["0", "1", "2", "10"]
        assert bag.topics["/chatter"].count == 4 and bag.duration == 10


def test_recording_without_compression_is_larger_and_reads_alike(tmp_path):
    sizes, contents = [], []
    for compress in (True, False):
        with BagWriter(tmp_path / str(compress), compress=compress) as bag:
            for index in range(5):
                bag.write("/camera/image_raw", IMAGE, image_fields(index), START + index)
        sizes.append((tmp_path / str(compress) / f"{compress}.mcap").stat().st_size)
        with BagReader(tmp_path / str(compress)) as bag:
            contents.append(list(bag.raw_messages()))
    assert contents[0] == contents[1] and sizes[1] > 5 * 64 * 48 * 3 > 2 * sizes[0]


def test_an_existing_bag_is_never_overwritten(tmp_path):
    write_camera_bag(tmp_path / "bag")
    with pytest.raises(BagError, match="bag exists already"):
        BagWriter(tmp_path / "bag")
    assert [entry.name for entry in tmp_path.iterdir()] == ["bag"]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_recording_that_ends_by_an_exception_is_readable(tmp_path, storage):
    with pytest.raises(KeyboardInterrupt), BagWriter(tmp_path / "bag", storage) as bag:
        bag.write("/chatter", "std_msgs/msg/String", {"data": "a"}, START)
        raise KeyboardInterrupt
    with BagReader(tmp_path / "bag") as bag:
        assert [message.data for *_, message in bag.messages()] == ["a"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["bag"]


def test_a_recording_that_fails_before_its_first_message_leaves_nothing(tmp_path):
    with pytest.raises(ValueError), BagWriter(tmp_path / "bag") as bag:
        bag.add_topic("/chatter", "std_msgs/msg/String")
        raise ValueError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("topic", "msgtype", "fields", "stamp", "sentence"),
    [
        ("/a", "nav_msgs/msg/Nothing", {}, 0, "'nav_msgs/msg/Nothing' is unknown"),
        ("/a", IMAGE, {"heigth": 3}, 0, "no field 'heigth', expected header, height, width"),
        ("/a", "sensor_msgs/msg/CameraInfo", {"k": [1.0, 2.0]}, 0, "k has 2 elements, expected 9"),
        ("/a", IMAGE, {"header": 5}, 0, "header is a int, expected a dict"),
        ("/a", IMAGE, {"height": -1}, 0, "cannot be serialised"),
        ("/a", IMAGE, {"encoding": 7}, 0, "cannot be serialised"),
        ("/a", IMAGE, {}, -1, "stamp -1 ns is negative"),
        ("a", IMAGE, {}, 0, "must start with '/'"),
    ],
)
def test_what_cannot_be_written_is_refused_with_a_sentence(tmp_path, topic, msgtype, fields, stamp, sentence):
    with BagWriter(tmp_path / "bag") as bag:
        with pytest.raises(BagError, match=sentence):
            bag.write(topic, msgtype, fields, stamp)


def test_one_topic_has_one_type(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/a", IMAGE, {}, 0)
        with pytest.raises(BagError, match="/a holds sensor_msgs/msg/Image"):
            bag.write("/a", "std_msgs/msg/String", {}, 0)


def test_an_unknown_storage_is_refused(tmp_path):
    with pytest.raises(BagError, match="storage 'bz2' is unknown, expected one of mcap, sqlite3"):
        BagWriter(tmp_path / "bag", "bz2")


def test_a_topic_that_is_not_there_is_named_with_those_that_are(tmp_path):
    with BagReader(write_camera_bag(tmp_path / "bag")) as bag:
        with pytest.raises(BagError, match="no topic /image, found /camera/camera_info, /camera/image_raw"):
            next(bag.messages(["/image"]))
