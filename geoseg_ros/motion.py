"""Which pixels move by themselves: optical flow against the flow that camera motion alone would cause.

All flows are H×W×2 in pixels, both in the same direction on the same grid.
"""

from __future__ import annotations

import numpy as np

EPSILON = 1e-7


def motion_probability(flow: np.ndarray, rigid_flow: np.ndarray) -> np.ndarray:
    """P = max((1 - cos θ) / 2, 1 - min(‖F‖, ‖F_r‖) / max(‖F‖, ‖F_r‖)), H×W (OmegaNet, Tosi et al. 2020, eq. 6).

    θ is the angle between the optical flow F and the rigid flow F_r.
    """
    first, second = np.linalg.norm(flow, axis=-1), np.linalg.norm(rigid_flow, axis=-1)
    cosine = np.clip((flow * rigid_flow).sum(-1) / (first * second + EPSILON), -1, 1)
    ratio = np.minimum(first, second) / (np.maximum(first, second) + EPSILON)
    return np.maximum((1 - cosine) / 2, 1 - ratio)


FLOW_STD = 1.0
"""Expected error of optical flow per axis, pixels."""

FLOW_STD_RELATIVE = 0.05
"""Expected error of optical flow per pixel of its length."""

RESIDUAL_STD = 0.2
"""Expected error of rigid flow per pixel of its length, from depth and pose."""

DISTANCE = 3.0
"""Standard deviations of flow against rigid flow at which the probability of motion is one half."""


def segment_motion(
    flow: np.ndarray, rigid_flow: np.ndarray, dynamic: np.ndarray, threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of motion H×W float32, and mask H×W bool: ``dynamic`` pixels whose probability exceeds ``threshold``."""
    length = np.linalg.norm(rigid_flow, axis=-1)
    variance = FLOW_STD**2 + (FLOW_STD_RELATIVE * np.linalg.norm(flow, axis=-1)) ** 2 + (RESIDUAL_STD * length) ** 2
    squared = ((flow - rigid_flow) ** 2).sum(-1) / variance
    probability = (1 - np.exp2(-squared / DISTANCE**2)).astype(np.float32)
    return probability, dynamic.astype(bool) & (probability > threshold)
