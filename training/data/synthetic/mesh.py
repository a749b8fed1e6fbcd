"""Triangle meshes with normals, texture coordinates and a material per triangle.

Object frames follow REP 103: x forward, y left, z up, in metres, with the origin on the ground. Texture
coordinates count texture tiles (1.0 is one repetition).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Mesh:
    """V vertices and F triangles: vertices V×3, normals V×3, uv V×2 (float32); faces F×3, material F
    (int32)."""

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray
    material: np.ndarray

    def transformed(self, pose: np.ndarray) -> Mesh:
        """The mesh moved by a rigid (or uniformly scaled) 4×4 transform."""
        rotation = pose[:3, :3].astype(np.float32)
        scale = np.float32(np.cbrt(np.linalg.det(pose[:3, :3])))
        vertices = self.vertices @ rotation.T + pose[:3, 3].astype(np.float32)
        return Mesh(vertices, self.normals @ (rotation.T / scale), self.uv, self.faces, self.material)

    def remapped(self, materials: Mapping[int, int]) -> Mesh:
        """The mesh with some material ids replaced."""
        material = self.material.copy()
        for old, new in materials.items():
            material[self.material == old] = new
        return Mesh(self.vertices, self.normals, self.uv, self.faces, material)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N×3 float32) times a 3×3, 3×4 (rotation and shift) or 1×3 matrix: N×3, or N×1.

    Not by BLAS, which would start threads of its own under those that render.
    """
    if not len(points):
        return np.zeros((0, len(matrix)), np.float32)
    return cv2.transform(points.reshape(-1, 1, 3), np.asarray(matrix, np.float64)).reshape(len(points), -1)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh that holds all the given ones."""
    counts = np.array([0] + [len(m.vertices) for m in meshes[:-1]])
    offsets = np.cumsum(counts)
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.faces + np.int32(o) for m, o in zip(meshes, offsets)]),
        np.concatenate([m.material for m in meshes]),
    )


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """4×4 transform: scaled, turned by yaw about z, then moved."""
    c, s = np.cos(yaw) * scale, np.sin(yaw) * scale
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, scale, z], [0, 0, 0, 1.0]])


def directions_around(count: int) -> np.ndarray:
    """Unit vectors (count×3 float32) spread evenly over all directions, on a Fibonacci spiral."""
    z = 1 - (2 * np.arange(count) + 1) / count
    angle = np.arange(count) * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1).astype(np.float32)


def turned(axis: str, angle: float, pivot: Sequence[float] = (0, 0, 0)) -> np.ndarray:
    """4×4 rotation by an angle (radians) about the named axis through a pivot point."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    result = np.eye(4)
    result[:3, :3] = rotation
    result[:3, 3] = np.asarray(pivot) - result[:3, :3] @ np.asarray(pivot, float)
    return result


def _pack(vertices, normals, uv, faces, material) -> Mesh:
    faces = np.asarray(faces, np.int32)
    material = np.broadcast_to(np.asarray(material, np.int32), (len(faces),))
    return Mesh(
        np.asarray(vertices, np.float32),
        np.asarray(normals, np.float32),
        np.asarray(uv, np.float32),
        faces,
        np.ascontiguousarray(material),
    )


def quad(corners: np.ndarray, material: int, uv: Sequence[float] = (0, 0, 1, 1)) -> Mesh:
    """A flat rectangle from 4×3 corners, counter-clockwise from lower left; uv = (u0, v0, u1, v1)."""
    corners = np.asarray(corners, float)
    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    normal /= np.linalg.norm(normal) + 1e-12
    u0, v0, u1, v1 = uv
    return _pack(
        corners,
        np.tile(normal, (4, 1)),
        [[u0, v0], [u1, v0], [u1, v1], [u0, v1]],
        [[0, 1, 2], [0, 2, 3]],
        material,
    )


# corner signs of the six sides of a box, each counter-clockwise from outside, lower left first: -y, +x, +y,
# -x, top, bottom
_BOX = np.array(
    [
        [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
        [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]],
        [[1, 1, -1], [-1, 1, -1], [-1, 1, 1], [1, 1, 1]],
        [[-1, 1, -1], [-1, -1, -1], [-1, -1, 1], [-1, 1, 1]],
        [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
        [[-1, 1, -1], [1, 1, -1], [1, -1, -1], [-1, -1, -1]],
    ],
    np.float32,
)
_BOX_NORMALS = np.repeat(
    np.array([[0, -1, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]], np.float32), 4, 0
)
_BOX_FACES = (
    (np.arange(6)[:, None, None] * 4 + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3).astype(np.int32)
)
_BOX_UV = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


def box(
    centre: Sequence[float],
    size: Sequence[float],
    material: int | Sequence[int],
    tile: float | Sequence[float] = 1.0,
) -> Mesh:
    """An axis-aligned box; material for all or for each side (-y, +x, +y, -x, top, bottom); tile is the
    texture's size in metres (width, height)."""
    size = np.asarray(size, np.float32)
    vertices = (_BOX * (size / 2) + np.asarray(centre, np.float32)).reshape(-1, 3)
    extents = np.array([[size[0], size[2]], [size[1], size[2]]] * 2 + [[size[0], size[1]]] * 2, np.float32)
    uv = (_BOX_UV[None] * (extents / np.asarray(tile, np.float32))[:, None]).reshape(-1, 2)
    sides = np.repeat(np.broadcast_to(np.asarray(material, np.int32), (6,)), 2)
    return Mesh(vertices, _BOX_NORMALS, uv, _BOX_FACES, sides)


def sheet(points: np.ndarray, uv: np.ndarray, material: int | np.ndarray, closed: bool = False) -> Mesh:
    """A smooth surface over an N×M×3 grid of points, uv N×M×2; material one id or (N-1)×(M-1) ids.

    Normals point along (step in M) × (step in N)... that is, for N along x and M along y (left), upwards.
    ``closed`` joins the normals of the first and last column, for tubes.
    """
    points = np.asarray(points, float)
    n, m = points.shape[:2]
    index = np.arange(n * m).reshape(n, m)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).reshape(-1, 3)
    along_n = np.gradient(points, axis=0)
    along_m = np.gradient(points, axis=1)
    if closed:
        wrapped = (points[:, 1] - points[:, -2]) / 2
        along_m[:, 0] = along_m[:, -1] = wrapped
    normals = np.cross(along_n, along_m)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    material = np.broadcast_to(np.asarray(material, np.int32), (n - 1, m - 1))
    return _pack(
        points.reshape(-1, 3),
        normals.reshape(-1, 3),
        np.reshape(uv, (-1, 2)),
        faces,
        np.repeat(material.ravel(), 2),
    )


def tube(
    points: np.ndarray,
    radii: np.ndarray,
    material: int,
    segments: int = 8,
    tile: float = 1.0,
    capped: bool = False,
) -> Mesh:
    """A round tube through N×3 points with a radius at each (a scalar, or N); capped closes both ends."""
    points = np.asarray(points, float)
    radii = np.broadcast_to(np.asarray(radii, float), (len(points),)).copy()
    if capped:
        points = np.concatenate([points[:1], points, points[-1:]])
        radii = np.concatenate([[1e-4], radii, [1e-4]])
    direction = points[-1] - points[0]
    direction /= np.linalg.norm(direction) + 1e-12
    side = np.cross(direction, [1.0, 0, 0] if abs(direction[0]) < 0.8 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    other = np.cross(direction, side)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    surface = points[:, None] + radii[:, None, None] * ring
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    uv = np.stack(
        np.broadcast_arrays(
            angle[None] / (2 * np.pi) * max(1.0, round(2 * np.pi * radii.max() / tile)),
            length[:, None] / tile,
        ),
        -1,
    )
    return _flip(sheet(surface, uv, material, closed=True))


def _flip(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, -mesh.normals, mesh.uv, mesh.faces[:, ::-1].copy(), mesh.material)


def ball(
    centre: Sequence[float],
    radii: Sequence[float],
    material: int,
    rings: int = 6,
    segments: int = 8,
    bumps: np.ndarray | None = None,
    tile: float = 1.0,
) -> Mesh:
    """An ellipsoid; bumps (rings × segments, relative) roughen it, as tree crowns need."""
    polar = np.linspace(0, np.pi, rings)
    azimuth = np.linspace(0, 2 * np.pi, segments + 1)
    directions = np.stack(
        np.broadcast_arrays(
            np.sin(polar)[:, None] * np.cos(azimuth),
            np.sin(polar)[:, None] * np.sin(azimuth),
            np.cos(polar)[:, None],
        ),
        -1,
    )
    radius = np.ones((rings, segments + 1))
    if bumps is not None:
        radius[1:-1, :-1] += bumps[1:-1]
        radius[:, -1] = radius[:, 0]
    radii = np.asarray(radii, float)
    points = directions * radius[..., None] * radii + np.asarray(centre, float)
    size = float(radii.mean()) / tile
    uv = np.stack(np.broadcast_arrays(azimuth[None] * size, -polar[:, None] * size), -1)
    mesh = sheet(points, uv, material, closed=True)
    outward = directions / radii
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    blended = mesh.normals.reshape(rings, segments + 1, 3)
    sign = np.sign((blended * outward).sum(-1, keepdims=True))
    blended = np.where(sign == 0, outward, blended * sign)
    blended[0], blended[-1] = outward[0], outward[-1]
    return Mesh(mesh.vertices, blended.reshape(-1, 3).astype(np.float32), mesh.uv, mesh.faces, mesh.material)


def polygon(
    outline: np.ndarray, origin: Sequence[float], right: Sequence[float], up: Sequence[float], material: int
) -> Mesh:
    """A flat convex polygon: outline M×2 in the plane spanned by right and up; uv maps its bounding box to
    one tile."""
    outline = np.asarray(outline, float)
    right, up = np.asarray(right, float), np.asarray(up, float)
    vertices = np.asarray(origin, float) + outline[:, :1] * right + outline[:, 1:] * up
    low, high = outline.min(0), outline.max(0)
    normal = np.cross(right, up)
    fan = [[0, i, i + 1] for i in range(1, len(outline) - 1)]
    return _pack(vertices, np.tile(normal, (len(outline), 1)), (outline - low) / (high - low), fan, material)
