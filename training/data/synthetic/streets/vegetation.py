"""Trees, bushes, hedges and the tree lines and skylines far away."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.materials import BUILDING, TREE, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, pose, tube
from geoseg_ros.training.data.synthetic.palette import color
from geoseg_ros.training.data.synthetic.streets.layout import KERB, Layout

_SPACING = {
    "terraced": (14, 60),
    "residential": (7, 25),
    "commercial": (12, 50),
    "avenue": (6, 14),
    "rural": (5, 20),
}


def _bumps(rng: np.random.Generator, rings: int, segments: int, strength: float) -> np.ndarray:
    return rng.normal(0, strength, (rings, segments))


def broadleaf(rng: np.random.Generator, materials: Materials, leaf: np.ndarray) -> Mesh:
    """A tree with a crown of several leafy clumps; about 6–12 m high."""
    height = rng.uniform(5.5, 12)
    spread = height * rng.uniform(0.22, 0.36)
    fork = height * rng.uniform(0.25, 0.4)
    bark = materials.add("bark", TREE, ["bark", "bark"], 0.8)
    foliage = materials.add(
        "leaves",
        TREE,
        [leaf, leaf * rng.uniform(0.3, 0.6), leaf * 1.5],
        rng.uniform(1.6, 3.0),
        cutout=True,
        detail=0.5,
    )
    core = materials.add("hedge", TREE, [leaf * 0.5, leaf * 0.2, leaf], 2.0, detail=0.5)
    lean = rng.normal(0, 0.03, 2) * fork
    parts = [
        tube(
            [[0, 0, -0.2], [*lean / 2, fork / 2], [*lean, fork * 1.4]],
            [0.05 * spread + 0.08, 0.05 * spread + 0.05, 0.08],
            bark,
            7,
            0.8,
        )
    ]
    for _ in range(3):
        tip = rng.normal(0, spread * 0.45, 2)
        parts.append(
            tube([[*lean, fork], [*tip, height * rng.uniform(0.6, 0.8)]], [0.07, 0.03], bark, 5, 0.8)
        )
    for number in range(int(rng.integers(3, 6))):
        offset = rng.normal(0, 0.45, 2) * spread * (number > 0)
        level = rng.uniform(fork + 0.2 * height, height * 0.85) if number else (fork + height) / 2 + 0.3
        size = spread * (rng.uniform(0.45, 0.75) if number else 0.95)
        radii = np.array([size, size, min(size * rng.uniform(0.7, 1.1), (height - fork) / 2)])
        parts.append(ball((*offset, level), radii, foliage, 7, 10, _bumps(rng, 7, 10, 0.2), 2.0))
        parts.append(ball((*offset, level), radii * 0.75, core, 5, 7, _bumps(rng, 5, 7, 0.15), 2.0))
    return merge(parts)


def conifer(rng: np.random.Generator, materials: Materials, leaf: np.ndarray) -> Mesh:
    """A pointed evergreen."""
    height = rng.uniform(5, 14)
    dark = leaf * 0.6
    needles = materials.add("leaves", TREE, [dark, dark * 0.4, leaf], 1.8, cutout=True, detail=0.5)
    core = materials.add("hedge", TREE, [dark * 0.6, dark * 0.3, dark], 1.5, detail=0.5)
    bark = materials.add("bark", TREE, ["bark", "bark"], 0.8)
    parts = [tube([[0, 0, -0.2], [0, 0, height * 0.5]], [0.18, 0.1], bark, 6)]
    base = rng.uniform(0.05, 0.2) * height
    width = height * rng.uniform(0.14, 0.24)
    levels = int(rng.integers(4, 8))
    for level in range(levels):
        z = base + (height - base) * level / levels
        r = width * (1 - level / levels) + 0.15
        reach = (height - base) / levels * 1.5
        parts.append(tube([[0, 0, z], [0, 0, z + reach]], [r, r * 0.25], needles, 9, 1.8))
        parts.append(tube([[0, 0, z], [0, 0, z + reach * 1.1]], [r * 0.7, 0.05], core, 7, 1.5))
    return merge(parts)


def bare(rng: np.random.Generator, materials: Materials, leaf: np.ndarray) -> Mesh:
    """A leafless tree: branches that fork, and a veil of twigs."""
    height = rng.uniform(6, 12)
    bark = materials.add("bark", TREE, ["bark", "bark"], 0.8)
    twig = materials.add("twigs", TREE, ["bark", "soil"], 2.0, cutout=True)
    parts: list[Mesh] = []

    def grow(start: np.ndarray, direction: np.ndarray, length: float, radius: float, depth: int) -> None:
        end = start + direction * length
        parts.append(tube([start, end], [radius, radius * 0.65], bark, 5 if depth > 1 else 3, 0.8))
        if depth == 0:
            return
        for _ in range(int(rng.integers(2, 4))):
            turn = direction + rng.normal(0, 0.42, 3) + [0, 0, 0.12]
            grow(end, turn / np.linalg.norm(turn), length * rng.uniform(0.6, 0.85), radius * 0.62, depth - 1)

    grow(np.array([0, 0, -0.2]), np.array([0, 0, 1.0]), height * 0.3, 0.03 * height * 0.6, 3)
    spread = height * 0.28
    for _ in range(3):
        offset = rng.normal(0, 0.3, 2) * spread
        parts.append(
            ball(
                (*offset, height * 0.66),
                np.array([0.9, 0.9, 1.0]) * spread,
                twig,
                8,
                10,
                _bumps(rng, 8, 10, 0.12),
                2.0,
            )
        )
    return merge(parts)


def bush(rng: np.random.Generator, materials: Materials, leaf: np.ndarray) -> Mesh:
    """A round shrub."""
    shade = leaf * rng.uniform(0.7, 1.3)
    foliage = materials.add("leaves", TREE, [shade, shade * 0.4, shade * 1.6], 1.5, cutout=True, detail=0.5)
    core = materials.add("hedge", TREE, [shade * 0.6, shade * 0.25, shade], 1.2, detail=0.5)
    size = rng.uniform(0.5, 1.3)
    radii = np.array([size, size, size * rng.uniform(0.7, 1.2)])
    return merge(
        [
            ball((0, 0, radii[2] * 0.7), radii, foliage, 6, 9, _bumps(rng, 6, 9, 0.14), 1.5),
            ball((0, 0, radii[2] * 0.7), radii * 0.85, core, 5, 7, _bumps(rng, 5, 7, 0.12), 1.5),
        ]
    )


def build_vegetation(layout: Layout, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    """Street trees, garden trees, bushes, hedges and the horizon."""
    season = rng.random()
    leaf = color(rng, "leaf")
    kinds = [bare] * 2 if season < 0.2 else [broadleaf, broadleaf, conifer]
    models = [
        kind(rng, materials, leaf * rng.uniform(0.7, 1.3, 3).astype(np.float32))
        for kind in (*kinds, kinds[0])
    ]
    bushes = [bush(rng, materials, leaf * rng.uniform(0.7, 1.3, 3).astype(np.float32)) for _ in range(2)]
    meshes: list[Mesh] = []
    spacing = rng.uniform(*_SPACING[layout.kind])
    for road in layout.roads:
        section = road.section
        for side in (-1, 1):
            edge, line = section.half_width(side), section.building_line(side)
            row = edge + (0.7 if section.pavement > 1.8 else section.pavement + 0.5)
            for s0, s1 in road.stretches(side, 5.0):
                s0 = s0 if road is layout.main else s0 + 12
                for s in np.arange(s0 + rng.uniform(1, spacing), s1, spacing):
                    if rng.random() < 0.8:
                        meshes.append(_plant(layout, road, s, side * row, rng, models))
                if layout.kind in ("residential", "avenue", "rural") and section.setback > 1.5:
                    for s in np.arange(s0, s1, rng.uniform(4, 12)):
                        t = rng.uniform(
                            edge + section.pavement + 0.9, max(line - 0.5, edge + section.pavement + 1.0)
                        )
                        meshes.append(
                            _plant(
                                layout,
                                road,
                                s + rng.uniform(0, 3),
                                side * t,
                                rng,
                                bushes if rng.random() < 0.7 else models,
                            )
                        )
    return meshes + _horizon(layout, materials, rng, leaf)


def _plant(layout: Layout, road, s: float, t: float, rng: np.random.Generator, models: list[Mesh]) -> Mesh:
    place = layout.ground.upright(road.curve.point(s, t), float(rng.uniform(0, 2 * np.pi)), KERB - 0.05)
    model = models[int(rng.integers(len(models)))]
    return model.transformed(place @ pose(scale=float(rng.uniform(0.7, 1.25))))


def _horizon(layout: Layout, materials: Materials, rng: np.random.Generator, leaf: np.ndarray) -> list[Mesh]:
    """Woods and houses beyond the streets, so that the view ends in something."""
    far = materials.add("hedge", TREE, [leaf * 0.9, leaf * 0.35, leaf * 1.3], 7.0, detail=0.5)
    meshes: list[Mesh] = []
    curve = layout.main.curve
    share = rng.uniform(0.2, 1.0)
    for s in np.arange(layout.start, layout.end, 12.0):
        for side in (-1, 1):
            xy = curve.point(s, side * rng.uniform(45, 160))
            meshes.append(_far_thing(layout, materials, rng, xy, far, share))
    for s in np.arange(0, 1, 0.03):  # where the road ends
        xy = curve.point(layout.end + rng.uniform(5, 90), (s - 0.5) * 220)
        meshes.append(_far_thing(layout, materials, rng, xy, far, share))
    return [m for m in meshes if m is not None]


def _far_thing(layout, materials, rng, xy, far: int, share: float) -> Mesh | None:
    if any(road.curve.distance(np.asarray(xy)) < 24 for road in layout.roads):
        return None
    z = float(layout.ground.height(xy))
    if rng.random() < share:
        radii = rng.uniform([5, 5, 4], [16, 16, 9])
        return ball((*xy, z + 2), radii, far, 6, 9, _bumps(rng, 6, 9, 0.2), 7.0)
    wall = materials.add("facade", BUILDING, ["wall", "glass", "trim"], 10.0)
    size = rng.uniform([10, 10, 6], [30, 30, 28 if layout.kind == "commercial" else 14])
    return box((*xy, z + size[2] / 2 - 1), size, wall, 12.0)
