"""``geoseg simulate``: topics, types, stamps and values of the bag against the rendered street."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_ros.bags import BagReader, BagWriter, stamp_nanoseconds
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.cli import main
from geoseg_ros.image_messages import decode_compressed, decode_image
from geoseg_ros.training.data.static_frames import body_from_camera, static_edges
from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticStreet
from geoseg_ros.training.data.synthetic.bag import START
from geoseg_ros.training.evaluation.trajectory import read_odometry

SIZE = "96x48"
RATE = 20.0
FRAMES = 4
TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/odom": "nav_msgs/msg/Odometry",
    "/camera/gt/semantic/image": "sensor_msgs/msg/Image",
    "/camera/gt/depth/image": "sensor_msgs/msg/Image",
    "/camera/gt/flow/image": "sensor_msgs/msg/Image",
    "/camera/gt/motion/mask": "sensor_msgs/msg/Image",
    "/camera/gt/odom": "nav_msgs/msg/Odometry",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}


def simulate(out, *extra):
    return main(
        [
            "simulate",
            "--out",
            str(out),
            "--seconds",
            "0.2",
            "--fps",
            str(RATE),
            "--seed",
            "4",
            "--size",
            SIZE,
            *extra,
        ]
    )


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulate") / "street"
    assert simulate(out) == 0
    with BagReader(out) as reader:
        messages = {}
        for topic, stamp, msgtype, message in reader.messages():
            messages.setdefault(topic, []).append((stamp, msgtype, message))
    return out, messages


@pytest.fixture(scope="module")
def street(bag):
    camera = PinholeCamera.from_camera_info(bag[1]["/camera/camera_info"][0][2])
    return SyntheticStreet(4, StreetConfig(camera=camera, fps=RATE, duration=0.2))


def floats(message, channels):
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, channels).squeeze()


def rotation_of(q):
    return np.array(
        [
            [1 - 2 * (q.y**2 + q.z**2), 2 * (q.x * q.y - q.z * q.w), 2 * (q.x * q.z + q.y * q.w)],
            [2 * (q.x * q.y + q.z * q.w), 1 - 2 * (q.x**2 + q.z**2), 2 * (q.y * q.z - q.x * q.w)],
            [2 * (q.x * q.z - q.y * q.w), 2 * (q.y * q.z + q.x * q.w), 1 - 2 * (q.x**2 + q.y**2)],
        ]
    )


def test_topics_types_stamps_and_frames(bag):
    _, messages = bag
    assert {topic: entries[0][1] for topic, entries in messages.items()} == TOPICS
    expected = [START + round(i / RATE * 1e9) for i in range(FRAMES)]
    for topic, entries in messages.items():
        if topic == "/tf_static":
            continue
        assert [stamp for stamp, _, _ in entries] == expected, topic
        assert [stamp_nanoseconds(m.header.stamp) for _, _, m in entries] == expected, topic
        frame = "odom" if topic.endswith("odom") else "camera_optical_frame"
        assert {m.header.frame_id for _, _, m in entries} == {frame}, topic


def test_images_hold_the_rendered_frame(bag, street):
    _, messages = bag
    frame = street.frame(2)
    at = {topic: entries[2][2] for topic, entries in messages.items() if topic != "/tf_static"}
    encodings = {topic: m.encoding for topic, m in at.items() if hasattr(m, "encoding")}
    assert encodings == {
        "/camera/image_raw": "rgb8",
        "/camera/gt/semantic/image": "mono8",
        "/camera/gt/depth/image": "32FC1",
        "/camera/gt/flow/image": "32FC2",
        "/camera/gt/motion/mask": "mono8",
    }
    np.testing.assert_array_equal(decode_image(at["/camera/image_raw"]), frame.image)
    np.testing.assert_array_equal(at["/camera/gt/semantic/image"].data.reshape(48, 96), frame.semantic)
    np.testing.assert_array_equal(at["/camera/gt/motion/mask"].data.reshape(48, 96), frame.motion_mask)
    np.testing.assert_array_equal(floats(at["/camera/gt/depth/image"], 1), frame.depth)
    # published: the motion since the previous frame, the negative of flow_to_previous
    np.testing.assert_array_equal(floats(at["/camera/gt/flow/image"], 2), -frame.flow_to_previous)
    assert np.isnan(floats(messages["/camera/gt/flow/image"][0][2], 2)).all()


def test_ground_truth_odometry_is_the_cameras_pose_and_twist(bag, street):
    _, messages = bag
    message = messages["/camera/gt/odom"][3][2]
    assert message.child_frame_id == "camera_link"
    pose = street.camera_pose(3 / RATE)
    position, q = message.pose.pose.position, message.pose.pose.orientation
    np.testing.assert_allclose([position.x, position.y, position.z], pose[:3, 3], atol=1e-9)
    assert q.x**2 + q.y**2 + q.z**2 + q.w**2 == pytest.approx(1.0)
    rotation = rotation_of(q)
    np.testing.assert_allclose(rotation[:, 0], pose[:3, 2], atol=1e-9)  # x forward is the optical axis
    np.testing.assert_allclose(rotation[:, 2], -pose[:3, 1], atol=1e-9)  # z up
    earlier = street.camera_pose(2.9 / RATE)
    velocity = rotation.T @ (pose[:3, 3] - earlier[:3, 3]) / (0.1 / RATE)
    linear = message.twist.twist.linear
    np.testing.assert_allclose([linear.x, linear.y, linear.z], velocity, atol=0.05)


def test_vehicle_odometry_moves_forward(bag, street):
    _, messages = bag
    message = messages["/odom"][3][2]
    assert message.child_frame_id == "base_link"
    bodies = [street.vehicle_pose(t)[:3, 3] for t in (2.9 / RATE, 3 / RATE)]
    speed = np.linalg.norm(bodies[1] - bodies[0]) / (0.1 / RATE)
    assert message.twist.twist.linear.x == pytest.approx(speed, abs=0.05)
    assert message.twist.twist.linear.y == pytest.approx(0.0, abs=0.1)


def test_tf_static_leads_from_the_vehicle_to_its_camera(bag, street):
    out, messages = bag
    ((stamp, _, message),) = messages["/tf_static"]
    frames = [(t.header.frame_id, t.child_frame_id, stamp_nanoseconds(t.header.stamp)) for t in message.transforms]
    assert frames == [("base_link", "camera_link", START), ("camera_link", "camera_optical_frame", START)] and stamp == START
    with BagReader(out) as reader:
        assert reader.topics["/tf_static"].latched
    edges = static_edges([message])
    mount = body_from_camera(edges, "base_link", "camera_optical_frame")
    np.testing.assert_allclose(mount[:3, 3], [1.2, 0, street.config.camera_height], atol=1e-12)
    np.testing.assert_allclose(edges["camera_optical_frame"][1][:3, :3], [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    for i in range(FRAMES):
        expected = np.linalg.inv(street.vehicle_pose(i / RATE)) @ street.camera_pose(i / RATE)
        np.testing.assert_allclose(mount, expected, atol=1e-9)


@pytest.mark.parametrize(("left_out", "body"), [(None, "camera_link"), ("/camera/gt/odom", "base_link")])
def test_evaluation_finds_the_cameras_poses_by_either_odometry(bag, street, tmp_path, left_out, body):
    with BagReader(bag[0]) as reader, BagWriter(tmp_path / "copy") as copy:
        for topic, stamp, msgtype, data in reader.raw_messages():
            if topic != left_out:
                copy.write_raw(topic, msgtype, data, stamp)
    with BagReader(tmp_path / "copy") as reader:
        odometry = read_odometry(reader)
    assert odometry.whose("camera_optical_frame") == f"the poses of '{body}', brought to 'camera_optical_frame' by /tf_static"
    assert odometry.assumption("camera_optical_frame") is None
    stamps = [START + round(i / RATE * 1e9) for i in range(FRAMES)]
    poses = odometry.camera_poses(np.array(stamps), "camera_optical_frame")
    np.testing.assert_allclose(poses, [street.camera_pose(i / RATE) for i in range(FRAMES)], atol=1e-8)


def test_compressed_and_sqlite(tmp_path, street):
    out = tmp_path / "street"
    assert simulate(out, "--compressed", "--storage", "sqlite3") == 0
    assert next(out.glob("*.db3"))
    with BagReader(out) as reader:
        assert "/camera/image_raw" not in reader.topics
        assert reader.topics["/camera/image_raw/compressed"].count == FRAMES
        messages = [m for *_, m in reader.messages(["/camera/image_raw/compressed"])]
    difference = np.abs(decode_compressed(messages[1]).astype(int) - street.frame(1).image)
    assert np.median(difference) <= 4


def test_refusals(bag, tmp_path, capsys):
    out, _ = bag
    assert simulate(out) == 2
    assert "exists already" in capsys.readouterr().err
    for wrong in ("640", "0x9", "-5x5", "axb", "99999x10"):
        assert main(["simulate", "--out", str(tmp_path / "new"), f"--size={wrong}"]) == 2
        assert wrong.lower() in capsys.readouterr().err
    assert main(["simulate", "--out", str(tmp_path / "new"), "--seconds", "0"]) == 2
    assert not list(tmp_path.iterdir())
