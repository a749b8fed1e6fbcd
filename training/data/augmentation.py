"""Augmentation of whole training samples: geometry with the intrinsics kept right, on uint8 pictures; how their colour
changes is drawn here and applied to whole batches by ``jitter``.

A raw sample is a dict in OpenCV layout: image, previous, next H×W×3 uint8 RGB; depth H×W float32 metres;
semantic H×W uint8; flow H×W×2 float32 (to the previous image); motion H×W float32; guidance H×W float32, a frozen
model's depth; K 3×3;
previous_from_current, next_from_current 4×4; previous_distance, next_distance and intrinsics_known scalars.
Every key but ``image`` may be absent. :func:`augment` crops, scales and flips all of them alike and returns
the layout of a source's batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.colour import draw_colour

Sample = dict[str, np.ndarray]

FRAMES = ("image", "previous", "next")
"""The pictures that a sample may hold."""

_POSES = ("previous_from_current", "next_from_current")
_PADDING = {"depth": np.nan, "semantic": 255, "flow": np.nan, "motion": np.nan, "guidance": np.nan}
_INTERPOLATED = (*FRAMES, "guidance")


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly samples vary. Probabilities are in [0, 1]; colour strengths are half widths around
    "unchanged".

    ``scale`` is relative to the scale at which the image just covers the crop: below 1 the crop is padded
    (image edge repeated, ground truth unknown), above 1 it is a part of the image. ``aspect`` is the vertical
    scale over the horizontal one. ``anchor`` bounds the crop's vertical place, 0 at the top of the picture, 1
    at its bottom. ``per_frame`` is the share of the jitter that differs between the frames.

    ``grey``, ``blur`` (out of focus), ``motion_blur`` and ``noise`` are probabilities per sequence: its frames
    are grey or blurred together, by one kernel, since exposure time and shaking last longer than a frame.
    ``motion_blur_length`` bounds the smear in pixels of the crop, in any direction.
    """

    scale: tuple[float, float] = (1.0, 1.5)
    aspect: tuple[float, float] = (1.0, 1.0)
    anchor: tuple[float, float] = (0.0, 1.0)
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.3
    hue: float = 0.05
    gamma: float = 0.2
    per_frame: float = 0.1
    grey: float = 0.05
    blur: float = 0.1
    motion_blur: float = 0.0
    motion_blur_length: tuple[float, float] = (2.0, 8.0)
    noise: float = 0.3
    noise_sigma: float = 0.02

    def __post_init__(self) -> None:
        for name in ("scale", "aspect"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} is [{low}, {high}], expected [low, high] with 0 < low <= high")
        if not 0 <= self.anchor[0] <= self.anchor[1] <= 1:
            raise ConfigError(f"anchor is {list(self.anchor)}, expected [low, high] within 0 … 1")
        low, high = self.motion_blur_length
        if not 1 <= low <= high <= 64:
            raise ConfigError(
                f"motion_blur_length is [{low}, {high}], expected [low, high] within 1 … 64 pixels"
            )
        for name in ("flip", "jitter", "per_frame", "grey", "blur", "motion_blur", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 … 1")
        for name in ("brightness", "contrast", "saturation", "hue", "gamma", "noise_sigma"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 … 1, less than 1")


def augment(sample: Sample, size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator) -> Sample:
    """One training example of ``size`` (width, height) from a raw sample.

    Returns image, previous, next 3×H×W uint8 RGB; depth, motion, guidance 1×H×W float32; semantic H×W uint8;
    flow 2×H×W float32; K 3×3 float32; previous_from_current, next_from_current 4×4 float32; previous_distance,
    next_distance float32; intrinsics_known bool; each if the sample has it. And the colour change of its frames, see
    :func:`~geoseg_ros.training.data.colour.draw_colour`.
    """
    height, width = sample["image"].shape[:2]
    box = random_box((width, height), size, config, rng)
    sample = crop_and_scale(sample, box, size)
    if rng.random() < config.flip:
        sample = flip(sample)
    frames = len(set(FRAMES) & sample.keys())
    return _to_network_layout(sample) | draw_colour(frames, config, rng)


def random_box(
    image_size: tuple[int, int], size: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """The part (x, y, width, height) of an image of ``image_size`` that becomes the crop; it may reach beyond
    the image."""
    (width, height), (crop_width, crop_height) = image_size, size
    aspect = rng.uniform(*config.aspect)
    scale = rng.uniform(*config.scale) * max(crop_width / width, crop_height / (height * aspect))
    box_width, box_height = max(1, round(crop_width / scale)), max(1, round(crop_height / (scale * aspect)))
    x = _random_offset(width - box_width, rng.uniform(0, 1))
    y = _random_offset(height - box_height, rng.uniform(*config.anchor))
    return x, y, box_width, box_height


def _random_offset(spare: int, share: float) -> int:
    return round(spare * share) if spare >= 0 else -round(-spare * share)


def crop_and_scale(sample: Sample, box: tuple[int, int, int, int], size: tuple[int, int]) -> Sample:
    """Cut ``box`` (x, y, width, height) out of every array and resize it to ``size`` (width, height).

    Pixel centres are integers: c becomes (c − x + 0.5)·s − 0.5. Images and guidance are interpolated, ground truth takes
    the nearest value; flow is multiplied by the scale; depth keeps its values.
    """
    x, y, box_width, box_height = box
    scale = np.array([size[0] / box_width, size[1] / box_height])
    result = {
        key: _resample(key, value, box, size) if _is_picture(key) else value for key, value in sample.items()
    }
    if "flow" in result:
        result["flow"] = result["flow"] * scale.astype(np.float32)
    if "K" in sample:
        matrix = np.array(sample["K"], dtype=np.float64)
        matrix[:2] *= scale[:, None]
        matrix[:2, 2] = (sample["K"][:2, 2] - (x, y) + 0.5) * scale - 0.5
        result["K"] = matrix
    return result


def _is_picture(key: str) -> bool:
    return key in FRAMES or key in _PADDING


def _resample(
    key: str, array: np.ndarray, box: tuple[int, int, int, int], size: tuple[int, int]
) -> np.ndarray:
    x, y, box_width, box_height = box
    height, width = array.shape[:2]
    left, top = max(0, -x), max(0, -y)
    right, bottom = max(0, x + box_width - width), max(0, y + box_height - height)
    part = array[max(0, y) : y + box_height, max(0, x) : x + box_width]
    if left or top or right or bottom:
        edges = (top, bottom, left, right)
        if key in FRAMES:
            part = cv2.copyMakeBorder(part, *edges, cv2.BORDER_REPLICATE)
        else:
            part = cv2.copyMakeBorder(part, *edges, cv2.BORDER_CONSTANT, value=(_PADDING[key],) * 4)
    if size == (box_width, box_height):
        return part
    if key not in _INTERPOLATED:
        return cv2.resize(part, size, interpolation=cv2.INTER_NEAREST_EXACT)
    shrinks = size[0] < box_width and size[1] < box_height
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def flip(sample: Sample) -> Sample:
    """The sample seen in a mirror: x → width − 1 − x in every array, in K, in the flow and in the poses
    (S·T·S)."""
    result = {key: value[:, ::-1] if _is_picture(key) else value for key, value in sample.items()}
    if "flow" in sample:
        result["flow"] = result["flow"] * np.float32([-1, 1])
    if "K" in sample:
        result["K"] = np.array(sample["K"])
        result["K"][0, 2] = sample["image"].shape[1] - 1 - sample["K"][0, 2]
    mirror = np.array([-1.0, 1.0, 1.0, 1.0])
    for key in set(_POSES) & sample.keys():
        result[key] = mirror[:, None] * sample[key] * mirror
    return result


def _to_network_layout(sample: Sample) -> Sample:
    result: Sample = {}
    for key, value in sample.items():
        if key in FRAMES:
            result[key] = _channels_first(value)
        elif key == "semantic":
            result[key] = np.asarray(value, np.uint8)
        elif key in ("depth", "motion", "guidance"):
            result[key] = value.astype(np.float32)[None]
        elif key == "flow":
            result[key] = _channels_first(value.astype(np.float32))
        elif key == "intrinsics_known":
            result[key] = np.asarray(value, bool)
        else:
            result[key] = np.asarray(value, np.float32)
    return result


def _channels_first(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def no_augmentation(**changes: Any) -> AugmentConfig:
    """A configuration that leaves samples as they are but for the crop to size; ``changes`` switch parts back
    on."""
    unchanged = {
        "scale": (1.0, 1.0),
        "anchor": (0.5, 0.5),
        "flip": 0.0,
        "jitter": 0.0,
        "grey": 0.0,
        "blur": 0.0,
    }
    return AugmentConfig(**{**unchanged, "noise": 0.0, **changes})
