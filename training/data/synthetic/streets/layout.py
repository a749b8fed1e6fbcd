"""The plan of the streets: the main road, the roads that cross it, and their cross sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.ground import Curve, Ground

KERB = 0.14
_SIDE_LENGTH = 90.0


@dataclass(frozen=True)
class Section:
    """A road's cross section in metres; sides are +1 (left) and -1 (right)."""

    lane_width: float
    lanes: int  # in each direction
    parking: tuple[bool, bool]  # left, right
    pavement: float
    setback: float

    def half_width(self, side: int) -> float:
        """From the centre line to the kerb."""
        return self.lane_width * self.lanes + 2.2 * self.parking[0 if side > 0 else 1]

    def building_line(self, side: int) -> float:
        """From the centre line to the walls."""
        return self.half_width(side) + self.pavement + self.setback


@dataclass(frozen=True)
class Road:
    """A road along a curve between two arc lengths, interrupted where other roads cross (``gaps``: s0, s1,
    side)."""

    curve: Curve
    section: Section
    start: float
    end: float
    gaps: tuple[tuple[float, float, int], ...] = ()

    def stretches(self, side: int, margin: float = 0.0) -> list[tuple[float, float]]:
        """Uninterrupted intervals of a side, kept ``margin`` away from crossing roads."""
        result, cursor = [], self.start
        for low, high, where in sorted(self.gaps):
            if where in (side, 0):
                if low - margin > cursor:
                    result.append((cursor, low - margin))
                cursor = max(cursor, high + margin)
        if self.end > cursor:
            result.append((cursor, self.end))
        return result


class Layout:
    """Main road and crossings of one street. ``drive`` is +1 where traffic keeps to the right, -1 to the
    left."""

    def __init__(self, rng: np.random.Generator, length: float, hills: float) -> None:
        self.kind = str(
            rng.choice(
                ["terraced", "residential", "commercial", "avenue", "rural"], p=[0.28, 0.28, 0.2, 0.16, 0.08]
            )
        )
        self.drive = 1 if rng.random() < 0.6 else -1
        self.ground = Ground(rng, hills)
        lanes = 2 if self.kind in ("commercial", "avenue") and rng.random() < 0.4 else 1
        parked = {"terraced": 0.65, "residential": 0.6, "commercial": 0.4, "avenue": 0.4, "rural": 0.1}[
            self.kind
        ]
        setback = {
            "terraced": (0.0, 2.5),
            "residential": (2.0, 7.0),
            "commercial": (0.0, 3.0),
            "avenue": (3.0, 10.0),
            "rural": (6.0, 15.0),
        }[self.kind]
        self.section = Section(
            float(rng.uniform(2.9, 3.7)),
            lanes,
            (bool(rng.random() < parked), bool(rng.random() < parked)),
            float(rng.uniform(1.5, 4.0)),
            float(rng.uniform(*setback)),
        )
        self.start, self.end = -30.0, length
        crossings = self._crossing_positions(rng, length)
        curve = self._curve(rng, length, crossings)
        side_section = Section(
            float(rng.uniform(2.6, 3.3)),
            1,
            (bool(rng.random() < 0.4), bool(rng.random() < 0.4)),
            float(rng.uniform(1.5, 3.0)),
            float(rng.uniform(0.0, 4.0)),
        )
        self.sides: list[Road] = []
        gaps = []
        for s in crossings:
            half = side_section.half_width(1)
            other = side_section.half_width(-1)
            arms = [(1,), (-1,), (1, -1)][int(rng.integers(3))]
            yaw = float(curve.yaw(s))
            origin = curve.point(s)
            for arm in arms:
                direction = yaw + arm * np.pi / 2
                step = np.array([np.cos(direction), np.sin(direction)])
                along = np.arange(0.0, _SIDE_LENGTH + 1, 2.0)
                first = self.section.half_width(arm)
                self.sides.append(
                    Road(Curve(origin + along[:, None] * step), side_section, first, _SIDE_LENGTH)
                )
                # the arm's own left points backwards along the main road on the left side, forwards on the
                # right
                gaps.append((s - (half if arm > 0 else other), s + (other if arm > 0 else half), arm))
        self.crossings = crossings
        self.main = Road(curve, self.section, self.start, self.end, tuple(gaps))

    @property
    def roads(self) -> list[Road]:
        """All roads, the main one first."""
        return [self.main, *self.sides]

    def _curve(self, rng: np.random.Generator, length: float, crossings: list[float]) -> Curve:
        """The main road: winding or straight, always straight where roads cross."""
        s = np.arange(self.start, length + 1, 1.0)
        yaw = np.zeros_like(s)
        if rng.random() < 0.6:
            for _ in range(2):
                wavelength = rng.uniform(120, 420)
                amplitude = min(0.55, wavelength / (2 * np.pi) / 45.0) * rng.uniform(0.1, 0.8)
                yaw += amplitude * np.sin(2 * np.pi * s / wavelength + rng.uniform(0, 2 * np.pi))
        bend = np.gradient(yaw)
        for crossing in crossings:
            bend *= np.clip((np.abs(s - crossing) - 15.0) / 15.0, 0, 1)
        yaw = np.cumsum(bend)
        xy = np.cumsum(np.stack([np.cos(yaw), np.sin(yaw)], -1), axis=0)
        return Curve(xy, self.start)

    def _crossing_positions(self, rng: np.random.Generator, length: float) -> list[float]:
        if self.kind == "rural" and rng.random() < 0.5:
            return []
        positions, s = [], float(rng.uniform(12, 75))
        while s < length - 60:
            positions.append(s)
            s += float(rng.uniform(55, 140))
        return positions

    def clear_of_roads(self, xy: np.ndarray, owner: Road, extra: float = 1.0) -> bool:
        """Whether points (N×2) keep off every other road's carriageway and pavement."""
        for road in self.roads:
            if road is owner:
                continue
            width = (
                max(road.section.half_width(1), road.section.half_width(-1)) + road.section.pavement + extra
            )
            if (road.curve.distance(xy) < width).any():
                return False
        return True
