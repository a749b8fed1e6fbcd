"""Trajectories: what is added up, lines by hand, round trips, and what is refused."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geoseg_ros.egomotion import exponential
from geoseg_ros.errors import ConfigError
from geoseg_ros.quaternion import quaternion_of, rotation_of
from geoseg_ros.trajectory_files import Trajectory, read_trajectory, write_trajectory

TWISTS = st.lists(st.floats(-3.0, 3.0), min_size=6, max_size=6).map(np.array)
STAMPS = st.integers(0, 2**62)


def motion(*twist):
    return SimpleNamespace(previous_from_current=exponential(np.array(twist, float)))


def test_ego_motion_adds_up_and_silence_stands_still():
    trajectory = Trajectory()
    quarter = math.pi / 2
    for stamp, step in enumerate((None, motion(0, 0, 2, 0, 0, 0), None, motion(0, 0, 0, 0, quarter, 0), motion(0, 0, 1, 0, 0, 0))):
        trajectory.add(stamp, step)
    assert trajectory.stamps == [0, 1, 2, 3, 4] and trajectory.unknown == 1
    positions = [pose[:3, 3].tolist() for pose in trajectory.poses]
    np.testing.assert_allclose(positions, [[0, 0, 0], [0, 0, 2], [0, 0, 2], [0, 0, 2], [1, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(trajectory.poses[-1][:3, 2], [1, 0, 0], atol=1e-12)


def test_lines_by_hand(tmp_path):
    """Two metres ahead, turned right by 90° about y: (0, sin 45°, 0, cos 45°)."""
    pose = exponential(np.array([0, 0, 0, 0, math.pi / 2, 0]))
    pose[:3, 3] = (0.5, 0, 2)
    write_trajectory(tmp_path / "t.tum", [1_700_000_000_123_456_789], [pose])
    assert (tmp_path / "t.tum").read_text().split()[0] == "1700000000.123456789"
    numbers = [float(word) for word in (tmp_path / "t.tum").read_text().split()[1:]]
    assert numbers == pytest.approx([0.5, 0, 2, 0, math.sqrt(0.5), 0, math.sqrt(0.5)], abs=1e-9)
    write_trajectory(tmp_path / "t.kitti", [0], [pose])
    numbers = [float(word) for word in (tmp_path / "t.kitti").read_text().split()]
    assert numbers == pytest.approx([0, 0, 1, 0.5, 0, 1, 0, 0, -1, 0, 0, 2], abs=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.kitti", "t.tum"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(STAMPS, TWISTS), max_size=4), st.sampled_from([".tum", ".kitti"]))
def test_what_is_written_is_read(tmp_path, rows, suffix):
    stamps, poses = [stamp for stamp, _ in rows], [exponential(twist) for _, twist in rows]
    path = tmp_path / f"trajectory{suffix}"
    write_trajectory(path, stamps, poses)
    found_stamps, found = read_trajectory(path)
    assert found.shape == (len(rows), 4, 4)
    assert found_stamps is None if suffix == ".kitti" else found_stamps.tolist() == stamps
    if rows:
        np.testing.assert_allclose(found, poses, atol=1e-7)


@given(TWISTS)
def test_quaternions_are_rotations(twist):
    rotation = exponential(twist)[:3, :3]
    quaternion = quaternion_of(rotation)
    assert np.linalg.norm(quaternion) == pytest.approx(1.0) and quaternion[3] >= 0
    np.testing.assert_allclose(rotation_of(3.0 * quaternion), rotation, atol=1e-7)
    assert np.isnan(rotation_of(np.zeros(4))).all()


def test_comments_and_stamps_in_any_notation_are_read(tmp_path):
    path = tmp_path / "t.tum"
    path.write_text("# stamp x y z qx qy qz qw\n\n1.5 1 2 3 0 0 0 2\n2 0 0 0 0 0 0 1\n1e1 0 0 0 0 0 0 1\n")
    stamps, poses = read_trajectory(path)
    assert stamps.tolist() == [1_500_000_000, 2_000_000_000, 10_000_000_000]
    np.testing.assert_array_equal(poses[0], [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("t.tum", "1 0 0 0 0 0 0 1\n1 2 3\n", "t.tum, line 2: 3 values, expected 8 finite ones"),
        ("t.tum", "1 0 0 0 0 0 0 0\n", "line 1: the quaternion is zero"),
        ("t.kitti", "1 0 0 0 0 1 0 0 0 0 1 nan\n", "line 1: 12 values, expected 12 finite ones"),
        ("t.kitti", "a b\n", "line 1: could not convert string to float: 'a'"),
        ("t.txt", "", "ends in '.txt', expected .tum or .kitti"),
        ("gone/t.tum", None, "its folder does not exist"),
        ("t.tum", None, "cannot be read"),
    ],
)
def test_what_is_no_trajectory_is_named(tmp_path, name, text, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_trajectory(tmp_path / name)
