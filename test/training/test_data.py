"""Data sources: what a batch holds, that a step's batch depends on the step alone, and errors that name the
file."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data import source as source_module
from geoseg_ros.training.data.augmentation import AugmentConfig, no_augmentation
from geoseg_ros.training.data.colour import COLOUR
from geoseg_ros.training.data.loader import check_shares, create_sources, step_batches
from geoseg_ros.training.data.source import PairIndex, find_data

UNCHANGED = no_augmentation()
INTRINSICS = {"fx": 30.0, "fy": 31.0, "cx": 15.5, "cy": 11.5, "width": 32, "height": 24}


def make_sources(data, crop=(32, 24), augment=UNCHANGED, **changes):
    return create_sources(Recipe(task="toy", steps=1, crop=crop, data=data, augment=augment, **changes))


@pytest.fixture
def posed(tmp_path):
    """Five 32×24 frames whose grey value is 40·i, the camera moving 2 m along z and turning by 0.1 rad per
    frame."""
    folder = tmp_path / "posed"
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(5):
        cv2.imwrite(str(folder / f"images/{i:03d}.png"), np.full((24, 32, 3), 40 * i, np.uint8))
        c, s = np.cos(0.1 * i), np.sin(0.1 * i)
        rows.append([c, 0, s, 0, 0, 1, 0, 0, -s, 0, c, 2 * i])
    np.savetxt(folder / "poses.txt", rows)
    (folder / "intrinsics.json").write_text(json.dumps(INTRINSICS))
    return folder


def posed_settings(folder, **changes):
    return {"drive": {"kind": "posed_folder", "path": str(folder), "batch": 6, **changes}}


@pytest.mark.parametrize("stride", [1, 2, -1, 0])
def test_posed_pairs_have_the_pose_between_their_frames(posed, stride):
    batch = make_sources(posed_settings(posed, strides=[stride]))["drive"].batch(np.random.default_rng(0))
    assert set(batch) - set(COLOUR) == {"K", "image", "previous", "previous_distance", "previous_from_current"}
    frames, former = (batch[key][:, 0, 0, 0].astype(int) // 40 for key in ("image", "previous"))
    np.testing.assert_array_equal(frames - former, stride)
    for pose, current in zip(batch["previous_from_current"], frames):
        turn, previous = 0.1 * stride, current - stride
        np.testing.assert_allclose(pose[:3, :3] @ [0, 0, 1], [np.sin(turn), 0, np.cos(turn)], atol=1e-6)
        heading = 0.1 * previous
        np.testing.assert_allclose(
            pose[:3, 3], 2 * stride * np.array([-np.sin(heading), 0, np.cos(heading)]), atol=1e-5
        )
    np.testing.assert_allclose(batch["previous_distance"], 2 * abs(stride), rtol=1e-5)
    np.testing.assert_allclose(batch["K"][0], [[30, 0, 15.5], [0, 31, 11.5], [0, 0, 1]])


@pytest.mark.parametrize("stride", [1, 2, -1])
def test_posed_triplets_have_a_frame_on_each_side(posed, stride):
    settings = posed_settings(posed, strides=[stride], frames_per_sample=3)
    batch = make_sources(settings)["drive"].batch(np.random.default_rng(0))
    previous, current, following = (
        batch[key][:, 0, 0, 0].astype(int) // 40 for key in ("previous", "image", "next")
    )
    np.testing.assert_array_equal(current - previous, stride)
    np.testing.assert_array_equal(following - current, stride)
    np.testing.assert_allclose(batch["next_distance"], 2 * abs(stride), rtol=1e-5)
    for pose, frame in zip(batch["next_from_current"], following):
        heading = 0.1 * frame
        np.testing.assert_allclose(
            pose[:3, 3], -2 * stride * np.array([-np.sin(heading), 0, np.cos(heading)]), atol=1e-5
        )


def test_posed_frames_are_a_half_open_range(posed):
    source = make_sources(posed_settings(posed, frames=[1, 3]))["drive"]
    assert len(source) == 2
    batch = source.batch(np.random.default_rng(0))
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], 80)
    np.testing.assert_array_equal(batch["previous"][:, 0, 0, 0], 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": [3, 9]}, r"frames is \[3, 9\], expected 0 <= first < last <= 5"),
        ({"strides": [7]}, "no two frames 7 apart"),
        ({"strides": [3], "frames_per_sample": 3}, "no three frames 3 apart"),
        ({"frames_per_sample": 4}, "frames_per_sample is '4'"),
        ({"strides": []}, "strides is empty"),
        ({"batch": 0}, "batch is 0"),
        ({"stride": 1}, "data.drive: unknown key 'stride'; did you mean 'strides'"),
        ({"kind": "posed_foldr"}, "did you mean 'posed_folder'"),
        ({"augment": {"flipp": 1}}, "data.drive: augment: unknown key 'flipp'; did you mean 'flip'"),
        ({"path": "nowhere"}, "data 'nowhere' is missing; looked for .*nowhere.*GEOSEG_DATA"),
    ],
)
def test_wrong_settings_name_source_and_key(posed, changes, message):
    with pytest.raises(ConfigError, match=message):
        make_sources(posed_settings(posed, **changes))


def test_wrong_files_are_named(posed):
    (posed / "intrinsics.json").write_text(json.dumps({**INTRINSICS, "width": 64}))
    with pytest.raises(ConfigError, match="are for 64×24, the images are 32×24"):
        make_sources(posed_settings(posed))
    (posed / "intrinsics.json").write_text(json.dumps({**INTRINSICS, "distortion": [0.1, 0, 0, 0]}))
    with pytest.raises(ConfigError, match="is distorted"):
        make_sources(posed_settings(posed))
    (posed / "intrinsics.json").write_text("{}")
    with pytest.raises(ConfigError, match="lack a number for fx"):
        make_sources(posed_settings(posed))
    (posed / "intrinsics.json").write_text("nonsense")
    with pytest.raises(ConfigError, match="intrinsics.json cannot be read"):
        make_sources(posed_settings(posed))
    (posed / "poses.txt").write_text("1 2 3\n")
    with pytest.raises(ConfigError, match="5 images and 1 poses|3 numbers per line"):
        make_sources(posed_settings(posed))
    (posed / "images/001.png").write_bytes(b"not a picture")
    (posed / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 5)
    with pytest.raises(ConfigError, match="001.png cannot be decoded"):
        make_sources(posed_settings(posed))


@pytest.fixture
def stills(tmp_path):
    folder = tmp_path / "stills"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    labels = np.full((24, 32), 3, np.uint8)
    labels[0, :3] = [11, 255, 10]
    cv2.imwrite(str(folder / "images/a.jpg"), np.full((24, 32, 3), (255, 0, 0), np.uint8))
    cv2.imwrite(str(folder / "labels/a.png"), labels)
    return {
        "stills": {"kind": "labelled_folder", "path": str(folder), "labels": "camvid_11", "batch": 2}
    }, folder


def test_labelled_stills_unify_ignored_ids(stills):
    settings, _ = stills
    settings["stills"]["void"] = [11]
    batch = make_sources(settings)["stills"].batch(np.random.default_rng(0))
    assert set(batch) - set(COLOUR) == {"K", "image", "semantic"}
    np.testing.assert_array_equal(batch["semantic"][1, 0, :4], [255, 255, 10, 3])
    np.testing.assert_allclose(batch["image"][0, :, 5, 5], [0, 0, 255], atol=5)


def test_labels_outside_the_set_and_missing_labels_are_named(stills):
    settings, folder = stills
    with pytest.raises(ConfigError, match=r"a.png holds the ids \[11\], expected 0 … 10 of camvid_11"):
        make_sources(settings)
    (folder / "labels/a.png").unlink()
    with pytest.raises(ConfigError, match="a.png is missing"):
        make_sources(settings)
    settings["stills"]["labels"] = "camvid"
    with pytest.raises(ConfigError, match="label set is 'camvid'"):
        make_sources(settings)


def test_a_clip_gives_pairs_with_intrinsics_of_a_section(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "drive.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for i in range(4):
        writer.write(np.full((48, 64, 3), 60 * i, np.uint8))
    writer.release()
    (tmp_path / "drive.json").write_text(json.dumps({"rect": {**INTRINSICS, "D": [0, 0]}}))
    settings = {
        "clip": {"kind": "video_clip", "path": str(tmp_path / "drive.mp4"), "batch": 3, "section": "rect"}
    }
    batch = make_sources(settings)["clip"].batch(np.random.default_rng(0))
    assert set(batch) - set(COLOUR) == {"K", "image", "previous"}
    difference = batch["image"].mean((1, 2, 3)) - batch["previous"].mean((1, 2, 3))
    np.testing.assert_allclose(difference, 60, atol=8)
    assert batch["K"][0, 0, 0] == 15.0  # 64 → 32 pixels
    settings["clip"]["frames_per_sample"] = 3
    batch = make_sources(settings)["clip"].batch(np.random.default_rng(0))
    difference = batch["next"].mean((1, 2, 3)) - batch["image"].mean((1, 2, 3))
    np.testing.assert_allclose(difference, 60, atol=8)
    settings["clip"]["section"] = "raw"
    with pytest.raises(ConfigError, match="no section 'raw'"):
        make_sources(settings)


@pytest.fixture
def streets(tmp_path):
    """Two sequences of three 32×24 frames, a wall 10 m ahead that comes 1 m nearer per frame, a box moving on it."""
    camera = PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5)
    grid = np.stack(np.meshgrid(np.arange(32) - camera.cx, np.arange(24) - camera.cy), -1)
    for sequence in range(2):
        place = tmp_path / f"streets/sequence_{sequence:08d}"
        place.mkdir(parents=True)
        depth = np.stack([np.full((24, 32), 10.0 - i, np.float16) for i in range(3)])
        motion = np.zeros((3, 24, 32), np.uint8)
        motion[:, 4:8, 4:8] = 255
        flow = np.full((3, 24, 32, 2), np.nan, np.float16)
        for i in (1, 2):
            flow[i] = grid * ((10 - i) / (11 - i) - 1)
        poses = np.tile(np.eye(4), (3, 1, 1))
        poses[:, 2, 3] = [0, 1, 2]
        image = np.stack([np.full((24, 32, 3), 100 * sequence + 10 * i, np.uint8) for i in range(3)])
        semantic = np.ones((3, 24, 32), np.uint8)
        arrays = {"image": image, "depth": depth, "semantic": semantic, "flow": flow, "motion": motion}
        for name, array in {**arrays, "world_from_camera": poses}.items():
            np.save(place / f"{name}.npy", array)
        meta = {"format": 1, "seed": sequence, "frames": 3, "width": 32, "height": 24}
        meta |= {"stamps": [0, 1, 2], "camera": camera.to_dict()}
        (place / "sequence.json").write_text(json.dumps(meta))
    return {"street": {"kind": "synthetic", "path": str(tmp_path / "streets"), "batch": 4}}


@pytest.mark.parametrize("stride", [1, 2, -1, 0])
def test_synthetic_pairs_have_every_ground_truth(streets, stride):
    streets["street"]["strides"] = [stride]
    source = make_sources(streets)["street"]
    assert len(source) == 6
    batch = source.batch(np.random.default_rng(0))
    assert {"K", "depth", "semantic", "flow", "motion", "previous_from_current"} < set(batch)
    for depth, flow, motion, pose in zip(
        batch["depth"], batch["flow"], batch["motion"], batch["previous_from_current"], strict=True
    ):
        near = depth[0, 0, 0]
        np.testing.assert_allclose(pose[:3, 3], [0, 0, stride])
        still = motion[0] == 0
        expected = (np.arange(32) - 15.5) * (near / (near + stride) - 1)
        np.testing.assert_allclose(flow[0][still], np.broadcast_to(expected, (24, 32))[still], atol=0.01)
        assert (~still).sum() == (0 if stride == 0 else 16)
        assert np.isnan(flow[:, ~still]).all() if stride != 1 else np.isfinite(flow).all()
    assert set(np.unique(batch["semantic"])) == {1}


def test_synthetic_stills_are_single_frames_of_all_sequences(streets):
    streets["street"] |= {"pairs": False, "batch": 64}
    batch = make_sources(streets)["street"].batch(np.random.default_rng(0))
    assert set(batch) - set(COLOUR) == {"image", "K", "depth", "semantic"}
    shades = np.unique(batch["image"][:, 0, 12, 16])
    np.testing.assert_array_equal(shades, [100 * sequence + 10 * i for sequence in range(2) for i in range(3)])


def test_processes_share_a_batch(posed):
    settings = posed_settings(posed)
    settings["drive"]["batch"] = 4
    source = make_sources(settings, augment=AugmentConfig(motion_blur=0.5))["drive"]
    whole = source.batch(np.random.default_rng(3))
    for rank in range(2):
        share = source.batch(np.random.default_rng(3), rank, 2)
        assert set(share) == set(whole)
        for key, value in share.items():
            np.testing.assert_array_equal(value, whole[key][rank::2], err_msg=key)
    with pytest.raises(ConfigError, match="data.drive: batch is 4, expected at least one per process \\(5\\)"):
        check_shares({"drive": source}, 5)
    check_shares({"drive": source}, 4)


def test_an_empty_street_folder_is_named(streets, tmp_path):
    (tmp_path / "empty").mkdir()
    streets["street"]["path"] = str(tmp_path / "empty")
    with pytest.raises(ConfigError, match="empty holds no sequence"):
        make_sources(streets)


def test_a_source_changes_the_recipes_augmentation(posed):
    sources = make_sources(posed_settings(posed, augment={"flip": 1.0}), augment=no_augmentation(blur=0.5))
    assert (sources["drive"].augmentation.flip, sources["drive"].augmentation.blur) == (1.0, 0.5)


def test_a_steps_batch_depends_on_seed_and_step_alone(posed):
    sources = make_sources({**posed_settings(posed), "again": posed_settings(posed)["drive"]})

    def images(seed, first, workers):
        return [batch["drive"]["image"].numpy() for batch in step_batches(sources, seed, first, 4, workers)]

    whole, late, helped = images(1, 0, 0), images(1, 2, 0), images(1, 0, 2)
    assert len(whole) == 4 and len(late) == 2
    for first, second in zip(whole[2:] + whole, late + helped):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(whole[0], images(2, 0, 0)[0])
    batch = next(step_batches(sources, 1, 0, 1, 0))
    assert not np.array_equal(batch["drive"]["image"], batch["again"]["image"])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_step_may_have_a_crop_of_its_own(posed, workers):
    sources = make_sources(posed_settings(posed))
    sizes = {0: (16, 8), 1: (16, 8), 2: (24, 16)}
    batches = list(step_batches(sources, 1, 0, 3, workers, crop_at=sizes.get))
    for step, batch in enumerate(batches):
        assert batch["drive"]["image"].shape[-2:] == sizes[step][::-1]
    own = next(step_batches(sources, 1, 2, 3, workers))["drive"]
    assert own["image"].shape[-2:] == sources["drive"].size[::-1]


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_are_page_locked_for_cuda_alone(posed, device, workers):
    sources = make_sources(posed_settings(posed))
    (plain,) = step_batches(sources, 1, 0, 1, 0)
    (batch,) = step_batches(sources, 1, 0, 1, workers, device=torch.device(device))
    assert batch["drive"].keys() == plain["drive"].keys()
    for key, value in batch["drive"].items():
        assert value.device.type == "cpu" and value.is_pinned() == (device == "cuda")
        assert torch.equal(value, plain["drive"][key])


def test_data_is_found_in_the_variable_then_the_root_then_the_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "CHECKOUT", tmp_path / "checkout")
    (tmp_path / "checkout/only_here").mkdir(parents=True)
    for place in ("root", "variable"):
        (tmp_path / place / "set").mkdir(parents=True)
    assert find_data("set", "../root") == tmp_path / "root/set"
    monkeypatch.setenv("GEOSEG_DATA", str(tmp_path / "variable"))
    assert find_data("set", "../root") == tmp_path / "variable/set"
    assert find_data("only_here", "../root") == tmp_path / "checkout/only_here"
    with pytest.raises(ConfigError, match=f"{tmp_path}/variable/none, .*root/none, {tmp_path}/checkout/none"):
        find_data("none", "../root")


def test_pairs_stay_inside_their_sequence():
    index = PairIndex([3, 1, 2], (1, -1), "clips")
    rng = np.random.default_rng(0)
    pairs = {index.draw(rng) for _ in range(200)}
    assert pairs == {(0, 1, 1), (0, 2, 1), (2, 1, 1), (0, 0, -1), (0, 1, -1), (2, 0, -1)}
    triplets = PairIndex([4, 1, 2], (1, -1), "clips", frames=3)
    assert {triplets.draw(rng) for _ in range(100)} == {(0, 1, 1), (0, 2, 1), (0, 1, -1), (0, 2, -1)}


def test_real_folders_give_whole_batches(shared_data):
    clip = {"path": "video_udacity_highway/udacity_small1_rect.mp4", "intrinsics": "udacity_small1.json"}
    stills = {"path": "camvid/val", "labels": "camvid_11", "void": [11]}
    data = {
        "kitti": {"kind": "posed_folder", "path": "kitti00_color", "batch": 2, "frames": [0, 6]},
        "highway": {"kind": "video_clip", "section": "rect", "batch": 2, **clip},
        "camvid": {"kind": "labelled_folder", "batch": 2, **stills},
    }
    sources = make_sources(data, crop=(256, 96), data_root=str(shared_data))
    for name, source in sources.items():
        batch = source.batch(np.random.default_rng(0))
        assert batch["image"].shape == (2, 3, 96, 256), name
        assert 25 < batch["image"].mean() < 230
    pose = sources["kitti"].batch(np.random.default_rng(0))["previous_from_current"]
    assert (np.linalg.norm(pose[:, :3, 3], axis=1) > 0.5).all()  # KITTI 00 begins at about 0.86 m per frame
