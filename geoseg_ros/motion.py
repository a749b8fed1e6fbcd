"""Which pixels move by themselves: optical flow against the rigid flow, caused by camera motion alone.

The default network learns this comparison (:mod:`geoseg_ros.networks.motion`); here it is by formula.

Flows are H×W×2 in pixels, all in one direction on one grid. Two measures of their difference:

* ``omega``: angle and ratio of the lengths, as published (Tosi et al. 2020). It means nothing where both
  flows are as small as their errors: on a standing camera and in the sky.
* ``normalized``: the difference r in units of its expected error. With the flow g that translation causes,
  S = s² 1 + d² g gᵀ is the covariance of r, for an error s of optical flow and a relative error d of depth,
  which moves a point along its epipolar line only. Both are measured on the frame itself, on what cannot
  move. Since an object moves as a whole, r and g are first averaged over the neighbours that are dynamic like
  the pixel (or not, like it). A vote of connected components would mix parked cars with those that pass them.
"""

from __future__ import annotations

import cv2
import numpy as np

METHODS = ("normalized", "omega")
LEARNED = "learned"
MOTION_METHODS = (LEARNED, *METHODS)
"""How own motion is told: by the network's motion head, or by one of the measures here."""

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
"""Fewer pixels than this measure no error."""

DIRECTED, PLAIN = 0.5, 6.0
"""Translational flow that has a direction (pixels), and that shows the error of depth (in flow errors)."""

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
    """Probability that a pixel moves by itself, H×W float32, and mask dynamic · [probability > threshold].

    ``dynamic`` H×W: pixels of classes that can move, a mask or their probability (then above 0.5). Pixels
    whose flow or rigid flow is NaN or infinite have probability 0. ``infinite_homography`` 3×3 is K R K⁻¹ of
    the rotation in the pose behind ``rigid_flow``; without it all of the rigid flow counts as caused by
    translation, which overrates the error of depth in curves. Raises ValueError for another ``method`` than
    those of METHODS.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    dynamic = dynamic if dynamic.dtype == bool else dynamic > 0.5
    if method == "omega":
        known = _finite(flow, rigid_flow)
        flow, rigid_flow = (np.where(known[..., None], array, 0) for array in (flow, rigid_flow))
        probability = motion_probability(flow, rigid_flow)
    else:
        probability = _normalized(flow, rigid_flow, dynamic, infinite_homography)
    return probability.astype(np.float32), dynamic & (probability > threshold)


def measure_errors(residual: np.ndarray, translational: np.ndarray) -> tuple[float, float]:
    """Error of optical flow (pixels) and relative error of depth, from pixels 2×N of what stands still.

    ``residual`` is optical minus rigid flow, ``translational`` the part of rigid flow that translation
    causes. Across the epipolar line only flow errs; along it, where translation is plainly seen, depth does.
    What too few pixels tell is FLOW_STD and DEPTH_STD.
    """
    length = np.hypot(*translational)
    x, y = translational / np.maximum(length, EPSILON)
    directed = length > DIRECTED
    across = np.abs(residual[0] * y - residual[1] * x)[directed]
    if len(across) < MIN_PIXELS:
        across = np.abs(residual).reshape(-1)
    flow_std = _robust_std(across, FLOW_STD, FLOW_STD_RANGE)
    plain = length > PLAIN * flow_std
    along = np.abs(residual[0] * x + residual[1] * y)[plain] / length[plain]
    return flow_std, _robust_std(along, DEPTH_STD, DEPTH_STD_RANGE)


def _robust_std(deviation: np.ndarray, unknown: float, bounds: tuple[float, float]) -> float:
    if len(deviation) < MIN_PIXELS:
        return unknown
    return min(max(GAUSSIAN * float(np.median(deviation)), bounds[0]), bounds[1])


def _normalized(
    flow: np.ndarray, rigid_flow: np.ndarray, dynamic: np.ndarray, homography: np.ndarray | None
) -> np.ndarray:
    """Probability H×W of the normalized measure: 1 - 2^-(distance / DISTANCE)²."""
    height, width = dynamic.shape
    stride = max(1, min(round(width / GRID_COLUMNS), height))
    grid = (slice(stride // 2, None, stride),) * 2
    evidence = np.zeros((*dynamic[grid].shape, 6), dtype=np.float32)
    residual, translational, optical = evidence[..., :2], evidence[..., 2:4], evidence[..., 4:]
    known = _finite(flow[grid], rigid_flow[grid])
    np.copyto(optical, flow[grid], where=known[..., None])
    np.copyto(translational, rigid_flow[grid], where=known[..., None])
    residual[:] = optical - translational
    if homography is not None:
        translational -= _rotational_flow(homography, height, width, stride)
    movable = dynamic[grid]
    still = known & ~movable
    flow_std, depth_std = measure_errors(residual[still].T, translational[still].T)
    flow_std *= AVERAGING
    on_objects = _probability(_average(evidence, known & movable), flow_std, depth_std * OBJECT_DEPTH_FACTOR)
    elsewhere = _probability(_average(evidence, still), flow_std, depth_std)
    probability = np.where(
        dynamic, *(cv2.resize(values, (width, height)) for values in (on_objects, elsewhere))
    )
    with np.errstate(invalid="ignore"):
        all_known = np.isfinite(flow.sum() + rigid_flow.sum())
    if not all_known:
        probability[~_finite(flow, rigid_flow)] = 0
    return probability


def _probability(evidence: np.ndarray, flow_std: float, depth_std: float) -> np.ndarray:
    """From averaged evidence H×W×6; the Mahalanobis distance under S by Sherman and Morrison."""
    rx, ry, gx, gy, fx, fy = np.moveaxis(evidence, -1, 0)
    variance = flow_std**2 + FLOW_STD_RELATIVE**2 * (fx * fx + fy * fy)
    loss = depth_std**2 * (rx * gx + ry * gy) ** 2 / (variance + depth_std**2 * (gx * gx + gy * gy))
    squared = np.maximum(rx * rx + ry * ry - loss, 0) / variance
    return 1 - np.exp2(squared / -(DISTANCE**2))


def _average(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Mean over the members of ``group`` in the window around each pixel; 0 where there is none."""
    weight = group.astype(np.float32)
    share = cv2.blur(weight, (WINDOW, WINDOW))
    inverse = np.where(share > 0.5 / WINDOW**2, 1 / np.maximum(share, 0.5 / WINDOW**2), 0)
    return cv2.blur(values * weight[..., None], (WINDOW, WINDOW)) * inverse[..., None]


def _rotational_flow(homography: np.ndarray, height: int, width: int, stride: int) -> np.ndarray:
    """Flow of points at infinity on every ``stride``-th pixel."""
    x = np.arange(stride // 2, width, stride, dtype=np.float64)
    y = np.arange(stride // 2, height, stride, dtype=np.float64)[:, None]
    u, v, w = (row[0] * x + (row[1] * y + row[2]) for row in homography)
    return np.stack([u / w - x, v / w - y], axis=-1)


def _finite(flow: np.ndarray, rigid_flow: np.ndarray) -> np.ndarray:
    """Whether all four components are finite, H×W: then their sum is."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(flow[..., 0] + flow[..., 1] + rigid_flow[..., 0] + rigid_flow[..., 1])
