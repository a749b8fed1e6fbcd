"""From hits to light: textures, sun with shadows, sky light, reflections, haze."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg_ros.training.data.synthetic.atlas import Atlas
from geoseg_ros.training.data.synthetic.materials import TREE, MaterialTable
from geoseg_ros.training.data.synthetic.mesh import apply
from geoseg_ros.training.data.synthetic.tracer import Hits, TracedMesh
from geoseg_ros.training.data.synthetic.weather import Weather

_SHADOW_OFFSET = 0.025
_SHADOW_REACH = 90.0  # metres from the camera up to which shadows fall
_TREE_SHADOW_REACH = 22.0  # the same on trees, whose own normals shade them
_GRAIN_REPEAT = 6.7  # grain tiles per texture tile
_STAIN_REPEAT = 0.23


def surface_albedo(
    table: MaterialTable,
    atlas: Atlas,
    material: np.ndarray,
    uv: np.ndarray,
    distance: np.ndarray,
    facing: np.ndarray,
    footprint: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Albedo N×3 and mirror strength N of surface points: material ids N, uv N×2, distance N along the ray, ``facing`` N the
    cosine between ray and normal, ``footprint`` a pixel's width per unit of distance."""
    tile = table.tile[material]
    # a pixel's width on the surface, stretched where the surface is seen at a slant
    width = distance * footprint / np.sqrt(np.clip(facing, 0.03, 1))
    level = np.log2(np.maximum(width * 256 / tile, 1.0))
    texture = atlas.sample(table.layer[material], uv, level)
    second = texture[:, :1] * np.float32(1 / 255)
    third = texture[:, 1:2] * np.float32(1 / 255)
    grain = atlas.grain(uv * np.float32(_GRAIN_REPEAT), level + np.float32(np.log2(_GRAIN_REPEAT)))
    stain = atlas.grain(uv * np.float32(_STAIN_REPEAT), level + np.float32(np.log2(_STAIN_REPEAT)))
    detail = table.detail[material] * np.float32(1 / 128)
    shade = texture[:, 2] * np.float32(1 / 128) * (1 + detail * (0.7 * grain + 0.5 * stain - 1.2 * 128))
    colors = table.colors[material]
    first = colors[:, :3]
    albedo = first + second * (colors[:, 3:6] - first)
    albedo += third * (colors[:, 6:] - albedo)
    albedo *= np.clip(shade, 0.1, 3.0)[:, None]
    mirror = table.gloss[material] + table.glossy_second[material] * second[:, 0]
    return np.clip(albedo, 0, 0.95), mirror


class Shader:
    """Radiance of surfaces under one weather."""

    def __init__(self, materials: MaterialTable, atlas: Atlas, weather: Weather) -> None:
        self._materials, self._atlas, self._weather = materials, atlas, weather

    def radiance(
        self,
        hits: Hits,
        origin: np.ndarray,
        directions: np.ndarray,
        footprint: float,
        occluders: Sequence[TracedMesh],
    ) -> np.ndarray:
        """Linear RGB N×3 along rays from one origin (3) along directions (N×3, not unit)."""
        length = np.sqrt(np.einsum("ij,ij->i", directions, directions))
        unit = directions / length[:, None]
        result = np.empty((len(unit), 3), np.float32)
        sky = hits.material < 0
        result[sky] = self._weather.sky(unit[sky], self._atlas)
        index = np.flatnonzero(~sky)
        if len(index):
            result[index] = self._surfaces(
                hits, index, origin, directions[index], unit[index], length[index], footprint, occluders
            )
        return result

    def _surfaces(
        self, hits: Hits, index, origin, directions, unit, length, footprint, occluders
    ) -> np.ndarray:
        weather, table = self._weather, self._materials
        material = hits.material[index]
        distance = hits.distance[index]
        normal = hits.normal[index]
        facing = np.einsum("ij,ij->i", normal, unit)
        normal = np.where(facing[:, None] > 0, -normal, normal)
        normal /= np.sqrt(np.einsum("ij,ij->i", normal, normal))[:, None] + 1e-6
        facing = np.abs(facing)
        albedo, mirror = surface_albedo(table, self._atlas, material, hits.uv[index], distance, facing, footprint)
        points = origin + directions * distance[:, None]
        light = np.clip(apply(weather.sun_direction[None], normal)[:, 0], 0, None)
        shade_from = np.where(table.semantic[material] == TREE, _TREE_SHADOW_REACH, _SHADOW_REACH)
        light[self._shadowed(points, normal, light, distance < shade_from, occluders)] = 0.0
        upward = normal[:, 2:] * 0.5 + 0.5
        incoming = upward * (weather.ambient - weather.bounce)
        incoming += weather.bounce
        incoming += light[:, None] * weather.sun
        colour = albedo * incoming
        shiny = np.flatnonzero(mirror > 0.01)
        if len(shiny):
            n, d = normal[shiny], unit[shiny]
            bounced = d - 2 * np.einsum("ij,ij->i", n, d)[:, None] * n
            strength = mirror[shiny] * (0.25 + 0.75 * (1 - np.clip(facing[shiny], 0, 1)) ** 3)
            above = np.clip(bounced[:, 2:] * 4 + 0.2, 0, 1)
            seen = weather.sky(bounced, None) * above + weather.bounce * 0.8 * (1 - above)
            colour[shiny] += (seen - colour[shiny] * 0.5) * strength[:, None]
        emission = table.emission[material]
        if emission.any():
            colour += albedo * emission[:, None]
        clear = np.exp(-weather.haze * distance * length)[:, None]
        veil = weather.horizon * 0.85
        colour -= veil
        colour *= clear
        colour += veil
        return colour

    def _shadowed(self, points, normal, light, near, occluders) -> np.ndarray:
        """Indices of the points that the sun does not reach."""
        index = np.flatnonzero((light > 0.0) & near)
        if not len(index):
            return index
        origins = points[index] + normal[index] * np.float32(_SHADOW_OFFSET)
        directions = np.ascontiguousarray(np.broadcast_to(self._weather.sun_direction, origins.shape))
        blocked = np.zeros(len(index), bool)
        for occluder in occluders:
            blocked |= occluder.blocked(origins, directions)
        return index[blocked]
