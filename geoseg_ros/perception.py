"""What one frame yields: the types that cross from the pipeline to nodes, bags and reports."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.scale import UNKNOWN, Scale

ALL_OUTPUTS = frozenset({"semantic", "confidence", "depth", "flow", "motion", "ego_motion"})


@dataclass(frozen=True)
class EgoMotion:
    """How the camera moved since the previous frame.

    Attributes:
        previous_from_current: 4×4, takes points of the current camera (optical frame, metres) into the previous one.
        dt: seconds between the two frames.
        linear: m/s, the camera's velocity in its own optical frame (x right, y down, z forward).
        angular: rad/s, likewise.
        covariance: 6×6 of (linear, angular) in (m/s)² and (rad/s)²; its translation part is huge where scale is unknown.
        scale_source: where metres come from: ``odometry``, ``road_plane``, ``model`` or ``none``.
    """

    previous_from_current: np.ndarray
    dt: float
    linear: np.ndarray
    angular: np.ndarray
    covariance: np.ndarray
    scale_source: str


@dataclass
class Perception:
    """What one frame yields, arrays at the input image's size H×W; ``None`` for what was not asked or not possible.

    Attributes:
        stamp: nanoseconds, of the image.
        image: H×W×3 uint8 RGB, rectified.
        camera: describes every array here (rectified, input size).
        semantic: H×W uint8 class ids.
        confidence: H×W float32, probability of that class.
        depth: H×W float32 metres (z), NaN where unknown.
        flow: H×W×2 float32 pixels, x_current − x_previous of what is seen at each current pixel; NaN where unknown.
        motion_probability: H×W float32, 0…1.
        motion_mask: H×W uint8, 255 where something moves by itself.
        ego_motion: motion of the camera.
        scale: what the metres of depth and ego-motion rest on.
        timings: seconds by stage.
    """

    stamp: int
    image: np.ndarray
    camera: PinholeCamera | None = None
    semantic: np.ndarray | None = None
    confidence: np.ndarray | None = None
    depth: np.ndarray | None = None
    flow: np.ndarray | None = None
    motion_probability: np.ndarray | None = None
    motion_mask: np.ndarray | None = None
    ego_motion: EgoMotion | None = None
    scale: Scale = UNKNOWN
    timings: dict[str, float] = field(default_factory=dict)
