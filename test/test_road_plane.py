"""The road's plane: exact cases, errors of networks, what is no road, and the label sets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geoseg_ros.labels import CAMVID_11, CITYSCAPES_19, IDD_7
from geoseg_ros.road_plane import MIN_POINTS, fit_road_plane, road_ids

HEIGHT, WIDTH = 96, 320
K = np.array([[190.0, 0, 159.5], [0, 190.0, 47.5], [0, 0, 1]])
FAR = 80.0


def upward(pitch: float, roll: float) -> np.ndarray:
    """The road's normal in a camera that looks down by ``pitch`` and is rolled by ``roll`` (rad)."""
    return -np.array([math.sin(roll) * math.cos(pitch), math.cos(roll) * math.cos(pitch), math.sin(pitch)])


def road(normal: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth of a plane that the camera is ``height`` above, and where it is seen (nearer than FAR)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    slope = (np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], -1) * -normal).sum(-1)
    seen = slope > height / FAR
    return np.where(seen, height / np.where(seen, slope, 1.0), np.nan), seen


def test_a_level_road_by_hand():
    """1.5 m below a level camera: a pixel 19 rows under the horizon (tan = 0.1) is 15 m away."""
    depth, seen = road(upward(0.0, 0.0), 1.5)
    assert np.interp(66.5, range(HEIGHT), depth[:, 0]) == pytest.approx(15.0, rel=0.01)
    plane = fit_road_plane(depth, seen, K)
    assert plane.height == pytest.approx(1.5, rel=1e-9)
    np.testing.assert_allclose(plane.normal, [0, -1, 0], atol=1e-9)
    assert plane.inlier_ratio == 1.0 and plane.relative_std < 0.01


@settings(max_examples=50)
@given(st.floats(0.2, 4), st.floats(-0.05, 0.9), st.floats(-0.3, 0.3))
def test_any_road_is_found(height, pitch, roll):
    normal = upward(pitch, roll)
    depth, seen = road(normal, height)
    assume(seen.mean() > 0.1)
    plane = fit_road_plane(depth, seen, K)
    assert plane.height == pytest.approx(height, rel=1e-6)
    np.testing.assert_allclose(plane.normal, normal, atol=1e-6)


@given(st.floats(0.05, 20))
def test_height_is_in_the_units_of_depth(unit):
    depth, seen = road(upward(0.1, 0.02), 1.6)
    assert fit_road_plane(depth * unit, seen, K).height == pytest.approx(1.6 * unit, rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_noise_and_forty_percent_of_something_else(seed):
    """5 % depth error, and cars and kerbs that were taken for road: nearer than it by half."""
    rng = np.random.default_rng(seed)
    depth, seen = road(upward(0.03, -0.02), 1.65)
    wrong = rng.random(depth.shape) < 0.4
    depth = np.where(wrong, depth * rng.uniform(0.3, 0.8, depth.shape), depth) * np.exp(rng.normal(0, 0.05, depth.shape))
    plane = fit_road_plane(depth, seen, K)
    assert plane.height == pytest.approx(1.65, rel=0.08)
    assert abs(plane.height / 1.65 - 1) < 2 * plane.relative_std < 0.25
    assert 0.5 < plane.inlier_ratio < 0.8


def test_noisier_depth_is_less_certain():
    depth, seen = road(upward(0.0, 0.0), 1.5)
    rng = np.random.default_rng(0)
    spread = [fit_road_plane(depth * np.exp(rng.normal(0, std, depth.shape)), seen, K).relative_std for std in (0.02, 0.08)]
    assert 2.5 < spread[1] / spread[0] < 6.0


def test_a_road_that_bends_far_ahead_is_judged_near():
    depth, seen = road(upward(0.0, 0.0), 1.5)
    depth = np.where(depth > 20, depth * 1.5, depth)
    assert fit_road_plane(depth, seen, K).height == pytest.approx(1.5, rel=0.01)


def test_a_wall_is_no_road():
    assert fit_road_plane(np.full((HEIGHT, WIDTH), 6.0), np.ones((HEIGHT, WIDTH), bool), K) is None


def test_a_heap_is_no_plane():
    _, seen = road(upward(0.0, 0.0), 1.5)
    depth = np.random.default_rng(0).uniform(1, 40, (HEIGHT, WIDTH))
    assert fit_road_plane(depth, seen, K) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -1.0])
def test_unknown_depth_is_no_road(value):
    _, seen = road(upward(0.0, 0.0), 1.5)
    assert fit_road_plane(np.full((HEIGHT, WIDTH), value), seen, K) is None


def test_too_little_road_is_no_road():
    depth, seen = road(upward(0.0, 0.0), 1.5)
    few = np.zeros_like(seen)
    few[-1, :MIN_POINTS] = True
    assert fit_road_plane(depth, few & seen, K) is None
    assert fit_road_plane(depth, np.zeros_like(seen), K) is None


def test_road_classes_of_the_label_sets():
    assert road_ids(CAMVID_11) == (CAMVID_11.index("Road"),)
    assert road_ids(CITYSCAPES_19) == (0,)
    assert road_ids(IDD_7) == (IDD_7.index("drivable"),)
