"""Lens distortion of normalised image coordinates (x/z, y/z), both ways, in OpenCV's models.

Equations: OpenCV, "Camera Calibration and 3D Reconstruction" (plumb_bob, rational_polynomial) and "Fisheye
camera model" (equidistant; Kannala and Brandt 2006). The inverse is Newton's method, solved to machine
precision.
"""

from __future__ import annotations

import math

import numpy as np

COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
"""Distortion models and how many coefficients each may have."""

NEWTON_STEPS = 30
TOLERANCE = 1e-11


def distort(points: np.ndarray, model: str, coefficients: tuple[float, ...]) -> np.ndarray:
    """Ideal normalised coordinates N×2 to those that the lens produces."""
    if model == "equidistant":
        radius = np.linalg.norm(points, axis=1)
        angle = np.arctan(radius)
        scale = np.divide(
            _fisheye(angle, coefficients)[0], radius, out=np.ones_like(radius), where=radius > 1e-12
        )
        return points * np.where(np.isnan(radius), np.nan, scale)[:, None]
    return _polynomial(points, coefficients)[0] if coefficients else points.copy()


def undistort(points: np.ndarray, model: str, coefficients: tuple[float, ...]) -> np.ndarray:
    """Inverse of :func:`distort`, N×2; NaN where no ideal point in front of the camera maps there."""
    if model == "equidistant":
        return _undistort_fisheye(points, coefficients)
    if not any(coefficients):
        return points.copy()
    ideal = points.copy()
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            value, jacobian = _polynomial(ideal, coefficients)
            error = value - points
            (a, b), (c, d) = jacobian
            determinant = a * d - b * c
            ideal = (
                ideal
                - np.stack([d * error[:, 0] - b * error[:, 1], a * error[:, 1] - c * error[:, 0]], axis=1)
                / determinant[:, None]
            )
            if not (np.abs(error) > TOLERANCE).any():
                break
        value, ((a, b), (c, d)) = _polynomial(ideal, coefficients)
        solved = (np.abs(value - points).max(axis=1) < 1e3 * TOLERANCE) & (a * d - b * c > 0)
    return np.where(solved[:, None], ideal, np.nan)


def _polynomial(points: np.ndarray, coefficients: tuple[float, ...]) -> tuple[np.ndarray, tuple]:
    """Brown-Conrady with a rational radial part: distorted points and the Jacobian ((xx, xy), (yx, yy))."""
    k1, k2, p1, p2, k3, k4, k5, k6 = (*coefficients, *(0.0,) * (8 - len(coefficients)))
    x, y = points[:, 0], points[:, 1]
    r2 = x * x + y * y
    numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
    radial = numerator / denominator
    slope = (
        k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))
    ) / denominator  # d radial / d r²
    value = np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        axis=1,
    )
    mixed = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
    jacobian = (
        (radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x, mixed),
        (mixed, radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x),
    )
    return value, jacobian


def _fisheye(angle: np.ndarray, coefficients: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Image radius of a ray at ``angle`` rad from the optical axis, and its derivative."""
    k1, k2, k3, k4 = coefficients
    a2 = angle * angle
    value = angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4))))
    slope = 1 + a2 * (3 * k1 + a2 * (5 * k2 + a2 * (7 * k3 + a2 * 9 * k4)))
    return value, slope


def _undistort_fisheye(points: np.ndarray, coefficients: tuple[float, ...]) -> np.ndarray:
    radius = np.linalg.norm(points, axis=1)
    angle = np.minimum(radius, math.pi / 2)
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            value, slope = _fisheye(angle, coefficients)
            angle = angle - (value - radius) / slope
            if not (np.abs(value - radius) > TOLERANCE).any():
                break
        value, slope = _fisheye(angle, coefficients)
        solved = (
            (np.abs(value - radius) < 1e3 * TOLERANCE) & (slope > 0) & (angle >= 0) & (angle < math.pi / 2)
        )
        scale = np.divide(np.tan(angle), radius, out=np.ones_like(radius), where=radius > 1e-12)
    return np.where(solved[:, None], points * scale[:, None], np.nan)
