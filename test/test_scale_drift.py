"""One scale from frame to frame: a known street, judged by a network whose scale jumps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.scale_drift import HEIGHT_CUT, HEIGHTS, MEMORY, MIN_POINTS, ScaleDrift

WIDTH, HEIGHT = 160, 96
K = np.array([[120.0, 0, 79.5], [0, 120.0, 47.5], [0, 0, 1]])
ALL = np.ones((HEIGHT, WIDTH), bool)


def street(forward: float) -> np.ndarray:
    """Depth of a road 1.5 m below the camera that ends at a wall, which is at 30 m before the camera has gone ``forward``."""
    below = (np.arange(HEIGHT) - K[1, 2])[:, None] / K[1, 1]
    road = np.where(below > 0, 1.5 / np.maximum(below, 1e-9), np.inf)
    return np.broadcast_to(np.minimum(road, 30.0 - forward), (HEIGHT, WIDTH)).astype(np.float32)


def forward(metres: float) -> np.ndarray:
    pose = np.eye(4)
    pose[2, 3] = metres
    return pose


def drive(scales, dt=0.0, still=ALL, step=0.5):
    """The factors of a drive in which the network's lengths are ``scales`` times the truth."""
    drift = ScaleDrift()
    return [
        drift.update(street(i * step) * np.float32(s), K, forward(step * s) if i else None, still, dt)
        for i, s in enumerate(scales)
    ]


@given(st.lists(st.floats(0.3, 3.0), min_size=2, max_size=6))
def test_lengths_keep_the_scale_of_the_first_frame(scales):
    factors = drive(scales)
    np.testing.assert_allclose(np.multiply(factors, scales), scales[0], rtol=5e-3)


@given(st.floats(0.3, 3.0), st.floats(0.01, 3.0))
def test_a_change_is_forgotten_with_time(scale, dt):
    factors = drive([1.0, scale, scale, scale], dt)
    logs = [-math.log(scale) * math.exp(-i * dt / MEMORY) for i in (1, 2, 3)]
    np.testing.assert_allclose(np.log(factors[1:]), logs, atol=5e-3)


def test_without_memory_every_frame_is_judged_anew():
    drift = ScaleDrift(memory=0.0)
    assert [drift.update(s * street(0.0), K, forward(0.0), ALL, 0.1) for s in (1.0, 2.0, 0.5)] == [1.0] * 3


def test_a_steady_scale_needs_no_factor_however_wrong():
    np.testing.assert_allclose(drive([2.5] * 5, dt=0.1), 1.0, rtol=5e-3)


def fallbacks(heights, memory=1.0, share=1.0, dt=0.5):
    """The logs of the factors of a camera that stands before an unchanging depth, while its height is said to be ``heights``."""
    drift = ScaleDrift(memory, share)
    return [math.log(drift.update(street(0.0), K, forward(0.0), ALL, dt, height)) for height in heights]


def test_what_remains_is_what_the_cameras_height_says_by_hand():
    """Half a second of one second's memory keeps e^-0.5. ln h is 0, 0, 0.3: their mean is 0.1, and the last departs from it by −0.2."""
    kept, departure = math.exp(-0.5), -0.2
    expected = (1 - kept) * departure * (1 - (departure / HEIGHT_CUT) ** 2) ** 2
    assert fallbacks([1.0, 1.0, math.exp(0.3)]) == pytest.approx([0.0, 0.0, expected])
    assert fallbacks([1.0, 1.0, math.exp(0.3)], share=0.25) == pytest.approx([0.0, 0.0, 0.25 * expected])


@given(st.floats(0.1, 10.0))
def test_a_steady_height_says_nothing_however_wrong(height):
    assert fallbacks([height] * 5) == pytest.approx([0.0] * 5, abs=1e-12)


def test_a_camera_that_rises_is_no_error_of_scale():
    assert fallbacks([1.5] * 4 + [4.0])[-1] == 0.0


def test_frames_without_a_road_forget():
    logs = fallbacks([1.5] * 3 + [1.7, None, None])
    assert logs[4] == pytest.approx(logs[3] * math.exp(-0.5)) and logs[5] == pytest.approx(logs[3] * math.exp(-1.0))


def test_a_load_becomes_the_usual_height():
    """The mean follows within HEIGHTS frames, however long the camera had another one."""
    logs = fallbacks([1.5] * (3 * HEIGHTS) + [1.4] * (4 * HEIGHTS))
    assert logs[3 * HEIGHTS + 10] > 0.05 and logs[-1] == pytest.approx(0.0, abs=2e-3)


def test_a_turn_is_followed():
    """Everything is equally far from a camera that turns about itself in a sphere: z changes with the angle to the axis."""
    rays = np.linalg.solve(K, np.stack([*np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), np.ones((HEIGHT, WIDTH))]).reshape(3, -1))
    sphere = (10.0 / np.linalg.norm(rays, axis=0)).reshape(HEIGHT, WIDTH).astype(np.float32)
    angle, pose = 0.2, np.eye(4)
    pose[[0, 0, 2, 2], [0, 2, 0, 2]] = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    drift = ScaleDrift()
    drift.update(sphere, K, None, ALL, 0.0)
    assert drift.update(1.25 * sphere, K, pose, ALL, 0.0) == pytest.approx(1 / 1.25, rel=1e-3)


def test_what_moves_by_itself_does_not_count():
    truth, still = street(0.0), ALL.copy()
    still[:, : WIDTH * 2 // 3] = False
    wrong = np.where(still, truth, 3 * truth)
    drift = ScaleDrift()
    drift.update(truth, K, None, still, 0.0)
    assert drift.update(wrong, K, forward(0.0), still, 0.0) == pytest.approx(1.0)
    assert drift.update(truth, K, forward(0.0), ~still, 0.0) == pytest.approx(3.0)


@pytest.mark.parametrize("unknown", [np.nan, np.inf, 0.0, -1.0])
def test_unknown_depth_does_not_count(unknown):
    holes, drift = street(0.0), ScaleDrift()
    holes[:, ::3] = unknown
    drift.update(holes, K, None, ALL, 0.0)
    assert drift.update(2 * holes, K, forward(0.0), ALL, 0.0) == pytest.approx(0.5, rel=0.02)


def test_too_few_points_in_common_leave_the_factor_as_it_is():
    few, drift = np.zeros_like(ALL), ScaleDrift()
    few[: MIN_POINTS // 10, :5] = True
    drift.update(street(0.0), K, None, ALL, 0.0)
    assert drift.update(2 * street(0.0), K, forward(0.0), few, 0.0) == 1.0
    assert drift.update(street(0.0), K, forward(-500.0), ALL, 0.0) == 1.0, "all of it behind the previous camera"


def test_without_a_previous_frame_a_stream_begins():
    drift = ScaleDrift()
    for pose in (None, forward(0.0)):
        drift.update(street(0.0), K, pose, ALL, 0.0)
    assert drift.update(2 * street(0.0), K, None, ALL, 0.0) == 1.0
    assert drift.update(street(0.0), K, forward(0.0), ALL, 0.0) == pytest.approx(2.0, rel=1e-3)
    assert drift.update(street(0.0)[::2, ::2], K, forward(0.0), ALL[::2, ::2], 0.0) == 1.0, "another size"
