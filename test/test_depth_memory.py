"""Depth that remembers: means by hand-computed precisions, along the camera's motion, and what it must not mix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.depth_memory import CUT, DepthMemory
from geoseg_ros.networks.parallax import DEPTH_STD, FLOW_STD

SHAPE = (32, 64)
K = np.array([[40.0, 0, 31.5], [0, 40.0, 15.5], [0, 0, 1]])
STILL = np.ones(SHAPE, bool)
STANDS = np.eye(4)
DT = 0.1


def wall(distance):
    return np.full(SHAPE, distance, np.float32)


def forward(distance):
    pose = np.eye(4)
    pose[2, 3] = distance
    return pose


def merged(first, second, pose=STANDS, still=STILL, dt=DT, memory=0.3):
    stream = DepthMemory(memory)
    assert stream.update(first, K, None, still, dt) is first
    return stream.update(second, K, pose, still, dt)


def weight(departure):
    return (1 - (departure / CUT) ** 2) ** 2


def test_a_standing_camera_takes_the_mean_of_logarithms_by_precision():
    departure = math.log(10 / 9)
    kept = math.exp(-DT / 0.3) * weight(departure)
    expected = 9 * math.exp(kept / (1 + kept) * departure)
    np.testing.assert_allclose(merged(wall(10), wall(9)), expected, rtol=1e-5)


def test_precisions_add_up():
    """The third frame meets what two have said."""
    stream = DepthMemory(0.3)
    for distance in (10.0, 10.0):
        stream.update(wall(distance), K, STANDS, STILL, DT)
    departure = math.log(10 / 9)
    fade = math.exp(-DT / 0.3)
    kept = fade * (1 + fade) * weight(departure)
    expected = 9 * math.exp(kept / (1 + kept) * departure)
    np.testing.assert_allclose(stream.update(wall(9), K, STANDS, STILL, DT), expected, rtol=1e-5)


def test_parallax_makes_the_present_depth_more_precise():
    """A camera drives 1 m sideways before a wall: g is 40 · 1 m / 10 m full pixels, half as many at half size."""
    pose = np.eye(4)
    pose[0, 3] = 1.0
    departure = math.log(10 / 9)
    precision = 1 + (40 / 9 / 2 * DEPTH_STD / FLOW_STD) ** 2
    kept = math.exp(-DT / 0.3) * weight(departure)
    expected = 9 * math.exp(kept / (precision + kept) * departure)
    result = merged(wall(10), wall(9), pose)
    np.testing.assert_allclose(result[:, 4:50], expected, rtol=1e-5)
    np.testing.assert_allclose(result[:, 61:], 9, rtol=1e-6)  # came into view


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-0.5, 1.0), st.floats(-0.05, 0.05), st.floats(-0.05, 0.05)
)
def test_what_agrees_stays(x, y, z, pitch, yaw):
    """A plane seen from two places, its depth exact in both: nothing changes, however the camera moved."""
    normal, offset = np.array([0.02, 0.1, 1.0]), 8.0
    pose = np.eye(4)
    cp, sp, cy, sy = math.cos(pitch), math.sin(pitch), math.cos(yaw), math.sin(yaw)
    pose[:3, :3] = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    pose[:3, 3] = x, y, z
    columns, rows = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[0]))
    rays = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], np.ones(SHAPE)], -1)
    before = offset / (rays @ normal)
    # n · (R p + t) = offset in the current camera
    now = (offset - normal @ pose[:3, 3]) / (rays @ (pose[:3, :3].T @ normal))
    result = merged(before.astype(np.float32), now.astype(np.float32), pose)
    np.testing.assert_allclose(result, now, rtol=3e-3)


def test_what_can_move_or_was_covered_is_not_mixed():
    still = STILL.copy()
    still[:, :32] = False
    second = wall(9)
    second[16:] = 5.0  # came into view: departs by more than CUT
    result = merged(wall(10), second, still=still)
    np.testing.assert_allclose(result[:16, :30], 9, rtol=1e-6)
    np.testing.assert_allclose(result[18:], 5, rtol=1e-6)
    assert (result[:14, 34:] > 9.2).all()


def test_infinite_depth_stays_and_spreads_nothing():
    sky = wall(9)
    sky[:8] = np.inf
    result = merged(sky, sky, forward(0.1))
    assert np.isinf(result[:8]).all()
    np.testing.assert_allclose(result[12:], 9, rtol=0.02)


@pytest.mark.parametrize("case", ["no memory", "forgotten", "no pose", "another size", "long ago"])
def test_without_a_predecessor_depth_stays(case):
    stream = DepthMemory(0.0 if case == "no memory" else 0.3)
    stream.update(wall(10) if case != "another size" else np.full((64, 64), 10, np.float32), K, None, STILL, DT)
    if case == "forgotten":
        stream.forget()
    result = stream.update(wall(9), K, None if case == "no pose" else STANDS, STILL, 60.0 if case == "long ago" else DT)
    np.testing.assert_allclose(result, 9, rtol=1e-6)
    assert result.dtype == np.float32
