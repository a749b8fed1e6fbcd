"""Ego-motion from flow and depth: exact cases, noise, outliers, degenerate input, and the maths beneath."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from geoseg_ros.egomotion import PRIOR_STD, adjoint, exponential, jacobian, logarithm, refine_pose, twist
from geoseg_ros.projection import rigid_flow

HEIGHT, WIDTH = 96, 320
K = np.array([[190.0, 0, 159.5], [0, 190.0, 47.5], [0, 0, 1]])
DRIVING = np.array([0.03, -0.01, 0.9, 0.003, -0.02, 0.004])


def street() -> np.ndarray:
    """Depth of a road 1.5 m below, walls 8 m to each side, an end at 60 m and sky above it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ray_x, ray_y = (x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1]
    with np.errstate(divide="ignore"):
        road = np.where(ray_y > 0, 1.5 / ray_y, np.inf)
        depth = np.minimum(np.minimum(road, 8 / np.abs(ray_x)), 60)
    return np.where((ray_y < -0.1) & (np.abs(ray_x) < 0.3), np.inf, depth)


def flow_of(depth: np.ndarray, pose: np.ndarray) -> np.ndarray:
    flow, _ = rigid_flow(*(torch.from_numpy(array)[None] for array in (depth[None], K, pose)))
    return flow[0].permute(1, 2, 0).numpy()


def smooth(rng: np.random.Generator, cell: int, channels: int) -> np.ndarray:
    """Noise of unit variance that varies over ``cell`` pixels, like the errors of networks."""
    noise = rng.normal(size=(HEIGHT // cell + 2, WIDTH // cell + 2, channels))
    noise = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).reshape(HEIGHT, WIDTH, channels)
    return noise / noise.std()


def errors(estimate, pose: np.ndarray) -> tuple[float, float]:
    """Relative translation error and rotation error in degrees."""
    difference = logarithm(np.linalg.inv(pose) @ estimate.previous_from_current)
    length = np.linalg.norm(pose[:3, 3])
    return np.linalg.norm(difference[:3]) / length, np.degrees(np.linalg.norm(difference[3:]))


def test_exact_flow_gives_the_exact_pose():
    depth, pose = street(), exponential(DRIVING)
    depth[:20, :20] = np.nan
    estimate = refine_pose(flow_of(depth, pose), depth, K, np.eye(4))
    np.testing.assert_allclose(estimate.previous_from_current, pose, atol=1e-5)
    assert estimate.inlier_ratio == 1.0
    assert estimate.residual < 1e-3


@settings(max_examples=25)
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12))
def test_any_small_motion_is_found_from_any_near_start(numbers):
    motion = np.array(numbers[:6]) * (0.5, 0.3, 1.0, 0.03, 0.05, 0.03)
    start = motion + np.array(numbers[6:]) * (0.3, 0.2, 0.5, 0.02, 0.02, 0.02)
    depth, pose = street(), exponential(motion)
    estimate = refine_pose(flow_of(depth, pose), depth, K, exponential(start))
    np.testing.assert_allclose(estimate.previous_from_current, pose, atol=2e-4)


@pytest.mark.parametrize("seed", range(4))
def test_errors_of_networks(seed):
    """12 % depth error and 1 pixel flow error, both smooth."""
    rng = np.random.default_rng(seed)
    depth, pose = street(), exponential(DRIVING)
    flow = flow_of(depth, pose) + smooth(rng, 12, 2)
    estimate = refine_pose(flow, depth * np.exp(0.12 * smooth(rng, 24, 1)[..., 0]), K, np.eye(4))
    translation, rotation = errors(estimate, pose)
    assert translation < 0.06 and rotation < 0.1
    difference = logarithm(np.linalg.inv(pose) @ estimate.previous_from_current)
    assert difference @ np.linalg.solve(estimate.covariance, difference) < 16.8, (
        "99 % of chi-squared, 6 degrees"
    )


@pytest.mark.parametrize("seed", range(4))
def test_forty_percent_scattered_outliers(seed):
    rng = np.random.default_rng(seed)
    depth, pose = street(), exponential(DRIVING)
    flow = flow_of(depth, pose)
    wrong = rng.random(flow.shape[:2]) < 0.4
    flow[wrong] += rng.normal(scale=15, size=(wrong.sum(), 2))
    estimate = refine_pose(flow, depth, K, np.eye(4))
    translation, rotation = errors(estimate, pose)
    assert translation < 0.01 and rotation < 0.01
    assert estimate.inlier_ratio == pytest.approx(0.6, abs=0.04)


@pytest.mark.parametrize("shift", [(5.0, 1.0), (-4.0, 0.5), (8.0, 0.0), (-3.0, -3.0)])
def test_one_large_object_that_moves_otherwise(shift):
    """40 % of the picture move together: a lorry that crosses."""
    depth, pose = street(), exponential(DRIVING)
    flow = flow_of(depth, pose)
    flow[:, WIDTH // 3 : WIDTH // 3 + int(0.4 * WIDTH)] += shift
    estimate = refine_pose(flow, depth, K, np.eye(4))
    translation, rotation = errors(estimate, pose)
    assert translation < 0.02 and rotation < 0.1


def test_weights_take_pixels_out():
    depth, pose = street(), exponential(DRIVING)
    flow = flow_of(depth, pose)
    weights = np.ones(depth.shape)
    flow[:, 100:], weights[:, 100:] = flow[:, 100:] + (5, 0), 0
    translation, rotation = errors(refine_pose(flow, depth, K, np.eye(4), weights), pose)
    assert translation < 1e-4 and rotation < 1e-3


def test_wrong_depth_does_not_turn_the_direction():
    """A depth that is 30 % too great changes the length of the translation, not its direction."""
    depth, pose = street(), exponential(DRIVING)
    estimate = refine_pose(flow_of(depth, pose), depth * 1.3, K, np.eye(4)).previous_from_current
    np.testing.assert_allclose(estimate[:3, 3], pose[:3, 3] * 1.3, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(estimate[:3, :3], pose[:3, :3], atol=1e-5)


def test_infinite_depth_determines_rotation_alone():
    depth = np.full((HEIGHT, WIDTH), np.inf)
    pose, initial = exponential(np.array([0, 0, 0, 0.01, -0.02, 0.005])), np.eye(4)
    initial[:3, 3] = 0.1, 0.2, 0.3
    estimate = refine_pose(flow_of(depth, pose), depth, K, initial)
    np.testing.assert_allclose(estimate.previous_from_current[:3, :3], pose[:3, :3], atol=1e-6)
    spread = np.sqrt(np.diag(estimate.covariance))
    assert (spread[:3] > 5).all() and (spread[3:] < 0.01).all()


@pytest.mark.parametrize("known", [0, 40])
def test_few_points_keep_the_initial_pose(known):
    depth = np.full((HEIGHT, WIDTH), np.nan)
    depth[:, :3].flat[:known] = 5.0
    initial = exponential(DRIVING)
    estimate = refine_pose(np.zeros((HEIGHT, WIDTH, 2)), depth, K, initial)
    np.testing.assert_array_equal(estimate.previous_from_current, initial)
    np.testing.assert_array_equal(estimate.covariance, np.diag(PRIOR_STD**2))
    assert estimate.inlier_ratio == 0 and np.isnan(estimate.residual)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_absurd_flow_yields_finite_results(value):
    flow = np.full((HEIGHT, WIDTH, 2), value, dtype=np.float32)
    estimate = refine_pose(flow, street(), K, np.eye(4))
    assert np.isfinite(estimate.previous_from_current).all() and np.isfinite(estimate.covariance).all()


def test_standing_still_in_noise():
    flow = 0.5 * smooth(np.random.default_rng(0), 12, 2)
    estimate = refine_pose(flow, street(), K, exponential(DRIVING))
    motion = logarithm(estimate.previous_from_current)
    assert np.abs(motion[:3]).max() < 0.03 and np.abs(motion[3:]).max() < 2e-3


def test_jacobian_equals_finite_differences():
    rng = np.random.default_rng(0)
    points = rng.uniform((-4, -3, 3), (4, 3, 30), (50, 3))

    def pixels(vector: np.ndarray) -> np.ndarray:
        moved = points @ exponential(vector)[:3, :3].T + exponential(vector)[:3, 3]
        return (moved @ K.T)[:, :2] / moved[:, 2:]

    here = points.T / points[:, 2]
    analytic = jacobian((here[0], here[1], np.ones(50)), 1 / points[:, 2], K)
    step = 1e-6
    for axis, unit in enumerate(np.eye(6)):
        numeric = (pixels(step * unit) - pixels(-step * unit)) / (2 * step)
        np.testing.assert_allclose(analytic[:, axis].T, numeric, rtol=1e-6, atol=1e-5)


@settings(max_examples=100)
@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6), st.sampled_from([1e-9, 1e-4, 0.1, 1.7]))
def test_exponential_is_the_matrix_exponential(numbers, size):
    vector = np.array(numbers) * size
    generator = np.zeros((4, 4))
    generator[:3, 3] = vector[:3]
    generator[:3, :3] = [[0, -vector[5], vector[4]], [vector[5], 0, -vector[3]], [-vector[4], vector[3], 0]]
    np.testing.assert_allclose(exponential(vector), expm(generator), atol=1e-12)
    np.testing.assert_allclose(logarithm(exponential(vector)), vector, atol=1e-8)


def test_adjoint_moves_a_twist_to_another_frame():
    pose, vector = (
        exponential(np.array([1.0, 2, 3, 0.4, -0.5, 0.6])),
        np.array([0.1, 0.2, -0.1, 0.02, 0.01, 0.03]),
    )
    expected = pose @ exponential(vector) @ np.linalg.inv(pose)
    np.testing.assert_allclose(exponential(adjoint(pose) @ vector), expected, atol=1e-12)


def test_twist_of_driving_forward_and_turning_right():
    """10 m/s forward, 0.5 rad/s about y (down): the optical frame's right turn."""
    dt = 0.1
    linear, angular = twist(exponential(np.array([0, 0, 1.0, 0, 0.05, 0])), dt)
    np.testing.assert_allclose(linear, [0, 0, 10], atol=1e-9)
    np.testing.assert_allclose(angular, [0, 0.5, 0], atol=1e-9)
    forward = np.eye(4)
    forward[2, 3] = 0.5
    assert twist(forward, 0.25)[0].tolist() == [0, 0, 2]
    with pytest.raises(ValueError, match="dt is 0"):
        twist(forward, 0)
