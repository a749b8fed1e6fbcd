"""Rotations as unit quaternions (x, y, z, w), the order of ROS messages and of TUM files."""

from __future__ import annotations

import numpy as np


def quaternion_of(rotation: np.ndarray) -> np.ndarray:
    """(x, y, z, w) of a rotation 3×3, w not negative.

    From the row of 4·q·qᵀ whose diagonal is largest (Shepperd 1978), which is exact near 0 and near a half turn.
    """
    (a, b, c), (d, e, f), (g, h, i) = np.asarray(rotation, dtype=np.float64)
    outer = np.array(
        [
            [1 + a - e - i, b + d, c + g, h - f],
            [b + d, 1 - a + e - i, f + h, c - g],
            [c + g, f + h, 1 - a - e + i, d - b],
            [h - f, c - g, d - b, 1 + a + e + i],
        ]
    )
    row = outer[np.argmax(np.diag(outer))]
    quaternion = row / np.linalg.norm(row)
    return -quaternion if quaternion[3] < 0 else quaternion


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Rotations …×3×3 of quaternions …×4 (x, y, z, w) of any length; NaN where it is zero."""
    quaternion = np.asarray(quaternion, dtype=np.float64)
    norm = np.linalg.norm(quaternion, axis=-1, keepdims=True)
    x, y, z, w = np.moveaxis(quaternion / np.where(norm > 0, norm, np.nan), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))
