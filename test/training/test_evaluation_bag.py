"""``geoseg evaluate --bag``: bags with known ground truth, pipelines with known errors, and what the page shows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from drive_bags import MOUNT, body_pose, write_drive
from told_pipeline import Told, plain
from truth_bags import (
    CAMERA,
    HEIGHT,
    IMAGE,
    ODOMETRY,
    PERIOD,
    START,
    STEP,
    WIDTH,
    answer,
    judge,
    odometry,
    replace,
    truth,
    values,
    world_from_camera,
    write_bag,
)

from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.cli import main
from geoseg_ros.colorize import colorize_error
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.report import render_report
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.evaluation.bag import judge_bag
from geoseg_ros.training.evaluation.bag_page import build_page
from geoseg_ros.training.evaluation.depth_detail import DepthDetail, DepthProtocol
from geoseg_ros.training.evaluation.trajectory import drives, read_odometry


def test_known_errors_give_exactly_those_scores(tmp_path):
    path = write_bag(tmp_path / "bag")
    told = Told([answer(index) for index in range(9)])
    review = judge_bag(told, path, DepthProtocol(), plain)
    scores = values(review)
    assert review.result.frames == 9 and not review.result.notes
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
    assert [note.split(":")[0] for note in review.result.notes] == ["frame 4"] and "left out" in review.result.notes[0]


def test_what_cannot_be_judged_is_named(tmp_path):
    review = judge(write_bag(tmp_path / "short", 3), [answer(index) for index in range(3)])
    assert "translation error, aligned" not in values(review)
    assert review.result.notes == ["ego_motion is not judged: no snippet of 5 frames moves 0.5 m; 0 stood still"]
    blind = [{"semantic": truth(0)["semantic"] * 0, "flow": np.full((HEIGHT, WIDTH, 2), np.nan)}] * 3
    review = judge(write_bag(tmp_path / "blind", 3), blind)
    assert any(note.startswith("depth is not judged: no image had a depth pixel") for note in review.result.notes)
    only_depth = [{"depth": answer(index)["depth"]} for index in range(3)]
    review = judge(write_bag(tmp_path / "only_depth", 3), only_depth)
    assert all(name.startswith("depth") for name in values(review)) and not review.result.per_class
    assert {note.split(" ")[0] for note in review.result.notes} == {"semantic", "flow", "motion", "ego_motion"}


def test_a_model_without_ego_motion_is_not_one_that_stands_still(tmp_path):
    answers = [answer(index) for index in range(9)]
    for each in answers:
        each.pop("ego_motion", None)
    review = judge(write_bag(tmp_path / "bag"), answers)
    assert "translation error, aligned" not in values(review)
    assert review.result.notes == ["ego_motion is not judged: no image had ego-motion"]


def test_flow_from_an_image_that_is_missing_is_not_judged(tmp_path):
    path = write_bag(tmp_path / "bag", 6)
    with BagReader(path) as bag, BagWriter(tmp_path / "broken") as copy:
        for topic, stamp, kind, data in bag.raw_messages():
            if topic == "/camera/image_raw" and stamp == START + 3 * PERIOD:
                header = {"stamp": stamp, "frame_id": CAMERA.frame_id}
                copy.write(topic, IMAGE, {"header": header, "encoding": "nonsense", "width": 1, "height": 1}, stamp)
            else:
                copy.write_raw(topic, kind, data, stamp)
    answers = [answer(index) for index in (0, 1, 2, 4, 5)]
    answers[3]["flow"] = answers[3]["flow"] + np.float32(100)
    review = judge(tmp_path / "broken", answers)
    assert review.result.frames == 5 and values(review)["flow EPE"] == pytest.approx(3.0)
    assert review.result.notes[0].startswith("/camera/image_raw at 1700000000.300 s: encoding is 'nonsense', expected")


def test_a_damaged_bag_is_named(tmp_path):
    (file,) = write_bag(tmp_path / "bag", 12).glob("*.mcap")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BagError, match=f"{file.name} .*(damage|readable)"):
        judge(tmp_path / "bag", [answer(index) for index in range(12)])


def test_a_single_frame_has_depth_and_no_motion(tmp_path):
    review = judge(write_bag(tmp_path / "bag", 1), [answer(0)])
    assert values(review)["depth AbsRel, metric"] == pytest.approx(0.25, abs=1e-6)
    assert {note.split(":")[0] for note in review.result.notes} == {
        "flow is not judged", "motion is not judged", "ego_motion is not judged"
    }  # fmt: skip


def test_images_of_another_size_than_their_calibration_are_named(tmp_path):
    path = write_bag(tmp_path / "bag", 3)
    wide = encode_image(np.zeros((HEIGHT, 2 * WIDTH, 3), np.uint8), "rgb8")
    answers = [{"depth": np.ones((HEIGHT, 2 * WIDTH), np.float32)}] * 3
    review = judge(replace(path, "/camera/image_raw", tmp_path / "wide", wide), answers)
    assert "camera_info is for 32x24, the image is 64x24" in review.result.notes[0]
    assert "3 images have no calibrated camera: no depth, motion, ego-motion" in review.result.notes


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


def test_drives_end_at_gaps():
    poses = np.stack([np.eye(4)] * 7)
    poses[3] = np.nan
    found = drives([np.eye(4)] * 6, poses)
    assert [len(drive.steps) for drive in found] == [2, 2]
    assert drives([], poses[:1]) == []


def turning_drive(path: Path, mount: np.ndarray | None, pose_stamps=None) -> tuple[Path, list[np.ndarray]]:
    """A bag whose body drives a bend, and the steps of a camera that sits off its centre and squints."""
    squinting = MOUNT.copy()
    squinting[:3, :3] = cv2.Rodrigues(np.array([0.1, -0.2, 0.4]))[0] @ MOUNT[:3, :3]
    poses = [body_pose(0.9 * i, 0.15 * i, 0.05 * i * i) for i in range(6)]
    write_drive(path, poses=poses, mount=squinting if mount is None else mount, pose_stamps=pose_stamps)
    cameras = [pose @ squinting for pose in poses]
    return path, [np.linalg.inv(before) @ after for before, after in zip(cameras, cameras[1:])]


def moved(steps: list[np.ndarray]) -> list[dict]:
    return [{}] + [{"ego_motion": SimpleNamespace(previous_from_current=step)} for step in steps]


def test_poses_of_the_vehicle_become_those_of_its_camera(tmp_path):
    path, steps = turning_drive(tmp_path / "bag", None)
    review = judge(path, moved(steps))
    (drive,) = review.drives
    np.testing.assert_allclose(drive.true_steps, steps, atol=1e-9)
    scores = values(review)
    assert scores["translation error, metric"] == pytest.approx(0, abs=1e-6)
    assert scores["rotation error"] == pytest.approx(0, abs=1e-5)
    assert review.result.notes == []
    assert "/odom, the poses of 'base_link', brought to 'camera_optical_frame' by /tf_static." in review.result.protocol


def test_without_tf_static_the_vehicle_is_taken_for_the_camera_and_that_is_said(tmp_path):
    path, steps = turning_drive(tmp_path / "bag", None)
    with BagReader(path) as bag, BagWriter(tmp_path / "bare") as bare:
        for topic, stamp, msgtype, data in bag.raw_messages():
            if topic != "/tf_static":
                bare.write_raw(topic, msgtype, data, stamp)
    review = judge(tmp_path / "bare", moved(steps))
    (drive,) = review.drives
    bodies = [body_pose(0.9 * i, 0.15 * i, 0.05 * i * i) for i in range(2)]
    ahead = np.eye(4)
    ahead[:3, :3] = BODY_FROM_OPTICAL
    np.testing.assert_allclose(drive.true_steps[0], np.linalg.inv(bodies[0] @ ahead) @ bodies[1] @ ahead, atol=1e-9)
    assert values(review)["rotation error"] > 1
    (note,) = review.result.notes
    assert note == (
        "ego_motion: /tf_static does not say where 'camera_optical_frame' is on 'base_link', the body of /odom; it is taken to "
        "be at the body's origin and to look ahead"
    )
    page = render_report(build_page([review], CAMVID_11, {"model": "m"}))
    assert "does not say where" in page and "taken as the camera" in review.result.protocol


def test_odometry_of_the_robot_serves_where_there_is_no_ground_truth(tmp_path):
    """Messages come in any order; one whose quaternion has no direction says nothing of its instant."""
    with BagWriter(tmp_path / "bag") as bag:
        for index, stamp in enumerate((5, 3, 4, 6)):
            fields = odometry(stamp, world_from_camera(stamp), "base_link")
            if stamp == 6:
                fields["pose"]["pose"]["orientation"] = dict.fromkeys("xyzw", 0.0)
            bag.write("/odom", ODOMETRY, fields, START + index)
    with BagReader(tmp_path / "bag") as bag:
        found = read_odometry(bag)
    assert (found.topic, found.track.frame) == ("/odom", "base_link")
    poses = found.camera_poses(START + PERIOD * np.arange(3, 7), "camera_optical_frame")
    np.testing.assert_allclose(poses[:3], [world_from_camera(index) for index in (3, 4, 5)], atol=1e-6)
    assert np.isnan(poses[3, :3, :3]).all()


def test_images_in_gaps_of_the_odometry_are_counted(tmp_path):
    """Odometry that is silent for 0.6 s, with images at 10 Hz."""
    poses = [body_pose(0.5 * i) for i in (*range(5), *range(11, 16))]
    times = [START + i * PERIOD for i in (*range(5), *range(11, 16))]
    write_drive(tmp_path / "bag", range(0, 64, 4), poses=poses, pose_stamps=times, mount=MOUNT)
    review = judge(tmp_path / "bag", moved([STEP] * 15))
    assert [len(drive.steps) for drive in review.drives] == [4, 4]
    assert review.result.notes == ["6 of 16 images have no pose: /odom begins late, ends early or pauses"]


def test_error_colours():
    picture = colorize_error(np.array([[-1.0, 0.0, 0.5, 0.25, np.nan]]), 0.5)[0].tolist()
    assert picture[0] == [40, 80, 200] and picture[1] == [255, 255, 255] and picture[2] == [200, 40, 40]
    assert picture[3] == [228, 148, 148] and picture[4] == [0, 0, 0]


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
    small = encode_image(np.zeros((12, 16, 2), np.float32), "32FC2")
    path = replace(write_bag(tmp_path / "whole", 6), "/camera/gt/flow/image", tmp_path / "bag", small)
    model = tmp_path / "model.safetensors"
    save_bundle(bundle, model)
    written = ["--json", str(tmp_path / "scores.json"), "--report", str(tmp_path / "page")]
    assert main(["evaluate", str(model), "--bag", str(path), "--device", "cpu", *written]) == 0
    content = json.loads((tmp_path / "scores.json").read_text())
    scores = {score["name"]: score["value"] for score in content["suites"][str(path)]["scores"]}
    assert {"depth AbsRel, metric", "translation error, aligned", "rotation error", "ATE, aligned", "semantic mIoU"} <= set(scores)
    printed = capsys.readouterr().out
    note = "/camera/gt/flow/image at 1700000000.000 s: size is 16×12, expected 32×24 as the image"
    assert content["suites"][str(path)]["notes"][0] == note and note in " ".join(printed.split())
    assert f"{scores['depth AbsRel, metric']:.3f}" in printed and "page/report.html" in printed
    assert (tmp_path / "page" / "report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--bag", "a", "--suite", "camvid"], "expected bags or suites"),
        (["--bag", "a", "a"], "names a bag twice"),
        (["--labelled", "a", "--suite", "camvid"], "expected a labelled folder alone"),
        (["--labelled", "a", "--bag", "b"], "expected a labelled folder alone"),
        (["--labels", "camvid_11"], "--labels, --void or --clip is given without --labelled"),
    ],
)
def test_combinations_that_mean_nothing_are_refused(arguments, sentence, capsys):
    assert main(["evaluate", *arguments]) == 2
    assert sentence in capsys.readouterr().err
