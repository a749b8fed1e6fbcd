"""Metric scale: the filter on hand-made samples, which source counts, and how sure it is."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.errors import ConfigError
from geoseg_ros.road_plane import fit_road_plane
from geoseg_ros.scale import (
    ENOUGH,
    MIN_DISTANCE,
    MODEL_STD,
    ODOMETRY_STD,
    PLANE_STD,
    ROAD_PLANE_STD,
    UNKNOWN,
    WINDOW,
    MetricScale,
    Scale,
    ScaleFilter,
    check_camera_height,
    odometry_speed,
)


def filled(ratios, translation=0.5):
    scale = ScaleFilter()
    for ratio in ratios:
        scale.update(translation, translation * ratio)
    return scale


@given(st.floats(0.2, 50), st.floats(0.3, 5))
def test_a_constant_ratio_is_found_exactly(ratio, translation):
    scale = filled([ratio] * ENOUGH, translation)
    assert scale.known
    assert scale.factor == pytest.approx(ratio)
    assert scale.relative_std == pytest.approx(0.0, abs=1e-9)


def test_one_sample_too_few_is_not_enough():
    scale = filled([3.0] * (ENOUGH - 1))
    assert not scale.known and scale.factor == 1.0 and scale.relative_std == math.inf


def test_a_third_of_outliers_moves_the_median_little():
    assert filled([2.0] * 20 + [40.0] * 9).factor == pytest.approx(2.0)


def test_the_standard_error_is_that_of_the_median_absolute_deviation():
    scale = filled([math.exp(x) for x in (-0.2, -0.1, 0.0, 0.1, 0.2)])
    assert scale.relative_std == pytest.approx(math.sqrt(math.pi / 2) * 1.4826 * 0.1 / math.sqrt(5))


def test_the_standard_error_is_how_far_the_factor_scatters():
    """2000 streams of a full window each, with errors of 10 %."""
    rng = np.random.default_rng(0)
    scales = [filled(np.exp(rng.normal(0, 0.1, WINDOW))) for _ in range(2000)]
    scatter = np.std([math.log(scale.factor) for scale in scales])
    assert np.median([scale.relative_std for scale in scales]) == pytest.approx(scatter, rel=0.08)


def test_what_is_systematic_stays_however_many_samples_agree():
    scale = ScaleFilter(systematic=0.03)
    for _ in range(WINDOW):
        scale.update(1.0, 2.0)
    assert scale.relative_std == pytest.approx(0.03)


def test_old_samples_are_forgotten():
    scale = filled([1.0] * WINDOW + [4.0] * WINDOW)
    assert scale.factor == pytest.approx(4.0)


@pytest.mark.parametrize(
    "units, metres",
    [(0.5, 0.0), (0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf), (1e-200, 1e200)],
)
def test_nonsense_does_not_count(units, metres):
    scale = ScaleFilter()
    for _ in range(ENOUGH):
        scale.update(units, metres)
    assert not scale.known


K = np.array([[60.0, 0, 31.5], [0, 60.0, 23.5], [0, 0, 1]])
ROWS = np.arange(48)[:, None] * np.ones(64)


def road_of_height(height):
    """Depth of a level road ``height`` below the camera, and where it is seen."""
    below = (ROWS - K[1, 2]) / K[1, 1]
    return np.where(below > 0.05, height / np.maximum(below, 0.05), np.nan), below > 0.05


def test_standing_still_says_nothing():
    scale = MetricScale(model_is_metric=False)
    for _ in range(ENOUGH):
        scale.drove(0.5, MIN_DISTANCE)
    assert scale.current == UNKNOWN and not scale.current.known


def test_odometry_wins_over_the_road_and_the_road_over_the_model():
    scale = MetricScale(model_is_metric=True, camera_height=1.5)
    assert scale.current == Scale(1.0, MODEL_STD, "model")
    for _ in range(ENOUGH):
        scale.saw_road(fit_road_plane(*road_of_height(0.5), K))
    assert scale.current.source == "road_plane"
    assert scale.current.factor == pytest.approx(3.0)
    assert scale.current.relative_std == pytest.approx(ROAD_PLANE_STD)
    for _ in range(ENOUGH):
        scale.drove(0.5, 1.0)
    assert scale.current == Scale(pytest.approx(2.0), pytest.approx(ODOMETRY_STD), "odometry")


def test_an_unsure_road_is_no_sample():
    scale = MetricScale(model_is_metric=False, camera_height=1.5)
    plane = fit_road_plane(*road_of_height(0.5), K)
    for _ in range(ENOUGH):
        scale.saw_road(dataclasses.replace(plane, relative_std=PLANE_STD))
    assert scale.current == UNKNOWN


def test_without_a_known_height_the_road_says_nothing():
    scale = MetricScale(model_is_metric=False)
    for _ in range(ENOUGH):
        scale.saw_road(fit_road_plane(*road_of_height(0.5), K))
    assert scale.current == UNKNOWN


def test_confidence_is_the_probability_of_ten_percent():
    assert Scale(1.0, 0.1, "model").confidence == pytest.approx(0.6827, abs=1e-4)
    assert Scale(1.0, 0.05, "odometry").confidence == pytest.approx(0.9545, abs=1e-4)
    assert Scale(1.0, MODEL_STD, "model").confidence == pytest.approx(0.3829, abs=1e-4)
    assert UNKNOWN.confidence == 0.0 and UNKNOWN.factor == 1.0


@pytest.mark.parametrize("height", [-0.1, math.nan, math.inf, 200.0])
def test_impossible_heights_are_refused(height):
    with pytest.raises(ConfigError, match=f"camera_height is {height} m, expected above 0 and up to 100 m, or 0"):
        check_camera_height(height)


def odometry(x, y, z):
    return SimpleNamespace(twist=SimpleNamespace(twist=SimpleNamespace(linear=SimpleNamespace(x=x, y=y, z=z))))


def test_speed_is_the_length_of_the_linear_twist():
    assert odometry_speed(odometry(2.0, 3.0, 6.0)) == pytest.approx(7.0)
    assert odometry_speed(odometry(math.nan, 0.0, 0.0)) is None
