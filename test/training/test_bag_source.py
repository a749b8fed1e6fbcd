"""The source of bags: pairs and triplets with the right motion, several cameras in a batch, and clear errors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from drive_bags import CAMERA, MOUNT, PERIOD, START, body_pose, frame_numbers, header, picture, write_drive

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BagError, CameraError, ConfigError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.augmentation import no_augmentation
from geoseg_ros.training.data.colour import COLOUR
from geoseg_ros.training.data.jitter import prepare_examples
from geoseg_ros.training.data.loader import create_sources, step_batches
from geoseg_ros.training.tasks import create_task

DRIVE = [body_pose(0.5 * i) for i in range(6)]


@pytest.fixture
def open_source(tmp_path):
    def open_(path, crop=(64, 48), data_root=None, **settings):
        settings = {"kind": "bag", "path": path, "batch": 12, "cache": str(tmp_path / "cache"), **settings}
        data_root = str(tmp_path if data_root is None else data_root)
        recipe = Recipe(
            task="toy", steps=1, crop=crop, data={"bag": settings}, augment=no_augmentation(), data_root=data_root
        )
        return create_sources(recipe)["bag"]

    return open_


def draw(source, seed=0):
    return source.batch(np.random.default_rng(seed))


def test_triplets_have_images_camera_distances_and_poses(tmp_path, open_source):
    write_drive(tmp_path / "drive", poses=DRIVE, mount=MOUNT)
    source = open_source("drive", three_frames=True)
    assert len(source) == 4
    batch = draw(source)
    names = ("image", "previous", "next")
    motion = {f"{name}_{what}" for name in names[1:] for what in ("from_current", "distance")}
    assert set(batch) - set(COLOUR) == {*names, "K", "intrinsics_known"} | motion
    current, previous, following = (frame_numbers(batch[name]) for name in names)
    np.testing.assert_array_equal(previous, current - 1)
    np.testing.assert_array_equal(following, current + 1)
    assert set(current) == {1, 2, 3, 4}
    np.testing.assert_allclose(batch["K"], np.broadcast_to(CAMERA.matrix, (12, 3, 3)))
    assert batch["intrinsics_known"].all()
    for name, ahead in (("previous", 0.5), ("next", -0.5)):
        expected = np.eye(4)
        expected[2, 3] = ahead
        np.testing.assert_allclose(batch[f"{name}_distance"], 0.5, rtol=1e-5)
        np.testing.assert_allclose(batch[f"{name}_from_current"], np.broadcast_to(expected, (12, 4, 4)), atol=1e-5)
    np.testing.assert_array_equal(
        batch["image"][0].transpose(1, 2, 0),
        picture(current[0], 4 * current[0]),
    )


def test_a_turning_body_moves_the_camera_on_its_lever(tmp_path, open_source):
    poses = [body_pose(0.5 * i, 0.1 * i) for i in range(6)]
    write_drive(tmp_path / "drive", poses=poses, mount=MOUNT)
    batch = draw(open_source("drive"))
    current = frame_numbers(batch["image"])
    for pose, distance, i in zip(batch["previous_from_current"], batch["previous_distance"], current):
        expected = np.linalg.inv(poses[i - 1] @ MOUNT) @ poses[i] @ MOUNT
        np.testing.assert_allclose(pose, expected, atol=1e-5)
        assert distance == pytest.approx(np.linalg.norm(expected[:3, 3]), rel=1e-4)


def test_without_the_mounting_only_distances_are_known(tmp_path, open_source):
    write_drive(tmp_path / "drive", poses=DRIVE)
    batch = draw(open_source("drive"))
    assert "previous_from_current" not in batch and "next" not in batch
    np.testing.assert_allclose(batch["previous_distance"], 0.5, rtol=1e-5)


def test_without_odometry_there_are_images_and_cameras(tmp_path, open_source):
    write_drive(tmp_path / "drive")
    assert set(draw(open_source("drive"))) - set(COLOUR) == {"image", "previous", "K", "intrinsics_known"}


def test_bags_of_several_cameras_mix_in_a_batch(tmp_path, open_source):
    write_drive(tmp_path / "a", poses=DRIVE, mount=MOUNT)
    larger = PinholeCamera(128, 96, 100.0, 102.0, 63.5, 47.5)
    write_drive(tmp_path / "b", camera=larger, size=(128, 96), first=10)
    write_drive(tmp_path / "c", camera=None, first=20)
    batch = draw(open_source(["a", "b", "c"], batch=60))
    bag = frame_numbers(batch["image"]) // 10
    assert set(bag) == {0, 1, 2}
    np.testing.assert_allclose(batch["K"][bag == 0][0], CAMERA.matrix)
    np.testing.assert_allclose(batch["K"][bag == 1][0], larger.resize(64, 48).matrix, rtol=1e-6)
    np.testing.assert_allclose(batch["K"][bag == 2][0], [[57.6, 0, 31.5], [0, 57.6, 23.5], [0, 0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(batch["intrinsics_known"], bag != 2)
    np.testing.assert_array_equal(np.isfinite(batch["previous_distance"]), bag == 0)
    np.testing.assert_array_equal(np.isfinite(batch["previous_from_current"]).all((1, 2)), bag == 0)


def test_calibration_may_be_ignored(tmp_path, open_source):
    write_drive(tmp_path / "drive")
    assert not draw(open_source("drive", use_camera_info=False))["intrinsics_known"].any()


def test_weights_decide_how_often_a_bag_is_drawn(tmp_path, open_source):
    write_drive(tmp_path / "a")
    write_drive(tmp_path / "b", first=10)
    source = open_source(["a", "b"], weights=[1, 3], batch=200)
    share = (frame_numbers(draw(source)["image"]) >= 10).mean()
    assert share == pytest.approx(0.75, abs=0.1)


def test_globs_find_bags_under_the_data_root(tmp_path, open_source):
    write_drive(tmp_path / "day/one")
    write_drive(tmp_path / "day/two", first=10)
    (tmp_path / "day/notes.txt").write_text("no bag")
    source = open_source("day/*", batch=40)
    assert set(frame_numbers(draw(source)["image"]) // 10) == {0, 1}
    assert [bag["name"] for bag in source.describe()["bags"]] == ["one", "two"]
    with pytest.raises(ConfigError, match="one is named twice"):
        open_source(["day/one", "day/*"])
    with pytest.raises(ConfigError, match="'day/n.*' names .*notes.txt, expected bags"):
        open_source("day/n*")
    with pytest.raises(ConfigError, match="data 'night/.' is missing; looked for"):
        open_source("night/*")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": []}, r"path is \[\], expected a bag, a glob, or a list"),
        ({"path": 3}, "path is 3"),
        ({"weights": [1.0, 2.0]}, r"weights has 2 entries, expected one per entry of path \(1\)"),
        ({"weights": [0.0]}, "expected numbers above 0"),
        ({"size": [8, 8]}, r"size is \[8, 8\], expected .* at least 16"),
        ({"max_rate": 0}, "max_rate is 0.0, expected more than 0"),
        ({"baseline": {"metres": [2, 1]}}, r"baseline: metres is \[2.0, 1.0\]"),
        ({"baseline": {"metre": [1, 2]}}, "unknown key 'metre'; did you mean 'metres'"),
        ({"baseline": {"reach": 0}}, "reach is 0"),
        ({"frames": [0, 9]}, r"frames is \[0, 9\], expected 0 <= first < last <= 6"),
        ({"cache_gb": 1e-6}, r"need 0.0553 MB, cache_gb allows 1e-06"),
    ],
)
def test_wrong_settings_are_named(tmp_path, open_source, settings, message):
    write_drive(tmp_path / "drive")
    with pytest.raises(ConfigError, match=message):
        open_source(**{"path": "drive", **settings})


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("image_topic", "has no topic /gone, found /camera/camera_info"),
        ("camera_info_topic", "has no topic /gone, found"),
        ("odometry_topic", r"has no topic /gone, found .*, /odom \(nav_msgs/msg/Odometry\)"),
    ],
)
def test_missing_topics_are_named_with_those_found(tmp_path, open_source, topic, message):
    write_drive(tmp_path / "drive", poses=DRIVE)
    with pytest.raises(BagError, match=f"drive.*{message}"):
        open_source("drive", **{topic: "/gone"})


def test_a_bag_without_images_and_one_with_a_single_image_are_named(tmp_path, open_source):
    write_drive(tmp_path / "short", shifts=[0])
    with pytest.raises(ConfigError, match="short has 1 usable image, expected at least 2"):
        open_source("short")
    write_drive(tmp_path / "pair", shifts=[0, 4])
    with pytest.raises(ConfigError, match="pair has 2 usable images, expected at least 3"):
        open_source("pair", three_frames=True)
    write_drive(tmp_path / "empty", shifts=[0], images={0: {"encoding": "nonsense"}})
    with pytest.raises(BagError, match="no image that can be decoded: encoding is 'nonsense'"):
        open_source("empty")


def test_mixed_image_sizes_are_refused(tmp_path, open_source):
    wide = encode_image(picture(2, 8, 80, 48), "rgb8")
    write_drive(tmp_path / "drive", camera=None, images={2: wide})
    with pytest.raises(BagError, match="/camera/image_raw mixes image sizes, 64×48 and 80×48, expected one"):
        open_source("drive")


def test_a_calibration_of_another_size_is_refused(tmp_path, open_source):
    write_drive(tmp_path / "drive", camera=PinholeCamera(128, 96, 100.0, 100.0, 63.5, 47.5))
    with pytest.raises(CameraError, match="/camera/camera_info: camera_info is for 128x96, the image is 64x48"):
        open_source("drive")


def test_a_damaged_bag_is_named(tmp_path, open_source):
    (file,) = write_drive(tmp_path / "drive", shifts=range(0, 80, 4)).glob("*.mcap")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(BagError, match=f"{file.name} .*(damage|readable)"):
        open_source("drive")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_standstill_is_dropped_by_odometry(tmp_path, open_source):
    """The picture moves all the time (traffic), the robot stands in frames 2, 3 and 4."""
    poses = [body_pose(x) for x in (0, 0.5, 1.0, 1.0, 1.0, 1.5)]
    write_drive(tmp_path / "drive", poses=poses)
    source = open_source("drive", batch=60)
    pairs = {
        (int(a), int(b))
        for a, b in zip(*(frame_numbers(draw(source)[key]) for key in ("previous", "image")))
    }
    assert pairs == {(0, 1), (1, 2), (1, 3), (1, 4), (4, 5)}


def test_standstill_is_dropped_by_the_picture_where_there_is_no_odometry(tmp_path, open_source):
    write_drive(tmp_path / "drive", shifts=[0, 0, 0, 4, 8, 8])
    source = open_source("drive", batch=60, three_frames=True)
    batch = draw(source)
    triplets = {
        tuple(map(int, numbers))
        for numbers in zip(*(frame_numbers(batch[key]) for key in ("previous", "image", "next")))
    }
    assert triplets == {(2, 3, 4)}
    write_drive(tmp_path / "parked", shifts=[0] * 5)
    with pytest.raises(
        ConfigError, match="none of 5 images has neighbours 1 to 60 pixels away within 10 frames: 5 move less"
    ):
        open_source("parked")


def test_no_example_spans_dropped_frames(tmp_path, open_source):
    stamps = [START + i * PERIOD for i in (0, 1, 2, 5, 6, 7)]
    write_drive(tmp_path / "drive", poses=DRIVE, stamps=stamps)
    source = open_source("drive", batch=60)
    batch = draw(source)
    current = frame_numbers(batch["image"])
    assert set(current) == {1, 2, 4, 5}
    np.testing.assert_array_equal(frame_numbers(batch["previous"]), current - 1)
    counts = {"images": 6, "skipped": 0, "calibrated": 6, "with_odometry": 6, "examples": 4, "still": 2, "far": 0}
    assert source.describe()["bags"] == [{"name": "drive", "gaps": 1, **counts}]
    assert source.summary() == (
        "4 examples from 6 images (6 calibrated, 6 with odometry) of 1 bag; left out 2 that move too little or end a run, "
        "0 that move too far; gaps: 1"
    )


def test_odometry_is_interpolated_and_unknown_in_its_gaps(tmp_path, open_source):
    """Odometry half a period late, and silent for one second between 0.25 s and 1.25 s."""
    count = 20
    times = [0.05 + 0.1 * i for i in range(-1, count) if not 0.25 < 0.05 + 0.1 * i < 1.25 - 1e-9]
    write_drive(
        tmp_path / "drive",
        shifts=[4 * i for i in range(count)],
        poses=[body_pose(5.0 * t) for t in times],
        pose_stamps=[START + round(t * 1e9) for t in times],
    )
    batch = draw(open_source("drive", batch=200))
    current, distance = frame_numbers(batch["image"]), batch["previous_distance"]
    known = (current <= 2) | (current >= 14)
    np.testing.assert_array_equal(np.isfinite(distance), known)
    np.testing.assert_allclose(distance[known], 0.5, rtol=1e-4)
    assert set(current) == set(range(1, count))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ({"velocity": 0.1}, "data.bag: examples have no previous_distance, .* images within their nav_msgs/Odometry"),
        ({"poses": "given"}, "data.bag: examples have no previous_from_current, .* where /tf_static connects"),
    ],
)
def test_odometry_of_another_time_is_no_odometry(tmp_path, open_source, loss, message):
    write_drive(tmp_path / "drive", poses=DRIVE, pose_stamps=[START + (i + 9) * PERIOD for i in range(6)], mount=MOUNT)
    source = open_source("drive", crop=(64, 32))
    batch = draw(source)
    assert not {key for key in batch if key.startswith("previous_")}
    assert source.describe()["bags"][0]["with_odometry"] == 0
    recipe = Recipe(task="self_supervised", steps=1, crop=(64, 32), data={"bag": {}}, loss=loss)
    examples = prepare_examples({key: torch.from_numpy(value) for key, value in batch.items()}, torch.device("cpu"))
    with pytest.raises(ConfigError, match=message):
        create_task("self_supervised", recipe).step({"bag": examples}, 0)


def test_the_baseline_is_kept_in_metres(tmp_path, open_source):
    write_drive(tmp_path / "drive", poses=DRIVE)
    batch = draw(open_source("drive", baseline={"metres": [0.9, 1.2]}))
    np.testing.assert_allclose(batch["previous_distance"], 1.0, rtol=1e-5)
    with pytest.raises(ConfigError, match="0.1 to 0.4 metres away .* 5 more.* 0.5 metres apart"):
        open_source("drive", baseline={"metres": [0.1, 0.4]})


def test_frames_limit_every_bag(tmp_path, open_source):
    write_drive(tmp_path / "drive")
    batch = draw(open_source("drive", frames=[2, 4]))
    assert set(frame_numbers(batch["image"])) == {3}
    assert set(frame_numbers(batch["previous"])) == {2}


def test_images_are_rectified(tmp_path, open_source):
    lens = PinholeCamera(64, 48, 60.0, 61.0, 30.0, 24.0, distortion=(-0.3, 0.1, 0.0, 0.0))
    write_drive(tmp_path / "drive", camera=lens)
    batch = draw(open_source("drive", frames=[0, 2]))
    expected = cv2.remap(picture(1, 4), *lens.rectification_maps(), cv2.INTER_LINEAR)
    np.testing.assert_array_equal(batch["image"][0].transpose(1, 2, 0), expected)
    np.testing.assert_allclose(batch["K"][0], lens.matrix)


def test_workers_see_the_same_frames(tmp_path, open_source):
    write_drive(tmp_path / "drive", poses=DRIVE)
    sources = {"bag": open_source("drive")}
    for alone, helped in zip(step_batches(sources, 1, 0, 2, 0), step_batches(sources, 1, 0, 2, 2), strict=True):
        np.testing.assert_array_equal(alone["bag"]["image"], helped["bag"]["image"])


def test_time_without_stamps_is_that_of_arrival(tmp_path, open_source):
    unset = {i: {"header": header(0)} for i in range(6)}
    write_drive(tmp_path / "drive", images=unset)
    assert len(open_source("drive")) == 5
