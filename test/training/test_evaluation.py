"""``geoseg evaluate``: each suite's protocol on small made-up data, with pipelines whose scores are known."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.commands import evaluate
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.perception import Perception
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.evaluation import depth, egomotion, flow, motion, report, semantics
from geoseg_ros.training.evaluation.suite import Bench, Score, SuiteResult, SuiteSkipped
from geoseg_ros.training.evaluation.suites import SUITES, run_suite
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.semantics import ConfusionMatrix


def plain(items: Iterable, total: int, description: str) -> Iterator:
    return iter(items)


class Told:
    """Answers its n-th step with ``answers[n]``, as a pipeline would; notes what it was given."""

    labels = CAMVID_11

    def __init__(self, answers: list[dict]) -> None:
        self.answers = answers
        self.asked: list[tuple[PinholeCamera | None, int, Collection[str]]] = []
        self.resets = 0
        self._step = 0

    def reset(self) -> None:
        self.resets += 1

    def step(
        self, image: np.ndarray, camera: PinholeCamera | None, stamp: int, outputs: Collection[str]
    ) -> Perception:
        self.asked.append((camera, stamp, outputs))
        answer = self.answers[self._step]
        self._step += 1
        return Perception(stamp=stamp, image=image, camera=camera, **answer)


def bench(pipeline: object, data: Path, limit: int | None = None) -> Bench:
    return Bench(pipeline, data, limit, plain)


def values(result: SuiteResult) -> dict[str, float]:
    return {score.name: score.value for score in result.scores}


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    torch.manual_seed(0)
    network = create_network("perception", {"encoder": "lite"})
    return Bundle("perception", {"encoder": "lite"}, CAMVID_11, (64, 64), weights=network.state_dict())


def camvid_folder(root: Path, frames: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(frames):
        write(root / "camvid/val/images" / f"f_{i:03d}.png", noise(i))
        labels = rng.integers(0, 12, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        write(root / "camvid/val/labels" / f"f_{i:03d}.png", labels)


def test_camvid_equals_the_metric_on_the_pipelines_labels(tmp_path, bundle):
    camvid_folder(tmp_path, 3)
    result = run_suite("camvid", bench(Pipeline(bundle, device="cpu"), tmp_path))
    direct, matrix = Pipeline(bundle, device="cpu"), ConfusionMatrix(11)
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
    assert (camera.fx, camera.cx, stamp, outputs) == (5.0, 2.5, 400_000_000, {"ego_motion"})

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


def test_score_verdicts():
    assert Score("a", 0.5, bar=0.5, higher=True).passed is True
    assert Score("a", 0.4, bar=0.5, higher=True).passed is False
    assert Score("a", 0.4, bar=0.5).passed is True
    assert Score("a", math.nan, bar=0.5).passed is False
    assert Score("a", 0.4).passed is None


def test_tables_and_record(tmp_path):
    results = {
        "good": SuiteResult(
            3, [Score("mIoU", 0.5, bar=0.4, higher=True, note="11 classes")], {"Car": 0.25}, "How."
        ),
        "bad [2]": SuiteResult(
            2, [Score("error", 12.34, "%", bar=10.0), Score("nothing", math.nan)], {"Car": math.nan}
        ),
    }
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    report.print_results(console, "model [x]", results)
    text = console.export_text()
    for expected in (
        "model [x]",
        "good, 3 frames",
        "bad [2], 2 frames",
        "≥ 0.400",
        "pass",
        "12.3 %",
        "≤ 10.0 %",
        "fail",
        "0.250",
        "–",
    ):
        assert expected in text
    assert not report.bars_met(results)
    assert report.bars_met({"good": results["good"]})

    path = tmp_path / "scores.json"
    report.write_json(
        report.record(results, {"gone": "absent"}, Path("m"), {"metric": True}), path
    )
    content = json.loads(path.read_text())
    assert content["suites"]["bad [2]"]["scores"][1]["value"] is None
    assert content["suites"]["good"]["per_class_iou"] == {"Car": 0.25}
    assert content["suites"]["good"]["protocol"] == "How."
    assert content["skipped"] == {"gone": "absent"}
    assert int(content["machine"]["cores"]) >= 1
    assert {"date", "command", "git_commit", "model_provenance"} <= set(content)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="cannot be written"):
        report.write_json(content, tmp_path / "no" / "scores.json")


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    return evaluate.run(parser.parse_args(list(arguments)))


def test_the_command_judges_what_is_there_and_names_what_is_not(tmp_path, bundle, capsys):
    camvid_folder(tmp_path, 2)
    model, scores = tmp_path / "model.safetensors", tmp_path / "scores.json"
    save_bundle(bundle, model)
    arguments = [
        str(model),
        "--data",
        str(tmp_path),
        "--suite",
        "camvid",
        "--suite",
        "davis",
        "--json",
        str(scores),
    ]
    code = command(*arguments, "--device", "cpu", "--save-scores")
    text = capsys.readouterr().out
    content = json.loads(scores.read_text())
    value = content["suites"]["camvid"]["scores"][0]["value"]
    assert code == (0 if value >= 0.45 else 1)
    assert f"{value:.3f}" in text
    assert "davis skipped:" in text
    saved = load_bundle(model)
    assert saved.scores["camvid"] == {score["name"]: score["value"] for score in content["suites"]["camvid"]["scores"]}
    assert saved.weights.keys() == bundle.weights.keys()
    assert content["skipped"] == {"davis": f"{tmp_path / 'davis_moving_objects'} is absent"}


def test_the_command_refuses_nonsense_with_a_sentence(tmp_path, bundle):
    model = tmp_path / "model.safetensors"
    save_bundle(bundle, model)
    with pytest.raises(ConfigError, match="suite is 'kitti', expected one of synthetic, camvid"):
        command(str(model), "--suite", "kitti")
    with pytest.raises(ConfigError, match="frames is 2, expected at least 5"):
        command(str(model), "--frames", "2")
    with pytest.raises(ConfigError, match="no suite could run: .*camvid is absent"):
        command(str(model), "--data", str(tmp_path), "--suite", "camvid")
    with pytest.raises(ConfigError, match="the report's folder .* does not exist"):
        command(str(model), "--json", str(tmp_path / "no" / "scores.json"))


def test_a_suite_with_nothing_to_judge_says_so(tmp_path):
    drive_folder(tmp_path, 803, np.eye(4))
    still = {"ego_motion": SimpleNamespace(previous_from_current=np.eye(4))}
    with pytest.raises(NothingToJudge, match="no snippet of 5 frames"):
        run_suite("kitti00", bench(Told([still] * 3), tmp_path))


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.folder])
def test_each_real_suite_runs_on_the_real_data(name, bundle):
    data = Path(__file__).resolve().parents[3] / "shared" / "data"
    if not (data / SUITES[name].folder).is_dir():
        pytest.skip(f"{data / SUITES[name].folder} is absent")
    limit = 14 if name == "kitti07" else 5  # kitti07 starts standing
    result = run_suite(name, bench(Pipeline(bundle, device="cpu"), data, limit))
    assert result.frames > 0
    assert all(math.isfinite(score.value) for score in result.scores)
    assert result.protocol
