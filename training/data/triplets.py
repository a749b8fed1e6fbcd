"""Which frames of a recording make an example: neighbours between which the camera has moved, but not too far.

Frames of a standing robot teach no depth, and frames too far apart share no picture. The neighbour of a frame is the
nearest one, before or after it, at which the wanted baseline is reached: counted in metres where the odometry knows,
else in pixels that the picture moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.cached_bag import CachedBag


@dataclass(frozen=True)
class BaselineConfig:
    """The wanted baseline between neighbours.

    ``metres`` [least, most] holds where odometry is known; None leaves it out. ``pixels`` [least, most] holds
    elsewhere: the lengths of the median flow between successive frames, added up, in pixels of the cached images. A
    neighbour is at most ``reach`` frames away, and not beyond a gap: between frames more than ``gap`` median periods
    apart frames were dropped.
    """

    metres: tuple[float, float] | None = (0.03, 5.0)
    pixels: tuple[float, float] = (1.0, 60.0)
    reach: int = 10
    gap: float = 1.6

    def __post_init__(self) -> None:
        for name in ("metres", "pixels"):
            bounds = getattr(self, name)
            if bounds is not None and not 0 <= bounds[0] < bounds[1]:
                raise ConfigError(f"{name} is {list(bounds)}, expected [least, most] with 0 <= least < most")
        if self.reach < 1:
            raise ConfigError(f"reach is {self.reach}, expected at least 1 frame")
        if self.gap <= 1:
            raise ConfigError(f"gap is {self.gap}, expected more than 1 period")


@dataclass(frozen=True)
class Examples:
    """Numbers of the frames that make examples, each M: ``current``, its ``previous`` (None in stills) and its ``following``
    one (None in stills and pairs); and why other frames make none: ``still`` moved too little, ``far`` too much, ``gaps``
    between runs."""

    current: np.ndarray
    previous: np.ndarray | None
    following: np.ndarray | None
    still: int
    far: int
    gaps: int

    def __len__(self) -> int:
        return len(self.current)


_STILL, _FAR = -1, -2  # in place of a neighbour's number


def run_numbers(stamps: np.ndarray, matrices: np.ndarray, gap: float) -> np.ndarray:
    """N numbers of the run that each frame belongs to, from 0.

    A new run begins where more than ``gap`` median periods passed (frames were dropped), time went back or stood
    still, or the calibration (N×3×3) changed.
    """
    steps = np.diff(np.asarray(stamps, np.int64))
    forward = steps[steps > 0]
    longest = gap * np.median(forward) if len(forward) else 0
    breaks = (steps <= 0) | (steps > longest) | (np.diff(matrices, axis=0) != 0).any((1, 2))
    return np.concatenate([[0], np.cumsum(breaks)])


def select_examples(bag: CachedBag, frames: slice, config: BaselineConfig, triplets: bool, what: str) -> Examples:
    """The examples among the ``frames`` of a bag: pairs, or triplets.

    ConfigError where there is none; it says how many frames stand still, and ``what`` names the bag.
    """
    runs = run_numbers(bag.stamps[frames], bag.matrices[frames], config.gap)
    needed = 3 if triplets else 2
    if len(runs) < needed:
        raise ConfigError(f"{what} has {len(runs)} usable image{'s'[len(runs) == 1 :]}, expected at least {needed}")
    positions = bag.poses[frames, :3, 3]
    path = np.cumsum(np.nan_to_num(bag.motion[frames].astype(np.float64)))
    previous = _neighbours(runs, positions, path, config, -1)
    following = _neighbours(runs, positions, path, config, 1)
    sides = [previous, following] if triplets else [previous]
    usable = np.flatnonzero(np.all([side >= 0 for side in sides], axis=0))
    still = int(np.any([side == _STILL for side in sides], axis=0).sum())
    far = len(runs) - len(usable) - still
    if not len(usable):
        raise ConfigError(_nothing_moves(what, positions, path, config, still, far, int(runs[-1])))
    start = frames.start or 0
    return Examples(
        start + usable,
        start + previous[usable],
        start + following[usable] if triplets else None,
        still,
        far,
        int(runs[-1]),
    )


def _neighbours(
    runs: np.ndarray, positions: np.ndarray, path: np.ndarray, config: BaselineConfig, side: int
) -> np.ndarray:
    """For each frame the nearest one on a side (−1 before, 1 after) that the baseline reaches, _STILL where none
    does, or _FAR where that one is too far."""
    count = len(runs)
    result = np.full(count, _STILL)
    for step in range(1, min(config.reach, count - 1) + 1):
        current = np.arange(step, count) if side < 0 else np.arange(count - step)
        current = current[result[current] == _STILL]
        other = current + side * step
        current, other = (frames[runs[current] == runs[other]] for frames in (current, other))
        enough, too_far = _compare(positions, path, current, other, config)
        result[current[enough]] = np.where(too_far, _FAR, other)[enough]
    return result


def _compare(
    positions: np.ndarray, path: np.ndarray, current: np.ndarray, other: np.ndarray, config: BaselineConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the baseline between frames is at least the least one, and beyond the most."""
    pixels = np.abs(path[current] - path[other])
    enough, too_far = pixels >= config.pixels[0], pixels > config.pixels[1]
    if config.metres is not None:
        metres = np.linalg.norm(positions[current] - positions[other], axis=1)
        known = np.isfinite(metres)
        enough = np.where(known, metres >= config.metres[0], enough)
        too_far = np.where(known, metres > config.metres[1], too_far)
    return enough, too_far


def _nothing_moves(
    what: str, positions: np.ndarray, path: np.ndarray, config: BaselineConfig, still: int, far: int, gaps: int
) -> str:
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    metric = config.metres is not None and np.isfinite(steps).any()
    middle = np.nanmedian(steps) if metric else np.median(np.diff(path))
    unit, bounds = ("metres", config.metres) if metric else ("pixels", config.pixels)
    return (
        f"{what}: none of {len(path)} images has neighbours {bounds[0]:g} to {bounds[1]:g} {unit} away within "
        f"{config.reach} frames: {still} move less, {far} more, at {gaps} gaps; successive images are "
        f"{middle:.3g} {unit} apart (median)"
    )
