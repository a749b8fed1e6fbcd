"""``geoseg evaluate --bag``: bags with known ground truth, pipelines with known errors, and what the page shows."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.cli import main
from geoseg_ros.colorize import colorize_error
from geoseg_ros.egomotion import exponential
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.perception import Perception
from geoseg_ros.report import render_report
from geoseg_ros.training.evaluation.bag import judge_bag
from geoseg_ros.training.evaluation.bag_page import build_page
from geoseg_ros.training.evaluation.depth_detail import DepthDetail, DepthProtocol
from geoseg_ros.training.evaluation.trajectory import BODY_FROM_OPTICAL, Odometry, drives, read_odometry

START, PERIOD = 1_700_000_000_000_000_000, 100_000_000
WIDTH, HEIGHT = 32, 24
CAMERA = PinholeCamera(WIDTH, HEIGHT, 30.0, 30.0, 15.5, 11.5, frame_id="camera_optical_frame")
STEP = exponential(np.array([0.05, 0.0, 1.0, 0.0, 0.03, 0.0]))
"""previous_from_current of every step: forward and turning right."""

IMAGE, ODOMETRY = "sensor_msgs/msg/Image", "nav_msgs/msg/Odometry"


def truth(index: int) -> dict[str, np.ndarray]:
    depth = np.full((HEIGHT, WIDTH), 4.0 + index, np.float32)
    depth[:, WIDTH // 2 :] = 50.0
    depth[:4] = np.inf
    semantic = np.full((HEIGHT, WIDTH), CAMVID_11.index("Road"), np.uint8)
    semantic[:4] = CAMVID_11.index("Sky")
    semantic[4] = 255
    motion = np.zeros((HEIGHT, WIDTH), np.uint8)
    motion[10:14, :8] = 255
    flow = np.full((HEIGHT, WIDTH, 2), np.nan if index == 0 else 2.0, np.float32)
    return {"depth": depth, "semantic": semantic, "motion": motion, "flow": flow}


def world_from_camera(index: int) -> np.ndarray:
    start = exponential(np.array([3.0, -2.0, 1.0, 0.2, 1.1, -0.3]))
    return start @ np.linalg.matrix_power(STEP, index)


def odometry(index: int, pose: np.ndarray, child: str) -> dict:
    if child != "camera_optical_frame":
        pose = pose.copy()
        pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL.T
    vector = cv2.Rodrigues(pose[:3, :3])[0].ravel()
    angle = np.linalg.norm(vector)
    quaternion = np.append(np.sin(angle / 2) * vector / angle, np.cos(angle / 2))
    return {
        "header": {"stamp": START + index * PERIOD, "frame_id": "odom"},
        "child_frame_id": child,
        "pose": {
            "pose": {
                "position": dict(zip("xyz", map(float, pose[:3, 3]))),
                "orientation": dict(zip("xyzw", map(float, quaternion))),
            }
        },
    }


def write_bag(path: Path, frames: int = 9, child: str = "camera_link", images: bool = True, stamps=None, gt=True) -> Path:
    topics = {"depth": "depth/image", "semantic": "semantic/image", "flow": "flow/image", "motion": "motion/mask"}
    encodings = {"depth": "32FC1", "semantic": "mono8", "flow": "32FC2", "motion": "mono8"}
    with BagWriter(path) as bag:
        for index in range(frames):
            stamp = START + index * PERIOD
            header = {"stamp": stamp, "frame_id": CAMERA.frame_id}
            bag.write("/camera/camera_info", "sensor_msgs/msg/CameraInfo", {"header": header, **CAMERA.to_camera_info()}, stamp)
            picture = np.full((HEIGHT, WIDTH, 3), 20 * index, np.uint8)
            bag.write("/camera/image_raw", IMAGE, {"header": header, **encode_image(picture, "rgb8")}, stamp)
            if gt:
                for name, array in truth(index).items():
                    fields = {"header": header, **encode_image(array, encodings[name])}
                    bag.write(f"/camera/gt/{topics[name]}", IMAGE, fields, stamp)
                bag.write("/camera/gt/odom", ODOMETRY, odometry(index, world_from_camera(index), child), stamp)
    return path


class Told:
    """Answers its n-th frame with ``answers[n]``, as a pipeline would."""

    labels = CAMVID_11

    def __init__(self, answers: list[dict]) -> None:
        self.answers = iter(answers)
        self.asked: list[tuple[PinholeCamera | None, int, Collection[str]]] = []

    def reset(self) -> None:
        self.asked.clear()

    def step(self, image, camera, stamp, outputs) -> Perception:
        self.asked.append((camera, stamp, outputs))
        return Perception(stamp=stamp, image=image, camera=camera, **next(self.answers))


def answer(index: int, depth_scale: float = 1.25, length: float = 0.5) -> dict:
    """Depth too great by a constant factor, steps too short by one, half of the mover, 3 px of flow error."""
    right = truth(index)
    found = right["motion"].copy()
    found[:, :4] = 0
    step = STEP.copy()
    step[:3, 3] *= length
    semantic = np.where(right["semantic"] == 255, 0, right["semantic"])
    moved = {} if index == 0 else {"ego_motion": SimpleNamespace(previous_from_current=step), "motion_mask": found}
    depth = np.where(np.isfinite(right["depth"]), right["depth"], 9.0) * depth_scale
    return {"depth": depth.astype(np.float32), "semantic": semantic, "flow": right["flow"] + np.float32([3, 0]), **moved}


def plain(items, total, description):
    return iter(items)


def judge(path: Path, answers: list[dict], **options):
    return judge_bag(Told(answers), path, DepthProtocol(), plain, **options)


def values(review) -> dict[str, float]:
    return {score.name: score.value for score in review.result.scores}


def test_known_errors_give_exactly_those_scores(tmp_path):
    path = write_bag(tmp_path / "bag")
    told = Told([answer(index) for index in range(9)])
    review = judge_bag(told, path, DepthProtocol(), plain)
    scores = values(review)
    assert review.result.frames == 9 and not review.notes
    assert scores["depth AbsRel, median-scaled"] == pytest.approx(0, abs=1e-6)
    assert scores["depth AbsRel, metric"] == pytest.approx(0.25, abs=1e-6)
    expected = np.mean([(0.25 * (4 + index) + 0.25 * 50) / 2 * 0.25 for index in range(9)])
    assert scores["depth SqRel, metric"] == pytest.approx(expected, rel=1e-5)
    assert scores["depth RMSE log, metric"] == pytest.approx(math.log(1.25), rel=1e-5)
    assert scores["depth δ < 1.25², metric"] == 1.0
    assert scores["depth scale factor, median"] == pytest.approx(0.8, rel=1e-5)
    assert scores["translation error, aligned"] == pytest.approx(0, abs=1.0)
    assert scores["translation error, metric"] == pytest.approx(50, abs=1.0)
    assert scores["rotation error"] == pytest.approx(0, abs=1e-5)
    assert scores["semantic mIoU"] == 1.0 and review.result.per_class["Road"] == 1.0
    assert scores["flow EPE"] == pytest.approx(3.0)
    assert scores["motion IoU, moving class"] == pytest.approx(0.5)
    camera, stamp, outputs = told.asked[2]
    assert (camera.matrix == CAMERA.matrix).all() and stamp == START + 2 * PERIOD
    assert outputs == {"depth", "semantic", "confidence", "flow", "motion", "ego_motion"}
    assert "/camera/gt/odom" in review.result.protocol and "0.001–80 m" in review.result.protocol


@pytest.mark.parametrize("child", ["camera_link", "camera_optical_frame"])
def test_true_steps_are_the_cameras_whatever_frame_odometry_is_of(tmp_path, child):
    review = judge(write_bag(tmp_path / "bag", 6, child), [answer(index, length=1.0) for index in range(6)])
    (drive,) = review.drives
    for step in drive.true_steps:
        np.testing.assert_allclose(step, STEP, atol=1e-6)
    predicted, true, scale = drive.paths()
    np.testing.assert_allclose(predicted, true, atol=1e-5)
    assert scale == pytest.approx(1.0) and predicted[1] == pytest.approx([STEP[2, 3], -STEP[0, 3]], abs=1e-6)
    assert values(review)["ATE, aligned"] == pytest.approx(0, abs=1e-6)


def test_frames_without_a_stamp_of_their_own_are_left_out_and_said(tmp_path):
    path = write_bag(tmp_path / "bag", 6)
    with BagReader(path) as bag:
        messages = list(bag.raw_messages())
    with BagWriter(tmp_path / "twice") as bag:
        for topic, stamp, msgtype, data in messages:
            for _ in range(2 if topic == "/camera/image_raw" and stamp == START + 3 * PERIOD else 1):
                bag.write_raw(topic, msgtype, data, stamp)
    review = judge(tmp_path / "twice", [answer(index) for index in range(6)])
    assert review.result.frames == 6
    assert [note.split(":")[0] for note in review.notes] == ["frame 4"] and "left out" in review.notes[0]


def test_a_bag_without_ground_truth_is_refused(tmp_path):
    with pytest.raises(BagError, match="has no ground truth, expected topics that end in gt/semantic/image.*found /camera/camera_info"):
        judge(write_bag(tmp_path / "bag", 2, gt=False), [])


def test_what_cannot_be_judged_is_named(tmp_path):
    review = judge(write_bag(tmp_path / "short", 3), [answer(index) for index in range(3)])
    assert "translation error, aligned" not in values(review)
    assert review.notes == ["ego_motion is not judged: no snippet of 5 frames moves 0.5 m; 0 stood still"]
    blind = [{"semantic": truth(0)["semantic"] * 0, "flow": np.full((HEIGHT, WIDTH, 2), np.nan)}] * 3
    review = judge(write_bag(tmp_path / "blind", 3), blind)
    assert any(note.startswith("depth is not judged: no image had a depth pixel") for note in review.notes)
    only_depth = [{"depth": answer(index)["depth"]} for index in range(3)]
    review = judge(write_bag(tmp_path / "only_depth", 3), only_depth)
    assert all(name.startswith("depth") for name in values(review)) and not review.result.per_class
    assert {note.split(" ")[0] for note in review.notes} == {"semantic", "flow", "motion", "ego_motion"}


def test_a_limit_ends_early(tmp_path):
    assert judge(write_bag(tmp_path / "bag", 6), [answer(index) for index in range(5)], limit=5).result.frames == 5


def test_eigen_crop_and_distance_limit_decide_what_counts():
    """Right inside the crop, wrong outside; right near, wrong far."""
    target = np.full((100, 100), 10.0)
    guess = np.full((100, 100), 20.0)
    guess[40:99, 3:96] = 10.0
    whole, cropped = (DepthDetail(DepthProtocol(eigen=eigen)) for eigen in (False, True))
    for detail in (whole, cropped):
        detail.add(guess, target)
    assert {row.name: row.value for row in cropped.table()}["depth AbsRel, metric"] == 0.0
    share = 1 - 59 * 93 / 100**2
    assert {row.name: row.value for row in whole.table()}["depth AbsRel, metric"] == pytest.approx(share)
    near = DepthDetail(DepthProtocol(max_depth=15.0))
    near.add(np.array([[10.0, 10.0]]), np.array([[10.0, 40.0]]))
    assert near.table()[0].value == 0.0
    with pytest.raises(ConfigError, match="max_depth is 0.0 m"):
        DepthProtocol(max_depth=0.0)


def test_error_by_distance_by_hand():
    detail = DepthDetail(DepthProtocol())
    detail.add(np.array([[3.0, 4.0, 18.0]]), np.array([[2.0, 4.0, 12.0]]))
    detail.add(np.array([[6.0]]), np.array([[3.0]]))
    edges, pixels, scaled, metric = detail.error_by_distance()
    assert edges.tolist() == [0, 5, 10, 15, 20, 30, 40, 60, 80]
    assert pixels.tolist() == [3, 0, 1, 0, 0, 0, 0, 0]
    assert metric[0] == pytest.approx((0.5 + 0 + 1.0) / 3) and metric[2] == pytest.approx(0.5) and math.isnan(metric[1])
    assert scaled[0] == pytest.approx((0.5 + 0 + 0) / 3), "the first image's medians agree, the second's differ by 2"
    assert scaled[2] == pytest.approx(0.5)
    assert {tuple(point) for point in detail.scatter()} <= {(2, 3), (4, 4), (12, 18), (3, 6)}


@settings(max_examples=30)
@given(st.floats(0.01, 0.99), st.lists(st.floats(-0.5, 0.5), min_size=6, max_size=6))
def test_poses_between_messages_follow_a_constant_twist(part, numbers):
    twist = np.array(numbers)
    track = Odometry(np.array([0, PERIOD]), np.stack([np.eye(4), exponential(twist)]), "/odom", "base_link")
    (found,) = track.at(np.array([round(part * PERIOD)]))
    np.testing.assert_allclose(found, exponential(part * twist), atol=1e-6)


def test_no_pose_is_made_up_outside_or_in_gaps():
    poses = np.tile(np.eye(4), (3, 1, 1))
    track = Odometry(np.array([0, PERIOD, 20 * PERIOD]), poses, "/odom", "base_link")
    found = track.at(np.array([-1, 0, PERIOD, PERIOD + 1, 20 * PERIOD, 20 * PERIOD + 1]))
    assert np.isfinite(found).all((1, 2)).tolist() == [False, True, True, False, True, False]


def test_drives_end_at_gaps():
    poses = np.stack([np.eye(4)] * 7)
    poses[3] = np.nan
    found = drives([np.eye(4)] * 6, poses)
    assert [len(drive.steps) for drive in found] == [2, 2]
    assert drives([], poses[:1]) == []


def test_odometry_of_the_robot_serves_where_there_is_no_ground_truth(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for index, stamp in enumerate((5, 3, 4, 6)):
            fields = odometry(stamp, world_from_camera(stamp), "base_link")
            if index == 3:
                fields["pose"]["pose"]["orientation"] = dict.fromkeys("xyzw", 0.0)
            bag.write("/odom", ODOMETRY, fields, START + index)
    with BagReader(tmp_path / "bag") as bag:
        found = read_odometry(bag)
    assert (found.topic, found.frame) == ("/odom", "base_link")
    assert found.stamps.tolist() == [START + 5 * PERIOD], "stamps must rise, quaternions have a direction"
    np.testing.assert_allclose(found.poses[0], world_from_camera(5), atol=1e-6)


def test_error_colours():
    picture = colorize_error(np.array([[-1.0, 0.0, 0.5, 0.25, np.nan]]), 0.5)[0].tolist()
    assert picture[0] == [40, 80, 200] and picture[1] == [255, 255, 255] and picture[2] == [200, 40, 40]
    assert picture[3] == [228, 148, 148] and picture[4] == [0, 0, 0]


def test_labels_may_lie_on_another_topic_and_are_rectified_with_the_image(tmp_path):
    camera = PinholeCamera(WIDTH, HEIGHT, 20.0, 20.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, (0.5, 0, 0, 0, 0), frame_id=CAMERA.frame_id)
    labels = np.tile(np.arange(WIDTH) % 11, (HEIGHT, 1)).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as bag:
        header = {"stamp": START, "frame_id": CAMERA.frame_id}
        bag.write("/camera/camera_info", "sensor_msgs/msg/CameraInfo", {"header": header, **camera.to_camera_info()}, START)
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        bag.write("/camera/image_raw", IMAGE, {"header": header, **encode_image(picture, "rgb8")}, START)
        bag.write("/labels", IMAGE, {"header": header, **encode_image(labels, "mono8")}, START)
    maps = camera.rectification_maps()
    seen = cv2.remap(labels, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    assert not np.array_equal(seen, labels)
    review = judge(tmp_path / "bag", [{"semantic": seen}], label_topic="/labels")
    assert values(review)["semantic pixel accuracy"] == 1.0
    with pytest.raises(BagError, match="has no topic /nowhere of sensor_msgs/msg/Image, found /camera/image_raw, /labels"):
        judge(tmp_path / "bag", [{}], label_topic="/nowhere")


def test_the_page_shows_scores_pictures_and_charts(tmp_path):
    review = judge(write_bag(tmp_path / "bag"), [answer(index) for index in range(9)])
    page = render_report(build_page([review], CAMVID_11, {"model": "m.safetensors", "date": "today"}))
    for text in ("Predicted against true depth", "Error by distance", "Path from above", "error of depth", "true depth", "0.250"):
        assert text in page, text
    assert page.count("<img") == 6 * 7, "image, depth, error, semantics, error, true depth, true semantics"
    assert page.count('class="dot s1"') == 9 * 40


def test_the_command_prints_and_writes_everything(tmp_path, capsys):
    torch.manual_seed(0)
    network = create_network("perception", {"encoder": "lite"})
    bundle = Bundle("perception", {"encoder": "lite"}, CAMVID_11, (64, 64), weights=network.state_dict())
    model, path = tmp_path / "model.safetensors", write_bag(tmp_path / "bag", 6)
    save_bundle(bundle, model)
    written = ["--json", str(tmp_path / "scores.json"), "--report", str(tmp_path / "page")]
    assert main(["evaluate", str(model), "--bag", str(path), "--device", "cpu", *written]) == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    scores = {score["name"]: score["value"] for score in content["suites"][str(path)]["scores"]}
    assert {"depth AbsRel, metric", "translation error, aligned", "rotation error", "ATE, aligned", "semantic mIoU"} <= set(scores)
    printed = capsys.readouterr().out
    assert f"{scores['depth AbsRel, metric']:.3f}" in printed and "page/report.html" in printed
    assert (tmp_path / "page" / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--bag", "a", "--suite", "camvid"], "expected bags or suites"),
        (["--bag", "a", "a"], "names a bag twice"),
        (["--labelled", "a", "--suite", "camvid"], "expected a labelled folder alone"),
        (["--labelled", "a", "--bag", "b"], "expected a labelled folder alone"),
        (["--labels", "camvid_11"], "--labels or --void is given without --labelled"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(arguments, sentence, capsys):
    assert main(["evaluate", *arguments]) == 2
    assert sentence in capsys.readouterr().err
