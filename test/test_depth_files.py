"""Depth as 16-bit PNG: counts by hand, round trips within half a count, the folder's name and facts."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg_ros.depth_files import UNITS, DepthFolder
from geoseg_ros.errors import ConfigError
from geoseg_ros.image_messages import depth_counts

STAMP = 1_700_000_000_050_000_000


def test_counts_by_hand():
    depth = np.array([[1.0, 2.5, np.nan, np.inf, -1.0, 0.0, 65.5354, 65.6, 300.0, 0.0004]], np.float32)
    assert depth_counts(depth, 1000.0).tolist() == [[1000, 2500, 0, 0, 0, 0, 65535, 0, 0, 0]]
    assert depth_counts(depth, 256.0).tolist() == [[256, 640, 0, 0, 0, 0, 16777, 16794, 0, 0]]


@given(arrays(np.float32, (3, 4), elements=st.floats(0.0625, 65.0, width=32)), st.sampled_from(sorted(UNITS)))
def test_round_trips_stay_within_half_a_count(depth, unit):
    coded = cv2.imencode(".png", depth_counts(depth, UNITS[unit]))[1]
    read = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read / UNITS[unit], depth, atol=0.5001 / UNITS[unit])


def test_the_folder_says_what_its_counts_mean(tmp_path):
    with DepthFolder(tmp_path / "depth", "kitti") as folder:
        folder.write(np.full((2, 3), 10.0, np.float32), STAMP)
        folder.write(np.full((2, 3), np.nan, np.float32), STAMP + 1)
        assert not (tmp_path / "depth").exists()
    assert sorted(path.name for path in (tmp_path / "depth").iterdir()) == [
        "1700000000.050000000.png", "1700000000.050000001.png", "depth.json",
    ]
    facts = json.loads((tmp_path / "depth/depth.json").read_text())
    assert facts["counts_per_metre"] == 256.0 and facts["images"] == 2 and facts["unknown"] == 0
    image = cv2.imread(str(tmp_path / "depth/1700000000.050000000.png"), cv2.IMREAD_UNCHANGED)
    assert (image == 2560).all() and image.shape == (2, 3)


def test_without_an_image_there_is_no_folder(tmp_path):
    with DepthFolder(tmp_path / "depth"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_what_was_written(tmp_path):
    with pytest.raises(RuntimeError), DepthFolder(tmp_path / "depth") as folder:
        folder.write(np.ones((2, 2)), STAMP)
        raise RuntimeError
    assert len(list((tmp_path / "depth").glob("*.png"))) == 1


def test_bad_places_and_units_are_named(tmp_path):
    with pytest.raises(ConfigError, match="exists already"):
        DepthFolder(tmp_path)
    with pytest.raises(ConfigError, match="its parent folder does not exist"):
        DepthFolder(tmp_path / "no" / "depth")
    with pytest.raises(ConfigError, match="depth unit is 'cm', expected mm or kitti"):
        DepthFolder(tmp_path / "depth", "cm")
    assert list(tmp_path.iterdir()) == []
