"""Streams: nothing computed for nobody, newest frame wins, loops, bad messages between good ones."""

from __future__ import annotations

import itertools
from array import array

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from nav_msgs.msg import Odometry
from node_harness import (
    FRAME_ID,
    Camera,
    Geoseg,
    NodeProcess,
    camera_info_message,
    compressed_message,
    image_message,
    nanoseconds,
    stamped,
    wait_until,
)

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.scale import ENOUGH

WIDTH, HEIGHT = 128, 80
PERIOD = 100_000_000
CAMERA = PinholeCamera(WIDTH, HEIGHT, 100.0, 101.0, 62.0, 41.0)
PICTURE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
_start = itertools.count(3_000_000_000_000, 100_000_000_000)


@pytest.fixture
def stamps() -> itertools.count:
    """Stamps of this test's frames, later than those of the tests before."""
    return itertools.count(next(_start), PERIOD)


def flow_of(message) -> np.ndarray:
    return np.frombuffer(message.data, np.float32)


def test_nothing_is_computed_for_nobody(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe()
    before = geoseg.settled_counts()
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        for received in range(1, 4):
            camera.images.publish(image_message(PICTURE, next(stamps)))
            geoseg.wait_for_count("images received", before["images received"] + received)
        after = geoseg.settled_counts()
        assert after["images processed"] == before["images processed"]
        assert after["dropped: nobody subscribed"] - before["dropped: nobody subscribed"] == 3

        geoseg.subscribe("semantic/image")
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        geoseg.output("semantic/image", stamp)
        geoseg.wait_for_count("images processed", before["images processed"] + 1)


def test_everything_is_computed_where_publishing_is_not_lazy(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe()
    before = geoseg.settled_counts()
    assert geoseg.set_parameter("lazy", False).successful
    try:
        with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
            camera.wait_for_listener()
            camera.images.publish(image_message(PICTURE, next(stamps)))
            geoseg.wait_for_count("images processed", before["images processed"] + 1)
    finally:
        assert geoseg.set_parameter("lazy", True).successful


def test_the_first_frame_after_a_pause_without_subscribers_has_no_previous_one(
    geoseg: Geoseg, stamps
) -> None:
    geoseg.subscribe("flow/image")
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        first, second, unseen, third = itertools.islice(stamps, 4)
        camera.images.publish(image_message(PICTURE, first))
        geoseg.output("flow/image", first)
        camera.images.publish(image_message(PICTURE, second))
        assert np.isfinite(flow_of(geoseg.output("flow/image", second))).all()
        geoseg.subscribe()
        before = geoseg.count("dropped: nobody subscribed")
        camera.images.publish(image_message(PICTURE, unseen))
        geoseg.wait_for_count("dropped: nobody subscribed", before + 1)
        geoseg.subscribe("flow/image")
        camera.images.publish(image_message(PICTURE, third))
        assert np.isnan(flow_of(geoseg.output("flow/image", third))).all()


def test_the_newest_frame_wins_and_skipped_ones_are_counted(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image", "flow/image")
    large = np.random.default_rng(1).integers(0, 256, (480, 640, 3), np.uint8)
    flood = [image_message(large, stamp) for stamp in itertools.islice(stamps, 40)]
    before = geoseg.settled_counts()
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        for message in flood:
            camera.images.publish(message)
        last = nanoseconds(flood[-1].header)
        geoseg.output("semantic/image", last)
        after = geoseg.settled_counts()
    received = after["images received"] - before["images received"]
    processed = after["images processed"] - before["images processed"]
    skipped = after["dropped: skipped for a newer frame"] - before["dropped: skipped for a newer frame"]
    assert received == processed + skipped
    assert 1 <= processed < 40 and skipped > 0
    seen = [stamp for stamp in geoseg.stamps("semantic/image") if stamp >= nanoseconds(flood[0].header)]
    assert seen == sorted(seen) and seen[-1] == last


def test_a_bag_that_loops_starts_afresh(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("flow/image")
    first, second, third = itertools.islice(stamps, 3)
    jumps = geoseg.count("time jumps")
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        for stamp in (first, second, third):
            camera.images.publish(image_message(PICTURE, stamp))
            geoseg.output("flow/image", stamp)
        assert np.isfinite(flow_of(geoseg.output("flow/image", third))).all()
        geoseg.forget()
        camera.images.publish(image_message(PICTURE, first))
        assert np.isnan(flow_of(geoseg.output("flow/image", first))).all()
        camera.images.publish(image_message(PICTURE, second))
        assert np.isfinite(flow_of(geoseg.output("flow/image", second))).all()
    geoseg.wait_for_count("time jumps", jumps + 1)
    assert geoseg.count("time jumps") == jumps + 1


def odometry(speed: float, stamp: int) -> Odometry:
    message = stamped(Odometry(), stamp, "odom")
    message.twist.twist.linear.x = speed
    return message


def test_odometry_gives_metres(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("ego_motion", "depth/image")
    frames = list(itertools.islice(stamps, ENOUGH + 1))
    info = camera_info_message(CAMERA.to_camera_info(), frames[0])
    publisher = geoseg.probe.publisher(f"{geoseg.namespace}/odom", Odometry)
    try:
        with Camera(geoseg.probe, geoseg.namespace) as camera:
            camera.wait_for_listener()
            wait_until(lambda: publisher.get_subscription_count() > 0, "the node listens to odom")
            camera.infos.publish(info)
            geoseg.wait_for_camera(FRAME_ID)
            for index, stamp in enumerate(frames):
                publisher.publish(odometry(8.0, stamp))
                picture = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
                camera.images.publish(image_message(picture, stamp))
                geoseg.output("ego_motion" if index else "depth/image", stamp)
            geoseg.wait_for_value("scale source", "odometry")
    finally:
        geoseg.probe.withdraw(publisher)


def bad_images(stamps) -> dict[str, object]:
    """Messages that no image can be read from, by the sentence that they deserve."""
    short = image_message(PICTURE, next(stamps))
    short.data = array("B", bytes(100))
    narrow = image_message(PICTURE, next(stamps))
    narrow.step = WIDTH
    unknown = image_message(PICTURE, next(stamps))
    unknown.encoding = "rgb9"
    flat = image_message(PICTURE, next(stamps))
    flat.height = 0
    return {
        f"/shared/image: data has 100 bytes, expected {WIDTH * HEIGHT * 3}": short,
        f"/shared/image: step is {WIDTH}, expected at least {WIDTH * 3}": narrow,
        "/shared/image: encoding is 'rgb9', expected one of mono8": unknown,
        "/shared/image: height is 0, expected 1 to": flat,
    }


def test_a_burst_of_bad_images_between_good_ones(geoseg: Geoseg, shared_process: NodeProcess, stamps) -> None:
    geoseg.subscribe("semantic/image")
    before = geoseg.settled_counts()
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        geoseg.output("semantic/image", stamp)
        bad = bad_images(stamps)
        for round_number in (1, 2):
            for number, (sentence, message) in enumerate(bad.items()):
                message.header.stamp = image_message(PICTURE, next(stamps)).header.stamp
                camera.images.publish(message)
                expected = before["dropped: bad input"] + (round_number - 1) * len(bad) + number + 1
                geoseg.wait_for_count("dropped: bad input", expected)
                assert geoseg.status().level == b"\x02" and sentence in geoseg.status().message
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        geoseg.output("semantic/image", stamp)
    for sentence in bad:
        assert sentence in shared_process.text
    assert shared_process.text.count("encoding is 'rgb9'") == 1, "the second round is throttled"
    assert "Traceback" not in shared_process.text


def test_damaged_compressed_images_between_good_ones(
    geoseg: Geoseg, shared_process: NodeProcess, stamps
) -> None:
    geoseg.subscribe("semantic/image")
    before = geoseg.settled_counts()
    jpeg = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    with Camera(geoseg.probe, geoseg.namespace, compressed=True, info_qos=None) as camera:
        camera.wait_for_listener()
        for number, data in enumerate([jpeg[: len(jpeg) // 2], b"", b"GIF89a", jpeg[:3] + b"\xff\xd9"]):
            camera.images.publish(compressed_message(data, next(stamps), "jpeg"))
            geoseg.wait_for_count("dropped: bad input", before["dropped: bad input"] + number + 1)
            stamp = next(stamps)
            camera.images.publish(compressed_message(jpeg, stamp, "jpeg"))
            geoseg.output("semantic/image", stamp)
    assert "/shared/image/compressed: data is a JPEG of" in shared_process.text
    assert "Traceback" not in shared_process.text


@pytest.mark.parametrize("focal, level, found", [(float("nan"), "ERROR", "nan"), (0.0, "WARN", "0")])
def test_a_camera_info_without_calibration_leaves_semantics_and_the_known_camera(
    geoseg: Geoseg, shared_process: NodeProcess, stamps, focal: float, level: str, found: str
) -> None:
    geoseg.subscribe("semantic/image", "depth/camera_info")
    frame, uncalibrated_frame = f"good_{level}", f"bad_{level}"
    fields = CAMERA.to_camera_info()
    bad_fields = {**fields, "k": np.where(np.arange(9) % 4 == 0, focal, fields["k"])}
    with Camera(geoseg.probe, geoseg.namespace) as camera:
        camera.wait_for_listener()
        camera.infos.publish(camera_info_message(bad_fields, next(stamps), uncalibrated_frame))
        shared_process.wait_for_text(
            f"camera_info of frame '{uncalibrated_frame}' is not calibrated: K[0] is {found}"
        )
        camera.infos.publish(camera_info_message(fields, next(stamps), frame))
        geoseg.wait_for_camera(frame)
        camera.infos.publish(camera_info_message(bad_fields, next(stamps), frame))
        uncalibrated, calibrated = next(stamps), next(stamps)
        camera.images.publish(image_message(PICTURE, uncalibrated, frame_id=uncalibrated_frame))
        geoseg.output("semantic/image", uncalibrated)
        camera.images.publish(image_message(PICTURE, calibrated, frame_id=frame))
        assert geoseg.output("depth/camera_info", calibrated).k[0] == CAMERA.fx
    assert uncalibrated not in geoseg.stamps("depth/camera_info")
    line = next(
        line for line in shared_process.text.splitlines() if f"frame '{uncalibrated_frame}' is not" in line
    )
    assert f"[{level}]" in line and "/shared/camera_info" in line


def test_lost_frames_are_seen_and_the_advice_names_the_profile(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    with Camera(geoseg.probe, geoseg.namespace) as camera:
        camera.wait_for_listener()
        received = geoseg.count("images received")
        for number, stamp in enumerate(itertools.islice(stamps, 40)):
            camera.infos.publish(camera_info_message(CAMERA.to_camera_info(), stamp, FRAME_ID))
            if number % 4 == 0:
                camera.images.publish(image_message(PICTURE, stamp))
                received += 1
                geoseg.wait_for_count("images received", received)
        wait_until(
            lambda: "fastdds.xml" in geoseg.status().message, "advice on the DDS profile", geoseg.status
        )
    lost, sent = geoseg.values()["lost before the node"].split(" of ")
    assert 25 <= int(lost) < int(sent)  # of the 30 images that were announced here and never came
    assert "/shared/image" in geoseg.status().message


def test_diagnostics_tell_rates_ages_device_and_memory(geoseg: Geoseg, stamps) -> None:
    geoseg.subscribe("semantic/image")
    with Camera(geoseg.probe, geoseg.namespace, info_qos=None) as camera:
        camera.wait_for_listener()
        for stamp in itertools.islice(stamps, 5):
            camera.images.publish(image_message(PICTURE, stamp))
            geoseg.output("semantic/image", stamp)
        wait_until(lambda: float(geoseg.values()["output rate [Hz]"]) > 0.0, "an output rate", geoseg.values)
    values = geoseg.values()
    assert 0.0 < float(values["inference p50 [ms]"]) <= float(values["inference p99 [ms]"])
    assert (
        float(values["inference p50 [ms]"]) <= float(values["age p50 [ms]"]) <= float(values["age p99 [ms]"])
    )
    assert float(values["memory [MiB]"]) > 50.0
    assert values["device"] == "cpu" == geoseg.status().hardware_id
    assert float(values["stage network [ms]"]) > 0.0
    assert values["scale source"] in ("none", "odometry")
    assert (float(values["scale confidence"]) > 0) == (values["scale source"] == "odometry")
