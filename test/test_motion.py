"""Motion segmentation: the published measure by hand, the normalized one on scenes of known motion."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_ros.motion import (
    DEPTH_STD,
    FLOW_STD,
    FLOW_STD_RANGE,
    measure_errors,
    motion_probability,
    segment_motion,
)

HEIGHT, WIDTH = 96, 320
CAR = (slice(40, 72), slice(40, 100))
PARKED = (slice(40, 72), slice(220, 280))


def pairs(*values: tuple[float, float]) -> np.ndarray:
    return np.array(values, dtype=np.float64).reshape(1, -1, 2)


def scene(depth_error: float = 0.0, flow_error: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flow, rigid flow and movable pixels: driving forward past two cars, of which the first shall move."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    rigid = np.stack([x - 160, y - 30], -1) * -0.1
    flow = rigid * (1 + depth_error * rng.normal(size=(HEIGHT, WIDTH, 1))) + flow_error * rng.normal(
        size=rigid.shape
    )
    movable = np.zeros((HEIGHT, WIDTH), dtype=bool)
    movable[CAR] = movable[PARKED] = True
    return flow, rigid, movable


def test_published_measure_by_hand():
    flow = pairs((3, 4), (3, 4), (3, 4), (3, 4), (3, 4))
    rigid = pairs((3, 4), (-3, -4), (4, -3), (6, 8), (0.75, 1))
    np.testing.assert_allclose(motion_probability(flow, rigid), [[0, 1, 0.5, 0.5, 0.75]], atol=1e-6)


def test_published_measure_of_zero_flows():
    probability = motion_probability(pairs((0, 0), (0, 0), (2, 0)), pairs((0, 0), (2, 0), (0, 0)))
    np.testing.assert_allclose(probability, [[0, 1, 1]], atol=1e-6)


def test_omega_mask_is_dynamic_and_probable():
    flow, rigid = pairs((3, 4), (3, 4), (3, 4)), pairs((-3, -4), (-3, -4), (3, 4))
    probability, mask = segment_motion(flow, rigid, np.array([[True, False, True]]), method="omega")
    assert probability.dtype == np.float32 and mask.dtype == bool
    np.testing.assert_allclose(probability, [[1, 1, 0]], atol=1e-6)
    assert mask.tolist() == [[True, False, False]]


def test_exact_flow_of_a_still_scene_does_not_move():
    flow, rigid, movable = scene()
    probability, mask = segment_motion(flow, rigid, movable)
    assert probability.shape == (HEIGHT, WIDTH) and probability.dtype == np.float32
    assert probability.max() < 1e-3 and not mask.any()


@pytest.mark.parametrize("own", [(6.0, 0.0), (0.0, -5.0), (-8.0, 3.0)])
def test_the_car_that_moves_is_found_whole_and_alone(own):
    flow, rigid, movable = scene(depth_error=0.15, flow_error=0.5)
    flow[CAR] += own
    probability, mask = segment_motion(flow, rigid, movable)
    assert mask[CAR].mean() > 0.99
    assert not mask[PARKED].any()
    assert not mask[~movable].any()
    assert probability[CAR].mean() > 0.9


def test_a_car_ahead_at_our_own_speed():
    """It does not move in the picture where a standing one would come nearer."""
    flow, rigid, movable = scene(depth_error=0.1, flow_error=0.3)
    flow[CAR] = 0
    _, mask = segment_motion(flow, rigid, movable)
    assert mask[CAR].mean() > 0.95 and not mask[PARKED].any()


def test_depth_error_of_a_parked_car_is_not_motion():
    """All of a parked car 15 % too near: its rigid flow is 15 % too long, in its own direction."""
    flow, rigid, movable = scene(depth_error=0.12, flow_error=0.3)
    rigid[PARKED] *= 1.15
    _, mask = segment_motion(flow, rigid, movable)
    assert not mask.any()


def test_the_same_error_across_the_epipolar_line_is_motion():
    flow, rigid, movable = scene(depth_error=0.12, flow_error=0.3)
    flow[PARKED] += 0.3 * rigid[PARKED][..., ::-1] * (1, -1)
    _, mask = segment_motion(flow, rigid, movable)
    assert mask[PARKED].mean() > 0.9 and not mask[CAR].any()


def test_standing_camera_with_noise_sees_the_walker_only():
    """Where all flow is noise the published measure calls everything moving."""
    rng = np.random.default_rng(0)
    flow, rigid = 0.3 * rng.normal(size=(HEIGHT, WIDTH, 2)), np.zeros((HEIGHT, WIDTH, 2))
    _, _, movable = scene()
    flow[CAR] += (2.0, 0.0)
    _, mask = segment_motion(flow, rigid, movable)
    assert mask[CAR].mean() > 0.99 and not mask[PARKED].any()
    _, published = segment_motion(flow, rigid, movable, method="omega")
    assert published[PARKED].all()


def test_rotation_is_not_mistaken_for_parallax():
    """In a curve the flow is long for all depths: only what translation causes may excuse a difference."""
    flow, rigid, movable = scene(flow_error=0.3)
    shift = np.array([40.0, 0.0])
    flow, rigid = flow + shift, rigid + shift
    flow[CAR] += (6.0, 0.0)
    homography = np.array([[1, 0, 40.0], [0, 1, 0], [0, 0, 1]])
    probability, mask = segment_motion(flow, rigid, movable, homography)
    assert mask[CAR].mean() > 0.99 and not mask[PARKED].any()
    without, _ = segment_motion(flow, rigid, movable)
    assert probability[CAR].mean() > without[CAR].mean()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ["normalized", "omega"])
def test_unknown_flow_does_not_move_and_does_not_spread(method):
    flow, rigid, movable = scene()
    flow[CAR] -= (9.0, 0.0)
    flow[:, 60:70], rigid[50:52, :] = np.nan, np.inf
    flow[50:52, ::2] = np.inf
    probability, mask = segment_motion(flow, rigid, movable, method=method)
    assert np.isfinite(probability).all()
    assert (probability[:, 60:70] == 0).all() and (probability[50:52] == 0).all()
    assert mask[45, 45] and not mask[PARKED].any()
    unknown = np.full_like(flow, np.nan)
    assert (segment_motion(unknown, rigid, movable, method=method)[0] == 0).all()


def test_dynamic_as_probability_and_threshold():
    flow, rigid, movable = scene()
    flow[CAR] += (9.0, 0.0)
    expected = segment_motion(flow, rigid, movable)
    as_probability = segment_motion(flow, rigid, np.where(movable, 0.6, 0.4).astype(np.float32))
    np.testing.assert_array_equal(as_probability[1], expected[1])
    _, strict = segment_motion(flow, rigid, movable, threshold=1.0)
    assert not strict.any()


@pytest.mark.parametrize("height, width", [(1, 1), (7, 5), (1, 1242), (375, 1242)])
def test_any_size(height, width):
    flow = np.ones((height, width, 2), dtype=np.float32)
    probability, mask = segment_motion(flow, flow, np.ones((height, width), dtype=bool), np.eye(3))
    assert probability.shape == mask.shape == (height, width)
    assert not mask.any()


def test_unknown_method():
    flow, rigid, movable = scene()
    with pytest.raises(ValueError, match="'best', expected one of normalized, omega"):
        segment_motion(flow, rigid, movable, method="best")


def test_errors_are_measured_apart():
    rng = np.random.default_rng(0)
    translational = rng.uniform(5, 40, (2, 4000)) * rng.choice([-1, 1], (2, 4000))
    residual = 0.12 * rng.normal(size=4000) * translational + 0.5 * rng.normal(size=(2, 4000))
    flow_std, depth_std = measure_errors(residual, translational)
    assert flow_std == pytest.approx(0.5, rel=0.05)
    assert depth_std == pytest.approx(0.12, rel=0.1)


def test_errors_without_evidence():
    nothing = np.zeros((2, 0))
    assert measure_errors(nothing, nothing) == (FLOW_STD, DEPTH_STD)
    still = np.zeros((2, 5000))
    assert measure_errors(still, still) == (FLOW_STD_RANGE[0], DEPTH_STD)
    noise = np.random.default_rng(0).normal(size=(2, 5000))
    assert measure_errors(noise, still)[0] == pytest.approx(1.0, rel=0.05)
