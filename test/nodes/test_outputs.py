"""What the node publishes: values, encodings, stamps, frames and cameras, for raw and compressed input."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from node_harness import (
    BEST_EFFORT,
    FRAME_ID,
    LATCHED,
    RELIABLE,
    Camera,
    Geoseg,
    camera_info_message,
    compressed_message,
    image_message,
    wait_until,
)

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.messages import OUTPUTS, output_messages
from geoseg_ros.perception import Perception
from geoseg_ros.pipeline import Pipeline

WIDTH, HEIGHT = 128, 80
CAMERA = PinholeCamera(WIDTH, HEIGHT, 100.0, 101.0, 62.0, 41.0, frame_id=FRAME_ID)
PERIOD = 50_000_000
_start = itertools.count(1_000_000_000_000, 100_000_000_000)


@pytest.fixture
def stamps() -> itertools.count:
    """Stamps of this test's frames, later than those of the tests before."""
    return itertools.count(next(_start), PERIOD)


@pytest.fixture(scope="module")
def pipeline(model: Path) -> Pipeline:
    """The same model in this process: what the node must publish."""
    return Pipeline(model, device="cpu", precision="float32")


def picture(index: int) -> np.ndarray:
    """A smooth picture that moves to the right by two pixels per index."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    x -= 2.0 * index
    planes = [np.sin(x / 9 + y / 17), np.cos(x / 13 - y / 7), np.sin(x / 5) * np.cos(y / 11)]
    return np.uint8(127.5 + 127.0 * np.stack(planes, axis=-1))


def array_of(message) -> np.ndarray:
    kinds = {
        "mono8": (np.uint8, 1),
        "rgb8": (np.uint8, 3),
        "32FC1": (np.float32, 1),
        "32FC2": (np.float32, 2),
    }
    kinds["16UC1"] = (np.uint16, 1)
    dtype, channels = kinds[message.encoding]
    array = np.frombuffer(message.data, dtype).reshape(
        message.height, message.step // np.dtype(dtype).itemsize
    )
    return array.reshape(message.height, message.width, channels).squeeze()


def assert_message_shows(message, fields: dict) -> None:
    """An image message as :mod:`geoseg_ros.messages` makes it from the pipeline's result in this process."""
    assert (message.height, message.width, message.encoding) == (
        fields["height"],
        fields["width"],
        fields["encoding"],
    )
    assert message.step == fields["step"]
    found, expected = (
        array_of(message),
        np.frombuffer(fields["data"], array_of(message).dtype).reshape(array_of(message).shape),
    )
    if found.dtype == np.uint8:
        assert np.mean(found != expected) < 0.01
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def assert_camera(message, camera: PinholeCamera) -> None:
    """A camera_info of the rectified images of ``camera``."""
    assert (message.width, message.height) == (camera.width, camera.height)
    np.testing.assert_allclose(message.k, camera.matrix.reshape(-1))
    np.testing.assert_allclose(np.reshape(message.p, (3, 4)), np.hstack([camera.matrix, np.zeros((3, 1))]))
    assert message.distortion_model == "plumb_bob" and not any(message.d)


def expected_perceptions(pipeline: Pipeline, pictures, camera, stamps) -> list[Perception]:
    pipeline.reset()
    return [pipeline.step(image, camera, stamp) for image, stamp in zip(pictures, stamps)]


def test_every_output_of_two_raw_frames(geoseg: Geoseg, pipeline: Pipeline, stamps) -> None:
    geoseg.subscribe(*OUTPUTS)
    first, second = next(stamps), next(stamps)
    pictures = [picture(0), picture(1)]
    with Camera(geoseg.probe, geoseg.namespace) as camera:
        camera.wait_for_listener()
        camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), first))
        geoseg.wait_for_camera(FRAME_ID)
        camera.images.publish(image_message(pictures[0], first))
        geoseg.output("flow/image", first)
        camera.images.publish(image_message(pictures[1][..., ::-1].copy(), second, "bgr8"))
        messages = {topic: geoseg.output(topic, second) for topic in OUTPUTS}

    assert {message.header.frame_id for message in messages.values()} == {FRAME_ID}
    assert np.isnan(array_of(geoseg.output("flow/image", first))).all()
    assert first not in geoseg.stamps("motion/mask") and first not in geoseg.stamps("ego_motion")

    perception = expected_perceptions(pipeline, pictures, CAMERA, [first, second])[1]
    expected = output_messages(perception, CAMVID_11, OUTPUTS)
    for topic in OUTPUTS:
        if OUTPUTS[topic].type == "sensor_msgs/msg/Image":
            assert_message_shows(messages[topic], expected[topic])
    assert {
        topic: message.encoding for topic, message in messages.items() if hasattr(message, "encoding")
    } == {
        "semantic/image": "mono8",
        "semantic/confidence": "32FC1",
        "semantic/color": "rgb8",
        "depth/image": "32FC1",
        "depth/color": "rgb8",
        "flow/image": "32FC2",
        "flow/color": "rgb8",
        "motion/mask": "mono8",
        "motion/probability": "32FC1",
    }
    assert_camera(messages["depth/camera_info"], CAMERA)

    cloud = messages["depth/points"]
    points = np.frombuffer(cloud.data, [("xyz", "<f4", 3), ("rgb", "<u4"), ("label", "<u4")]).reshape(
        HEIGHT, WIDTH
    )
    assert [(field.name, field.offset) for field in cloud.fields] == [
        ("x", 0), ("y", 4), ("z", 8), ("rgb", 12), ("label", 16)
    ]  # fmt: skip
    depth = array_of(messages["depth/image"])
    np.testing.assert_array_equal(points["xyz"][..., 2], depth)
    np.testing.assert_allclose(
        points["xyz"][10, 20, :2], depth[10, 20] * CAMERA.unproject([[20, 10]])[0, :2], rtol=1e-5
    )
    np.testing.assert_array_equal(points["label"], array_of(messages["semantic/image"]))
    red, green, blue = pictures[1][10, 20].astype(int)
    assert points["rgb"][10, 20] == (red << 16 | green << 8 | blue)

    twist = messages["ego_motion"].twist
    linear = [twist.twist.linear.x, twist.twist.linear.y, twist.twist.linear.z]
    np.testing.assert_allclose(linear, perception.ego_motion.linear, rtol=0.05, atol=1e-3)
    assert twist.covariance[0] > 1e5, "a model that was not trained in metres does not know its scale"


@pytest.mark.parametrize("kind, extension", [("rgb8; jpeg compressed bgr8", ".jpg"), ("png", ".png")])
def test_compressed_images(geoseg: Geoseg, pipeline: Pipeline, stamps, kind: str, extension: str) -> None:
    geoseg.subscribe("semantic/confidence", "semantic/color")
    stamp = next(stamps)
    data = cv2.imencode(extension, cv2.cvtColor(picture(0), cv2.COLOR_RGB2BGR))[1].tobytes()
    with Camera(geoseg.probe, geoseg.namespace, compressed=True) as camera:
        camera.wait_for_listener()
        camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), stamp))
        geoseg.wait_for_camera(FRAME_ID)
        camera.images.publish(compressed_message(data, stamp, kind))
        message = geoseg.output("semantic/confidence", stamp)
        color = geoseg.output("semantic/color", stamp)
    decoded = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    [perception] = expected_perceptions(pipeline, [decoded], CAMERA, [stamp])
    expected = output_messages(perception, CAMVID_11, ["semantic/confidence", "semantic/color"])
    assert_message_shows(message, expected["semantic/confidence"])
    assert_message_shows(color, expected["semantic/color"])
    assert message.header.frame_id == FRAME_ID


def test_the_publishers_reliability_is_joined_again_and_again(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    for qos in (BEST_EFFORT, RELIABLE, BEST_EFFORT):
        with Camera(geoseg.probe, geoseg.namespace, qos, info_qos=None) as camera:
            camera.wait_for_listener()
            stamp = next(stamps)
            camera.images.publish(image_message(picture(0), stamp))
            geoseg.output("semantic/image", stamp)


def test_a_best_effort_camera_beside_a_reliable_one_is_heard_too(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    with Camera(geoseg.probe, geoseg.namespace, RELIABLE, info_qos=None) as reliable:
        reliable.wait_for_listener()
        with Camera(geoseg.probe, geoseg.namespace, BEST_EFFORT, info_qos=None) as best_effort:
            best_effort.wait_for_listener()
            for camera in (best_effort, reliable):
                stamp = next(stamps)
                camera.images.publish(image_message(picture(0), stamp))
                geoseg.output("semantic/image", stamp)


def test_the_reliability_can_be_chosen(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    with Camera(geoseg.probe, geoseg.namespace, RELIABLE, info_qos=None) as camera:
        camera.wait_for_listener()
        assert geoseg.set_parameter("reliability", "best_effort").successful
        try:
            chosen = [BEST_EFFORT.reliability]
            wait_until(
                lambda: camera.listener_reliabilities(camera.images) == chosen, "a best-effort subscription"
            )
            assert geoseg.set_parameter("reliability", "auto").successful
            camera.wait_for_listener()
            stamp = next(stamps)
            camera.images.publish(image_message(picture(0), stamp))
            geoseg.output("semantic/image", stamp)
        finally:
            assert geoseg.set_parameter("reliability", "auto").successful


def test_an_image_topic_may_itself_be_compressed(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    data = cv2.imencode(".png", picture(0))[1].tobytes()
    with Camera(geoseg.probe, geoseg.namespace, compressed=True, info_qos=None, topic="image") as camera:
        camera.wait_for_listener()
        stamp = next(stamps)
        camera.images.publish(compressed_message(data, stamp, "png"))
        geoseg.output("semantic/image", stamp)


def test_rectified_input_is_described_by_the_projection_matrix(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("depth/camera_info")
    distorted = PinholeCamera(WIDTH, HEIGHT, 90.0, 91.0, 60.0, 40.0, (-0.3, 0.1, 0.0, 0.0, 0.0))
    stamp = next(stamps)
    info = camera_info_message(distorted.to_camera_info(), stamp, "rectified")
    info.p[0], info.p[5], info.p[2], info.p[6] = CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy
    assert geoseg.set_parameter("rectified", True).successful
    try:
        with Camera(geoseg.probe, geoseg.namespace) as camera:
            camera.wait_for_listener()
            camera.infos.publish(info)
            geoseg.wait_for_camera("rectified")
            camera.images.publish(image_message(picture(0), stamp, frame_id="rectified"))
            assert_camera(geoseg.output("depth/camera_info", stamp), CAMERA)
    finally:
        assert geoseg.set_parameter("rectified", False).successful


def test_semantics_without_camera_info_and_depth_once_it_comes_late(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image", "depth/image", "flow/image")
    frame = "another_camera"
    with Camera(geoseg.probe, geoseg.namespace) as camera:
        camera.wait_for_listener()
        before, late, after = next(stamps), next(stamps), next(stamps)
        camera.images.publish(image_message(picture(0), before, frame_id=frame))
        geoseg.output("semantic/image", before)
        geoseg.output("flow/image", before)
        camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), late, frame))
        geoseg.wait_for_camera(frame)
        camera.images.publish(image_message(picture(1), after, frame_id=frame))
        assert geoseg.output("depth/image", after).header.frame_id == frame
    assert before not in geoseg.stamps("depth/image")


def test_a_latched_camera_info_of_the_past_counts(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("depth/camera_info")
    frame = "latched_camera"
    with Camera(geoseg.probe, geoseg.namespace, info_qos=LATCHED) as camera:
        camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), 0, frame))
        camera.wait_for_listener()
        geoseg.wait_for_camera(frame)
        stamp = next(stamps)
        camera.images.publish(image_message(picture(0), stamp, frame_id=frame))
        message = geoseg.output("depth/camera_info", stamp)
    assert_camera(message, CAMERA)


def test_camera_info_describes_the_rectified_image_of_a_binned_region(
    geoseg: Geoseg, pipeline, stamps
) -> None:
    sensor = PinholeCamera(
        300, 200, 210.0, 214.0, 151.0, 99.0, (-0.2, 0.05, 0.001, -0.002, 0.01), frame_id="binned"
    )
    fields = sensor.to_camera_info()
    info = camera_info_message(fields, 0, "binned")
    info.binning_x = info.binning_y = 2
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 10, 20, 2 * WIDTH, 2 * HEIGHT
    expected_camera = sensor.crop(10, 20, 2 * WIDTH, 2 * HEIGHT).bin(2, 2)
    geoseg.subscribe("depth/camera_info", "semantic/color")
    stamp = next(stamps)
    info.header.stamp = image_message(picture(0), stamp).header.stamp
    with Camera(geoseg.probe, geoseg.namespace) as camera:
        camera.wait_for_listener()
        camera.infos.publish(info)
        geoseg.wait_for_camera("binned")
        camera.images.publish(image_message(picture(0), stamp, frame_id="binned"))
        message = geoseg.output("depth/camera_info", stamp)
        color = geoseg.output("semantic/color", stamp)
    assert_camera(message, expected_camera)
    [perception] = expected_perceptions(pipeline, [picture(0)], expected_camera, [stamp])
    expected = output_messages(perception, CAMVID_11, ["semantic/color"])
    assert_message_shows(color, expected["semantic/color"])


def test_sixteen_bit_depth_is_millimetres(geoseg: Geoseg, pipeline: Pipeline, stamps) -> None:
    geoseg.subscribe("depth/image")
    assert geoseg.set_parameter("depth_encoding", "16UC1").successful
    try:
        stamp = next(stamps)
        with Camera(geoseg.probe, geoseg.namespace) as camera:
            camera.wait_for_listener()
            camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), stamp))
            geoseg.wait_for_camera(FRAME_ID)
            camera.images.publish(image_message(picture(0), stamp))
            message = geoseg.output("depth/image", stamp)
    finally:
        assert geoseg.set_parameter("depth_encoding", "32FC1").successful
    assert message.encoding == "16UC1"
    [perception] = expected_perceptions(pipeline, [picture(0)], CAMERA, [stamp])
    np.testing.assert_allclose(array_of(message) / 1000.0, perception.depth, rtol=1e-3, atol=1e-3)
