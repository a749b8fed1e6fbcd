"""The road's plane in the camera's frame, fitted robustly to depth where semantics says road.

On a plane n·X = h (n unit, pointing down; h the camera's height) inverse depth is linear in the pixel: with the
ray q = (x, y, 1) and m = n/h, 1/z = q·m. Depth errs in proportion to itself, so residuals are taken relative to
q·m. A consensus of random samples (least trimmed squares, Rousseeuw 1984) starts Tukey's biweight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from geoseg_ros.labels import LabelSet

ROAD_NAMES = frozenset({"road", "drivable", "street", "ground", "floor"})
"""Names of classes, in lower case, on which a robot stands."""

GRID_POINTS = 4000
MIN_POINTS = 60
NEAREST_SHARE = 0.6
"""Of the road's points the nearest are used: farther on it bends, and depth is coarse."""

CONSENSUS_POINTS = 500
SAMPLES, SAMPLE_POINTS = 64, 4
"""With 40 % outliers 13 % of the samples hold none."""

ITERATIONS = 8
CONVERGED = 1e-4
"""Relative step of the plane after which no further one is made."""

TUKEY = 4.685
SMALLEST_SPREAD = 1e-3
INLIER = 0.1
"""Relative depth error within which a point lies on the plane."""

MIN_INLIER_RATIO = 0.5
MAX_TILT = math.radians(60)
"""Angle between the plane's normal and the camera's y axis beyond which it is a wall, not a road."""

CORRELATED_POINTS = 25.0
"""Neighbouring points that share one error of depth."""

_REGULAR = 1e-9
_NEARLY_INFINITE = 1e-6


@dataclass(frozen=True)
class RoadPlane:
    """A plane n·X = -height of the camera's optical frame (x right, y down, z forward).

    ``normal``: unit 3-vector from the road up to the camera. ``height``: distance of the camera from the plane, in
    the depth's unit. ``inlier_ratio``: share of the road's points on it. ``relative_std``: standard error of the
    height relative to it.
    """

    normal: np.ndarray
    height: float
    inlier_ratio: float
    relative_std: float

    def scaled(self, factor: float) -> RoadPlane:
        """The same plane with lengths in units of 1/``factor``."""
        return replace(self, height=factor * self.height)


def road_ids(labels: LabelSet) -> tuple[int, ...]:
    """Ids of the classes that are the ground a robot stands on; empty where the label set has none."""
    return tuple(index for index, name in enumerate(labels.names) if name.lower() in ROAD_NAMES)


def fit_road_plane(depth: np.ndarray, road: np.ndarray, K: np.ndarray) -> RoadPlane | None:
    """The plane of the road, or None where too little of it is seen or what is seen is no such plane.

    depth H×W (z; NaN, infinite or not positive: unknown), road bool H×W, K 3×3 at that size. Up to 40 % of the
    points may be something else.
    """
    rays, inverse = _points(depth, road, np.asarray(K, dtype=np.float64))
    if len(inverse) < MIN_POINTS:
        return None
    plane = _consensus(rays, inverse)
    near = _nearest(rays @ plane)
    rays, inverse = rays[near], inverse[near]
    for _ in range(ITERATIONS):
        normal_matrix, weighted, _ = _normal_equations(rays, inverse, plane)
        before, plane = plane, np.linalg.solve(normal_matrix, weighted)
        if np.linalg.norm(plane - before) < CONVERGED * np.linalg.norm(plane):
            break
    normal_matrix, _, residual = _normal_equations(rays, inverse, plane)
    slope = float(np.linalg.norm(plane))
    inlier_ratio = float(np.mean(np.abs(residual) < INLIER))
    if slope < _NEARLY_INFINITE or plane[1] < slope * math.cos(MAX_TILT) or inlier_ratio < MIN_INLIER_RATIO:
        return None
    variance = _spread(residual) ** 2 * CORRELATED_POINTS * float(plane @ np.linalg.solve(normal_matrix, plane))
    return RoadPlane(-plane / slope, 1 / slope, inlier_ratio, math.sqrt(variance) / slope**2)


def _points(depth: np.ndarray, road: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rays N×3 and inverse depths N of the road's points on a regular grid."""
    height, width = depth.shape
    stride = max(1, round(math.sqrt(height * width / GRID_POINTS)))
    start = stride // 2
    z = np.asarray(depth[start::stride, start::stride], dtype=np.float64)
    with np.errstate(invalid="ignore"):
        known = (z > 0) & (z < np.inf) & road[start::stride, start::stride]
    rows, columns = (start + stride * index for index in np.nonzero(known))
    x, y = (columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]
    return np.stack([x, y, np.ones_like(x)], axis=1), 1 / z[known]


def _consensus(rays: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Of the planes through random samples of points the one that half of the points, evenly thinned, lie on best."""
    step = -(-len(inverse) // CONSENSUS_POINTS)
    points = rays[::step] / inverse[::step, None]
    picks = (np.random.default_rng(0).random((SAMPLES, SAMPLE_POINTS)) * len(points)).astype(int)
    samples = points[picks]
    turned = samples.transpose(0, 2, 1)
    planes = np.linalg.solve(turned @ samples + _REGULAR * np.eye(3), turned.sum(2)[..., None])[..., 0]
    errors = np.abs(points @ planes.T - 1)
    half = len(errors) // 2
    return planes[np.argmin(np.partition(errors, half, axis=0)[:half].sum(0))]


def _nearest(expected: np.ndarray) -> np.ndarray:
    """The NEAREST_SHARE of the points by the inverse depth that a plane expects: measured depth would choose the outliers."""
    return expected >= np.quantile(expected, 1 - NEAREST_SHARE)


def _normal_equations(
    rays: np.ndarray, inverse: np.ndarray, plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted Σ q qᵀ and Σ q/z, and each point's residual relative to what ``plane`` expects."""
    expected = np.maximum(rays @ plane, _NEARLY_INFINITE)
    residual = inverse / expected - 1
    biweight = np.maximum(1 - (residual / (TUKEY * _spread(residual))) ** 2, 0) ** 2
    weight = biweight / expected**2
    turned = rays.T * weight
    return turned @ rays + _REGULAR * np.eye(3), turned @ inverse, residual


def _spread(residual: np.ndarray) -> float:
    """Standard deviation by the median of the residuals' sizes."""
    return max(1.4826 * float(np.median(np.abs(residual))), SMALLEST_SPREAD)
