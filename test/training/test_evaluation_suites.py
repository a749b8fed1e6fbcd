"""Each suite's protocol of ``geoseg evaluate``: made-up data and pipelines whose scores are known, and the real data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from suite_data import camvid_folder, noise, untrained_bundle, write
from told_pipeline import Told, plain

from geoseg_ros.bundle import Bundle
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.perception import ALL_OUTPUTS
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.evaluation import depth, egomotion, flow, motion, semantics
from geoseg_ros.training.evaluation.suite import Bench, SuiteResult, SuiteSkipped
from geoseg_ros.training.evaluation.suites import SUITES, run_suite
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.semantics import ConfusionMatrix


def bench(pipeline: object, data: Path, limit: int | None = None) -> Bench:
    return Bench(pipeline, data, limit, plain)


def values(result: SuiteResult) -> dict[str, float]:
    return {score.name: score.value for score in result.scores}


def test_camvid_equals_the_metric_on_the_pipelines_labels(tmp_path):
    camvid_folder(tmp_path, 3)
    result = run_suite("camvid", bench(Pipeline(untrained_bundle(), device="cpu"), tmp_path))
    direct, matrix = Pipeline(untrained_bundle(), device="cpu"), ConfusionMatrix(11)
    for i in range(3):
        label = cv2.imread(str(tmp_path / f"camvid/val/labels/f_{i:03d}.png"), cv2.IMREAD_UNCHANGED)
        label[label == 11] = 255
        image = cv2.cvtColor(noise(i), cv2.COLOR_BGR2RGB)
        matrix.update(direct.step(image, None, i, outputs={"semantic"}).semantic, label)
    scores = values(result)
    assert list(scores) == [
        *("mIoU", "mIoU of categories", "pixel accuracy", "boundary F-score", "calibration error", "temporal consistency"),
    ]
    assert (scores["mIoU"], scores["pixel accuracy"]) == (matrix.mean_iou, matrix.pixel_accuracy)
    assert result.per_class == dict(zip(CAMVID_11.names, matrix.iou, strict=True))
    assert result.frames == 3
    assert result.scores[0].bar == 0.45
    assert result.protocol.startswith("CamVid val")


def test_camvid_is_skipped_for_other_labels(tmp_path):
    camvid_folder(tmp_path, 1)
    pipeline = Told([])
    pipeline.labels = SimpleNamespace(names=("a", "b"))
    with pytest.raises(SuiteSkipped, match="the model predicts a, b; expected Sky"):
        semantics.camvid(bench(pipeline, tmp_path))


@pytest.mark.parametrize(
    "suite, missing", [("camvid", "semantics"), ("flow_middlebury", "flow"), ("davis", "motion")]
)
def test_a_suite_is_skipped_where_the_model_does_not_give_its_output(suite, missing, tmp_path):
    """As a model does that has learned depth and ego-motion alone."""
    camvid_folder(tmp_path, 1)
    for name in ("RubberWhale", "Venus"):
        folder = tmp_path / "flow_middlebury" / name
        write(folder / "frame10.png", noise(0))
        write(folder / "frame11.png", noise(1))
        np.savez(folder / "flow10.npz", flow=np.zeros((48, 64, 2), np.float32), valid=np.ones((48, 64), bool))
    for name in motion.SEQUENCES:
        for i in range(2):
            write(tmp_path / "davis_moving_objects" / name / "images" / f"{i:05d}.png", noise(i))
            write(tmp_path / "davis_moving_objects" / name / "masks" / f"{i:05d}.png", np.zeros((48, 64), np.uint8))
    weights = create_network("monodepth").state_dict()
    pipeline = Pipeline(Bundle("monodepth", {}, CAMVID_11, (64, 64), weights=weights), device="cpu")
    with pytest.raises(SuiteSkipped, match=f"the model gives no {missing}"):
        run_suite(suite, bench(pipeline, tmp_path))


def drive_folder(root: Path, frames: int, first_world: np.ndarray) -> list[np.ndarray]:
    """KITTI-like folder; returns the true steps of its frames from 800 on."""
    world = [first_world]
    rng = np.random.default_rng(1)
    for _ in range(frames - 1):
        step = np.eye(4)
        step[:3, :3] = cv2.Rodrigues(rng.normal(0, 0.02, 3))[0]
        step[:3, 3] = rng.normal(0, 0.05, 3) + (0, 0, 1)
        world.append(world[-1] @ step)
    folder = root / "kitti00_color"
    for i in range(frames):
        write(folder / "images" / f"{i:06d}.png", np.full((4, 6, 3), i % 256, np.uint8))
    np.savetxt(folder / "poses.txt", np.stack(world)[:, :3].reshape(frames, 12), fmt="%.12e")
    camera = {"fx": 5.0, "fy": 5.0, "cx": 2.5, "cy": 1.5, "width": 6, "height": 4}
    (folder / "intrinsics.json").write_text(json.dumps(camera))
    return [np.linalg.inv(world[i - 1]) @ world[i] for i in range(801, frames)]


def test_kitti00_judges_the_held_out_frames_in_the_right_direction(tmp_path):
    start = np.eye(4)
    start[:3, :3] = cv2.Rodrigues(np.array([0.1, 1.0, -0.2]))[0]
    steps = drive_folder(tmp_path, 812, start)
    scaled = [step.copy() for step in steps]
    for step in scaled:
        step[:3, 3] *= 0.8
    told = Told([{}] + [{"ego_motion": SimpleNamespace(previous_from_current=step)} for step in scaled])
    result = egomotion.kitti00(bench(told, tmp_path))
    scores = values(result)
    assert result.frames == 12
    assert scores["translation error, aligned"] == pytest.approx(0, abs=1e-6)
    assert scores["translation error, metric"] == pytest.approx(20, abs=0.5)
    assert scores["rotation error"] == pytest.approx(0, abs=1e-6)
    assert [score.bar for score in result.scores].count(10.0) == 1
    camera, stamp, outputs = told.asked[3]
    assert (camera.fx, camera.cx, stamp, outputs) == (5.0, 2.5, 400_000_000, ALL_OUTPUTS)

    inverse = Told(
        [{}] + [{"ego_motion": SimpleNamespace(previous_from_current=np.linalg.inv(s))} for s in steps]
    )
    assert values(egomotion.kitti00(bench(inverse, tmp_path)))["translation error, aligned"] > 50
    still = {"ego_motion": SimpleNamespace(previous_from_current=np.eye(4))}
    for answers in ([{}] * 6 + [still] * 6, [still] * 12):
        scores = values(egomotion.kitti00(bench(Told(answers), tmp_path)))
        assert scores["translation error, metric"] == pytest.approx(100, abs=1)


def test_suites_are_skipped_for_a_model_of_semantics_alone(tmp_path):
    drive_folder(tmp_path, 806, np.eye(4))
    with pytest.raises(SuiteSkipped, match="the model gives no ego-motion"):
        run_suite("kitti00", bench(Told([{}] * 6), tmp_path))
    folder = tmp_path / "7scenes_redkitchen_rgbd"
    write(folder / "images/0.png", noise(0))
    write(folder / "depth/0.png", np.full((48, 64), 1000, np.uint16))
    (folder / "intrinsics.json").write_text(json.dumps({"fx": 40.0, "fy": 40.0, "cx": 31.5, "cy": 23.5}))
    with pytest.raises(SuiteSkipped, match="the model gives no depth"):
        run_suite("7scenes", bench(Told([{}]), tmp_path))


def test_depth_suites_shrink_scale_and_leave_unknown_out(tmp_path):
    rng = np.random.default_rng(2)
    for i in range(9):
        truth = rng.integers(1000, 6000, (12, 16), dtype=np.uint16)
        truth[0] = 0
        write(tmp_path / "7scenes_redkitchen_rgbd/depth" / f"{i}.png", truth)
        write(tmp_path / "7scenes_redkitchen_rgbd/images" / f"{i}.png", noise(i, 24, 32))
    camera = {"fx": 30.0, "fy": 30.0, "cx": 15.5, "cy": 11.5, "width": 32, "height": 24}
    (tmp_path / "7scenes_redkitchen_rgbd/intrinsics.json").write_text(json.dumps(camera))

    def answer(i: int) -> dict:
        path = tmp_path / "7scenes_redkitchen_rgbd/depth" / f"{i}.png"
        metres = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000
        return {"depth": 1.5 * metres.repeat(2, 0).repeat(2, 1)}

    told = Told([answer(0), answer(8)])
    result = depth.seven_scenes(bench(told, tmp_path))
    assert result.frames == told.resets == 2, "every 8th frame, each on its own"
    assert values(result)["depth AbsRel, median-scaled"] == pytest.approx(0, abs=1e-6)
    assert values(result)["depth AbsRel, metric"] == pytest.approx(0.5, abs=1e-6)
    assert values(result)["depth δ < 1.25, median-scaled"] == 1.0


def test_depth_dgp_reads_units_and_each_images_camera(tmp_path):
    folder = tmp_path / "depth_dgp"
    for i in range(2):
        write(folder / f"s{i}.jpg", noise(i, 8, 8))
        write(folder / f"s{i}_depth.png", np.full((8, 8), 256 * (10 + i), np.uint16))
        camera = {"fx": 10.0 + i, "fy": 10.0, "cx": 3.5, "cy": 3.5, "width": 8, "height": 8}
        (folder / f"s{i}.json").write_text(json.dumps(camera))
    told = Told([{"depth": np.full((8, 8), 11.0, np.float32)}] * 2)
    result = depth.depth_dgp(bench(told, tmp_path))
    assert values(result)["depth AbsRel, metric"] == pytest.approx(0.05)
    assert [camera.fx for camera, _, _ in told.asked] == [10.0, 11.0]
    write(folder / "s1_depth.png", np.zeros((8, 8), np.uint8))
    with pytest.raises(ConfigError, match=r"s1_depth.png is uint8 \(8, 8\), expected 16 bits"):
        depth.depth_dgp(bench(Told([{"depth": np.ones((8, 8))}] * 2), tmp_path))


def shifted_pair(shift: int) -> tuple[np.ndarray, np.ndarray]:
    """(current, previous): the scene moves ``shift`` pixels to the right from previous to current."""
    scene = cv2.resize(noise(3, 20, 30), (160, 96), interpolation=cv2.INTER_CUBIC)
    return scene[:, 20 - shift : 140 - shift].copy(), scene[:, 20:140].copy()


def test_flow_signs_of_pipeline_and_dis(tmp_path):
    current, previous = shifted_pair(4)
    truth = np.zeros((*current.shape[:2], 2), np.float32)
    truth[..., 0] = -4.0
    assert np.median(flow.dis_flow(current, previous)[..., 0]) == pytest.approx(-4.0, abs=0.2)
    published = np.zeros_like(truth)
    published[..., 0] = 4.0
    for name in ("RubberWhale", "Venus"):
        folder = tmp_path / "flow_middlebury" / name
        write(folder / "frame10.png", current)
        write(folder / "frame11.png", previous)
        np.savez(folder / "flow10.npz", flow=truth, valid=np.ones(truth.shape[:2], bool))
    told = Told([{}, {"flow": published}] * 2)
    result = flow.flow_middlebury(bench(told, tmp_path))
    assert values(result)["flow EPE"] == 0.0
    assert values(result)["flow EPE of OpenCV DIS"] < 1.0
    assert told.asked[0][0] is None


def test_the_flow_bar_is_a_share_of_dis():
    model, dis = flow.FlowMetric(), flow.FlowMetric()
    truth = np.zeros((2, 2, 2))
    model.update(truth + (1.0, 0.0), truth)
    dis.update(truth + (3.0, 0.0), truth)
    score = flow.flow_table(model, dis, share_of_dis=0.5)[0]
    assert (score.value, score.bar, score.passed) == (1.0, 1.5, True)


def test_davis_counts_recall_on_the_object_from_the_second_frame(tmp_path):
    truth = np.zeros((10, 20), np.uint8)
    truth[2:6, 4:12] = 255
    found = np.zeros_like(truth)
    found[2:6, 4:8] = 255
    for name in motion.SEQUENCES:
        for i in range(3):
            write(tmp_path / "davis_moving_objects" / name / "images" / f"{i:05d}.png", noise(i, 10, 20))
            write(tmp_path / "davis_moving_objects" / name / "masks" / f"{i:05d}.png", truth)
    told = Told([{}, {"motion_mask": found}, {"motion_mask": truth}] * 3)
    result = motion.davis(bench(told, tmp_path))
    assert result.frames == 6
    assert values(result)["motion recall on the object"] == pytest.approx(0.75)
    assert values(result)["motion IoU"] == pytest.approx(0.75)
    assert told.asked[0][0].fx == pytest.approx(18.0)


def test_a_suite_with_nothing_to_judge_says_so(tmp_path):
    drive_folder(tmp_path, 803, np.eye(4))
    still = {"ego_motion": SimpleNamespace(previous_from_current=np.eye(4))}
    with pytest.raises(NothingToJudge, match="no snippet of 5 frames"):
        run_suite("kitti00", bench(Told([still] * 3), tmp_path))


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.folder])
def test_each_real_suite_runs_on_the_real_data(name):
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (data / SUITES[name].folder).is_dir():
        pytest.skip(f"{data / SUITES[name].folder} is absent")
    limit = 14 if name == "kitti07" else 5  # kitti07 starts standing
    result = run_suite(name, bench(Pipeline(untrained_bundle(), device="cpu"), data, limit))
    assert result.frames > 0
    assert all(math.isfinite(score.value) for score in result.scores)
    assert result.protocol
