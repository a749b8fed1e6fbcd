"""``geoseg run`` end to end with a small random model: topics, stamps, values, damage, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
import torch
from camera_bags import CAMERA, IMAGE, PERIOD, START, image_fields, picture, write_camera_bag

from geoseg_ros.bags import STORAGES, BagReader, BagWriter
from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.cli import main
from geoseg_ros.frames import open_frames
from geoseg_ros.frames.clips import FIRST_STAMP, VideoFrames
from geoseg_ros.image_messages import decode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.messages import OUTPUTS
from geoseg_ros.networks import create_network
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.trajectory_files import read_trajectory
from geoseg_ros.video import VideoWriter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model file with random weights for 64×64 pixels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    network = create_network("perception", {})
    save_bundle(Bundle("perception", {}, CAMVID_11, (64, 64), weights=network.state_dict()), path)
    return str(path)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    """A model file of a network with semantics alone, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "segmenter.safetensors"
    config = {"encoder": "lite"}
    weights = create_network("bisenet", config).state_dict()
    save_bundle(Bundle("bisenet", config, CAMVID_11, (64, 64), weights=weights), path)
    return str(path)


def read(path) -> dict[str, list]:
    """Messages by topic."""
    found: dict[str, list] = {}
    with BagReader(path) as bag:
        for topic, stamp, _, message in bag.messages():
            found.setdefault(topic, []).append((stamp, message))
    return found


def floats(message, channels: int) -> np.ndarray:
    return message.data.view(np.float32).reshape(message.height, message.width, channels)


@pytest.mark.parametrize("storage", STORAGES)
def test_a_bag_becomes_a_bag_with_the_nodes_topics(tmp_path, model, storage, capsys):
    source = write_camera_bag(tmp_path / "in", frames=4)
    out = tmp_path / "out"
    assert main(["run", str(source), "--out", str(out), "--model", model, "--storage", storage]) == 0
    found = read(out)
    assert set(found) == {f"/geoseg/{topic}" for topic in OUTPUTS} | {"/geoseg/semantic/label_info"}
    for topic, messages in found.items():
        first = 1 if topic.startswith("/geoseg/motion") or topic == "/geoseg/ego_motion" else 0
        frames = range(1) if topic.endswith("label_info") else range(first, 4)
        assert [stamp for stamp, _ in messages] == [START + index * PERIOD for index in frames], topic
        for stamp, message in messages:
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp
            assert message.header.frame_id == "camera_optical_frame"
    with BagReader(out) as bag:
        assert bag.topics["/geoseg/semantic/label_info"].latched
        assert all(bag.topics[f"/geoseg/{topic}"].msgtype == output.type for topic, output in OUTPUTS.items())
    label_info = found["/geoseg/semantic/label_info"][0][1]
    assert [entry.class_name for entry in label_info.class_map] == list(CAMVID_11.names)
    printed = capsys.readouterr().out
    assert "4 in" in printed and "frames/s" in printed and str(out) in printed


def test_the_values_are_the_pipelines(tmp_path, model):
    source = write_camera_bag(tmp_path / "in", frames=3)
    assert (
        main(["run", str(source), "--out", str(tmp_path / "out"), "--model", model, "--device", "cpu"]) == 0
    )
    found = read(tmp_path / "out")
    pipeline = Pipeline(load_bundle(model), device="cpu")
    for index in range(3):
        expected = pipeline.step(picture(index), CAMERA, START + index * PERIOD)
        ids = found["/geoseg/semantic/image"][index][1]
        assert ids.encoding == "mono8" and np.array_equal(ids.data.reshape(48, 64), expected.semantic)
        depth = found["/geoseg/depth/image"][index][1]
        assert depth.encoding == "32FC1"
        assert np.allclose(floats(depth, 1)[..., 0], expected.depth, rtol=1e-4, equal_nan=True)
        flow = floats(found["/geoseg/flow/image"][index][1], 2)
        assert np.isnan(flow).all() if index == 0 else np.allclose(flow, expected.flow, atol=1e-3)
        info = found["/geoseg/depth/camera_info"][index][1]
        assert np.array_equal(info.k.reshape(3, 3), CAMERA.matrix) and (info.width, info.height) == (64, 48)
        assert decode_image(found["/geoseg/depth/color"][index][1]).shape == (48, 64, 3)


def test_only_the_chosen_outputs_are_written(tmp_path, model):
    source = write_camera_bag(tmp_path / "in", frames=2)
    arguments = ["--model", model, "--outputs", "depth/image", "flow"]
    assert main(["run", str(source), "--out", str(tmp_path / "out"), *arguments]) == 0
    assert set(read(tmp_path / "out")) == {"/geoseg/depth/image", "/geoseg/flow/image", "/geoseg/flow/color"}


def test_depth_images_and_the_trajectory_are_the_bags(tmp_path, model, capsys):
    source = write_camera_bag(tmp_path / "in", frames=4)
    written = ["--depth-png", str(tmp_path / "depth"), "--depth-unit", "kitti", "--trajectory", str(tmp_path / "path.tum")]
    arguments = ["--model", model, "--outputs", "depth/image", "ego_motion", *written]
    assert main(["run", str(source), "--out", str(tmp_path / "out"), *arguments]) == 0
    found = read(tmp_path / "out")
    names = sorted((tmp_path / "depth").glob("*.png"))
    assert [path.name for path in names] == [f"1700000000.{index * 100_000_000:09d}.png" for index in range(4)]
    for path, (_, message) in zip(names, found["/geoseg/depth/image"], strict=True):
        counts = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        depth = floats(message, 1)[..., 0]
        near = depth < 255
        np.testing.assert_allclose(counts[near] / 256, depth[near], atol=0.5001 / 256)
        assert (counts[~near & (depth > 256)] == 0).all()
    stamps, poses = read_trajectory(tmp_path / "path.tum")
    assert stamps.tolist() == [START + index * PERIOD for index in range(4)]
    pipeline = Pipeline(load_bundle(model))
    pose = np.eye(4)
    for index in range(4):
        ego = pipeline.step(picture(index), CAMERA, START + index * PERIOD, {"depth", "ego_motion"}).ego_motion
        pose = pose if ego is None else pose @ ego.previous_from_current
        np.testing.assert_allclose(poses[index], pose, rtol=1e-3, atol=1e-4)
    printed = capsys.readouterr().out
    assert "depth" in printed and "path.tum" in printed and "standing still" not in printed


def test_without_calibration_there_are_semantics_and_flow(tmp_path, model, capsys):
    source = write_camera_bag(tmp_path / "in", frames=2, compressed=True, calibrated=False)
    assert main(["run", str(source), "--out", str(tmp_path / "out"), "--model", model]) == 0
    found = set(read(tmp_path / "out"))
    assert found == {f"/geoseg/{name}" for name in OUTPUTS if name.startswith(("semantic", "flow"))} | {
        "/geoseg/semantic/label_info"
    }
    assert "2 frames: no depth" in capsys.readouterr().out


def test_a_video_becomes_a_bag_and_a_video(tmp_path, model):
    with VideoWriter(tmp_path / "film.mp4", 20) as video:
        for index in range(5):
            video.write(picture(index))
    (tmp_path / "film.json").write_text(
        json.dumps({"fx": 60, "fy": 61, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48})
    )
    arguments = [
        "--model",
        model,
        "--video",
        str(tmp_path / "drawn.mp4"),
        "--max-frames",
        "3",
        "--outputs",
        "semantic",
    ]
    assert main(["run", str(tmp_path / "film.mp4"), "--out", str(tmp_path / "out"), *arguments]) == 0
    found = read(tmp_path / "out")
    assert [stamp for stamp, _ in found["/geoseg/semantic/image"]] == [
        FIRST_STAMP + index * 50_000_000 for index in range(3)
    ]
    with VideoFrames(tmp_path / "drawn.mp4") as source:
        frames = [frame.image for frame in source.frames()]
        assert source.fps == pytest.approx(20.0)
    assert len(frames) == 3 and frames[0].shape[1] == 3 * 640
    depth_tile = frames[2][100:400, 1300:1900]
    assert depth_tile.std() > 1 or depth_tile.mean() > 40  # drawn, though not written to the bag


def test_a_folder_of_images_becomes_a_bag(tmp_path, model):
    (tmp_path / "drive").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / "drive" / f"{index}.png"), picture(index))
    arguments = ["--model", model, "--fps", "4", "--outputs", "semantic/image"]
    assert main(["run", str(tmp_path / "drive"), "--out", str(tmp_path / "out"), *arguments]) == 0
    stamps = [stamp for stamp, _ in read(tmp_path / "out")["/geoseg/semantic/image"]]
    assert stamps == [FIRST_STAMP, FIRST_STAMP + 250_000_000]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_damaged_bag_is_processed_up_to_the_damage(tmp_path, model, storage, capsys):
    folder = write_camera_bag(tmp_path / "in", frames=240, storage=storage)
    file = next(file for file in folder.iterdir() if file.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.6)])
    arguments = ["--model", model, "--outputs", "semantic/image"]
    assert main(["run", str(folder), "--out", str(tmp_path / "out"), *arguments]) == 2
    messages = read(tmp_path / "out")["/geoseg/semantic/image"]
    assert len(messages) >= 80
    assert [stamp for stamp, _ in messages] == [START + index * PERIOD for index in range(len(messages))]
    captured = capsys.readouterr()
    assert f"{file} is damaged" in captured.err and "messages were read before the damage" in captured.err
    assert f"{len(messages)} in" in captured.out


def test_single_bad_frames_are_skipped_named_and_counted(tmp_path, model, capsys):
    with BagWriter(tmp_path / "in") as bag:
        for index in range(4):
            fields = image_fields(index)
            if index == 2:
                fields["encoding"] = "cmyk"
            bag.write("/camera/image_raw", IMAGE, fields, START + index * PERIOD)
    arguments = ["--model", model, "--outputs", "semantic/image"]
    assert main(["run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), *arguments]) == 1
    stamps = [stamp for stamp, _ in read(tmp_path / "out")["/geoseg/semantic/image"]]
    assert stamps == [START + index * PERIOD for index in (0, 1, 3)]
    printed = capsys.readouterr().out
    assert "cmyk" in printed and "1 times" in printed


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image", "/nothing"], "no topic /nothing"),
        (["--outputs", "dept"], "output 'dept' is unknown, expected all, semantic, depth"),
        (["--model", "gone.safetensors"], "gone.safetensors"),
        (["--max-frames", "0"], "--max-frames is 0"),
        (["--device", "abacus"], "abacus"),
        (["--video", "film.gif"], "ends in '.gif'"),
        (["--intrinsics", "gone.json"], "gone.json cannot be read"),
        (["--camera-height", "-2"], "camera_height is -2.0 m"),
        (["--trajectory", "path.csv"], "ends in '.csv', expected .tum or .kitti"),
        (["--depth-png", "/nowhere/depth"], "its parent folder does not exist"),
    ],
)
def test_a_wrong_argument_is_named_and_leaves_nothing(tmp_path, model, capsys, arguments, sentence):
    source = write_camera_bag(tmp_path / "in", frames=1)
    defaults = [] if "--model" in arguments else ["--model", model]
    assert main(["run", str(source), "--out", str(tmp_path / "out"), *defaults, *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--outputs", "semantic", "depth/color"], "--outputs depth/color needs depth, expected what the model gives"),
        (["--trajectory", "path.tum"], "--trajectory needs ego_motion"),
        (["--depth-png", "depth"], "--depth-png needs depth"),
    ],
)
def test_what_a_segmenter_cannot_give_is_refused_by_name(tmp_path, segmenter, capsys, arguments, sentence):
    source = write_camera_bag(tmp_path / "in", frames=1)
    assert main(["run", str(source), "--out", str(tmp_path / "out"), "--model", segmenter, *arguments]) == 2
    assert sentence in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]


def test_a_segmenter_writes_its_semantics(tmp_path, segmenter):
    source = write_camera_bag(tmp_path / "in", frames=2)
    assert main(["run", str(source), "--out", str(tmp_path / "out"), "--model", segmenter]) == 0
    found = read(tmp_path / "out")
    semantic = {f"/geoseg/{name}" for name in OUTPUTS if name.startswith("semantic")}
    assert set(found) == semantic | {"/geoseg/semantic/label_info"}
    expected = Pipeline(load_bundle(segmenter)).step(picture(0), CAMERA, START)
    ids = found["/geoseg/semantic/image"][0][1]
    assert np.array_equal(ids.data.reshape(48, 64), expected.semantic)


def test_existing_outputs_are_not_overwritten(tmp_path, model, capsys):
    source = write_camera_bag(tmp_path / "in", frames=1)
    (tmp_path / "film.mp4").write_text("mine")
    assert main(["run", str(source), "--out", str(source), "--model", model]) == 2
    arguments = ["--out", str(tmp_path / "out"), "--model", model, "--video", str(tmp_path / "film.mp4")]
    assert main(["run", str(source), *arguments]) == 2
    assert capsys.readouterr().err.count("exists already") == 2
    assert (tmp_path / "film.mp4").read_text() == "mine" and not (tmp_path / "out").exists()


def test_a_bag_without_a_usable_frame_is_an_error(tmp_path, model, capsys):
    with BagWriter(tmp_path / "in") as bag:
        bag.write("/camera/image_raw", IMAGE, {**image_fields(0), "encoding": "cmyk"}, START)
    assert main(["run", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--model", model]) == 2
    assert "no usable frame on /camera/image_raw" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]


def test_ctrl_c_finishes_the_bag(tmp_path, model, repository):
    """SIGINT in the middle of a run of a separate process: exit code 130, a whole bag, no partial folder."""
    source = write_camera_bag(tmp_path / "in", frames=1000)
    arguments = ["run", str(source), "--out", str(tmp_path / "out"), "--model", model]
    process = subprocess.Popen(
        [sys.executable, "-m", "geoseg_ros.cli", *arguments],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def has_begun() -> bool:
        return any(file.stat().st_size > 10_000 for file in tmp_path.glob(".out.*/out/out.mcap"))

    try:
        _wait_until(has_begun, process)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, output
    assert "the outputs end early" in output
    stamps = [stamp for stamp, _ in read(tmp_path / "out")["/geoseg/semantic/image"]]
    assert 0 < len(stamps) < 1000
    assert stamps == [START + index * PERIOD for index in range(len(stamps))]
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]


def _wait_until(condition, process, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "nothing was written in time"
        threading.Event().wait(0.05)


def test_the_real_bags_are_processed(tmp_path, model, shared_data):
    folder = shared_data / "rosbag2"
    for name, storage, shape in (
        ("kitti_raw0926_color_15frames_rawimage_sqlite3", "mcap", (192, 640)),
        ("kitti_raw0926_color_mcap", "sqlite3", (375, 1242)),
    ):
        out = tmp_path / name
        arguments = ["--model", model, "--max-frames", "3", "--storage", storage]
        assert main(["run", str(folder / name), "--out", str(out), *arguments]) == 0
        found = read(out)
        with open_frames(folder / name) as source:
            stamps = [frame.stamp for frame, _ in zip(source.frames(), range(3), strict=False)]
        assert [stamp for stamp, _ in found["/geoseg/depth/image"]] == stamps
        depth = found["/geoseg/depth/image"][2][1]
        assert (depth.height, depth.width) == shape and depth.header.frame_id == "camera_optical_frame"
        assert (floats(depth, 1) > 0).all()
