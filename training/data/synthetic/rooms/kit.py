"""What the things of one room have in common: its materials, and shapes that streets do not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.materials import NO_CLASS, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, pose


@dataclass(frozen=True)
class Item:
    """A piece of furniture around its own origin on the floor: ``depth`` along x (its front looks along +x), ``width`` along
    y, ``height`` along z, in metres."""

    mesh: Mesh
    depth: float
    width: float
    height: float


class Kit:
    """The generator and the materials from which a room's things are made."""

    def __init__(self, rng: np.random.Generator, materials: Materials) -> None:
        self.rng, self._materials = rng, materials
        self.woods = [
            self.add(str(rng.choice(["grained", "plain", "parquet"], p=[0.6, 0.3, 0.1])), ["room_wood", "room_wood"], 1.0)
            for _ in range(3)
        ]
        self.metals = [self.add("plain", ["metal"], 0.5, gloss=float(rng.uniform(0, 0.35))) for _ in range(2)]
        self.cloths = [
            self.add(str(rng.choice(["cloth", "carpet", "wallpaper"])), ["cloth", "any"], float(rng.uniform(0.3, 1.2)))
            for _ in range(4)
        ]
        self.black = self.add("plain", ["black"], 0.5, gloss=0.05)
        self.white = self.add("plain", ["white"], 0.5, gloss=0.05)
        self.paper = self.add("page", ["white", "black", "any"], 0.25)
        self.leaf = self.add("plaster", ["leaf", "leaf"], 0.2)
        self.cartons = [self.add("parcel", ["cardboard", "room_wood", "white"], 0.4) for _ in range(2)]
        self.colours = [self._colour() for _ in range(22)]

    def _colour(self) -> int:
        rng = self.rng
        texture = str(
            rng.choice(["plain", "poster", "cloth", "page", "painting", "wallpaper"], p=[0.5, 0.14, 0.1, 0.1, 0.06, 0.1])
        )
        kind = str(rng.choice(["any", "white", "black", "room_wood"], p=[0.6, 0.18, 0.12, 0.1]))
        return self.add(texture, [kind, "any", "any"], 0.2, gloss=float(rng.uniform(0, 0.3) * (rng.random() < 0.4)))

    def add(self, texture: str, colors: Sequence, tile: float, **properties) -> int:
        """A new material that belongs to no class (see :meth:`Materials.add`)."""
        return self._materials.add(texture, NO_CLASS, colors, tile, **properties)

    def block(
        self, low: Sequence[float], high: Sequence[float], material: int | Sequence[int], tile: float | Sequence[float] = 0.0
    ) -> Mesh:
        """A box between two corners (see :func:`~geoseg_ros.training.data.synthetic.mesh.box`); without ``tile`` the
        texture has its material's size."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        return box((low + high) / 2, high - low, material, tile or self.tile(np.atleast_1d(material)[0]))

    def tile(self, material: int) -> float:
        """Metres per texture tile of a material."""
        return self._materials.tile_size(material)

    def albedo(self, material: int) -> np.ndarray:
        """The first colour (3, linear) of a material."""
        return self._materials.first_color(material)

    def any(self, materials: Sequence[int]) -> int:
        """One of some materials."""
        return materials[int(self.rng.integers(len(materials)))]

    def uniform(self, low: float, high: float) -> float:
        """A number between two."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return bool(self.rng.random() < probability)


def cushion(
    centre: Sequence[float], size: Sequence[float], material: int, squareness: float = 0.45, tile: float = 0.6
) -> Mesh:
    """A rounded box of a size: a superellipsoid (Barr, 1981) with the exponent ``squareness`` (1: an ellipsoid, 0: a box)."""
    round_one = ball((0, 0, 0), (1, 1, 1), material, 8, 14)
    radii = np.asarray(size, np.float32) / 2
    direction = round_one.vertices
    vertices = np.sign(direction) * np.abs(direction) ** squareness * radii
    normals = np.sign(direction) * np.abs(direction) ** (2 - squareness) / radii
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    uv = round_one.uv * np.float32(radii.max() / tile)
    return Mesh(
        (vertices + np.asarray(centre, np.float32)).astype(np.float32),
        normals.astype(np.float32),
        uv,
        round_one.faces,
        round_one.material,
    )


def strew(kit: Kit, make, low: Sequence[float], high: Sequence[float], z: float, count: int) -> list[Mesh]:
    """Up to ``count`` things of ``make(kit)`` (a mesh and its radius) that stand apart on a rectangle from ``low`` to ``high``
    (x, y) at the height ``z``, turned anyhow."""
    placed: list[tuple[float, float, float]] = []
    meshes = []
    for _ in range(count):
        mesh, radius = make(kit)
        room = [h - l - 2 * radius for l, h in zip(low, high)]
        if min(room) < 0:
            continue
        x, y = (l + radius + r * float(kit.rng.random()) for l, r in zip(low, room))
        if all(np.hypot(x - a, y - b) > radius + c for a, b, c in placed):
            placed.append((x, y, radius))
            meshes.append(mesh.transformed(pose(x, y, z, kit.uniform(0, 2 * np.pi))))
    return meshes


def legs(kit: Kit, x: float, y: float, height: float, material: int, thickness: float) -> Mesh:
    """Four legs at ±x, ±y, or two panels."""
    if kit.chance(0.2):
        return merge([kit.block((-x, s * y - 0.015, 0), (x, s * y + 0.015, height), material) for s in (-1, 1)])
    t = thickness / 2
    return merge(
        [kit.block((a * x - t, b * y - t, 0), (a * x + t, b * y + t, height), material) for a in (-1, 1) for b in (-1, 1)]
    )
