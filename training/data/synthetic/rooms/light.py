"""Light in rooms: lamps and windows with soft shadows, light from the walls darkened in corners, reflections.

Each pixel sends one ray, either to a point of a lamp or into the hemisphere above its surface, by turns in a pattern of 5×5
pixels; the visibility that a pattern found multiplies the light computed without shadows (the ratio estimator of Heitz,
Hill and McGuire, "Combining analytic direct illumination and stochastic shadows", I3D 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geoseg_ros.training.data.synthetic.atlas import Atlas
from geoseg_ros.training.data.synthetic.materials import MaterialTable
from geoseg_ros.training.data.synthetic.mesh import apply, directions_around
from geoseg_ros.training.data.synthetic.shading import surface_albedo
from geoseg_ros.training.data.synthetic.tracer import Hits, TracedMesh

_TILE = 5
_LAMP_RAYS = 12  # of the 25 rays of a tile; the others look for corners
_OFFSET = 0.004  # metres above a surface where its rays start
_OCCLUSION_REACH = (0.15, 1.2)  # metres up to which surfaces darken each other
_OCCLUSION_STRENGTH = 0.85
_REFLECTED_BLUR = 3.0  # how much wider a pixel's footprint is in reflections
_LUMINANCE = np.array([0.3, 0.6, 0.1], np.float32)


@dataclass(frozen=True)
class Lamp:
    """A light of the size ±half_u ± half_v (3 each) around its centre (3, world). It shines along ``normal``, or all around
    where that is zero; ``power`` is the RGB irradiance at one metre."""

    centre: np.ndarray
    half_u: np.ndarray
    half_v: np.ndarray
    normal: np.ndarray
    power: np.ndarray


class RoomShader:
    """Radiance of surfaces under lamps and an ambient irradiance (RGB); pictures are ``width`` pixels wide."""

    def __init__(
        self, table: MaterialTable, atlas: Atlas, lamps: Sequence[Lamp], ambient: np.ndarray, width: int
    ) -> None:
        self._table, self._atlas, self._lamps = table, atlas, lamps
        self._ambient = np.asarray(ambient, np.float32)
        self._width = width
        rng = np.random.default_rng(0)  # the pattern is no property of the room
        self._pattern = rng.permutation(_TILE * _TILE).reshape(_TILE, _TILE)
        power = np.array([float(lamp.power @ _LUMINANCE) for lamp in lamps])
        slots = (np.arange(_LAMP_RAYS) + 0.5) / _LAMP_RAYS * power.sum()
        self._lamp_of_slot = np.minimum(np.searchsorted(np.cumsum(power), slots), len(lamps) - 1)
        places = (np.arange(_LAMP_RAYS)[:, None] * [0.7548776662, 0.5698402910] + 0.5) % 1.0 * 2 - 1
        self._targets = np.array(
            [
                lamps[lamp].centre + a * lamps[lamp].half_u + b * lamps[lamp].half_v
                for lamp, (a, b) in zip(self._lamp_of_slot, places)
            ],
            np.float32,
        )
        count = _TILE * _TILE - _LAMP_RAYS
        self._sphere = directions_around(count)
        self._reach = rng.permutation(np.geomspace(*_OCCLUSION_REACH, count)).astype(np.float32)

    def radiance(
        self,
        hits: Hits,
        origin: np.ndarray,
        directions: np.ndarray,
        footprint: float,
        occluders: Sequence[TracedMesh],
    ) -> np.ndarray:
        """Linear RGB N×3 along rays from one origin (3) along directions (N×3, not unit), N whole rows of the picture."""
        seen = hits.material >= 0
        distance = np.where(seen, hits.distance, np.float32(1.0))
        material = np.maximum(hits.material, 0)
        length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        unit = directions / length[:, None]
        normal, facing = _towards(hits.normal, unit)
        points = origin + directions * distance[:, None]
        points += normal * np.float32(_OFFSET)
        albedo, mirror = surface_albedo(
            self._table, self._atlas, material, hits.uv, distance, facing, footprint
        )
        parts = self._parts(points, normal)
        shine, corners = self._visibility(points, normal, parts, occluders)
        incoming = self._ambient_on(normal) * (1 - _OCCLUSION_STRENGTH * (1 - corners))[:, None]
        incoming += self._shine(parts) * shine[:, None]
        colour = albedo * (incoming + self._table.emission[material][:, None])
        shiny = np.flatnonzero(mirror > 0.02)
        if len(shiny):
            n, d = normal[shiny], unit[shiny]
            bounced = d - 2 * np.einsum("ij,ij->i", n, d)[:, None] * n
            strength = mirror[shiny] * (0.25 + 0.75 * (1 - np.clip(facing[shiny], 0, 1)) ** 3)
            reflected = self._reflected(
                points[shiny], np.ascontiguousarray(bounced), distance[shiny] * length[shiny], footprint, occluders[0]
            )
            colour[shiny] += (reflected - colour[shiny] * 0.5) * strength[:, None]
        colour[~seen] = 0.0
        return colour

    def _ambient_on(self, normal: np.ndarray) -> np.ndarray:
        """Ambient irradiance (N×3): a little more from above."""
        return (1 + np.float32(0.25) * normal[:, 2:]) * self._ambient

    def _parts(self, points: np.ndarray, normal: np.ndarray) -> list[np.ndarray]:
        """Of each lamp, the share (N) of its power that surfaces receive without shadows."""
        parts = []
        for lamp in self._lamps:
            towards = lamp.centre.astype(np.float32) - points
            squared = np.einsum("ij,ij->i", towards, towards)
            share = np.clip(np.einsum("ij,ij->i", towards, normal), 0, None)
            size = np.float32(lamp.half_u @ lamp.half_u + lamp.half_v @ lamp.half_v)
            share /= np.sqrt(squared) * (squared + size + np.float32(0.02))
            if lamp.normal.any():
                share *= np.clip(-apply(lamp.normal[None], towards)[:, 0] / np.sqrt(squared + np.float32(1e-6)), 0, 1)
            parts.append(share)
        return parts

    def _shine(self, parts: list[np.ndarray]) -> np.ndarray:
        total = np.zeros((len(parts[0]), 3), np.float32)
        for lamp, part in zip(self._lamps, parts, strict=True):
            total += part[:, None] * lamp.power.astype(np.float32)
        return total

    def _visibility(self, points, normal, parts, occluders) -> tuple[np.ndarray, np.ndarray]:
        """The share (N) of the lamps' light, and of the hemisphere (N), that is not hidden."""
        rows = len(points) // self._width
        slot = np.tile(self._pattern, (-(-rows // _TILE), -(-self._width // _TILE)))[:rows, : self._width].ravel()
        to_lamp = np.flatnonzero(slot < _LAMP_RAYS)
        around = np.flatnonzero(slot >= _LAMP_RAYS)
        origins = np.empty((len(points), 3), np.float32)
        origins[:] = points
        directions = np.empty_like(origins)
        reach = np.empty(len(points), np.float32)
        directions[to_lamp] = self._targets[slot[to_lamp]] - points[to_lamp]
        reach[to_lamp] = 0.99
        upper = normal[around] + self._sphere[slot[around] - _LAMP_RAYS] * np.float32(0.98)
        upper /= np.sqrt(np.einsum("ij,ij->i", upper, upper))[:, None]
        directions[around] = upper
        reach[around] = self._reach[slot[around] - _LAMP_RAYS]
        free = np.ones(len(points), bool)
        for occluder in occluders:
            free &= ~occluder.blocked_within(origins, directions, reach)
        maps = np.zeros((rows, self._width, 4), np.float32)
        flat = maps.reshape(-1, 4)
        chosen = self._lamp_of_slot[slot[to_lamp]]
        light = np.empty(len(to_lamp), np.float32)
        for number, (lamp, part) in enumerate(zip(self._lamps, parts, strict=True)):
            mine = chosen == number
            weight = float(lamp.power @ _LUMINANCE) / max(1, int((self._lamp_of_slot == number).sum()))
            light[mine] = part[to_lamp[mine]] * np.float32(weight)
        flat[to_lamp, 0] = light * free[to_lamp]
        flat[to_lamp, 1] = light
        flat[around, 2] = free[around]
        flat[around, 3] = 1.0
        # once takes the mean of the pattern, once more its steps
        flat = cv2.blur(cv2.blur(maps, (_TILE, _TILE)), (_TILE, _TILE)).reshape(-1, 4)
        return flat[:, 0] / (flat[:, 1] + np.float32(1e-9)), flat[:, 2] / (flat[:, 3] + np.float32(1e-9))

    def _reflected(self, points, directions, travelled, footprint, static: TracedMesh) -> np.ndarray:
        """Radiance (N×3) that a mirror at points would show, without shadows."""
        hits = static.cast(np.ascontiguousarray(points), directions, footprint)
        seen = hits.material >= 0
        distance = np.where(seen, hits.distance, np.float32(1.0))
        normal, facing = _towards(hits.normal, directions)
        material = np.maximum(hits.material, 0)
        albedo, _ = surface_albedo(
            self._table, self._atlas, material, hits.uv, distance + travelled, facing, footprint * _REFLECTED_BLUR
        )
        incoming = self._ambient_on(normal) + self._shine(self._parts(points + directions * distance[:, None], normal))
        return albedo * (incoming + self._table.emission[material][:, None]) * seen[:, None]


def _towards(normal: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (N×3) turned against rays, and the cosines between them (N)."""
    facing = np.einsum("ij,ij->i", normal, unit)
    normal = np.where(facing[:, None] > 0, -normal, normal)
    normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + np.float32(1e-6)
    return normal, np.abs(facing)
