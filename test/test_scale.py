"""The scale filter: hand-made samples, outliers, and what does not count."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.scale import ENOUGH, MIN_DISTANCE, WINDOW, ScaleFilter, odometry_speed


def filled(ratios, translation=0.5):
    scale = ScaleFilter()
    for ratio in ratios:
        scale.update(translation, translation * ratio)
    return scale


@given(st.floats(0.2, 50), st.floats(0.3, 5))
def test_a_constant_ratio_is_found_exactly(ratio, translation):
    scale = filled([ratio] * ENOUGH, translation)
    assert scale.known
    assert scale.scale == pytest.approx(ratio)
    assert scale.relative_std == pytest.approx(0.0, abs=1e-9)


def test_one_sample_too_few_is_not_enough():
    scale = filled([3.0] * (ENOUGH - 1))
    assert not scale.known and scale.scale == 1.0 and scale.relative_std == math.inf


def test_a_third_of_outliers_moves_the_median_little():
    assert filled([2.0] * 20 + [40.0] * 9).scale == pytest.approx(2.0)


def test_the_standard_error_is_that_of_the_median_absolute_deviation():
    scale = filled([math.exp(x) for x in (-0.2, -0.1, 0.0, 0.1, 0.2)])
    assert scale.relative_std == pytest.approx(1.4826 * 0.1 / math.sqrt(5))


def test_old_samples_are_forgotten():
    scale = filled([1.0] * WINDOW + [4.0] * WINDOW)
    assert scale.scale == pytest.approx(4.0)


@pytest.mark.parametrize(
    "translation, distance",
    [(0.5, MIN_DISTANCE), (0.5, 0.0), (0.0, 1.0), (math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf)],
)
def test_standing_still_and_nonsense_do_not_count(translation, distance):
    scale = ScaleFilter()
    for _ in range(ENOUGH):
        scale.update(translation, distance)
    assert not scale.known


def odometry(x, y, z):
    return SimpleNamespace(twist=SimpleNamespace(twist=SimpleNamespace(linear=SimpleNamespace(x=x, y=y, z=z))))


def test_speed_is_the_length_of_the_linear_twist():
    assert odometry_speed(odometry(2.0, 3.0, 6.0)) == pytest.approx(7.0)
    assert odometry_speed(odometry(math.nan, 0.0, 0.0)) is None
