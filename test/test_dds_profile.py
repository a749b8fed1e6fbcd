"""config/fastdds.xml: camera images arrive from another process. Without it nearly none do at best effort."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from xml.etree import ElementTree

import pytest

from geoseg_ros.share import dds_environment, share_path

TOPIC = "dds_profile_test/image"
WIDTH, HEIGHT, RATE, COUNT = 640, 480, 30, 60
DEADLINE_S = 60.0
NAMESPACE = {"dds": "http://www.eprosima.com"}

PUBLISHER = f"""
import array, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("dds_profile_publisher")
qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, "{TOPIC}", qos)
while publisher.get_subscription_count() == 0:
    time.sleep(0.05)
data = array.array("B", bytes(3 * {WIDTH} * {HEIGHT}))
message = Image(width={WIDTH}, height={HEIGHT}, step=3 * {WIDTH}, encoding="rgb8", data=data)
start = time.monotonic()
for index in range({COUNT}):
    message.header.stamp.sec = index
    publisher.publish(message)
    time.sleep(max(0.0, start + (index + 1) / {RATE} - time.monotonic()))
rclpy.shutdown()
"""


def test_segment_holds_many_images() -> None:
    root = ElementTree.parse(share_path("config/fastdds.xml")).getroot()
    transports = {
        element.findtext("dds:type", namespaces=NAMESPACE): element
        for element in root.iterfind(".//dds:transport_descriptor", NAMESPACE)
    }
    assert set(transports) == {"SHM", "UDPv4"}
    segment = int(transports["SHM"].findtext("dds:segment_size", namespaces=NAMESPACE))
    assert segment == 32 * 1024 * 1024


@pytest.mark.slow
def test_images_arrive_from_another_process() -> None:
    rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image

    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("FASTDDS_", "FASTRTPS_"))
    }
    environment = {**clean, **dds_environment(clean)}
    received: list[int] = []
    context = rclpy.Context()
    rclpy.init(context=context)
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER], env=environment)
    try:
        node = rclpy.create_node("dds_profile_subscriber", context=context)
        qos = QoSProfile(depth=COUNT, reliability=ReliabilityPolicy.BEST_EFFORT)
        node.create_subscription(Image, TOPIC, lambda message: received.append(message.header.stamp.sec), qos)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        deadline = time.monotonic() + DEADLINE_S
        while publisher.poll() is None and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.1)
        for _ in range(COUNT):
            executor.spin_once(timeout_sec=0.0)
        assert publisher.returncode == 0
    finally:
        publisher.kill()
        publisher.wait()
        rclpy.shutdown(context=context)
    assert len(received) >= COUNT // 2
    assert received == sorted(received)
