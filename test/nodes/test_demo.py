"""``geoseg demo`` end to end over real DDS: a tiny street through the node, and a clean end on Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("embreex")

import torch
from living_processes import processes_with, wait_until

from geoseg_ros.arrivals import read_arrivals
from geoseg_ros.bags import BagReader
from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.messages import OUTPUTS
from geoseg_ros.networks import create_network

WIDTH, HEIGHT, FRAMES = 160, 64, 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file with random weights, for tiny images."""
    torch.manual_seed(0)
    network = create_network("perception", {})
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_bundle(Bundle("perception", {}, CAMVID_11, (WIDTH, HEIGHT), weights=network.state_dict()), path)
    return path


def start(token: str, *arguments: str) -> subprocess.Popen:
    environment = {**os.environ, "GEOSEG_TEST": token, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "geoseg_ros.cli", "demo", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def demo(model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the standard output of a demo of a two-second street."""
    out, token = tmp_path_factory.mktemp("demo") / "out", str(uuid.uuid4())
    process = start(
        token, "--seconds", "2", "--size", f"{WIDTH}x{HEIGHT}", "--model", str(model), "--out", str(out)
    )
    text, problems = process.communicate(timeout=240)
    assert process.returncode == 0, text + problems
    assert processes_with(token) == []
    assert [entry.name for entry in out.parent.iterdir()] == ["out"]
    return out, text


def test_all_output_topics_are_recorded_with_stamps_of_the_street(demo: tuple[Path, str]) -> None:
    out, _ = demo
    with BagReader(out / "street") as street:
        sent = {
            message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            for *_, message in street.messages(["/camera/image_raw"])
        }
    assert len(sent) == FRAMES
    with BagReader(out / "outputs") as outputs:
        assert {f"/geoseg/{topic}" for topic in OUTPUTS if topic != "depth/points"} <= outputs.topics.keys()
        answered = set()
        for *_, message in outputs.messages(["/geoseg/depth/image"]):
            assert (message.width, message.height, message.encoding) == (WIDTH, HEIGHT, "32FC1")
            answered.add(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
    assert answered and answered <= sent
    points = read_arrivals(out / "arrivals.csv")["/geoseg/depth/points"]
    assert set(points.stamp.tolist()) == answered and points.bytes.min() > WIDTH * HEIGHT * 16


def test_report_video_and_table_agree(demo: tuple[Path, str]) -> None:
    out, text = demo
    page = (out / "report.html").read_text(encoding="utf-8")
    rate = re.search(r"Output rate\s+([\d.]+) Hz", text)[1]
    score = re.search(r"Depth AbsRel\s+([\d.]+)", text)[1]
    answered, published = re.search(r"Images answered\s+(\d+) of (\d+)", text).groups()
    assert int(published) == FRAMES and 0 < int(answered) <= FRAMES
    for value in (rate, score):
        assert f'<div class="value">{value}<' in page
    assert page.count("true depth") >= 1 and "simulated street (seed 3)" in page
    assert (out / "demo.webm").stat().st_size > 0
    assert {"perception_node.log", "bag_player.log", "bag_recorder.log"} <= {
        file.name for file in (out / "log").iterdir()
    }


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_while_playing_it_leaves_nothing(
    demo: tuple[Path, str], model: Path, tmp_path: Path, number: int, code: int
) -> None:
    token = str(uuid.uuid4())
    process = start(
        token,
        str(demo[0] / "street"),
        "--rate",
        "0.01",
        "--model",
        str(model),
        "--out",
        str(tmp_path / "out"),
    )
    wait_until(lambda: list(tmp_path.glob(".out.*/log/bag_player.log")) or process.poll() is not None, 120)
    assert len(processes_with(token)) == 4
    process.send_signal(number)
    _, problems = process.communicate(timeout=60)
    assert process.returncode == code, problems
    assert "Traceback" not in problems
    assert processes_with(token) == []
    assert list(tmp_path.iterdir()) == []


def test_a_node_that_cannot_start_shows_its_last_lines(
    demo: tuple[Path, str], model: Path, tmp_path: Path
) -> None:
    process = start(
        str(uuid.uuid4()),
        str(demo[0] / "street"),
        "--device",
        "toaster",
        "--model",
        str(model),
        "--out",
        str(tmp_path / "out"),
    )
    _, problems = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "perception_node ended early" in problems and "toaster" in problems
    assert list(tmp_path.iterdir()) == []
