"""Ray casting with Embree: what each ray hits first, through the holes of leaves and railings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from geoseg_ros.training.data.synthetic.atlas import Atlas
from geoseg_ros.training.data.synthetic.materials import MaterialTable
from geoseg_ros.training.data.synthetic.mesh import Mesh

_PASSES = 3  # layers of leaves a ray may pass
_CUTOUT_LEVEL = 3.0  # coarsest mip level that still decides about holes
_EPSILON = 0.004  # metres past a hole


@dataclass
class Hits:
    """N rays: distance along the ray in units of its direction (inf: none), material id (-1: none), triangle,
    texture coordinates N×2, unit normal N×3 (towards nobody in particular)."""

    distance: np.ndarray
    material: np.ndarray
    triangle: np.ndarray
    uv: np.ndarray
    normal: np.ndarray


class TracedMesh:
    """A mesh that rays can be cast at."""

    def __init__(self, mesh: Mesh, materials: MaterialTable, atlas: Atlas) -> None:
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(mesh.faces))
        self._scene.run(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))  # builds the hierarchy now
        attributes = np.concatenate([mesh.uv, mesh.normals], 1)
        self._corners = attributes[mesh.faces].reshape(-1, 15)  # per triangle: three times uv and normal
        self._material = mesh.material
        self._table = materials
        self._atlas = atlas
        self._has_cutouts = bool(materials.cutout[np.unique(mesh.material)].any())

    def cast(self, origins: np.ndarray, directions: np.ndarray, footprint: float) -> Hits:
        """First hits of rays (N×3 float32 each). ``footprint``: width of a pixel per unit of distance."""
        result = self._scene.run(origins, directions, output=1)
        triangle, u, v, distance = result["primID"], result["u"], result["v"], result["tfar"]
        hit = triangle >= 0
        distance = np.where(hit, distance, np.float32(np.inf))
        material = np.where(hit, self._material[triangle], -1)
        if self._has_cutouts:
            self._pass_holes(origins, directions, footprint, triangle, u, v, distance, material)
        uv = np.zeros((len(distance), 2), np.float32)
        normal = np.zeros((len(distance), 3), np.float32)
        index = np.flatnonzero(material >= 0)
        values = self._interpolate(triangle[index], u[index], v[index])
        uv[index] = values[:, :2]
        normal[index] = values[:, 2:]
        return Hits(distance, material, triangle, uv, normal)

    def blocked(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Whether (N bool) anything lies along rays; leaves let some light through."""
        if not self._has_cutouts:
            return self._scene.run(origins, directions, query="OCCLUDED") >= 0
        result = self._scene.run(origins, directions, output=1)
        triangle = result["primID"]
        blocked = triangle >= 0
        index = np.flatnonzero(blocked)
        index = index[self._table.cutout[self._material[triangle[index]]]]
        for _ in range(2):
            if not len(index):
                break
            holes = self._is_hole(
                triangle[index],
                result["u"][index],
                result["v"][index],
                np.full(len(index), _CUTOUT_LEVEL, np.float32),
            )
            index = index[holes]
            again = np.ascontiguousarray(
                origins[index] + directions[index] * (result["tfar"][index, None] + 0.02)
            )
            onward = self._scene.run(again, np.ascontiguousarray(directions[index]), output=1)
            for name in ("u", "v", "primID"):
                result[name][index] = onward[name]
            result["tfar"][index] += onward["tfar"] + 0.02
            blocked[index] = triangle[index] >= 0
            index = index[blocked[index]]
            index = index[self._table.cutout[self._material[triangle[index]]]]
        return blocked

    def blocked_within(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Whether (N bool) anything, holes of leaves included, lies along rays nearer than ``reach`` (N float32, in units of
        the direction)."""
        return self._scene.run(origins, directions, dists=reach, query="OCCLUDED") >= 0

    def _interpolate(self, triangle: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Texture coordinates and normal (N×5) at barycentric coordinates."""
        corners = self._corners[triangle]
        values = corners[:, :5] * (1 - u - v)[:, None]
        values += corners[:, 5:10] * u[:, None]
        values += corners[:, 10:] * v[:, None]
        return values

    def _is_hole(self, triangle, u, v, level) -> np.ndarray:
        uv = self._interpolate(triangle, u, v)[:, :2]
        layer = self._table.layer[self._material[triangle]]
        return self._atlas.sample(layer, uv, np.minimum(level, _CUTOUT_LEVEL))[:, 3] < 127.5

    def _pass_holes(self, origins, directions, footprint, triangle, u, v, distance, material) -> None:
        """Send rays on that met a hole; changes the hit arrays in place."""
        index = np.flatnonzero(material >= 0)
        index = index[self._table.cutout[material[index]]]
        for _ in range(_PASSES):
            if not len(index):
                return
            texel = self._table.tile[material[index]] / 256
            level = np.log2(np.maximum(distance[index] * footprint / texel, 1.0))
            index = index[self._is_hole(triangle[index], u[index], v[index], level)]
            if not len(index):
                return
            skip = distance[index] + np.float32(_EPSILON)
            again = np.ascontiguousarray(origins[index] + directions[index] * skip[:, None])
            result = self._scene.run(again, np.ascontiguousarray(directions[index]), output=1)
            hit = result["primID"] >= 0
            triangle[index], u[index], v[index] = result["primID"], result["u"], result["v"]
            distance[index] = np.where(hit, skip + result["tfar"], np.float32(np.inf))
            material[index] = np.where(hit, self._material[result["primID"]], -1)
            index = index[hit]
            index = index[self._table.cutout[material[index]]]
