"""The camera's own motion from optical flow and depth, by robust Gauss-Newton on SE(3).

A pixel of inverse depth r is seen by the previous camera at p' = project(R K⁻¹ p + t r). The residual is p' -
p minus the optical flow; its expected covariance is

    S = FLOW_STD² 1 + DEPTH_STD² g gᵀ,   g = dp' / d ln r  (to first order the flow that translation causes):

an error of depth moves a point along its epipolar line only. So what is measured across that line (rotation
and the direction of translation) keeps its weight where depth is wrong by 30 %, and far points, where g
vanishes, determine rotation alone. Outliers (moving objects, failed flow) lose their influence by Tukey's
biweight of the Mahalanobis distance; its scale follows the nearest 30 % of the points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

FLOW_STD = 1.0
"""Expected error of optical flow per axis, pixels."""

DEPTH_STD = 0.3
"""Expected relative error of depth; most of it is shared with the neighbours, which makes it count for more than it is. Chosen on
frames that models train on (training/studies/stream_settings.py)."""

GRID_POINTS = 2000
CONSENSUS_POINTS = 256
SAMPLES = 48
SAMPLE_POINTS = 4
"""With 40 % outliers 13 % of the samples hold none."""

MIN_POINTS = 60
"""With fewer known points the initial pose is kept."""

TUKEY = 4.685
"""Cut of the biweight in standard deviations: 95 % efficient for Gaussian errors."""

SCALE_RANGE = (0.1, 8.0)
"""Bounds of the observed over the expected standard deviation: great while the pose is wrong."""

INLIER_DISTANCE = 3.0
"""Standard deviations within which a point moves as the pose says."""

CORRELATED_POINTS = 25.0
"""Neighbouring points that share one error: networks err smoothly, so the covariance is that of fewer."""

PRIOR_STD = np.array([10.0, 10.0, 10.0, 0.5, 0.5, 0.5])
"""Metres and rad around the initial pose: holds what the picture does not show."""

CONVERGED = 2e-5
"""Metres and rad of a step after which no further one is made."""

MIN_DEPTH_RATIO = 1e-2
QUANTILE = 0.3
"""The scale is that of the nearest 30 % of the points: up to 40 % outliers hardly touch it."""

QUANTILE_RADIUS = math.sqrt(-2 * math.log(1 - QUANTILE))
"""Distance within which 30 % of a two-dimensional Gaussian of unit variance lie."""


@dataclass(frozen=True)
class PoseEstimate:
    """A camera motion and how far to trust it.

    ``previous_from_current`` 4×4 takes points of the current camera into the previous one. ``covariance`` 6×6
    belongs to a small motion in the current camera's frame (translation in metres, then rotation in rad).
    ``inlier_ratio`` is the share of the known points that move as the pose says, ``residual`` their median
    distance from it in pixels (NaN where nothing was estimated).
    """

    previous_from_current: np.ndarray
    covariance: np.ndarray
    inlier_ratio: float
    residual: float

    def scaled(self, factor: float) -> PoseEstimate:
        """The same motion with lengths in units of 1/``factor``."""
        pose, stretch = self.previous_from_current.copy(), np.array([factor] * 3 + [1.0] * 3)
        pose[:3, 3] *= factor
        return replace(self, previous_from_current=pose, covariance=self.covariance * np.outer(stretch, stretch))


def refine_pose(
    flow_to_previous: np.ndarray,
    depth: np.ndarray,
    K: np.ndarray,
    initial: np.ndarray,
    weights: np.ndarray | None = None,
    iterations: int = 5,
    flow_std: float = FLOW_STD,
    depth_std: float = DEPTH_STD,
) -> PoseEstimate:
    """The pose near ``initial`` that explains the flow of a still scene best.

    flow_to_previous H×W×2 in pixels on the current grid; depth H×W in metres (+inf: infinitely far; NaN or
    not positive: unknown); K 3×3 at that size; initial 4×4 previous_from_current; weights H×W in 0 ... 1 (for
    instance 0 on objects that can move). About GRID_POINTS pixels of a regular grid are used. With fewer than
    MIN_POINTS known ones the initial pose comes back with the covariance of PRIOR_STD. Where no motion
    explains the flow better than ``initial``, the search starts there.
    """
    pose = np.array(initial, dtype=np.float64)
    points = _Points.of_grid(flow_to_previous, depth, np.asarray(K, dtype=np.float64), weights)
    if len(points.weight) < MIN_POINTS:
        return unrefined_pose(pose)
    prior = np.diag(PRIOR_STD**-2.0)
    pose = min((pose, np.eye(4)), key=points.misfit)
    pose = exponential(_System(points.thinned(), pose, flow_std, depth_std).consensus(prior)) @ pose
    for _ in range(iterations):
        system = _System(points, pose, flow_std, depth_std)
        normal, gradient = system.normal_equations(system.biweight())
        step = -np.linalg.solve(normal + prior, gradient)
        pose = exponential(step) @ pose
        if np.abs(step).max() < CONVERGED:
            break
    system = _System(points, pose, flow_std, depth_std)
    normal, _ = system.normal_equations(system.biweight())
    covariance = np.linalg.inv(normal / (CORRELATED_POINTS * max(system.scale, 1.0) ** 2) + prior)
    turn = adjoint(np.linalg.inv(pose))
    inliers = system.distance < INLIER_DISTANCE
    residual = float(np.median(system.length[inliers])) if inliers.any() else math.nan
    return PoseEstimate(pose, turn @ covariance @ turn.T, float(inliers.mean()), residual)


def unrefined_pose(previous_from_current: np.ndarray) -> PoseEstimate:
    """A pose 4×4 that nothing measures: it comes with the covariance of PRIOR_STD."""
    pose = np.array(previous_from_current, dtype=np.float64)
    return PoseEstimate(pose, np.diag(PRIOR_STD**2), 0.0, math.nan)


def twist(previous_from_current: np.ndarray, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Linear (m/s) and angular (rad/s) velocity of the camera in its own current optical frame.

    The constant velocity that carries the camera from its previous to its current place in ``dt`` seconds;
    driving forward is positive linear z. Raises ValueError where dt is not positive.
    """
    if not dt > 0:
        raise ValueError(f"dt is {dt} s, expected more than 0")
    vector = logarithm(previous_from_current) / dt
    return vector[:3], vector[3:]


def exponential(vector: np.ndarray) -> np.ndarray:
    """Pose 4×4 of a twist (translation, rotation) of se(3)."""
    angle = float(np.linalg.norm(vector[3:]))
    skew = _skew(vector[3:])
    square = skew @ skew
    if angle < 1e-5:
        first, second, third = 1 - angle**2 / 6, 0.5 - angle**2 / 24, 1 / 6 - angle**2 / 120
    else:
        first, second = math.sin(angle) / angle, (1 - math.cos(angle)) / angle**2
        third = (1 - first) / angle**2
    pose = np.eye(4)
    pose[:3, :3] += first * skew + second * square
    pose[:3, 3] = vector[:3] + (second * skew + third * square) @ vector[:3]
    return pose


def logarithm(pose: np.ndarray) -> np.ndarray:
    """Twist (translation, rotation) of a pose 4×4: inverse of :func:`exponential` for angles below pi."""
    rotation = np.asarray(pose, dtype=np.float64)[:3, :3]
    axis = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    axis /= 2
    sine = float(np.linalg.norm(axis))
    angle = math.atan2(sine, (np.trace(rotation) - 1) / 2)
    if angle < 1e-5:
        factor, third = 1.0, 1 / 12
    else:
        factor = angle / sine
        third = (1 - angle / 2 / math.tan(angle / 2)) / angle**2
    omega = axis * factor
    skew = _skew(omega)
    linear = np.asarray(pose)[:3, 3]
    return np.concatenate([linear - skew @ linear / 2 + third * skew @ (skew @ linear), omega])


def adjoint(pose: np.ndarray) -> np.ndarray:
    """6×6 matrix that takes a twist (translation, rotation) of frame b into frame a, pose = a_from_b."""
    rotation = pose[:3, :3]
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = matrix[3:, 3:] = rotation
    matrix[:3, 3:] = _skew(pose[:3, 3]) @ rotation
    return matrix


@dataclass(frozen=True)
class _Points:
    """Grid points with flow and depth: rays (x, y, 1), inverse depth, pixel in the previous image, weight."""

    x: np.ndarray
    y: np.ndarray
    inverse_depth: np.ndarray
    u: np.ndarray
    v: np.ndarray
    weight: np.ndarray
    K: np.ndarray

    @classmethod
    def of_grid(
        cls, flow: np.ndarray, depth: np.ndarray, K: np.ndarray, weights: np.ndarray | None
    ) -> _Points:
        height, width = depth.shape
        stride = max(1, round(math.sqrt(height * width / GRID_POINTS)))
        start = stride // 2
        rows, columns = np.mgrid[start:height:stride, start:width:stride]
        z = np.asarray(depth[start::stride, start::stride], dtype=np.float64)
        motion = np.asarray(flow[start::stride, start::stride], dtype=np.float64)
        known = (z > 0) & np.isfinite(motion).all(axis=-1)
        weight = np.ones_like(z)
        if weights is not None:
            weight = np.asarray(weights[start::stride, start::stride], dtype=np.float64)
            known &= weight > 0
        px, py = columns[known].astype(np.float64), rows[known].astype(np.float64)
        return cls(
            x=(px - K[0, 2]) / K[0, 0],
            y=(py - K[1, 2]) / K[1, 1],
            inverse_depth=1 / z[known],
            u=px + motion[known, 0],
            v=py + motion[known, 1],
            weight=weight[known],
            K=K,
        )

    def thinned(self) -> _Points:
        """At most CONSENSUS_POINTS of the points, evenly taken."""
        step = -(-len(self.weight) // CONSENSUS_POINTS)
        arrays = (self.x, self.y, self.inverse_depth, self.u, self.v, self.weight)
        return _Points(*(array[::step] for array in arrays), self.K)

    def misfit(self, pose: np.ndarray) -> float:
        """Median distance in pixels between where the pose and where the flow puts the points."""
        return float(np.median(np.hypot(*self.residual(pose, self.project(pose)))))

    def project(self, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points in the previous camera: x/z, y/z, and z there over z here."""
        x, y, z = (
            row[0] * self.x + row[1] * self.y + (row[2] + row[3] * self.inverse_depth) for row in pose[:3]
        )
        z = np.maximum(z, MIN_DEPTH_RATIO)
        return x / z, y / z, z

    def residual(self, pose: np.ndarray, projected: tuple) -> tuple[np.ndarray, np.ndarray]:
        a, b, _ = projected
        K = self.K
        return K[0, 0] * a + K[0, 2] - self.u, K[1, 1] * b + K[1, 2] - self.v


class _System:
    """The least-squares problem linearised at one pose; the Jacobian's columns: translation, rotation."""

    def __init__(self, points: _Points, pose: np.ndarray, flow_std: float, depth_std: float):
        projected = points.project(pose)
        self.prior_weight = points.weight
        self.residual = np.stack(points.residual(pose, projected))
        self.jacobian = jacobian(projected, points.inverse_depth, points.K)
        tx, ty, tz = pose[:3, 3]
        self.along = self.jacobian[:, 0] * tx + self.jacobian[:, 1] * ty + self.jacobian[:, 2] * tz
        self.flow_variance, self.depth_variance = flow_std**2, depth_std**2
        self.discount = _discount(self.along, self.flow_variance, self.depth_variance)
        self.length = np.hypot(*self.residual)
        self.distance = np.sqrt(
            _squared_distance(self.residual, self.along, self.flow_variance, self.depth_variance)
        )
        self.scale = float(np.clip(_quantile(self.distance) / QUANTILE_RADIUS, *SCALE_RANGE))

    def consensus(self, prior: np.ndarray) -> np.ndarray:
        """The small motion, zero or of a random sample of points, that half of the points agree with best.

        Each sample's motion solves its own linear equations; motions are compared by the sum of the smaller
        half of the squared Mahalanobis distances (least trimmed squares, Rousseeuw 1984). The samples are the
        same in every call.
        """
        picks = (np.random.default_rng(0).random((SAMPLES, SAMPLE_POINTS)) * len(self.length)).astype(int)
        rows = self.jacobian[:, :, picks].transpose(2, 0, 3, 1).reshape(SAMPLES, -1, 6)
        values = self.residual[:, picks].transpose(1, 0, 2).reshape(SAMPLES, -1, 1)
        turned = rows.transpose(0, 2, 1)
        steps = np.zeros((6, SAMPLES + 1))
        steps[:, 1:] = -np.linalg.solve(turned @ rows + self.flow_variance * prior, turned @ values)[..., 0].T
        residual = self.residual[..., None] + self.jacobian.transpose(0, 2, 1) @ steps
        along = self.along[..., None] + self.jacobian[:, :3].transpose(0, 2, 1) @ steps[:3]
        squared = _squared_distance(residual, along, self.flow_variance, self.depth_variance)
        half = len(squared) // 2
        cost = np.partition(squared, half, axis=0)[:half].sum(0)
        return steps[:, np.argmin(cost)]

    def biweight(self) -> np.ndarray:
        """Tukey's weights times the points' own."""
        ratio = self.distance / (TUKEY * self.scale)
        return self.prior_weight * np.maximum(1 - ratio**2, 0) ** 2

    def normal_equations(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Jᵀ S⁻¹ J and Jᵀ S⁻¹ r, weighted."""
        gain = weight / self.flow_variance
        (jx, jy), (rx, ry), (gx, gy) = self.jacobian, self.residual, self.along
        projected = jx * gx + jy * gy
        loss = gain * self.discount
        normal = (jx * gain) @ jx.T + (jy * gain) @ jy.T - (projected * loss) @ projected.T
        gradient = jx @ (gain * rx) + jy @ (gain * ry) - projected @ (loss * (gx * rx + gy * ry))
        return normal, gradient


def _quantile(distance: np.ndarray) -> float:
    position = int(QUANTILE * len(distance))
    return float(np.partition(distance, position)[position])


def _discount(along: np.ndarray, flow_variance: float, depth_variance: float) -> np.ndarray:
    """c in S⁻¹ = (1 - c g gᵀ) / FLOW_STD² (Sherman and Morrison), for ``along`` = g, 2×N."""
    return depth_variance / (flow_variance + depth_variance * (along**2).sum(0))


def _squared_distance(
    residual: np.ndarray, along: np.ndarray, flow_variance: float, depth_variance: float
) -> np.ndarray:
    """Squared Mahalanobis distance of ``residual`` 2×N under S."""
    parallel = (along * residual).sum(0)
    loss = _discount(along, flow_variance, depth_variance) * parallel**2
    return np.maximum((residual**2).sum(0) - loss, 0) / flow_variance


def jacobian(
    projected: tuple[np.ndarray, np.ndarray, np.ndarray], inverse_depth: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Derivative 2×6×N of the pixel by a twist (translation, rotation) applied after the pose.

    ``projected`` holds x/z and y/z in the previous camera and z there over z here.
    """
    a, b, ratio = projected
    fx, fy = K[0, 0], K[1, 1]
    inverse = inverse_depth / ratio
    result = np.zeros((2, 6, len(a)))
    (vx, _, vz, wx, wy, wz), (_, uy, uz, ox, oy, oz) = result
    vx[:], uy[:] = fx * inverse, fy * inverse
    vz[:], uz[:] = -vx * a, -uy * b
    wx[:], wy[:], wz[:] = -fx * a * b, fx * (1 + a * a), -fx * b
    ox[:], oy[:], oz[:] = -fy * (1 + b * b), fy * a * b, fy * a
    return result


def _skew(vector: np.ndarray) -> np.ndarray:
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=np.float64)
