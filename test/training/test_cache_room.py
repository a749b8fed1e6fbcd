"""The bound of the cache folder: who gives way, who stays, and what is said."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pytest
from drive_bags import write_drive

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.bag_images import BagSettings
from geoseg_ros.training.data.cache_room import fill_level, hold, make_room
from geoseg_ros.training.data.depth_guidance import DepthGuide
from geoseg_ros.training.data.frame_cache import open_cache

DAY = 86_400
KEEP = "0123456789abcdef"


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def write_entry(folder, name, size, opened, suffix="frames"):
    path = folder / f"{name}-{KEEP}.{suffix}"
    path.write_bytes(bytes(size))
    os.utime(path, (opened, opened))
    return path


def names(folder):
    return sorted(path.name.partition(f"-{KEEP}")[0] for path in folder.iterdir() if path.name != ".lock")


def room(folder, needed, limit, own=()):
    make_room(folder, "the frames", needed, limit / 1e9, own, "raise it")


def test_the_least_recently_used_give_way_and_no_more_than_needed(cache, capsys):
    for name, opened in (("a", 3), ("b", 1), ("c", 2), ("d", 4)):
        write_entry(cache, name, 1000, opened * DAY, "npy" if name == "b" else "frames")
    room(cache, 500, 4500)
    assert names(cache) == ["a", "b", "c", "d"] and capsys.readouterr().err == ""
    room(cache, 500, 2500)
    assert names(cache) == ["a", "d"]
    said = f"cache {cache}: removed the 2 least recently used entries of 0.002 MB, since cache_gb allows 2.5e-06 GB\n"
    assert capsys.readouterr().err == said
    room(cache, 500, 2499)
    assert names(cache) == ["d"] and "removed the 1 least recently used entry of 0.001 MB" in capsys.readouterr().err
    assert fill_level(cache, 20.0) == "the folder holds 0.001 MB of 20 GB"


def test_what_is_held_stays_and_where_that_is_too_much_nothing_is_removed(cache):
    old, new = write_entry(cache, "old", 1000, DAY), write_entry(cache, "new", 1000, 2 * DAY)
    with old.open("rb") as file:
        hold(file)
        assert old.stat().st_mtime > 2 * DAY, "opening an entry is using it"
        os.utime(old, (DAY, DAY))
        message = f"the frames need 0.0006 MB beside 0.001 MB that is in use in {cache}, cache_gb allows 1.5e-06 GB; raise it"
        with pytest.raises(ConfigError, match=message):
            room(cache, 600, 1500)
        assert names(cache) == ["new", "old"]
        room(cache, 500, 1500)
        assert names(cache) == ["old"]
    assert not new.exists()
    room(cache, 600, 1500)
    assert names(cache) == []


def test_a_map_holds_its_entry_in_forked_processes_too(cache):
    path = write_entry(cache, "mapped", 1000, DAY)
    with path.open("rb") as file:
        hold(file)
        values = np.memmap(file, np.uint8, "r", shape=(1000,))
    part = values[10:20]
    del values
    context = multiprocessing.get_context("fork")
    done = context.Event()
    child = context.Process(target=done.wait)
    child.start()
    del part
    try:
        with pytest.raises(ConfigError, match="that is in use"):
            room(cache, 1, 1000)
    finally:
        done.set()
        child.join(30)
    room(cache, 1, 1000)
    assert names(cache) == []


def test_own_entries_are_counted_once_and_stay(cache):
    own = write_entry(cache, "own", 1000, DAY)
    write_entry(cache, "other", 1000, 2 * DAY)
    room(cache, 1500, 2500, [own])
    assert names(cache) == ["other", "own"]
    room(cache, 1501, 2500, [own])
    assert names(cache) == ["own"]


def test_other_files_are_neither_counted_nor_removed(cache):
    for name in ("depth.npy", "notes.frames", f"x-{KEEP}.txt", "x-0123.frames"):
        (cache / name).write_bytes(bytes(10_000))
    (cache / f"folder-{KEEP}.frames").mkdir()
    room(cache, 1000, 1000)
    assert len(list(cache.iterdir())) == 5 and fill_level(cache, 1.0) == "the folder holds 0 MB of 1 GB"


def test_bags_that_are_open_stay_and_others_are_cached_again(tmp_path, cache, capsys):
    bags = [write_drive(tmp_path / name) for name in "abc"]
    settings = BagSettings(size=None, cover=(64, 48))

    def open_(bag, limit_gb=1.3e-4):
        (cached,) = open_cache([bag], settings, cache, limit_gb)
        return cached

    def cached_names():
        return [path.name[0] for path in sorted(cache.glob("*.frames"))]

    first = open_(bags[0])
    size = sum(path.stat().st_size for path in cache.glob("*.frames"))
    assert 55_296 < size < 65_000, "room for two"
    assert f"frames/s); the folder holds {size / 1e6:.3g} MB of 0.00013 GB" in capsys.readouterr().err
    open_(bags[1])
    open_(bags[2])
    assert cached_names() == ["a", "c"], "b is newer than a, but nobody has it open"
    assert "removed the 1 least recently used entry of 0.0" in capsys.readouterr().err
    held = open_(bags[2])
    message = "frames of 1 bag need 0.0553 MB beside 0.1.. MB that is in use .*; raise it, or lower"
    with pytest.raises(ConfigError, match=message):
        open_(bags[1])
    del first
    open_(bags[1])
    assert cached_names() == ["b", "c"] and len(held) == 6
    capsys.readouterr()
    assert len(open_(bags[1], limit_gb=1e-6)) == 6, "what is there is used: nothing new is made"
    assert cached_names() == ["b", "c"] and capsys.readouterr().err == ""


def test_depth_of_a_frozen_model_shares_the_bound(tmp_path, cache, capsys):
    class Constant(DepthGuide):
        def _depth(self, image, matrix):
            return np.ones(image.shape[:2], np.float16)

    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    write_entry(cache, "old", 1000, DAY)
    images, matrices = [np.zeros((10, 20, 3), np.uint8)] * 2, [np.eye(3)] * 2
    guide = Constant(model, cache, "cpu", limit_gb=1e-6)
    maps = guide.depths("yard", "p", "s", images, matrices)
    assert "old" not in names(cache) and maps[1].shape == (10, 20) and (maps[1] == 1).all()
    said = capsys.readouterr().err
    assert "removed the 1 least recently used entry of 0.001 MB" in said
    assert "2 images of yard by model.safetensors, 0.0008 MB; the folder holds 0.000928 MB of 1e-06 GB" in said
    with pytest.raises(ConfigError, match="the depth maps of field need 0.0008 MB beside 0.000928 MB that is in use in"):
        guide.depths("field", "q", "s", images, matrices)
    del maps
    guide.depths("field", "q", "s", images, matrices)
    assert [path.name.partition("-")[0] for path in cache.glob("*.npy")] == ["field"]
