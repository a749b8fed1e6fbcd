"""``geoseg convert``: images byte for byte, cameras, poses and labels of every kind of data, on small made-up sets."""

from __future__ import annotations

import json
import re

import cv2
import numpy as np
import pytest
from drive_bags import picture

from geoseg_ros.bags import BagReader, stamp_nanoseconds
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.cli import main
from geoseg_ros.commands.convert import KINDS
from geoseg_ros.errors import ConfigError, ImageError
from geoseg_ros.image_messages import decode_compressed, decode_image
from geoseg_ros.labels import CAMVID_11, CITYSCAPES_19
from geoseg_ros.training.data import files
from geoseg_ros.training.data.augmentation import no_augmentation
from geoseg_ros.training.data.bags import Bag, BagConfig
from geoseg_ros.training.data.importers import IMPORTERS, open_recording
from geoseg_ros.training.data.importers.camvid_colours import ids_of_colours
from geoseg_ros.training.data.importers.kitti_raw import oxts_poses
from geoseg_ros.training.data.importers.recording import START, Picture, Recording, write_recording
from geoseg_ros.training.data.odometry import Track
from geoseg_ros.training.data.static_frames import body_from_camera, static_edges

IMAGE, INFO = "/camera/image_raw/compressed", "/camera/camera_info"
SEMANTIC, LABELS = "/camera/gt/semantic/image", "/camera/gt/semantic/label_info"
INTRINSICS = {"fx": 60.0, "fy": 61.0, "cx": 30.0, "cy": 24.0, "width": 64, "height": 48, "fps": 5}


def write_images(folder, names, suffix=".png"):
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}{suffix}"), cv2.cvtColor(picture(i, 4 * i), cv2.COLOR_RGB2BGR))


def camera_poses(count):
    """Optical axes: 1 m ahead per frame, turning to the right by 0.05 rad per frame."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    for i in range(count):
        c, s = np.cos(0.05 * i), np.sin(0.05 * i)
        poses[i, :3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        poses[i, 2, 3] = i
    return poses


def write_poses(path, poses):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, poses[:, :3].reshape(-1, 12))


def convert(kind, path, out, *options):
    assert main(["convert", kind, str(path), "--out", str(out), *map(str, options)]) == 0
    with BagReader(out) as bag:
        messages = {topic: [] for topic in bag.topics}
        for topic, received, _, message in bag.messages():
            if hasattr(message, "header"):
                assert stamp_nanoseconds(message.header.stamp) == received
            messages[topic].append(message)
    return messages


def stamps_of(messages):
    return [stamp_nanoseconds(message.header.stamp) for message in messages]


def relative_camera_poses(messages):
    """previous_from_current of the camera between successive odometry messages, as a bag's user would find them."""
    track = Track.from_messages(messages["/odom"], "/odom")
    mount = body_from_camera(static_edges(messages["/tf_static"]), track.frame, "camera_optical_frame")
    poses = track.at(track.stamps, 1.0) @ mount
    return np.linalg.inv(poses[:-1]) @ poses[1:]


def test_the_command_offers_every_importer():
    assert tuple(IMPORTERS) == KINDS


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "drive/images", ["a", "b", "c", "d"], ".jpg")
    (tmp_path / "drive/intrinsics.json").write_text(json.dumps(INTRINSICS))
    write_poses(tmp_path / "drive/poses.txt", camera_poses(4))
    return tmp_path / "drive"


def test_a_folder_keeps_its_files_camera_and_poses(folder, tmp_path):
    messages = convert("folder", folder, tmp_path / "bag")
    for message, name in zip(messages[IMAGE], "abcd", strict=True):
        assert message.data.tobytes() == (folder / f"images/{name}.jpg").read_bytes()
        assert message.header.frame_id == "camera_optical_frame"
    assert stamps_of(messages[IMAGE]) == [START + i * 200_000_000 for i in range(4)]
    assert PinholeCamera.from_camera_info(messages[INFO][0]).matrix.tolist() == [[60, 0, 30], [0, 61, 24], [0, 0, 1]]
    poses = camera_poses(4)
    expected = np.linalg.inv(poses[:-1]) @ poses[1:]
    np.testing.assert_allclose(relative_camera_poses(messages), expected, atol=1e-9)
    first = messages["/odom"][1]
    position = first.pose.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [1, 0, 0], atol=1e-9)
    twist = messages["/odom"][2].twist.twist
    assert np.hypot(twist.linear.x, twist.linear.y) == pytest.approx(5.0)  # 1 m per 0.2 s
    assert twist.angular.z == pytest.approx(-0.25)  # to the right
    assert messages["/camera/gt/odom"][3].child_frame_id == "camera_link"
    first = messages["/odom"][0].twist.twist
    assert np.hypot(first.linear.x, first.linear.y) == pytest.approx(5.0)


def test_a_converted_folder_trains_with_the_poses_of_the_folder(folder, tmp_path):
    convert("folder", folder, tmp_path / "bag")
    config = BagConfig("bag", str(tmp_path / "bag"), 4, cache=str(tmp_path / "cache"), three_frames=True)
    source = Bag(config, no_augmentation(), (64, 48), config.locate("."))
    batch = source.batch(np.random.default_rng(0))
    poses = camera_poses(4)
    shades = np.rint(batch["image"][:, 0, 1, 1] / 8).astype(int)
    for i, before, after in zip(shades, batch["previous_from_current"], batch["next_from_current"]):
        np.testing.assert_allclose(before, files.relative_pose(poses[i - 1], poses[i]), atol=1e-5)
        np.testing.assert_allclose(after, files.relative_pose(poses[i + 1], poses[i]), atol=1e-5)


def test_depth_beside_the_images_comes_along(folder, tmp_path, capsys):
    (folder / "depth").mkdir()
    millimetres = np.zeros((24, 32), np.uint16)
    millimetres[3, 5] = 1234
    for name in "abcd":
        cv2.imwrite(str(folder / f"depth/{name}.png"), millimetres)
    depth = convert("folder", folder, tmp_path / "bag")["/camera/gt/depth/image"]
    assert (len(depth), depth[0].encoding) == (4, "32FC1")
    metres = depth[0].data.view("<f4").reshape(48, 64)
    np.testing.assert_allclose(metres[6:8, 10:12], 1.234, rtol=1e-6)
    assert np.isfinite(metres).sum() == 4
    cv2.imwrite(str(folder / "depth/c.png"), np.zeros((24, 32), np.uint8))
    assert main(["convert", "folder", str(folder), "--out", str(tmp_path / "new")]) == 2
    assert "c.png is uint8 of shape (24, 32), expected 16 bits in one channel" in capsys.readouterr().err


def test_frames_cut_images_and_poses(folder, tmp_path, capsys):
    messages = convert("folder", folder, tmp_path / "bag", "--frames", 1, 3)
    assert [len(messages[topic]) for topic in (IMAGE, INFO, "/odom")] == [2, 2, 2]
    assert messages[IMAGE][0].data.tobytes() == (folder / "images/b.jpg").read_bytes()
    assert "2 images and 2 poses in" in capsys.readouterr().out
    assert main(["convert", "folder", str(folder), "--out", str(tmp_path / "x"), "--frames", "3", "9"]) == 2
    assert "frames are 3 to 9, expected 0 <= first < last <= 4" in capsys.readouterr().err


def test_a_folder_of_images_alone_needs_a_frame_rate(tmp_path, capsys):
    write_images(tmp_path / "stills", ["a", "b"])
    assert main(["convert", "folder", str(tmp_path / "stills"), "--out", str(tmp_path / "bag")]) == 2
    assert "stills has no frame rate, expected --fps" in capsys.readouterr().err
    messages = convert("folder", tmp_path / "stills", tmp_path / "bag", "--fps", 20)
    assert set(messages) == {IMAGE} and messages[IMAGE][0].format == "rgb8; png compressed bgr8"
    np.testing.assert_array_equal(decode_compressed(messages[IMAGE][1]), picture(1, 4))
    assert np.diff(stamps_of(messages[IMAGE])) == [50_000_000]


def test_a_video_has_its_intrinsics_beside_it(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for i in range(3):
        writer.write(cv2.cvtColor(picture(i, 4 * i), cv2.COLOR_RGB2BGR))
    writer.release()
    lens = {"distortion": [-0.1, 0.01, 0, 0], "distortion_model": "plumb_bob"}
    (tmp_path / "drive.json").write_text(json.dumps({**INTRINSICS, **lens}))
    write_poses(tmp_path / "poses.txt", camera_poses(3))
    messages = convert("video", tmp_path / "drive.mp4", tmp_path / "bag", "--poses", tmp_path / "poses.txt")
    assert len(messages[IMAGE]) == 3 and len(messages["/odom"]) == 3
    assert PinholeCamera.from_camera_info(messages[INFO][0]).distortion[:2] == (-0.1, 0.01)
    assert np.abs(decode_compressed(messages[IMAGE][2]).astype(int) - picture(2, 8)).mean() < 12
    assert np.diff(stamps_of(messages[IMAGE])).tolist() == [200_000_000] * 2  # fps of the JSON


@pytest.fixture
def kitti_sequence(tmp_path):
    """Camera 2 half a metre to the right of camera 0, two images 0.2 s apart."""
    root = tmp_path / "kitti"
    write_images(root / "sequences/04/image_2", ["000000", "000001"])
    lines = [f"P{i}: 60 0 30 {-30.0 * (i == 2)} 0 61 24 0 0 0 1 0" for i in range(4)]
    (root / "sequences/04/calib.txt").write_text("\n".join(lines))
    (root / "sequences/04/times.txt").write_text("0.0\n0.2\n")
    write_poses(root / "poses/04.txt", camera_poses(2))
    return root


def test_kitti_odometry_poses_are_those_of_the_chosen_camera(kitti_sequence, tmp_path):
    messages = convert("kitti_odometry", kitti_sequence / "sequences/04", tmp_path / "bag")
    right = np.eye(4)
    right[0, 3] = 0.5  # where camera 2 is in camera 0
    poses = camera_poses(2) @ right
    np.testing.assert_allclose(relative_camera_poses(messages)[0], np.linalg.inv(poses[0]) @ poses[1], atol=1e-9)
    assert stamps_of(messages[IMAGE]) == [START, START + 200_000_000]
    assert PinholeCamera.from_camera_info(messages[INFO][0]).matrix[0].tolist() == [60, 0, 30]


def test_kitti_odometry_errors_name_the_file(kitti_sequence):
    sequence = kitti_sequence / "sequences/04"
    with pytest.raises(ConfigError, match="camera is 4, expected one of 0, 1, 2, 3"):
        open_recording("kitti_odometry", sequence, camera=4)
    with pytest.raises(ConfigError, match="image_3 is missing"):
        open_recording("kitti_odometry", sequence, camera=3)
    write_poses(kitti_sequence / "poses/04.txt", camera_poses(3))
    with pytest.raises(ConfigError, match="04.txt are 3, expected 2, one per image"):
        open_recording("kitti_odometry", sequence)
    (sequence / "times.txt").write_text("0.0\n0.0\n")
    (kitti_sequence / "poses/04.txt").unlink()
    with pytest.raises(ConfigError, match="image 1 has stamp .*, expected one after"):
        open_recording("kitti_odometry", sequence)
    (sequence / "calib.txt").write_text("P2: 700 0 600 0 0 700 180 0 0 0 1 0\n")
    with pytest.raises(ConfigError, match="cx of camera 2 is 600, expected near the middle of images 64 pixels wide"):
        open_recording("kitti_odometry", sequence)
    (sequence / "calib.txt").write_text("P2: 700 0\n")
    with pytest.raises(ConfigError, match="calib.txt has 2 numbers for P2, expected 12"):
        open_recording("kitti_odometry", sequence)


@pytest.fixture
def kitti_drive(tmp_path):
    """Twice the calibrated size; the IMU 1 m behind the camera; north at 1 m per 0.1 s; images of lines 0 and 2."""
    date = tmp_path / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    write_images(drive / "image_02/data", ["0000000000", "0000000002"])
    times = "".join(f"2011-09-26 13:02:25.{i}00000123\n" for i in range(3))
    for part in ("image_02", "oxts"):
        (drive / part).mkdir(exist_ok=True)
        (drive / part / "timestamps.txt").write_text(times)
    (drive / "oxts/data").mkdir()
    for i in range(3):
        latitude = 49.0 + np.degrees(i / 6378137.0)
        numbers = [latitude, 8.4, 112.0, 0.0, 0.0, np.pi / 2, *[0.0] * 24]
        (drive / f"oxts/data/{i:010d}.txt").write_text(" ".join(map(repr, map(float, numbers))))
    identity = "1 0 0 0 1 0 0 0 1"
    (date / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\nS_rect_02: 128 96\n"
        f"R_rect_00: {identity}\nP_rect_02: 120 0 60 0 0 122 48 0 0 0 1 0\n"
    )
    (date / "calib_velo_to_cam.txt").write_text("R: 0 -1 0 0 0 -1 1 0 0\nT: 0 0 0\n")
    (date / "calib_imu_to_velo.txt").write_text(f"R: {identity}\nT: -1 0 0\n")
    return drive


def test_kitti_raw_has_real_times_and_the_poses_of_its_imu(kitti_drive, tmp_path):
    messages = convert("kitti_raw", kitti_drive, tmp_path / "bag")
    stamps = [int(np.datetime64(f"2011-09-26T13:02:25.{i}00000123", "ns").astype(np.int64)) for i in range(3)]
    assert stamps_of(messages[IMAGE]) == [stamps[0], stamps[2]]
    assert stamps_of(messages["/odom"]) == stamps
    camera = PinholeCamera.from_camera_info(messages[INFO][0])
    assert (camera.width, camera.height) == (64, 48)
    np.testing.assert_allclose(camera.matrix, PinholeCamera(128, 96, 120, 122, 60, 48).resize(64, 48).matrix)
    assert messages["/odom"][0].child_frame_id == "imu_link"
    for pose in relative_camera_poses(messages):
        np.testing.assert_allclose(pose[:3, 3], [0, 0, 1], atol=1e-4)
        np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-9)
    link = messages["/camera/gt/odom"][0].pose.pose.position
    np.testing.assert_allclose([link.x, link.y, link.z], [0, 1, 0], atol=1e-9)  # the camera is north of the IMU


def test_oxts_turns_are_yaw_pitch_roll():
    rows = np.zeros((2, 6))
    rows[:, 3:] = 0.3, 0.2, 0.1
    pose = oxts_poses(rows)[1, :3, :3]
    assert np.arctan2(pose[1, 0], pose[0, 0]) == pytest.approx(0.1)
    assert -np.arcsin(pose[2, 0]) == pytest.approx(0.2)
    assert np.arctan2(pose[2, 1], pose[2, 2]) == pytest.approx(0.3)


def test_kitti_raw_errors_name_the_file(kitti_drive):
    (kitti_drive / "oxts/data/0000000001.txt").write_text("49.0 8.4")
    with pytest.raises(ConfigError, match="0000000001.txt has 2 numbers, expected at least 6"):
        open_recording("kitti_raw", kitti_drive)
    (kitti_drive / "image_02/timestamps.txt").write_text("2011-09-26 13:02:25.1\n")
    with pytest.raises(ConfigError, match="timestamps.txt have 1 lines, expected one for 0000000002.png"):
        open_recording("kitti_raw", kitti_drive)
    (kitti_drive.parent / "calib_cam_to_cam.txt").unlink()
    (kitti_drive / "image_02/timestamps.txt").write_text("2011-09-26 13:02:25.1\n" * 3)
    with pytest.raises(ConfigError, match="calib_cam_to_cam.txt is missing"):
        open_recording("kitti_raw", kitti_drive)


@pytest.mark.parametrize("layout", ["folders", "annot", "official"])
def test_camvid_labels_become_ids(tmp_path, layout):
    names = {
        "folders": ("split/images", "split/labels", "split", ""),
        "annot": ("train", "trainannot", "train", ""),
        "official": ("701_StillsRaw_full", "LabeledApproved_full", "701_StillsRaw_full", "_L"),
    }
    images, labels, path, suffix = names[layout]
    write_images(tmp_path / images, ["0001TP_006690", "0001TP_006720", "0016E5_00030"])
    (tmp_path / labels).mkdir(parents=True)
    for name in ("0001TP_006690", "0001TP_006720", "0016E5_00030"):
        label = np.full((48, 64), 3, np.uint8)
        label[0, :3] = 8, 11, 10
        if layout == "official":
            colours = {3: (192, 0, 64), 8: (64, 128, 192), 11: (0, 0, 0), 10: (192, 0, 192)}
            label = np.array([colours.get(i, (0, 0, 0)) for i in range(12)], np.uint8)[label][..., ::-1]
        cv2.imwrite(str(tmp_path / labels / f"{name}{suffix}.png"), label)
    messages = convert("camvid", tmp_path / path, tmp_path / "bag")
    assert len(messages[SEMANTIC]) == 3 and messages[SEMANTIC][0].encoding == "mono8"
    ids = decode_image(messages[SEMANTIC][2])[..., 0]
    assert ids[0, :4].tolist() == [8, 255, 10, 3]
    assert [item.class_name for item in messages[LABELS][0].class_map] == list(CAMVID_11.names)
    assert np.diff(stamps_of(messages[IMAGE])).tolist() == [1_000_000_000, 10_000_000_000]
    assert stamps_of(messages[SEMANTIC]) == stamps_of(messages[IMAGE]) and INFO not in messages


def test_foreign_label_colours_and_missing_labels_are_named(tmp_path):
    label = np.zeros((2, 2, 3), np.uint8)
    label[1, 1] = 64, 0, 128
    np.testing.assert_array_equal(ids_of_colours(label, "x.png"), [[255, 255], [255, 8]])
    label[0, 1] = 64, 64, 65
    with pytest.raises(ImageError, match=r"x.png hold the colour \(64, 64, 65\)"):
        ids_of_colours(label, "x.png")
    write_images(tmp_path / "train", ["0001TP_006690"])
    with pytest.raises(ConfigError, match="train has no labels, expected .* trainannot beside it"):
        open_recording("camvid", tmp_path / "train")


def test_cityscapes_has_cameras_and_training_classes(tmp_path):
    names = ["aachen_000000_000019", "aachen_000000_000036", "bochum_000001_000004"]
    for city in ("aachen", "bochum"):
        own = [name for name in names if name.startswith(city)]
        write_images(tmp_path / f"leftImg8bit/train/{city}", [f"{name}_leftImg8bit" for name in own])
    labels = tmp_path / "gtFine/train/aachen"
    labels.mkdir(parents=True)
    label = np.full((48, 64), 7, np.uint8)
    label[0, :3] = 33, 0, 26
    cv2.imwrite(str(labels / f"{names[0]}_gtFine_labelIds.png"), label)
    cameras = tmp_path / "camera/train/aachen"
    cameras.mkdir(parents=True)
    intrinsic = {"fx": 2262.52, "fy": 2265.30, "u0": 1096.98, "v0": 513.137}
    (cameras / f"{names[0]}_camera.json").write_text(json.dumps({"intrinsic": intrinsic}))
    with pytest.raises(Exception, match="is for 2048x1024, the image is 64x48"):
        write_recording(open_recording("cityscapes", tmp_path), tmp_path / "no")
    assert not (tmp_path / "no").exists()
    for city, own in (("aachen", names[:2]), ("bochum", names[2:])):
        for name in own:
            path = tmp_path / f"leftImg8bit/train/{city}/{name}_leftImg8bit.png"
            cv2.imwrite(str(path), np.zeros((32, 64, 3), np.uint8))
    cv2.imwrite(str(labels / f"{names[0]}_gtFine_labelIds.png"), label[:32])
    messages = convert("cityscapes", tmp_path / "leftImg8bit/train", tmp_path / "bag")
    assert [len(messages[topic]) for topic in (IMAGE, INFO, SEMANTIC)] == [3, 2, 1]
    expected = PinholeCamera(2048, 1024, 2262.52, 2265.30, 1096.98, 513.137).resize(64, 32)
    np.testing.assert_allclose(PinholeCamera.from_camera_info(messages[INFO][1]).matrix, expected.matrix)
    assert decode_image(messages[SEMANTIC][0])[0, :4, 0].tolist() == [18, 255, 13, 0]
    assert [item.class_name for item in messages[LABELS][0].class_map] == list(CITYSCAPES_19.names)
    assert np.diff(stamps_of(messages[IMAGE])).tolist() == [1_000_000_000, 10_000_000_000]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ImageError("the image c.jpg cannot be decoded")])
def test_a_conversion_that_stops_leaves_nothing(tmp_path, error):
    def pictures():
        yield Picture(picture(0, 0))
        raise error

    (tmp_path / "out").mkdir()
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        write_recording(Recording(START + np.arange(3), pictures()), tmp_path / "out/bag")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["folder", "{}/gone"], "gone does not exist, expected data of the kind folder"),
        (["folder", "{}", "--camera", "2"], "camera is given, but folder does not take it; it is for kitti_raw, kitti"),
        (["folder", "{}", "--fps", "0"], "fps is 0, expected above 0"),
        (["folder", "{}", "--poses", "{}/intrinsics.json"], "the poses .*intrinsics.json cannot be read"),
    ],
)
def test_wrong_arguments_are_named(folder, tmp_path, capsys, arguments, message):
    arguments = [argument.format(folder) for argument in arguments]
    assert main(["convert", *arguments, "--out", str(tmp_path / "bag")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("geoseg convert: ") and not (tmp_path / "bag").exists()
    assert re.search(message, error)


def test_an_existing_bag_and_a_damaged_image_are_named(folder, tmp_path, capsys):
    (tmp_path / "bag").mkdir()
    assert main(["convert", "folder", str(folder), "--out", str(tmp_path / "bag")]) == 2
    assert "bag exists already" in capsys.readouterr().err
    (folder / "images/c.jpg").write_bytes(b"no picture")
    assert main(["convert", "folder", str(folder), "--out", str(tmp_path / "new")]) == 2
    assert "c.jpg of 10 bytes cannot be decoded, expected a JPEG or PNG" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_real_folder_becomes_a_bag(shared_data, tmp_path):
    messages = convert("folder", shared_data / "kitti00_color", tmp_path / "bag", "--frames", 0, 5)
    poses = files.read_poses(shared_data / "kitti00_color/poses.txt")[:5]
    expected = np.linalg.inv(poses[:-1]) @ poses[1:]
    np.testing.assert_allclose(relative_camera_poses(messages), expected, atol=1e-5)
    assert len(messages[IMAGE]) == len(messages[INFO]) == 5
