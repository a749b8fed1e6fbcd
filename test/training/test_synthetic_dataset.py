"""Stored synthetic sequences: what is written is what is rendered, interrupted runs go on, wrong folders are
refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.augmentation import AugmentConfig
from geoseg_ros.training.data.rendered import Rendered, RenderedConfig
from geoseg_ros.training.data.synthetic import SyntheticRoom, SyntheticStreet, random_config, random_room_config
from geoseg_ros.training.data.synthetic.dataset import (
    SyntheticDataset,
    generate_dataset,
    main,
    write_sequence,
)

SIZE = (64, 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("dataset") / "streets"
    assert generate_dataset(place, 2, 2, first_seed=5, width=SIZE[0], height=SIZE[1], workers=1) == 2
    return place


def test_stored_frames_equal_rendered_ones(folder):
    data = SyntheticDataset(folder)
    assert len(data) == 2 and data.frames(0) == 2
    config = random_config(6, *SIZE, 2)
    rendered = SyntheticStreet(6, config).frame(1)
    stored = data.frame(1, 1)
    assert data.camera(1) == stored.camera == config.camera
    assert stored.stamp == rendered.stamp
    np.testing.assert_array_equal(stored.image, rendered.image)
    np.testing.assert_array_equal(stored.semantic, rendered.semantic)
    np.testing.assert_array_equal(stored.motion, rendered.motion_mask)
    np.testing.assert_array_equal(stored.world_from_camera, rendered.world_from_camera)
    np.testing.assert_array_equal(np.isinf(stored.depth), np.isinf(rendered.depth))
    finite = np.isfinite(rendered.depth)
    np.testing.assert_allclose(stored.depth[finite].astype(np.float32), rendered.depth[finite], rtol=1e-3)
    np.testing.assert_array_equal(stored.flow, rendered.flow_to_previous.clip(-6e4, 6e4).astype(np.float16))
    assert stored.depth.dtype == np.float16 and stored.flow.dtype == np.float16
    assert np.isnan(data.frame(0, 0).flow).all()


def test_arrays_are_mapped_and_read_only(folder):
    image = SyntheticDataset(folder).frame(0, 0).image
    assert isinstance(image, np.memmap)
    with pytest.raises(ValueError):
        image[0, 0, 0] = 1


def test_generation_goes_on_where_it_stopped(folder):
    kept = folder / "sequence_00000005"
    before = (kept / "image.npy").stat().st_mtime_ns
    removed = folder / "sequence_00000006"
    for file in removed.iterdir():
        file.unlink()
    removed.rmdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (folder / f".sequence_00000006.{ended.pid}.tmp").mkdir()
    written_by_another = folder / f".sequence_00000007.{os.getpid()}.tmp"
    written_by_another.mkdir()
    assert generate_dataset(folder, 2, 2, first_seed=5, width=SIZE[0], height=SIZE[1], workers=1) == 1
    assert (kept / "image.npy").stat().st_mtime_ns == before
    written_by_another.rmdir()
    assert sorted(p.name for p in folder.iterdir()) == ["sequence_00000005", "sequence_00000006"]


def test_another_size_in_the_same_folder_is_refused(folder):
    with pytest.raises(ConfigError, match="2 frames of 64x32, expected 2 of 96x32"):
        generate_dataset(folder, 1, 2, first_seed=5, width=96, height=32, workers=1)


def test_folders_that_are_no_dataset_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no sequence_"):
        SyntheticDataset(tmp_path)
    place = write_sequence(tmp_path, 0, 1, *SIZE)
    meta = json.loads((place / "sequence.json").read_text())
    (place / "sequence.json").write_text(json.dumps({**meta, "format": 99}))
    with pytest.raises(ConfigError, match="format 99, expected 1"):
        SyntheticDataset(tmp_path).frame(0, 0)
    (place / "sequence.json").write_text(json.dumps(meta))
    np.save(place / "depth.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match="cannot be read"):
        SyntheticDataset(tmp_path).frame(0, 0)


def test_datasets_travel_to_worker_processes(folder):
    data = SyntheticDataset(folder)
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy.frame(0, 1).image, data.frame(0, 1).image)


def test_command_line(folder, capsys):
    arguments = [
        "--out",
        str(folder),
        "--sequences",
        "2",
        "--frames",
        "2",
        "--first-seed",
        "5",
        "--workers",
        "1",
    ]
    assert main([*arguments, "--size", "64x32"]) == 0
    assert "0 sequences rendered" in capsys.readouterr().out
    assert main([*arguments, "--size", "32x32"]) == 2
    with pytest.raises(SystemExit):
        main([*arguments, "--size", "big"])
    with pytest.raises(SystemExit):
        main([*arguments, "--world", "moon"])
    assert main([*arguments, "--size", "64x32", "--world", "rooms"]) == 2
    assert "sequence_00000005 shows streets, expected rooms: choose another folder" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="world is 'moon', expected one of streets, rooms"):
        generate_dataset(folder, 1, world="moon")


def test_rooms_are_stored_and_read_like_streets(tmp_path):
    assert generate_dataset(tmp_path / "rooms", 1, 2, world="rooms", workers=1) == 1
    data = SyntheticDataset(tmp_path / "rooms")
    stored = data.frame(0, 1)
    config = random_room_config(0, frames=2)
    rendered = SyntheticRoom(0, config, threads=1).frame(1)
    assert data.camera(0) == config.camera and (config.camera.width, config.camera.height) == (448, 336)
    np.testing.assert_array_equal(stored.image, rendered.image)
    np.testing.assert_array_equal(stored.semantic, rendered.semantic)
    np.testing.assert_allclose(stored.depth.astype(np.float32), rendered.depth, rtol=1e-3)
    settings = RenderedConfig("synthetic", "rooms", batch=2)
    batch = Rendered(settings, AugmentConfig(), (224, 160), tmp_path / "rooms").batch(np.random.default_rng(0))
    assert (batch["semantic"] == 255).mean() > 0.5
    unlabelled = replace(settings, semantic=False, pairs=False)
    batch = Rendered(unlabelled, AugmentConfig(), (224, 160), tmp_path / "rooms").batch(np.random.default_rng(0))
    assert "semantic" not in batch
    assert batch["depth"].shape == (2, 1, 160, 224) and np.isfinite(batch["depth"]).mean() > 0.5
    with pytest.raises(ConfigError, match="shows rooms, expected streets"):
        generate_dataset(tmp_path / "rooms", 1, 2, workers=1)
