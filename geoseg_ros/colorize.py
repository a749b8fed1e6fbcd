"""Pictures of what the network sees: every output as an H×W×3 uint8 RGB image, and all of them side by side.

All functions are pure and vectorised; unknown values (NaN) are black.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np

from geoseg_ros.labels import LabelSet

if TYPE_CHECKING:
    from geoseg_ros.pipeline import Perception

TILE_WIDTH = 640
_ANGLES, _RADII = 1024, 128
_NEAREST, _LONGEST = 1e-6, 1e6  # metres, pixels: beyond is drawn alike
_MOVING, _OUTLINE, _WHITE = (255, 40, 40), (255, 230, 0), (255, 255, 255)
_TOO_SMALL, _TOO_GREAT = (40, 80, 200), (200, 40, 40)
_FONT, _TEXT_SCALE, _LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, 22


def colorize_semantic(
    ids: np.ndarray, labels: LabelSet, image: np.ndarray | None = None, alpha: float = 0.5
) -> np.ndarray:
    """Class ids H×W in the palette's colours, with weight ``alpha`` over ``image`` (H×W×3 uint8) if given."""
    palette = labels.palette_array
    color = palette.take(np.minimum(ids, len(palette) - 1), axis=0)
    return color if image is None else cv2.addWeighted(image, 1.0 - alpha, color, alpha, 0.0)


def colorize_depth(depth: np.ndarray, near: float | None = None) -> np.ndarray:
    """Depth H×W in metres by inverse depth: red is ``near`` or nearer, dark violet is far; NaN and ≤ 0 are
    black.

    Without ``near`` the nearest twentieth of the picture is red, so that depth of unknown scale looks alike.
    """
    valid = depth > 0.0
    inverse = np.divide(1.0, np.maximum(depth, _NEAREST), out=np.zeros(depth.shape, np.float32), where=valid)
    if near is None:
        some = inverse[::3, ::3][valid[::3, ::3]]
        nearest = float(np.quantile(some, 0.95)) if some.size else 0.0
    else:
        nearest = 1.0 / near
    scale = 255.0 / nearest if nearest > 0.0 else 0.0
    color = _turbo().take(np.minimum(inverse * scale, 255.0).astype(np.uint8), axis=0)
    color[~valid] = 0
    return color


def colorize_flow(flow: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Flow H×W×2 in pixels on the colour wheel: hue is direction, saturation is length up to ``largest``
    pixels.

    The wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (IJCV 2011):
    right is red, down is yellow, left is cyan-blue, up is violet; zero is white; longer flow is darker.
    Without ``largest`` it is the 99 % quantile of the picture's lengths, at least one pixel.
    """
    valid = np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1])
    known = np.where(valid[..., None], np.clip(flow, -_LONGEST, _LONGEST), 0.0).astype(np.float32)
    length, angle = cv2.cartToPolar(known[..., 0], known[..., 1])
    if largest is None:
        some = length[::3, ::3][valid[::3, ::3]]
        largest = max(1.0, float(np.quantile(some, 0.99))) if some.size else 1.0
    ring = np.minimum(length * ((_RADII - 2) / largest), _RADII - 1).astype(np.int32)
    spoke = (angle * (_ANGLES / (2.0 * np.pi))).astype(np.int32) % _ANGLES
    color = _wheel().take(spoke * _RADII + ring, axis=0)
    color[~valid] = 0
    return color


def colorize_motion(motion: np.ndarray, image: np.ndarray | None = None) -> np.ndarray:
    """What moves by itself in red over a grey ``image``: ``motion`` H×W, probability or uint8 mask 0/255."""
    weight = motion.astype(np.float32) / 255.0 if motion.dtype == np.uint8 else np.nan_to_num(motion, nan=0.0)
    if image is None:
        grey = np.zeros(motion.shape, np.uint8)
    else:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    ground = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).astype(np.float32) * 0.8
    weight = np.clip(weight, 0.0, 1.0)[..., None] * np.float32(0.75)
    return (ground + weight * (np.array(_MOVING, np.float32) - ground)).astype(np.uint8)


def colorize_confidence(confidence: np.ndarray) -> np.ndarray:
    """Confidence H×W 0…1 as grey; NaN is black."""
    grey = (np.clip(np.nan_to_num(confidence, nan=0.0), 0.0, 1.0) * 255.0).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def colorize_error(error: np.ndarray, largest: float) -> np.ndarray:
    """Signed errors H×W: blue is negative, white is none, red is positive, full at ``largest``; NaN is black."""
    valid = np.isfinite(error)
    share = np.clip(np.where(valid, error, 0.0) / largest, -1.0, 1.0)[..., None]
    side = np.where(share < 0.0, np.array(_TOO_SMALL, float), np.array(_TOO_GREAT, float))
    color = np.rint(255.0 + np.abs(share) * (side - 255.0)).astype(np.uint8)
    color[~valid] = 0
    return color


def mosaic(perception: Perception, labels: LabelSet, tile_width: int = TILE_WIDTH) -> np.ndarray:
    """One frame's input and outputs side by side with captions: six tiles, two or three in a row, and the
    classes.

    The size depends on the input's size and the labels only, so that the frames of a video agree; sides are
    even. An output that the frame lacks is a dark tile.
    """
    image = perception.image
    height, width = image.shape[:2]
    tile_height = max(2, round(height * tile_width / width / 2) * 2)
    columns = 2 if width >= 1.8 * height else 3
    pictures = [_tile(picture, text, tile_width, tile_height) for text, picture in _tiles(perception, labels)]
    rows = [np.hstack(pictures[start : start + columns]) for start in range(0, len(pictures), columns)]
    return np.vstack([*rows, _legend(labels, columns * tile_width)])


def _legend(labels: LabelSet, width: int) -> np.ndarray:
    """The classes with their colours, in as many lines as they need."""
    side, gap = _LINE - 8, 8
    places, x, y = [], gap, 0
    for name, color in zip(labels.names, labels.palette, strict=True):
        (text_width, _), _ = cv2.getTextSize(name, _FONT, _TEXT_SCALE, 1)
        if x + side + text_width + 2 * gap > width and x > gap:
            x, y = gap, y + _LINE
        places.append((x, y, name, color))
        x += side + text_width + 3 * gap
    strip = np.full((y + _LINE, width, 3), 32, np.uint8)
    for x, y, name, color in places:
        strip[y + 4 : y + 4 + side, x : x + side] = color
        cv2.putText(strip, name, (x + side + 4, y + _LINE - 8), _FONT, _TEXT_SCALE, _WHITE, 1, cv2.LINE_AA)
    return strip


def _tiles(perception: Perception, labels: LabelSet) -> list[tuple[str, np.ndarray | None]]:
    image, depth, flow = perception.image, perception.depth, perception.flow
    semantic = perception.semantic
    depth_text = "depth"
    if depth is not None and np.isfinite(depth).any():
        depth_text = f"depth, median {np.median(depth[np.isfinite(depth)]):.1f} m"
    flow_text = "flow"
    if flow is not None and np.isfinite(flow).any():
        flow_text = f"flow, median {np.nanmedian(np.hypot(flow[..., 0], flow[..., 1])):.1f} px"
    image_text = f"{perception.stamp / 1e9:.3f} s"
    if (ego := perception.ego_motion) is not None and ego.scale_source != "none":
        image_text += f", camera {float(np.linalg.norm(ego.linear)):.1f} m/s (scale: {ego.scale_source})"
    confidence = perception.confidence
    return [
        (image_text, image),
        ("semantics", None if semantic is None else colorize_semantic(semantic, labels, image)),
        (depth_text, None if depth is None else colorize_depth(depth)),
        (flow_text, None if flow is None else colorize_flow(flow)),
        ("own motion, outline: mask", _motion_tile(perception)),
        ("confidence of semantics", None if confidence is None else colorize_confidence(confidence)),
    ]


def _motion_tile(perception: Perception) -> np.ndarray | None:
    if perception.motion_probability is None:
        return None
    picture = colorize_motion(perception.motion_probability, perception.image)
    if perception.motion_mask is not None:
        outlines, _ = cv2.findContours(perception.motion_mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _OUTLINE, 1)
    return picture


def _tile(picture: np.ndarray | None, text: str, width: int, height: int) -> np.ndarray:
    if picture is None:
        tile = np.full((height, width, 3), 32, np.uint8)
        text += ": none"
    else:
        shrinks = width < picture.shape[1]
        tile = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
    (text_width, text_height), below = cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)
    label = tile[: text_height + below + 4, : text_width + 8]
    label[:] = label // 4
    cv2.putText(tile, text, (4, text_height + 2), _FONT, _TEXT_SCALE, _WHITE, 1, cv2.LINE_AA)
    return tile


@lru_cache(maxsize=1)
def _turbo() -> np.ndarray:
    ramp = np.arange(256, dtype=np.uint8)[None]
    return np.ascontiguousarray(cv2.applyColorMap(ramp, cv2.COLORMAP_TURBO)[0, :, ::-1])


@lru_cache(maxsize=1)
def _wheel() -> np.ndarray:
    """Colours by angle (from +x towards +y) and radius; the last radius is "beyond the largest flow"."""
    hues = _hues()
    position = np.arange(_ANGLES) / _ANGLES * len(hues)
    first = position.astype(int)
    part = (position - first)[:, None]
    hue = (1.0 - part) * hues[first] + part * hues[(first + 1) % len(hues)]
    radius = (np.arange(_RADII) / (_RADII - 2))[None, :, None]
    inside = 1.0 - radius * (1.0 - hue[:, None, :])
    table = np.where(radius <= 1.0, inside, 0.75 * hue[:, None, :])
    return np.rint(table * 255.0).astype(np.uint8).reshape(-1, 3)


def _hues() -> np.ndarray:
    """55 hues in six ramps: red → yellow → green → cyan → blue → magenta → red."""
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1)], float)
    ramps = []
    for index, steps in enumerate((15, 6, 4, 11, 13, 6)):
        part = (np.arange(steps) / steps)[:, None]
        ramps.append((1.0 - part) * corners[index] + part * corners[(index + 1) % 6])
    return np.concatenate(ramps)
