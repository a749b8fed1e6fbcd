"""The frame cache: made once, made anew when bag or settings change, bounded, whole or not there."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drive_bags import CAMERA, PERIOD, START, picture, write_drive
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.bag_images import BagImages, BagSettings, covering_size
from geoseg_ros.training.data.cache_folder import CACHE_VARIABLE, default_folder
from geoseg_ros.training.data.cached_bag import CachedBagWriter, read_cached_bag
from geoseg_ros.training.data.frame_cache import open_cache

WHOLE = BagSettings(size=None, cover=(64, 48))


@pytest.fixture
def drive(tmp_path):
    return write_drive(tmp_path / "drive")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def open_one(bag, cache, limit_gb=1.0, **settings):
    (cached,) = open_cache([bag], BagSettings(**{**vars(WHOLE), **settings}), cache, limit_gb)
    return cached


def files_of(cache):
    return sorted(path.name for path in cache.iterdir() if path.name != ".lock")


@pytest.fixture
def built(monkeypatch):
    """The bags that were decoded so far."""
    bags, images = [], BagImages.images

    def counted(self, threads=None):
        bags.append(self.path.name)
        return images(self, threads)

    monkeypatch.setattr(BagImages, "images", counted)
    return bags


def test_frames_are_mapped_and_as_recorded(drive, cache, capsys):
    cached = open_one(drive, cache)
    assert isinstance(cached.images, np.memmap) and not cached.images.flags.writeable
    assert (len(cached), cached.size) == (6, (64, 48))
    for i, image in enumerate(cached.images):
        np.testing.assert_array_equal(image, picture(i, 4 * i))
    np.testing.assert_array_equal(cached.stamps, START + PERIOD * np.arange(6))
    np.testing.assert_allclose(cached.matrices, np.broadcast_to(CAMERA.matrix, (6, 3, 3)))
    assert np.isnan(cached.motion[0]) and np.isnan(cached.poses).all()
    np.testing.assert_allclose(cached.motion[1:], 4, atol=0.2)
    report = capsys.readouterr().err
    assert "6 frames of 1 bag (6 calibrated, 0 with odometry), 0.0553 MB, made in" in report and str(cache) in report


def test_the_second_time_nothing_is_decoded(drive, cache, built, capsys):
    open_one(drive, cache)
    capsys.readouterr()
    again = open_one(drive, cache)
    assert built == ["drive"] and len(again) == 6
    assert capsys.readouterr().err.strip() == ""


def test_a_changed_bag_replaces_its_frames(drive, cache, built):
    before = open_one(drive, cache)
    names = files_of(cache)
    shutil.rmtree(drive)
    write_drive(drive, first=10, shifts=[0, 4, 8])
    after = open_one(drive, cache)
    assert built == ["drive", "drive"] and files_of(cache) == names
    assert len(after) == 3 and after.images[0, 0, 0, 0] == 80
    assert before.images[5, 0, 0, 0] == 40  # whoever has the old file open keeps it


def test_a_touched_bag_is_read_again(drive, cache, built):
    open_one(drive, cache)
    (file,) = drive.glob("*.mcap")
    os.utime(file, ns=(1, 1))
    open_one(drive, cache)
    assert built == ["drive", "drive"]


@pytest.mark.parametrize(
    "change", [{"size": (32, 24)}, {"max_rate": 5.0}, {"use_camera_info": False}, {"odometry_gap": 1.0}]
)
def test_other_settings_have_a_file_of_their_own(drive, cache, built, change):
    open_one(drive, cache)
    open_one(drive, cache, **change)
    open_one(drive, cache)
    assert built == ["drive", "drive"] and len(files_of(cache)) == 2


def test_bags_of_the_same_name_do_not_mix(tmp_path, drive, cache):
    other = write_drive(tmp_path / "other/drive", first=10)
    both = open_cache([drive, other], WHOLE, cache, 1.0)
    assert [int(cached.images[0, 0, 0, 0]) for cached in both] == [0, 80]


def test_too_many_frames_are_refused_before_any_is_decoded(tmp_path, drive, cache, built):
    other = write_drive(tmp_path / "other", shifts=[0, 4])
    open_one(drive, cache)
    with pytest.raises(
        ConfigError, match="frames of 2 bags need 0.0737 MB, cache_gb allows 6e-05 GB; raise it, or lower size"
    ):
        open_cache([drive, other], WHOLE, cache, 6e-5)
    assert built == ["drive"]


def test_a_full_disk_is_named(drive, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 8, 2000))
    with pytest.raises(ConfigError, match="needs 0.0553 MB, its disk has 0.002 MB free"):
        open_one(drive, cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_nothing(drive, cache, monkeypatch, error):
    images = BagImages.images

    def interrupted(self, threads=None):
        for i, image in enumerate(images(self, threads)):
            if i == 3:
                raise error
            yield image

    monkeypatch.setattr(BagImages, "images", interrupted)
    with pytest.raises(error):
        open_one(drive, cache)
    assert files_of(cache) == []
    monkeypatch.setattr(BagImages, "images", images)
    assert len(open_one(drive, cache)) == 6


@pytest.mark.parametrize("keep", [0, 100, 55_296, -1])
def test_a_cut_or_foreign_file_is_made_anew(drive, cache, built, keep):
    open_one(drive, cache)
    (name,) = files_of(cache)
    data = (cache / name).read_bytes()
    (cache / name).write_bytes(data[:keep])
    assert len(open_one(drive, cache)) == 6
    (cache / name).write_bytes(b"\0" * len(data))
    assert len(open_one(drive, cache)) == 6
    assert built == ["drive"] * 3


def test_whoever_asks_at_once_waits_for_the_first(drive, cache, built):
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: len(open_one(drive, cache)), range(3)))
    assert results == [6, 6, 6] and built == ["drive"]


def test_a_wait_for_another_process_is_told(drive, cache, capsys):
    cache.mkdir()
    told, deadline = "", time.monotonic() + 30
    with ThreadPoolExecutor(1) as pool:
        with (cache / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            result = pool.submit(open_one, drive, cache)
            while "waiting for another process" not in told and time.monotonic() < deadline:
                told += capsys.readouterr().err
                time.sleep(0.01)
            assert "waiting for another process that fills it" in told and not result.done()
        assert len(result.result(30)) == 6


def test_what_a_killed_process_left_is_removed(drive, cache):
    cache.mkdir()
    (cache / ".other-0123.frames.partial").write_bytes(b"half")
    open_one(drive, cache)
    assert [name for name in files_of(cache) if "partial" in name] == []


def test_images_that_cannot_be_decoded_are_skipped_and_reported(tmp_path, cache, capsys):
    bag = write_drive(tmp_path / "drive", images={2: {"encoding": "nonsense"}})
    cached = open_one(bag, cache)
    assert (len(cached), cached.skipped) == (5, 1)
    np.testing.assert_array_equal(cached.images[:, 0, 0, 0], [0, 8, 24, 32, 40])
    np.testing.assert_allclose(cached.motion[2], 8, atol=0.6)  # over the missing one
    assert "; 1 could not be decoded" in capsys.readouterr().err


def test_images_are_resized_with_their_camera(drive, cache):
    cached = open_one(drive, cache, size=(32, 24))
    np.testing.assert_allclose(cached.matrices[0], CAMERA.resize(32, 24).matrix)
    inside = picture(1, 4).reshape(24, 2, 32, 2, 3).mean((1, 3))
    np.testing.assert_allclose(cached.images[1], inside, atol=1)
    np.testing.assert_allclose(cached.motion[1:], 2, atol=0.2)  # pixels of the stored images


def test_fewer_images_per_second_are_kept(drive, cache):
    np.testing.assert_array_equal(open_one(drive, cache, max_rate=5.0).images[:, 0, 0, 0], [0, 16, 32])
    assert len(open_one(drive, cache, max_rate=10.0)) == 6
    assert len(open_one(drive, cache, max_rate=6.0)) == 3


@given(
    width=st.integers(16, 2000), height=st.integers(16, 2000), across=st.integers(16, 2000), down=st.integers(16, 2000)
)
def test_the_covering_size_covers_and_keeps_the_shape(width, height, across, down):
    found = covering_size((width, height), (across, down))
    assert found[0] <= width and found[1] <= height
    assert found[0] >= min(across, width) - 1 or found[1] >= min(down, height) - 1
    if found != (width, height):
        assert found[0] >= across - 1 and found[1] >= down - 1
    assert abs(found[0] / width - found[1] / height) <= 0.51 / width + 0.51 / height


def test_a_cache_that_cannot_be_written_is_named(drive, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="frame cache .*file/cache cannot be written: Not a directory"):
        open_one(drive, tmp_path / "file/cache")


def test_images_of_one_file_share_their_shape(tmp_path):
    with pytest.raises(ValueError, match=r"image has shape \(2, 3, 3\), expected \(2, 2, 3\)"):
        with CachedBagWriter(tmp_path / "x.frames") as writer:
            writer.append(np.zeros((2, 2, 3), np.uint8))
            writer.append(np.zeros((2, 3, 3), np.uint8))
    assert list(tmp_path.iterdir()) == [] and read_cached_bag(tmp_path / "x.frames") is None


def test_the_cache_is_the_users_or_the_variables(monkeypatch, tmp_path):
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "geoseg_ros"
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"
