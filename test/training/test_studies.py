"""The studies: runs that go on where they stopped, judgements that are kept, tables."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.errors import ConfigError, TrainingError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.training.evaluation.suite import Score, SuiteResult, SuiteSkipped
from geoseg_ros.training.studies import depth_methods, geometry_guidance, runs, segdepth
from geoseg_ros.training.studies.table import Column, Spread, markdown

RECIPE = """
task: self_supervised
steps: 2
crop: [64, 32]
accelerator: cpu
network: {name: monodepth, decoder_widths: [4, 4, 4, 4, 4]}
data:
  drive: {kind: posed_folder, path: drive, batch: 2}
"""


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A posed folder of four frames; returns the recipe that trains on it."""
    rng = np.random.default_rng(0)
    (tmp_path / "drive/images").mkdir(parents=True)
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"drive/images/{i}.png"), rng.integers(0, 256, (32, 64, 3), np.uint8))
    poses = np.tile(np.eye(4)[:3].ravel(), (4, 1))
    poses[:, 11] = np.arange(4)
    np.savetxt(tmp_path / "drive/poses.txt", poses)
    camera = {"fx": 40.0, "fy": 40.0, "cx": 31.5, "cy": 15.5}
    (tmp_path / "drive/intrinsics.json").write_text(json.dumps(camera))
    (tmp_path / "small.yaml").write_text(RECIPE)
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return str(tmp_path / "small.yaml")


def refuse(*_, **__):
    raise AssertionError("a process was started")


def test_a_run_is_trained_once_and_never_mixed_with_another(drive, tmp_path, monkeypatch):
    model = runs.train_to_end(drive, ["seed=3"], tmp_path / "run", processes=1)
    provenance = load_bundle(model).provenance
    assert provenance["steps"] == 2 and provenance["recipe"]["seed"] == 3
    monkeypatch.setattr(runs.subprocess, "Popen", refuse)
    assert runs.train_to_end(drive, ["seed=3"], tmp_path / "run", processes=1) == model
    with pytest.raises(ConfigError, match="holds a run with another seed"):
        runs.train_to_end(drive, ["seed=4"], tmp_path / "run", processes=1)


class Process:
    """Stands in for the training process; notes its command line."""

    def __init__(self, command, env, code=0):
        self.code = code
        type(self).command, type(self).threads = command, env["OMP_NUM_THREADS"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def wait(self):
        return self.code


def test_an_interrupted_run_goes_on_in_as_many_processes(drive, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(RECIPE)
    monkeypatch.setattr(runs.subprocess, "Popen", Process)
    assert runs.train_to_end(drive, [], tmp_path / "run", processes=2) == tmp_path / "run/bundle.safetensors"
    assert Process.command[-1] == "--resume" and Process.threads == "1"
    at = Process.command.index("--nproc-per-node")
    assert Process.command[at + 1] == "2"
    monkeypatch.setattr(runs.subprocess, "Popen", lambda command, env: Process(command, env, code=9))
    with pytest.raises(TrainingError, match="exit code 9; its log is .*log.txt"):
        runs.train_to_end(drive, [], tmp_path / "run", processes=1)


def test_a_judgement_is_kept_until_model_or_question_change(tmp_path, monkeypatch):
    asked = []

    def suite(name, bench):
        asked.append((name, bench.limit))
        if name == "camvid":
            raise SuiteSkipped("no semantics")
        return SuiteResult(1, [Score("a", 0.5), Score("b", math.nan)])

    monkeypatch.setattr(runs, "run_suite", suite)
    weights = create_network("monodepth").state_dict()
    model = tmp_path / "bundle.safetensors"
    save_bundle(Bundle("monodepth", {}, CAMVID_11, (64, 32), weights=weights), model)
    expected = {"kitti00": {"a": 0.5, "b": None}}
    for _ in range(2):
        assert runs.judge(model, ["kitti00", "camvid"], Path(), 7, tmp_path / "run") == expected
    assert asked == [("kitti00", 7), ("camvid", 7)]
    assert json.loads((tmp_path / "run/scores.json").read_text())["skipped"] == {"camvid": "no semantics"}
    runs.judge(model, ["kitti00", "camvid"], Path(), None, tmp_path / "run")
    assert len(asked) == 4
    save_bundle(Bundle("monodepth", {}, CAMVID_11, (32, 32), weights=weights), model)
    runs.judge(model, ["kitti00", "camvid"], Path(), None, tmp_path / "run")
    assert len(asked) == 6


def test_tables_in_markdown():
    columns = [Column("AbsRel", "streets", "rel"), Column("ATE m", "drive", "ate", 1)]
    assert columns[0].of({"streets": {"rel": 0.25}}) == 0.25
    assert all(math.isnan(columns[1].of(scores)) for scores in ({}, {"drive": {}}, {"drive": {"ate": None}}))
    rows = {"first": [0.1234, math.nan], "second": [Spread(0.5, 0.25), Spread(2.0, math.nan)]}
    assert markdown(columns, rows, "method").splitlines() == [
        "| method | AbsRel | ATE m |",
        "|---|---:|---:|",
        "| first | 0.123 | – |",
        "| second | 0.500 ± 0.250 | 2.0 |",
    ]
    assert Spread.over([1.0, 3.0]) == Spread(2.0, math.sqrt(2))
    assert math.isnan(Spread.over([1.0]).std)


def test_the_segdepth_study_runs_both_variants_with_every_seed(tmp_path, monkeypatch, capsys):
    trained = []

    def train(recipe, overrides, folder, processes):
        trained.append((recipe, folder.name, "loss.boundary=0.0" in overrides, overrides[-1]))
        return folder / "bundle.safetensors"

    def judge(model, suites, data, frames, folder):
        assert folder == model.parent
        rel = 0.3 if "without" in model.parent.name else 0.27
        return {"synthetic": {segdepth.ABS_REL: rel + 0.01 * int(model.parent.name[-1])}}

    monkeypatch.setattr(segdepth, "train_to_end", train)
    monkeypatch.setattr(segdepth, "judge", judge)
    out = tmp_path / "study"
    assert segdepth.main(["--out", str(out), "--data", str(tmp_path), "--seeds", "2", "--set", "steps=3"]) == 0
    assert trained == [
        ("segdepth", f"{variant}_seed{seed}", variant == "without", f"seed={seed}")
        for seed in range(2) for variant in ("without", "with")
    ]  # fmt: skip
    text = capsys.readouterr().out
    assert "| without L_b | 0.305 ± 0.007 |" in text and "| with L_b | 0.275 ± 0.007 |" in text
    assert "| change | -9.8 % | – |" in text and "−4.2 %" in text
    assert (out / "table.md").read_text() == text.rstrip("\n") + "\n"
    assert json.loads((out / "table.json").read_text())["seeds"] == 2


def test_the_depth_study_lists_methods_and_learned_cameras(tmp_path, monkeypatch, capsys):
    weights = create_network("monodepth", {"decoder_widths": [4] * 5}).state_dict()
    camera = {"fx": 233.4, "fy": 240.1, "tolerance": {"fx": 12.4, "fy": None}, "verdict": "weak: fy"}

    started_from_nothing = []

    def train(recipe, overrides, folder, processes):
        if "init=null" in overrides:
            started_from_nothing.append((recipe, folder.name, overrides[-1]))
        folder.mkdir()
        provenance = {"learned_camera": camera} if recipe == "learned_intrinsics" else {}
        bundle = Bundle("monodepth", {}, CAMVID_11, (64, 32), provenance=provenance, weights=weights)
        save_bundle(bundle, folder / "bundle.safetensors")
        return folder / "bundle.safetensors"

    monkeypatch.setattr(depth_methods, "train_to_end", train)
    scale = {"_seed0": 1.01, "_seed1": 1.03, " model": 1.0}
    monkeypatch.setattr(depth_methods, "judge", lambda *question: {"kitti00": {depth_methods.SCALE: scale[question[-1].name[-6:]]}})
    assert depth_methods.main(["--out", str(tmp_path / "study"), "--data", str(tmp_path), "--seeds", "2"]) == 0
    text = capsys.readouterr().out
    for row in ("installed model", *depth_methods.METHODS):
        assert f"| {row} | – |" in text
    assert text.count(" | 1.020 ± 0.014 | ") == len(depth_methods.METHODS) and text.count(" | 1.000 | ") == 1
    folder = "monodepth2_posenet_from_nothing_seed"
    assert started_from_nothing == [("monodepth2_posenet", f"{folder}{seed}", f"seed={seed}") for seed in range(2)]
    assert "learned_intrinsics: fx 233.4 ± 12, fy 240.1 ± ∞ pixels (weak: fy)" in text
    record = json.loads((tmp_path / "study/table.json").read_text())
    assert [run["learned_camera"] for run in record["methods"]["learned_intrinsics"]] == [camera, camera]


def test_the_depth_study_says_what_driving_straight_on_scores(tmp_path):
    """A drive that turns by 2° on each metre: straight on misses all of that rotation; without a unit it has no scale."""
    step = np.eye(4)
    step[:3, :3] = cv2.Rodrigues(np.array([0.0, math.radians(2), 0.0]))[0]
    step[2, 3] = 1.0
    poses = [np.eye(4)]
    for _ in range(811):
        poses.append(poses[-1] @ step)
    (tmp_path / "kitti00_color").mkdir()
    np.savetxt(tmp_path / "kitti00_color/poses.txt", np.stack(poses)[:, :3].reshape(-1, 12))
    scores = depth_methods.straight_on_scores(tmp_path)
    assert scores.keys() == {"kitti00"} and depth_methods.SCALE not in scores["kitti00"]
    assert scores["kitti00"]["rotation error"] == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "nowhere"], "error: the data folder nowhere does not exist"),
        (["--data", ".", "--processes", "0"], "error: processes is 0, expected at least 1"),
        (["--data", ".", "--seeds", "0"], "error: seeds is 0, expected at least 1"),
    ],
)
@pytest.mark.parametrize("study", [depth_methods, geometry_guidance, segdepth])
def test_arguments_that_mean_nothing_end_every_study(study, arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert study.main(arguments) == 1
    assert capsys.readouterr().err == f"{sentence}\n"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_study_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def train(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(depth_methods, "train_to_end", train)
    monkeypatch.chdir(tmp_path)
    assert depth_methods.main(["--data", "."]) == 1
    assert "the same command goes on from here" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["depth_methods"]
