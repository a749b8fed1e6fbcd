"""A small recording with known errors: the review and the report must show exactly those."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from camera_bags import CAMERA, CAMERA_INFO, IMAGE, PERIOD, START, camera_info_fields, header, image_fields

from geoseg_ros.arrivals import Arrivals
from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.bundle import Bundle
from geoseg_ros.demo.accuracy import Accuracy
from geoseg_ros.demo.measurement import measure
from geoseg_ros.demo.pages import Circumstances, build_report, headline
from geoseg_ros.demo.recording import Recording, camera_path
from geoseg_ros.demo.review import Path2D, path_series, review
from geoseg_ros.errors import ImageError
from geoseg_ros.image_messages import decode_array, encode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.report import render_report
from geoseg_ros.training.metrics import depth, flow, motion, semantics

FRAMES = 6
ANSWERED = (0, 1, 2, 4, 5)  # the node skipped frame 3
HEIGHT, WIDTH = CAMERA.height, CAMERA.width
CAR, ROAD = CAMVID_11.index("Car"), CAMVID_11.index("Road")
SPEED, TURN = 5.0, 0.2  # m/s, rad/s to the left


def truth_arrays() -> dict[str, np.ndarray]:
    """Road below, sky above at infinity, a car that moves on the left quarter."""
    labels = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    labels[:, : WIDTH // 4] = CAR
    metres = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    metres[: HEIGHT // 4] = np.inf
    shift = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    return {
        "semantic": labels,
        "depth": metres,
        "flow": shift,
        "motion": np.where(labels == CAR, 255, 0).astype(np.uint8),
    }


def answer_arrays() -> dict[str, np.ndarray]:
    """A fifth too deep on the right, 3 and 4 px of flow error, half of the car missed twice."""
    truth = truth_arrays()
    metres = np.full((HEIGHT, WIDTH), 10.0, np.float32)
    metres[:, WIDTH // 2 + 8 :] = 12.0
    labels, mask = truth["semantic"].copy(), truth["motion"].copy()
    labels[: HEIGHT // 2] = ROAD
    mask[: HEIGHT // 2] = 0
    return {
        "semantic": labels,
        "depth": metres,
        "flow": np.tile(np.float32([3, 4]), (HEIGHT, WIDTH, 1)),
        "motion": mask,
    }


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    with BagWriter(tmp_path / "source") as source, BagWriter(tmp_path / "outputs", compress=False) as outputs:
        for index in range(FRAMES):
            stamp, head = START + index * PERIOD, header(index)
            source.write("/camera/camera_info", CAMERA_INFO, camera_info_fields(index), stamp)
            source.write("/camera/image_raw", IMAGE, image_fields(index), stamp)
            source.write("/camera/gt/odom", "nav_msgs/msg/Odometry", odometry(index), stamp)
            for topic, array, encoding in images(truth_arrays()):
                source.write(
                    f"/camera/gt/{topic}", IMAGE, {"header": head, **encode_image(array, encoding)}, stamp
                )
            if index in ANSWERED:
                for topic, array, encoding in images(answer_arrays()):
                    outputs.write(
                        f"/geoseg/{topic}",
                        IMAGE,
                        {"header": head, **encode_image(array, encoding)},
                        stamp + 5,
                    )
                outputs.write(
                    "/geoseg/ego_motion",
                    "geometry_msgs/msg/TwistWithCovarianceStamped",
                    {"header": head, "twist": twist()},
                    stamp + 6,
                )
    return Recording(tmp_path / "source", tmp_path / "outputs", "/geoseg")


def images(arrays: dict[str, np.ndarray]):
    return (
        ("semantic/image", arrays["semantic"], "mono8"),
        ("depth/image", arrays["depth"], "32FC1"),
        ("flow/image", arrays["flow"], "32FC2"),
        ("motion/mask", arrays["motion"], "mono8"),
    )


def odometry(index: int) -> dict:
    """A drive along the world's y axis at SPEED, turned left by TURN·t; axes are x forward, y left."""
    heading = np.pi / 2 + TURN * index * 0.1
    x, y = (
        3.0 + SPEED / TURN * (np.cos(TURN * index * 0.1) - 1),
        7.0 + SPEED / TURN * np.sin(TURN * index * 0.1),
    )
    orientation = {"x": 0.0, "y": 0.0, "z": np.sin(heading / 2), "w": np.cos(heading / 2)}
    return {
        "header": header(index, "odom"),
        "pose": {"pose": {"position": {"x": x, "y": y, "z": 0.0}, "orientation": orientation}},
    }


def twist(variance: float = 0.01) -> dict:
    return {
        "twist": {"linear": {"x": 0.0, "y": 0.0, "z": SPEED}, "angular": {"x": 0.0, "y": -TURN, "z": 0.0}},
        "covariance": (np.eye(6) * variance).reshape(-1),
    }


def look(recording: Recording, video: Path):
    metrics = SimpleNamespace(depth=depth, flow=flow, motion=motion, semantics=semantics)
    return review(
        recording,
        CAMVID_11,
        Accuracy(CAMVID_11, metrics),
        video,
        10.0,
        shown=3,
        ages={START + PERIOD: 0.123},
        advance=lambda: None,
    )


def circumstances() -> Circumstances:
    bundle = Bundle("perception", {}, CAMVID_11, (64, 48))
    return Circumstances(
        "the bag x", "model.safetensors", bundle, "cpu", "geoseg demo x", "today", {"cores": "2"}, {}
    )


def test_answered_frames_come_with_their_truth(recording: Recording) -> None:
    frames = list(recording.frames())
    assert [frame.index for frame in frames] == list(ANSWERED)
    assert [frame.consecutive for frame in frames] == [False, True, True, False, True]
    assert [frame.perception.stamp for frame in frames] == [START + index * PERIOD for index in ANSWERED]
    for frame in frames:
        np.testing.assert_array_equal(frame.perception.depth, answer_arrays()["depth"])
        np.testing.assert_array_equal(frame.perception.flow, answer_arrays()["flow"])
        np.testing.assert_array_equal(frame.truth["depth"], truth_arrays()["depth"])
        np.testing.assert_array_equal(frame.truth["motion"], truth_arrays()["motion"])
    assert frames[0].perception.ego_motion is None
    assert frames[3].perception.ego_motion.dt == pytest.approx(0.2)


def test_scores_are_those_of_the_errors_put_in(recording: Recording, tmp_path: Path) -> None:
    seen = look(recording, tmp_path / "video.webm")
    scores = seen.scores
    far = (WIDTH // 2 - 8) / WIDTH
    assert scores.abs_rel == pytest.approx(0.2 * far) and scores.abs_rel_metric == pytest.approx(0.2 * far)
    assert scores.epe == pytest.approx(5.0) and scores.outliers == 1.0
    assert scores.moving_iou == pytest.approx(0.5)
    assert scores.class_iou["Car"] == pytest.approx(0.5)
    assert scores.class_iou["Road"] == pytest.approx(6 / 7)
    assert scores.mean_iou == pytest.approx((0.5 + 6 / 7) / 2)
    assert seen.frames == len(ANSWERED)
    assert {name: len(values[0]) for name, values in seen.frame_scores.items()} == {
        "AbsRel": 5,
        "mIoU": 5,
        "EPE": 3,
        "motion IoU": 5,
    }
    assert (tmp_path / "video.webm").stat().st_size > 0


def test_ego_motion_adds_up_to_the_true_path(recording: Recording) -> None:
    stamps, path, metric = camera_path(frame.perception for frame in recording.frames())
    true_stamps, truth = recording.true_path()
    assert metric and true_stamps.tolist() == [START + index * PERIOD for index in range(FRAMES)]
    np.testing.assert_allclose(truth[0], 0.0, atol=1e-9)
    assert truth[-1][0] > 2.0 and truth[-1][1] > 0.05  # forward, then to the left
    np.testing.assert_allclose(path[-1], truth[-1], atol=0.06)


def test_a_path_of_unknown_scale_is_drawn_at_the_size_of_the_truth() -> None:
    times = np.arange(5)
    truth = Path2D(times, np.column_stack([times * 2.0, times * 0.5]))
    guess, true = path_series(Path2D(times, truth.positions / 7.0), False, truth)
    np.testing.assert_allclose(guess.x, true.x)
    np.testing.assert_allclose(guess.y, true.y)
    assert "scaled" in guess.name
    assert len(path_series(Path2D(times, truth.positions), True, truth, until=2)[0].x) == 3


def test_report_shows_the_numbers(recording: Recording, tmp_path: Path) -> None:
    stamps = np.array([START + index * PERIOD for index in range(FRAMES)])
    answered = stamps[list(ANSWERED)]
    arrivals = {
        "/camera/image_raw": Arrivals(stamps, stamps, stamps, np.ones(FRAMES, np.int64)),
        "/geoseg/depth/image": Arrivals(answered, answered, answered + 40_000_000, np.full(5, 10)),
    }
    measured = measure(arrivals, "/camera/image_raw", "/geoseg", {"dropped: skipped for a newer frame": "1"})
    seen = look(recording, tmp_path / "video.webm")
    cards = {card.label: card.value for card in headline(measured, seen)}
    assert cards == {
        "Output rate": "8.0",
        "Age p50": "40",
        "Age p99": "40",
        "Images answered": "5",
        "Depth AbsRel": "0.075",
        "Semantics mIoU": "0.679",
        "Flow EPE": "5.00",
        "Motion IoU": "0.500",
    }
    page = render_report(build_report(measured, seen, circumstances(), "video.webm"))
    assert [int(index) for index in re.findall(r"<h3>Frame (\d)</h3>", page)] == [1, 2, 5]
    assert page.count("data:image/jpeg") == 3 * (5 + 4) + 1
    for text in (
        "123 ms",
        "skipped for a newer frame",
        "Car · IoU 0.50",
        "geoseg demo x",
        "of 6",
        "83 % of the images",
    ):
        assert text in page
    assert "<td>lost on the way or after the end</td><td class=n>0</td>" in page


def test_a_run_without_any_answer_is_reported_too(recording: Recording, tmp_path: Path) -> None:
    with BagWriter(tmp_path / "silent") as bag:
        bag.add_topic("/geoseg/depth/image", IMAGE)
    silent = Recording(recording.source, tmp_path / "silent", "/geoseg")
    seen = look(silent, tmp_path / "video.webm")
    assert seen.frames == 0 and seen.poster is None and not (tmp_path / "video.webm").exists()
    measured = measure(
        {}, "/camera/image_raw", "/geoseg", {"dropped: inference failed": "6"}, published=FRAMES
    )
    page = render_report(build_report(measured, seen, circumstances(), "video.webm"))
    assert "0 % of the images were answered" in page and "no ego-motion" in page and "<video" not in page


def test_an_uncalibrated_camera_has_no_path(recording: Recording, tmp_path: Path) -> None:
    with BagReader(recording.outputs) as whole, BagWriter(tmp_path / "flat") as bag:
        for topic, stamp, msgtype, data in whole.raw_messages(["/geoseg/semantic/image"]):
            bag.write_raw(topic, msgtype, data, stamp)
    seen = look(Recording(recording.source, tmp_path / "flat", "/geoseg"), tmp_path / "video.webm")
    assert seen.frames == len(ANSWERED) and np.isnan(seen.path.positions).all()
    assert seen.scores.mean_iou is not None and seen.scores.abs_rel is None
    page = render_report(build_report(measure({}, "/i", "/geoseg"), seen, circumstances(), "video.webm"))
    assert "no ego-motion" in page and "Depth AbsRel" not in page


def test_arrays_are_read_with_padding_and_both_byte_orders() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    rows = np.zeros((2, 16), np.uint8)
    rows[:, :12] = values.astype(">f4").view(np.uint8).reshape(2, 12)
    message = SimpleNamespace(
        encoding="32FC1", width=3, height=2, step=16, is_bigendian=1, data=rows.reshape(-1)
    )
    np.testing.assert_array_equal(decode_array(message), values)
    millimetres = SimpleNamespace(
        encoding="16UC1",
        width=2,
        height=1,
        step=4,
        is_bigendian=0,
        data=np.array([0, 1500], np.uint16).view(np.uint8),
    )
    np.testing.assert_allclose(decode_array(millimetres), [[np.nan, 1.5]])


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"encoding": "rgb8"}, "encoding is 'rgb8'"),
        ({"step": 3}, "step 3, expected 2 rows of 12"),
        ({"height": 9}, "data has 24 bytes"),
    ],
)
def test_damaged_arrays_are_errors(change: dict, problem: str) -> None:
    fields = {
        "encoding": "32FC1",
        "width": 3,
        "height": 2,
        "step": 12,
        "is_bigendian": 0,
        "data": np.zeros(24, np.uint8),
    }
    with pytest.raises(ImageError, match=problem):
        decode_array(SimpleNamespace(**(fields | change)))
