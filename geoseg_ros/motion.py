"""Which pixels move by themselves: optical flow against the rigid flow, which camera motion alone would cause.

Flows are H×W×2 in pixels, all in one direction on one grid. Two measures of their difference:

* ``omega``: angle and ratio of the lengths, as published (Tosi et al. 2020). It means nothing where both flows are
  as small as their errors: on a standing camera and in the sky.
* ``normalized``: the difference r in units of its expected error. With the flow g that translation causes,
  S = s² 1 + d² g gᵀ is the covariance of r, for an error s of optical flow and a relative error d of depth, which
  moves a point along its epipolar line only. Both are measured on the frame itself, where nothing moves. Since an
  object moves as a whole, r and g are averaged over the neighbours that are dynamic like the pixel (or not, like
  it) before they are compared: this keeps apart what a vote of connected components would mix, cars parked
  in front of cars that drive.
"""

from __future__ import annotations

import cv2
import numpy as np

METHODS = ("normalized", "omega")
EPSILON = 1e-7

GRID_COLUMNS = 160
"""The normalized measure is computed on about this many columns: it is smooth anyway."""

WINDOW = 11
"""Side of the averaged neighbourhood on that grid."""

DISTANCE = 2.0
"""Standard deviations at which the probability is one half."""

FLOW_STD, FLOW_STD_RANGE = 1.0, (0.3, 5.0)
"""Pixels: error of optical flow where it cannot be measured, and bounds of what is measured."""

FLOW_STD_RELATIVE = 0.03
"""Error of optical flow per pixel of its length."""

AVERAGING = 0.5
"""What averaging the neighbourhood leaves of the error of optical flow; errors of neighbours are related."""

DEPTH_STD, DEPTH_STD_RANGE = 0.15, (0.04, 0.5)
"""Relative error of depth where it cannot be measured, and bounds of what is measured."""

OBJECT_DEPTH_FACTOR = 1.4
"""Depth of objects errs so much more than that of streets and houses."""

MIN_PIXELS = 100
"""Fewer still pixels on the grid than this measure no error."""

GAUSSIAN = 1.4826
"""Standard deviation of a Gaussian over its median absolute deviation."""


def motion_probability(flow: np.ndarray, rigid_flow: np.ndarray) -> np.ndarray:
    """P = max((1 - cos θ) / 2, 1 - min(‖F‖, ‖F_r‖) / max(‖F‖, ‖F_r‖)), H×W (Tosi et al. 2020).

    θ is the angle between the optical flow F and the rigid flow F_r. Two flows of zero do not differ: P = 0.
    """
    lengths = np.linalg.norm(flow, axis=-1), np.linalg.norm(rigid_flow, axis=-1)
    shorter, longer = np.minimum(*lengths), np.maximum(*lengths)
    cosine = ((flow * rigid_flow).sum(-1) + EPSILON) / (shorter * longer + EPSILON)
    ratio = (shorter + EPSILON) / (longer + EPSILON)
    return np.maximum((1 - np.clip(cosine, -1, 1)) / 2, 1 - ratio)


def segment_motion(
    flow: np.ndarray,
    rigid_flow: np.ndarray,
    dynamic: np.ndarray,
    infinite_homography: np.ndarray | None = None,
    method: str = "normalized",
    threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability that a pixel moves by itself, H×W float32, and the mask dynamic · [probability > threshold].

    ``dynamic`` H×W: pixels of classes that can move, a mask or their probability (then above 0.5). Pixels whose flow
    or rigid flow is NaN or infinite have probability 0. ``infinite_homography`` 3×3 is K R K⁻¹ of the rotation
    in the pose behind ``rigid_flow``; without it all of the rigid flow counts as caused by translation, which
    overrates the error of depth in curves. Raises ValueError for another ``method`` than those of METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    dynamic = dynamic if dynamic.dtype == bool else dynamic > 0.5
    if method == "omega":
        known = _finite(flow, rigid_flow)
        probability = np.where(known, motion_probability(*(_known(array, known) for array in (flow, rigid_flow))), 0)
    else:
        probability = _normalized(flow, rigid_flow, dynamic, infinite_homography)
    probability = probability.astype(np.float32)
    return probability, dynamic & (probability > threshold)


def measure_errors(residual: np.ndarray, translational: np.ndarray, still: np.ndarray) -> tuple[float, float]:
    """Error of optical flow (pixels) and relative error of depth, from pixels N×2 that do not move by themselves.

    ``residual`` is optical minus rigid flow, ``translational`` the part of rigid flow that translation causes. Across
    the epipolar line only flow errs; along it, where translation is plainly seen, depth does.
    """
    residual, translational = residual[still], translational[still]
    length = np.hypot(translational[:, 0], translational[:, 1])
    direction = translational / np.maximum(length, EPSILON)[:, None]
    across = np.abs(residual[:, 0] * direction[:, 1] - residual[:, 1] * direction[:, 0])
    along = np.abs((residual * direction).sum(-1))
    flow_std, depth_std = FLOW_STD, DEPTH_STD
    directed = length > 0.5
    if np.count_nonzero(directed) >= MIN_PIXELS:
        flow_std = float(np.clip(GAUSSIAN * np.median(across[directed]), *FLOW_STD_RANGE))
    else:
        undirected = np.abs(residual)
        if len(undirected) >= MIN_PIXELS:
            flow_std = float(np.clip(GAUSSIAN * np.median(undirected), *FLOW_STD_RANGE))
    seen = length > 6 * flow_std
    if np.count_nonzero(seen) >= MIN_PIXELS:
        depth_std = float(np.clip(GAUSSIAN * np.median(along[seen] / length[seen]), *DEPTH_STD_RANGE))
    return flow_std, depth_std


def _normalized(
    flow: np.ndarray, rigid_flow: np.ndarray, dynamic: np.ndarray, homography: np.ndarray | None
) -> np.ndarray:
    """Probability H×W of the normalized measure: 1 - 2^-(distance / DISTANCE)²."""
    height, width = dynamic.shape
    stride = max(1, round(width / GRID_COLUMNS))
    grid = (slice(stride // 2, None, stride),) * 2
    coarse_flow, coarse_rigid, coarse_dynamic = flow[grid], rigid_flow[grid], dynamic[grid]
    known = _finite(coarse_flow, coarse_rigid)
    coarse_flow, coarse_rigid = _known(coarse_flow, known), _known(coarse_rigid, known)
    translational = coarse_rigid
    if homography is not None:
        translational = _known(coarse_rigid - _rotational_flow(homography, height, width, stride), known)
    residual = coarse_flow - coarse_rigid
    flow_std, depth_std = measure_errors(residual, translational, known & ~coarse_dynamic)
    evidence = np.concatenate([residual, translational, coarse_flow], axis=-1).astype(np.float32)
    probability = np.zeros((height, width), dtype=np.float32)
    for member in (False, True):
        group = known & (coarse_dynamic == member)
        distance = _distance(
            _average(evidence, group), flow_std * AVERAGING, depth_std * (OBJECT_DEPTH_FACTOR if member else 1)
        )
        enlarged = cv2.resize(1 - np.exp2(-((distance / DISTANCE) ** 2)), (width, height))
        np.copyto(probability, enlarged, where=dynamic == member)
    return np.where(_finite(flow, rigid_flow), probability, 0)


def _distance(evidence: np.ndarray, flow_std: float, depth_std: float) -> np.ndarray:
    """Mahalanobis distance H×W of the residual under S; S⁻¹ by Sherman and Morrison."""
    residual, along, flow = evidence[..., :2], evidence[..., 2:4], evidence[..., 4:]
    variance = flow_std**2 + FLOW_STD_RELATIVE**2 * (flow**2).sum(-1)
    loss = depth_std**2 * (along * residual).sum(-1) ** 2 / (variance + depth_std**2 * (along**2).sum(-1))
    return np.sqrt(np.maximum((residual**2).sum(-1) - loss, 0) / variance)


def _average(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over the members of ``group`` in the window around each pixel; 0 where there is none."""
    weight = group.astype(np.float32)
    total = cv2.blur(weight, (WINDOW, WINDOW))
    blurred = cv2.blur(values * weight[..., None], (WINDOW, WINDOW))
    return np.where(total > 1e-4, 1 / np.maximum(total, 1e-4), 0)[..., None] * blurred


def _rotational_flow(homography: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """Flow of points at infinity on every ``stride``-th pixel."""
    x = np.arange(stride // 2, width, stride, dtype=np.float64)
    y = np.arange(stride // 2, height, stride, dtype=np.float64)[:, None]
    u, v, w = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    return np.stack([u / w - x, v / w - y], axis=-1)


def _finite(flow: np.ndarray, rigid_flow: np.ndarray) -> np.ndarray:
    """Whether all four components are finite, H×W; their sum is finite just then (flows are no 1e38 pixels long)."""
    return np.isfinite(flow[..., 0] + flow[..., 1] + rigid_flow[..., 0] + rigid_flow[..., 1])


def _known(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known[..., None], values, 0)
