"""The camera that a network found in video, and how far its focal length can be believed."""

from __future__ import annotations

import math
from typing import Any

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.networks.posenet import CameraHead, intrinsics_of_shares

WEAK = 0.1
"""Relative tolerance of the focal length beyond which the fit is called weak."""


def focal_tolerance(focal: float, side: int, rotation: float) -> float:
    """The error of a focal length (pixels) that images cannot show: 2 f² / (side² · r).

    A rotation by r (rad) moves the image's edge by r · side² / 4f more than its middle; a wrong focal length whose rotation
    error makes up for it elsewhere is out by less than a pixel there (Gordon et al. 2019). ``side``: the image's extent in
    pixels along which the rotation moves it. Without rotation any focal length explains the images: infinite.
    """
    return math.inf if rotation <= 0 else 2 * focal**2 / (side**2 * rotation)


def learned_camera(head: CameraHead, size: tuple[int, int]) -> PinholeCamera:
    """The mean camera of the last training steps, for images of ``size`` (width, height)."""
    matrix = intrinsics_of_shares(head.mean[None], size[1], size[0])[0].tolist()
    return PinholeCamera(*size, fx=matrix[0][0], fy=matrix[1][1], cx=matrix[0][2], cy=matrix[1][2])


def describe_learned_camera(head: CameraHead, size: tuple[int, int]) -> dict[str, Any]:
    """What a model file says of it: values in pixels of ``size``, the greatest rotations seen, tolerances, and a verdict.

    Turning about y shows fx, about x fy; without any turn the tolerance is null.
    """
    camera = learned_camera(head, size)
    about_x, about_y = head.turn.tolist()
    tolerances = {
        "fx": focal_tolerance(camera.fx, size[0], about_y),
        "fy": focal_tolerance(camera.fy, size[1], about_x),
    }
    weak = [name for name, value in tolerances.items() if value > WEAK * getattr(camera, name)]
    verdict = "seen by rotation" if not weak else f"weak: too little rotation to see {' and '.join(weak)}"
    return {
        **{name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy")},
        "rotation_about_x": about_x,
        "rotation_about_y": about_y,
        "tolerance": {name: value if math.isfinite(value) else None for name, value in tolerances.items()},
        "verdict": verdict,
    }
