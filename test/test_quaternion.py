"""Quaternions and rotations: each the other's inverse, alone and in stacks, of any length but zero."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.quaternion import quaternion_of, rotation_of

QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1).map(np.array)


@given(QUATERNIONS)
def test_rotations_and_quaternions_agree(values):
    unit = values / np.linalg.norm(values)
    matrix = rotation_of(values)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) > 0
    back = quaternion_of(matrix)
    np.testing.assert_allclose(back * np.sign(back @ unit), unit, atol=1e-9)


@given(st.lists(QUATERNIONS, min_size=1, max_size=4))
def test_a_stack_is_turned_one_by_one(values):
    stacked = rotation_of(np.stack(values))
    np.testing.assert_array_equal(stacked, [rotation_of(value) for value in values])


def test_half_a_turn_about_z_and_no_direction():
    np.testing.assert_allclose(rotation_of(np.array([0, 0, 2.0, 0])), np.diag([-1.0, -1, 1]), atol=1e-12)
    assert np.isnan(rotation_of(np.zeros(4))).all()
