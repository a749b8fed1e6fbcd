"""The camera that was found in video, and how far its focal length can be believed."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.networks.posenet import ASSUMED_FOCAL, intrinsics_of_shares

WEAK = 0.1
"""Relative tolerance of the focal length beyond which the fit is called weak."""

GAIN = 50.0
"""Change of the log focal length per unit of what is learned: networks' weights move by 1e-4 a step, this by half a percent."""


class LearnedCamera(Protocol):
    """What training found: ``mean``, fx and fy over the width, the principal point over width and height; ``turn``, the greatest
    rotations about x and y, rad, that the focal lengths were seen by; ``square_pixels``, whether fx and fy are one number."""

    mean: Tensor
    turn: Tensor
    square_pixels: bool


class FocalLength(nn.Module):
    """One camera for all images: its pixels are square, its principal point is the image's centre, its focal length is learned.

    It starts as an ordinary camera, as :class:`~geoseg_ros.networks.posenet.CameraHead` does.
    """

    square_pixels = True

    def __init__(self) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.zeros(()))
        self.register_buffer("turn", torch.zeros(2))

    @property
    def mean(self) -> Tensor:
        """The camera as :class:`LearnedCamera` says it."""
        focal = ASSUMED_FOCAL * (GAIN * self.raw).exp()
        return torch.stack([focal, focal, *focal.new_tensor([0.5, 0.5])])

    def forward(self, count: int, height: int, width: int) -> Tensor:
        """Intrinsics count×3×3 of images of that size."""
        return intrinsics_of_shares(self.mean[None], height, width).expand(count, 3, 3)


def focal_tolerance(focal: float, side: int, rotation: float) -> float:
    """The error of a focal length (pixels) that images cannot show: 2 f² / (side² · r).

    A rotation by r (rad) moves the image's edge by r · side² / 4f more than its middle; a wrong focal length whose rotation
    error makes up for it elsewhere is out by less than a pixel there (Gordon et al. 2019). ``side``: the image's extent in
    pixels along which the rotation moves it. Without rotation any focal length explains the images: infinite.
    """
    return math.inf if rotation <= 0 else 2 * focal**2 / (side**2 * rotation)


def learned_camera(found: LearnedCamera, size: tuple[int, int]) -> PinholeCamera:
    """The mean camera of the last training steps, for images of ``size`` (width, height)."""
    matrix = intrinsics_of_shares(found.mean.detach()[None], size[1], size[0])[0].tolist()
    return PinholeCamera(*size, fx=matrix[0][0], fy=matrix[1][1], cx=matrix[0][2], cy=matrix[1][2])


def describe_learned_camera(found: LearnedCamera, size: tuple[int, int]) -> dict[str, Any]:
    """What a model file says of it: values in pixels of ``size``, the greatest rotations seen, tolerances, and a verdict.

    Turning about y shows fx, about x fy, either of them both where pixels are square; without any turn the tolerance is null.
    """
    camera = learned_camera(found, size)
    about_x, about_y = found.turn.tolist()
    tolerances = {
        "fx": focal_tolerance(camera.fx, size[0], about_y),
        "fy": focal_tolerance(camera.fy, size[1], about_x),
    }
    if found.square_pixels:
        tolerances = dict.fromkeys(tolerances, min(tolerances.values()))
    weak = [name for name, value in tolerances.items() if value > WEAK * getattr(camera, name)]
    verdict = "seen by rotation" if not weak else f"weak: too little rotation to see {' and '.join(weak)}"
    return {
        **{name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy")},
        "rotation_about_x": about_x,
        "rotation_about_y": about_y,
        "tolerance": {name: value if math.isfinite(value) else None for name, value in tolerances.items()},
        "verdict": verdict,
    }
