"""The recorder, in a process of its own, over real DDS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from geoseg_ros.arrivals import NO_STAMP, read_arrivals
from geoseg_ros.bags import BagReader
from geoseg_ros.demo.processes import Supervisor
from geoseg_ros.errors import ProcessError

MESSAGES = 25
PUBLISHER = """
import sys, time
import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.duration import Duration
from sensor_msgs.msg import Image
from std_msgs.msg import String
from geoseg_ros.process_events import report_event

rclpy.init()
node = rclpy.create_node("camera")
image = node.create_publisher(Image, "/camera/image", 50)
best_effort = node.create_publisher(Image, "/camera/fast", qos_profile_sensor_data)
note = node.create_publisher(String, "/camera/note", QoSProfile(
    depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, reliability=ReliabilityPolicy.RELIABLE))
other = node.create_publisher(String, "/other", 10)
note.publish(String(data="latched"))
while min(one.get_subscription_count() for one in (image, note, best_effort)) < 1:
    rclpy.spin_once(node, timeout_sec=0.05)
for index in range(int(sys.argv[1])):
    message = Image(height=2, width=3, encoding="mono8", step=3, data=[index] * 6)
    message.header.stamp.sec, message.header.stamp.nanosec = 100 + index, 7
    image.publish(message)
image.wait_for_all_acked(Duration(seconds=20))
report_event("published", other_subscribers=other.get_subscription_count())
rclpy.spin(node)
"""


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_records_every_message_with_its_bytes_stamp_and_times(tmp_path: Path, storage: str) -> None:
    with Supervisor(tmp_path / "log", os.environ) as supervisor:
        recorder = supervisor.start(
            "recorder",
            [
                sys.executable,
                "-m",
                "geoseg_ros.nodes.bag_recorder",
                "--ros-args",
                "-p",
                f"bag:={tmp_path / 'bag'}",
                "-p",
                f"storage:={storage}",
                "-p",
                f"arrivals:={tmp_path / 'arrivals.csv'}",
                "-p",
                "prefix:=/camera",
                "-p",
                "topics:=[/camera/image]",
            ],
        )
        publisher = supervisor.start("publisher", [sys.executable, "-c", PUBLISHER, str(MESSAGES)])
        supervisor.wait("the publisher", lambda: publisher.event("published") is not None, 30.0)
        assert recorder.stop() == 0
        assert "/camera/image" in recorder.event("counts")["counts"]

    assert recorder.event("finished")["counts"] == {
        "/camera/image": MESSAGES,
        "/camera/fast": 0,
        "/camera/note": 1,
    }
    assert publisher.event("published")["other_subscribers"] == 0
    with BagReader(tmp_path / "bag") as bag:
        assert bag.topics["/camera/note"].latched and not bag.topics["/camera/image"].latched
        messages = list(bag.messages(["/camera/image"]))
        assert [message.data for *_, message in bag.messages(["/camera/note"])] == ["latched"]
    assert [message.header.stamp.sec for *_, message in messages] == list(range(100, 100 + MESSAGES))
    for index, (_, _, msgtype, message) in enumerate(messages):
        assert msgtype == "sensor_msgs/msg/Image"
        np.testing.assert_array_equal(message.data, np.full(6, index, np.uint8))

    arrivals = read_arrivals(tmp_path / "arrivals.csv")
    image = arrivals["/camera/image"]
    np.testing.assert_array_equal(image.stamp, np.arange(100, 100 + MESSAGES) * 1_000_000_000 + 7)
    np.testing.assert_array_equal(image.received, [stamp for _, stamp, _, _ in messages])
    assert (image.received >= image.published).all() and (np.diff(image.published) >= 0).all()
    assert arrivals["/camera/note"].stamp.tolist() == [NO_STAMP]


def test_nothing_to_record_is_an_error(tmp_path: Path) -> None:
    with Supervisor(tmp_path, os.environ) as supervisor:
        recorder = supervisor.start("recorder", [sys.executable, "-m", "geoseg_ros.nodes.bag_recorder"])
        with pytest.raises(ProcessError, match=r"(?s)exit code 2.*expected at least one topic or a prefix"):
            supervisor.wait("the end", lambda: False, 20.0)
        assert recorder.exit_code == 2
