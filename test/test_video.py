"""Videos, image folders and calibration files in; videos out."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest
from camera_bags import picture
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.errors import CameraError, GeosegError, ImageError, VideoError
from geoseg_ros.frames import open_frames
from geoseg_ros.frames.clips import FIRST_STAMP, FolderFrames, VideoFrames
from geoseg_ros.frames.intrinsics import load_intrinsics
from geoseg_ros.video import VideoWriter

PLAIN = {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48, "fps": 12.5}
ROS_YAML = """
image_width: 64
image_height: 48
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [60.0, 0, 31.5, 0, 61.0, 23.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.25, 0.1, 0.001, -0.002, 0]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
"""


def write_video(path, frames=10, fps=12.5):
    with VideoWriter(path, fps) as video:
        for index in range(frames):
            video.write(picture(index))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".avi", ".mkv"])
def test_a_video_comes_back_as_it_was_written(tmp_path, suffix):
    path = write_video(tmp_path / f"film{suffix}")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with VideoFrames(path) as source:
        frames = list(source.frames())
        assert [frame.stamp for frame in source.frames()] == [frame.stamp for frame in frames]
        assert source.fps == pytest.approx(12.5, abs=0.01) and source.count == 10
    assert len(frames) == 10
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - picture(index)).mean() < 15
        assert frame.stamp == FIRST_STAMP + index * 80_000_000
        assert frame.camera is None and frame.frame_id == "camera_optical_frame"


def test_red_is_the_first_channel_in_and_out(tmp_path):
    red = np.zeros((48, 64, 3), np.uint8)
    red[..., 0] = 230
    with VideoWriter(tmp_path / "red.mp4", 10) as video:
        video.write(red)
    with VideoFrames(tmp_path / "red.mp4") as source:
        mean = next(source.frames()).image.mean((0, 1))
    assert mean[0] > 200 and mean[1] < 30 and mean[2] < 30


def test_calibration_beside_the_video_is_found_and_sets_the_rate(tmp_path):
    path = write_video(tmp_path / "film.mp4", fps=30)
    (tmp_path / "film.json").write_text(json.dumps({**PLAIN, "frame_id": "left"}))
    with VideoFrames(path) as source:
        frame = list(source.frames())[1]
    assert frame.stamp == FIRST_STAMP + 80_000_000 and frame.frame_id == "left"
    assert (frame.camera.fx, frame.camera.cy, frame.camera.distortion) == (60.0, 23.5, ())
    with VideoFrames(path, fps=5) as source:
        assert list(source.frames())[1].stamp == FIRST_STAMP + 200_000_000


def test_calibration_of_another_size_is_scaled_and_of_another_shape_reported(tmp_path):
    path = write_video(tmp_path / "film.mp4")
    (tmp_path / "double.json").write_text(
        json.dumps({**PLAIN, "width": 128, "height": 96, "fx": 120.0, "cx": 63.5})
    )
    with VideoFrames(path, tmp_path / "double.json") as source:
        camera = next(source.frames()).camera
    assert (camera.width, camera.fx, camera.cx) == (64, 60.0, 31.5)
    (tmp_path / "wide.json").write_text(json.dumps({**PLAIN, "width": 128}))
    problems: list[GeosegError] = []
    with VideoFrames(path, tmp_path / "wide.json") as source:
        assert next(source.frames(problems.append)).camera is None
    assert "128x48, the image is 64x48" in str(problems[0])


def test_ros_calibration_is_read(tmp_path):
    (tmp_path / "camera.yaml").write_text(ROS_YAML)
    camera = load_intrinsics(tmp_path / "camera.yaml").camera
    assert (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height) == (
        60,
        61,
        31.5,
        23.5,
        64,
        48,
    )
    assert camera.distortion == (-0.25, 0.1, 0.001, -0.002, 0.0) and camera.model == "plumb_bob"


def test_the_part_for_the_video_is_chosen(tmp_path):
    parts = {
        "width": 64,
        "height": 48,
        "raw": {
            "video": "a.mp4",
            **{name: PLAIN[name] for name in ("fx", "fy", "cx", "cy")},
            "distortion_model": "plumb_bob",
            "D": [0.1, 0, 0, 0, 0],
        },
        "rect": {
            "video": "b.mp4",
            "fx": 50.0,
            "fy": 51.0,
            "cx": 32,
            "cy": 24,
            "distortion_model": "none",
            "D": [0, 0],
        },
    }
    (tmp_path / "parts.json").write_text(json.dumps(parts))
    assert load_intrinsics(tmp_path / "parts.json", "a.mp4").camera.distortion[0] == 0.1
    assert load_intrinsics(tmp_path / "parts.json", "b.mp4").camera.fx == 50.0
    with pytest.raises(CameraError, match="fx, fy, cx, cy missing"):
        load_intrinsics(tmp_path / "parts.json")


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ("", VideoError, "holds a NoneType, expected named values"),
        ("{", VideoError, "neither JSON nor YAML"),
        ("\0", VideoError, "neither JSON nor YAML"),
        ("a: !!python/object/apply:os.getcwd []", VideoError, "neither JSON nor YAML"),
        (json.dumps({**PLAIN, "fx": "wide"}), CameraError, "fx"),
        (json.dumps({**PLAIN, "fx": -1}), CameraError, "fx is -1"),
        (json.dumps({**PLAIN, "D": 3}), CameraError, "distortion is 3"),
        (json.dumps({**PLAIN, "distortion_model": "unknown"}), CameraError, "model is 'unknown'"),
        (json.dumps({**PLAIN, "distortion_model": "none", "D": [0.1]}), CameraError, "but the coefficients"),
        (json.dumps({**PLAIN, "fps": -3}), VideoError, "fps is -3"),
        ("camera_matrix: 5\n", CameraError, "camera_matrix is 5"),
        ("camera_matrix: {data: [1, 2]}\n", CameraError, "camera_matrix has 2 values"),
        ("camera_matrix: {data: [1,0,1,0,1,1,0,0,1]}\n", CameraError, "image_width, image_height missing"),
    ],
    ids=range(13),
)
def test_a_wrong_calibration_file_is_named(tmp_path, content, error, sentence):
    (tmp_path / "camera.yaml").write_text(content)
    with pytest.raises(error, match=sentence) as raised:
        load_intrinsics(tmp_path / "camera.yaml")
    assert "camera.yaml" in str(raised.value)


@settings(max_examples=60)
@given(
    st.one_of(
        st.text(max_size=60),
        st.dictionaries(
            st.sampled_from(
                ["fx", "fy", "cx", "cy", "width", "height", "D", "fps", "camera_matrix", "image_width"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.just("data"), inner, max_size=1)
                ),
                max_leaves=4,
            ),
        ).map(json.dumps),
    )
)
def test_any_calibration_text_is_read_or_refused_with_a_sentence(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "camera.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        load_intrinsics(path)
    except GeosegError as error:
        assert "camera.json" in str(error)


def test_a_folder_of_images_with_calibration(tmp_path):
    images = tmp_path / "drive" / "images"
    images.mkdir(parents=True)
    for index in (2, 0, 1):
        cv2.imwrite(str(images / f"{index:06d}.png"), cv2.cvtColor(picture(index), cv2.COLOR_RGB2BGR))
    (images / "notes.txt").write_text("no image")
    (tmp_path / "drive" / "intrinsics.json").write_text(json.dumps(PLAIN))
    with open_frames(tmp_path / "drive") as source:
        assert isinstance(source, FolderFrames) and (source.count, source.fps) == (3, 12.5)
        frames = list(source.frames())
    assert all(np.array_equal(frame.image, picture(index)) for index, frame in enumerate(frames))
    assert [frame.stamp - FIRST_STAMP for frame in frames] == [0, 80_000_000, 160_000_000]
    assert {frame.camera.fx for frame in frames} == {60.0}


def test_a_damaged_image_is_skipped_and_keeps_its_time(tmp_path):
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(index))
    (tmp_path / "1.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "3.png").write_bytes(b"")
    problems: list[GeosegError] = []
    with FolderFrames(tmp_path, fps=10) as source:
        frames = list(source.frames(problems.append))
    assert [frame.stamp - FIRST_STAMP for frame in frames] == [0, 200_000_000]
    assert [type(problem) for problem in problems] == [ImageError, ImageError] and "1.png" in str(problems[0])
    with FolderFrames(tmp_path, fps=10) as source, pytest.raises(ImageError, match="1.png"):
        list(source.frames())


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"not a film")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="film.mp4 of 10 bytes is damaged or no video"):
        VideoFrames(tmp_path / "film.mp4")
    with pytest.raises(VideoError, match="gone.mp4 does not exist"):
        VideoFrames(tmp_path / "gone.mp4")
    with pytest.raises(VideoError, match="holds no image"):
        FolderFrames(tmp_path / "empty")
    cv2.imwrite(str(tmp_path / "empty" / "0.png"), picture(0))
    with pytest.raises(VideoError, match="has no frame rate, expected fps"):
        FolderFrames(tmp_path / "empty")
    for fps in (-1.0, float("nan"), 1e9):
        with pytest.raises(VideoError, match="frame rate is"):
            FolderFrames(tmp_path / "empty", fps=fps)


def test_a_video_that_ends_early_says_so_after_its_frames(tmp_path):
    path = write_video(tmp_path / "film.avi", frames=40)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    frames = []
    with VideoFrames(path) as source:
        claimed = source.count
        try:
            for frame in source.frames():
                frames.append(frame)
        except VideoError as error:
            assert f"{len(frames)} frames were read, {claimed} were expected" in str(error)
    assert 10 <= len(frames) < 40


def test_an_exception_leaves_a_playable_video_and_nothing_without_frames(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "film.mp4", 10) as video:
        video.write(picture(0))
        raise KeyboardInterrupt
    with VideoFrames(tmp_path / "film.mp4") as source:
        assert len(list(source.frames())) == 1
    with VideoWriter(tmp_path / "none.mp4", 10):
        pass
    assert os.listdir(tmp_path) == ["film.mp4"]


def test_a_video_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(VideoError, match="ends in '.gif', expected .mp4"):
        VideoWriter(tmp_path / "film.gif", 10)
    with pytest.raises(VideoError, match="its folder does not exist"):
        VideoWriter(tmp_path / "gone" / "film.mp4", 10)
    with pytest.raises(VideoError, match="frame rate is 0"):
        VideoWriter(tmp_path / "film.mp4", 0)
    with VideoWriter(tmp_path / "film.mp4", 10) as video, pytest.raises(VideoError, match="picture is 32x48"):
        video.write(picture(0))
        video.write(picture(0, width=32))


def test_real_clips_are_read_with_their_calibration(shared_data):
    with open_frames(shared_data / "video_kitti" / "kitti07_gray_000-159.mp4") as source:
        frames = list(source.frames())
    assert len(frames) == 160 and frames[0].image.shape == (192, 640, 3)
    assert frames[0].camera.fx == pytest.approx(369.1177553)
    folder = shared_data / "video_udacity_highway"
    with open_frames(folder / "udacity_small1_raw.mp4", intrinsics=folder / "udacity_small1.json") as source:
        camera = next(source.frames()).camera
    assert camera.is_distorted and camera.distortion[0] == pytest.approx(-0.2484857)
    with open_frames(shared_data / "kitti00_color") as source:
        assert (source.count, source.fps) == (1018, 10.0)
        assert next(source.frames()).camera.fx == pytest.approx(240.97026)
