"""The colour, blur and noise of one training example, drawn with its own random numbers.

The draw is a few small arrays (:data:`COLOUR`) that travel beside the example's uint8 pictures; ``jitter`` applies those of a
whole batch on the device that trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from geoseg_ros.training.data.augmentation import AugmentConfig

COLOUR = ("colour_gamma", "colour_matrix", "blur_kernel", "noise_sigma", "noise_seed")
"""What :func:`draw_colour` returns."""

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_YIQ = np.array([_GREY, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_RGB_FROM_YIQ = np.linalg.inv(_YIQ)
_BLUR_SIGMA = (0.3, 1.2)
_BLUR_RADIUS = 5  # four standard deviations of the widest


def draw_colour(frames: int, config: AugmentConfig, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The random change of an example of F ``frames``, in the order in which it is applied:

    - colour_gamma: F float32, the exponent of RGB in [0, 1]
    - colour_matrix: F×3×4 float32, the affine map of RGB that follows, grey-scale included
    - blur_kernel: k×k float32 for all frames, its sum 1, out of focus and motion in one; 1 in its middle and 0 elsewhere where
      there is none. k is odd and follows from ``config`` alone, so that examples form batches.
    - noise_sigma: float32, standard deviation of the independent Gaussian noise of every value, 0 for none
    - noise_seed: int64, from which the noise is made
    """
    shared = colour_change(config, rng) if rng.random() < config.jitter else None
    grey = rng.random() < config.grey
    blur_sigma = rng.uniform(*_BLUR_SIGMA) if rng.random() < config.blur else 0.0
    noise = rng.uniform(0, config.noise_sigma) if rng.random() < config.noise else 0.0
    smear = _draw_motion_blur(config, rng)
    changes = [
        _vary(shared, colour_change(config, rng), config.per_frame) if shared else (1.0, np.eye(3, 4))
        for _ in range(frames)
    ]
    matrix = np.stack([matrix for _, matrix in changes])
    return {
        "colour_gamma": np.array([gamma for gamma, _ in changes], np.float32),
        "colour_matrix": (np.tile(_GREY, (3, 1)) @ matrix if grey else matrix).astype(np.float32),
        "blur_kernel": _blur_kernel(_kernel_radius(config), blur_sigma, smear),
        "noise_sigma": np.float32(noise),
        "noise_seed": rng.integers(2**63, dtype=np.int64),
    }


def colour_change(config: AugmentConfig, rng: np.random.Generator) -> tuple[float, np.ndarray]:
    """A random gamma and the 3×4 affine colour matrix of brightness, contrast, saturation and hue, for RGB in
    [0, 1]."""
    brightness, contrast, saturation, hue = (
        rng.uniform(-width, width)
        for width in (config.brightness, config.contrast, config.saturation, config.hue)
    )
    gamma = float(np.exp(rng.uniform(-1, 1) * np.log1p(config.gamma)))
    angle = 2 * np.pi * hue
    chroma = (1 + saturation) * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    mixing = np.eye(3)
    mixing[1:, 1:] = chroma
    gain = 1 + contrast
    offset = 0.5 * (1 - gain) + brightness * gain
    return gamma, np.hstack([gain * _RGB_FROM_YIQ @ mixing @ _YIQ, np.full((3, 1), offset)])


def _vary(
    shared: tuple[float, np.ndarray], own: tuple[float, np.ndarray], share: float
) -> tuple[float, np.ndarray]:
    return (1 - share) * shared[0] + share * own[0], (1 - share) * shared[1] + share * own[1]


def _draw_motion_blur(config: AugmentConfig, rng: np.random.Generator) -> np.ndarray | None:
    """The kernel of a random motion blur, or None; draws nothing where the configuration has none, so that recipes
    without it keep their random numbers."""
    if config.motion_blur == 0 or rng.random() >= config.motion_blur:
        return None
    return motion_blur_kernel(rng.uniform(*config.motion_blur_length), rng.uniform(0, np.pi))


def motion_blur_kernel(length: float, angle: float) -> np.ndarray:
    """The square float32 kernel of a straight smear of ``length`` pixels at ``angle`` (radians from x towards y); its
    sum is 1."""
    radius = int(np.ceil(length / 2))
    kernel = np.zeros((2 * radius + 1,) * 2)
    along = ((np.arange(8 * radius) + 0.5) / (8 * radius) - 0.5) * length
    x, y = radius + along * np.cos(angle), radius + along * np.sin(angle)
    left, top = np.minimum(x.astype(int), 2 * radius - 1), np.minimum(y.astype(int), 2 * radius - 1)
    right_share, bottom_share = x - left, y - top
    for dx, share_x in ((0, 1 - right_share), (1, right_share)):
        for dy, share_y in ((0, 1 - bottom_share), (1, bottom_share)):
            np.add.at(kernel, (top + dy, left + dx), share_x * share_y)
    return (kernel / kernel.sum()).astype(np.float32)


def _kernel_radius(config: AugmentConfig) -> int:
    """The radius that holds every blur of a configuration."""
    smear = int(np.ceil(config.motion_blur_length[1] / 2)) if config.motion_blur else 0
    return smear + (_BLUR_RADIUS if config.blur else 0)


def _blur_kernel(radius: int, sigma: float, smear: np.ndarray | None) -> np.ndarray:
    """``smear`` (a point where there is none) in the middle of a kernel of ``radius``, blurred by a Gaussian."""
    line = np.ones((1, 1), np.float32) if smear is None else smear
    kernel = np.pad(line, radius - len(line) // 2)
    if sigma == 0:
        return kernel
    size = (2 * _BLUR_RADIUS + 1,) * 2
    return cv2.GaussianBlur(kernel, size, sigma, borderType=cv2.BORDER_CONSTANT)
