"""bag_player in a process of its own: bytes, order, loops, /clock, remapping, damaged bags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from node_harness import BEST_EFFORT, LATCHED, NodeProcess, Probe, nanoseconds, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from geoseg_ros.bags import BagWriter
from geoseg_ros.messages import encode_image

FRAMES = 8
START, PERIOD = 5_000_000_000, 20_000_000
STAMPS = [START + index * PERIOD for index in range(FRAMES)]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images, each of one grey level, and a latched camera_info."""
    path = tmp_path_factory.mktemp("player") / "bag"
    with BagWriter(path, storage="mcap") as writer:
        info = {
            "header": {"stamp": START, "frame_id": "camera"},
            "width": 6,
            "height": 4,
            "k": np.eye(3).reshape(-1),
        }
        writer.add_topic("/played/camera_info", "sensor_msgs/msg/CameraInfo", latched=True)
        writer.write("/played/camera_info", "sensor_msgs/msg/CameraInfo", info, START)
        for index, stamp in enumerate(STAMPS):
            fields = encode_image(np.full((4, 6, 3), index, np.uint8), "rgb8")
            header = {"stamp": stamp, "frame_id": "camera"}
            writer.write("/played/image", "sensor_msgs/msg/Image", {**fields, "header": header}, stamp)
    return path


@pytest.fixture
def listener(probe: Probe) -> Iterator[Probe]:
    """The probe, subscribed to nothing but what the test asks for."""
    probe.received.clear()
    yield probe
    probe.received.clear()


def play(*arguments: str, environment: dict[str, str] | None = None) -> NodeProcess:
    return NodeProcess("geoseg_ros.nodes.bag_player", *arguments, environment=environment)


def test_every_message_comes_in_order_with_clock_and_under_another_name(listener: Probe, bag: Path) -> None:
    subscriptions = [
        listener.subscribe("/renamed/image", Image),
        listener.subscribe("/renamed/camera_info", CameraInfo, LATCHED),
        listener.subscribe("/bag_clock", Clock),
    ]
    process = play(
        str(bag), "--clock", "--wait-for", "/played/image", "--remap", "/played/image:=/renamed/image",
        "--ros-args", "-r", "/played/camera_info:=/renamed/camera_info", "-r", "/clock:=/bag_clock",
    )  # fmt: skip
    try:
        assert process.wait() == 0, process.text
        images = wait_until(
            lambda: (
                len(listener.received["/renamed/image"]) == FRAMES and listener.received["/renamed/image"]
            ),
            "all images",
            lambda: process.text,
        )
    finally:
        process.end()
        listener.unsubscribe(*subscriptions)
    assert [nanoseconds(image.header) for image in images] == STAMPS
    assert [set(image.data) for image in images] == [{index} for index in range(FRAMES)]
    assert (images[0].encoding, images[0].width, images[0].height, images[0].header.frame_id) == (
        "rgb8",
        6,
        4,
        "camera",
    )
    [info] = listener.received["/renamed/camera_info"]
    assert (info.width, info.k[0]) == (6, 1.0)
    times = [
        message.clock.sec * 1_000_000_000 + message.clock.nanosec
        for message in listener.received["/bag_clock"]
    ]
    assert times == sorted(times) and len(times) > FRAMES
    assert START <= times[0] and times[-1] <= STAMPS[-1]


def test_it_loops_until_it_is_interrupted(listener: Probe, bag: Path) -> None:
    subscription = listener.subscribe("/played/image", Image, BEST_EFFORT)
    process = play(
        str(bag), "--loop", "--rate", "2", "--topics", "/played/image", "--wait-for", "/played/image"
    )
    try:
        received = listener.received["/played/image"]
        wait_until(lambda: len(received) > 2 * FRAMES, "the second loop", lambda: process.text)
        assert process.interrupt() == 0
    finally:
        process.end()
        listener.unsubscribe(subscription)
    stamps = [nanoseconds(image.header) for image in received]
    assert stamps[:FRAMES] == STAMPS and stamps[FRAMES : 2 * FRAMES] == STAMPS
    assert "Traceback" not in process.text


def test_mistakes_end_with_one_sentence(bag: Path, tmp_path: Path) -> None:
    mistakes = {
        play(str(tmp_path / "nothing")): "does not exist",
        play(str(bag), "--topics", "/no/such/topic"): "has no topic /no/such/topic",
        play(str(bag), "--wait-for", "/no/such/topic"): "topic /no/such/topic to wait for is not played",
        play(str(bag), "--rate", "0"): "0 is not a positive number",
        play(str(bag), "--remap", "/a=/b"): "'/a=/b' is not of the form OLD:=NEW",
    }
    try:
        for process, sentence in mistakes.items():
            assert process.wait() == 2
            assert sentence in process.text
            assert "Traceback" not in process.text
    finally:
        for process in mistakes:
            process.end()


def test_it_runs_where_the_home_folder_cannot_be_written(bag: Path) -> None:
    process = play(
        str(bag), "--rate", "10", environment={"HOME": "/proc/nowhere", "ROS_HOME": "", "ROS_LOG_DIR": ""}
    )
    try:
        assert process.wait() == 0, process.text
        assert "/proc/nowhere/.ros/log cannot be written" in process.text
    finally:
        process.end()
