"""The benchmark's numbers agree with each other, and its JSON with what it measured."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import pytest

from geoseg_ros.benchmark import NodeTimes, Times, scene, scene_camera, time_pipeline
from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.cli import main
from geoseg_ros.commands.benchmark import _size
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.pipeline import Pipeline

WIDTH, HEIGHT = 160, 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = create_network("perception", {})
    save_bundle(Bundle("perception", {}, CAMVID_11, (WIDTH, HEIGHT), weights=network.state_dict()), path)
    return path


def test_stage_times_add_up_to_the_step(model: Path) -> None:
    times = time_pipeline(Pipeline(model, device="cpu"), WIDTH, HEIGHT, 0.3)
    assert times.frames >= 1 and times.rate == pytest.approx(1 / times.total.p50, rel=1.0)
    assert {"rectify", "resize", "network", "ego_motion", "motion"} <= times.stages.keys()
    assert all(0 <= stage.p50 <= stage.p99 <= times.total.p99 * 1.01 for stage in times.stages.values())
    assert (
        max(stage.p50 for stage in times.stages.values())
        < times.total.p50
        < sum(s.p99 for s in times.stages.values()) * 1.2
    )


def test_frames_of_the_scene_differ_by_a_shift() -> None:
    first, second = scene(WIDTH, HEIGHT, 0), scene(WIDTH, HEIGHT, 1)
    assert first.shape == (HEIGHT, WIDTH, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first[:, 4:], second[:, :-4])
    assert scene_camera(WIDTH, HEIGHT).width == WIDTH and not scene_camera(WIDTH, HEIGHT).is_distorted


def test_overhead_is_age_beyond_the_step() -> None:
    node = NodeTimes(50, 50, 10.0, 10.0, Times(0.07, 0.09), Times(0.05, 0.06), Times(0.06, 0.08), {})
    assert node.overhead(Times(0.05, 0.06)) == pytest.approx(0.02) and node.keeps_up
    assert not NodeTimes(50, 40, 10.0, 8.0, *[Times(0.1, 0.2)] * 3, {}).keeps_up


@pytest.mark.parametrize(
    "text", ["640", "x192", "640x", "640x192x3", "-640x192", "16x16", "640×", "9999999x10"]
)
def test_a_wrong_size_is_an_error(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected WIDTHxHEIGHT"):
        _size(text)
    assert _size("640x192") == (640, 192)


def test_json_of_the_pipeline_alone(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = [
        "benchmark",
        "--model",
        str(model),
        "--size",
        f"{WIDTH}x{HEIGHT}",
        "--seconds",
        "0.1",
        "--no-node",
    ]
    assert main([*arguments, "--json", str(tmp_path / "b.json")]) == 0
    results = json.loads((tmp_path / "b.json").read_text())
    assert [file.name for file in tmp_path.iterdir()] == ["b.json"]
    assert (
        results["size"] == [WIDTH, HEIGHT]
        and results["node"] is None
        and results["device"] in ("cpu", "cuda")
    )
    assert results["machine"]["cores"].isdecimal() and results["date"].endswith("UTC") and results["command"]
    step = results["pipeline"]["total"]["p50"]
    assert f"{step * 1e3:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, problem",
    [
        (["--seconds", "0"], "--seconds is 0.0"),
        (["--rate", "nan"], "--rate is nan"),
        (["--model", "/nowhere.safetensors"], "/nowhere.safetensors does not exist"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["benchmark", "--no-node", *arguments]) == 2
    assert problem in capsys.readouterr().err


def test_node_times_over_dds(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    arguments = [
        "benchmark",
        "--model",
        str(model),
        "--size",
        f"{WIDTH}x{HEIGHT}",
        "--seconds",
        "2",
        "--rate",
        "5",
        "--node",
    ]
    assert main([*arguments, "--json", str(tmp_path / "b.json")]) == 0
    results = json.loads((tmp_path / "b.json").read_text())
    node = results["node"]
    assert node["published"] == 10 and 0 < node["answered"] <= 10
    assert node["answered"] + sum(node["drops"].values()) <= node["published"]
    assert 0 < node["inference"]["p50"] <= node["inside"]["p50"] <= node["age"]["p99"]
    assert math.isclose(node["overhead"], node["age"]["p50"] - results["pipeline"]["total"]["p50"])
