"""Small things that stand on tables, shelves and floors: each a mesh around the origin, and its radius (m)."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, polygon, pose, tube, turned
from geoseg_ros.training.data.synthetic.rooms.kit import Kit, cushion

Thing = tuple[Mesh, float]


def turned_body(kit: Kit, height: float, radius: float, material: int) -> Mesh:
    """A vessel of a random profile: bottle, vase, mug, can, jar."""
    style = kit.rng.integers(4)
    z = np.linspace(0, height, 6)
    profile = np.ones(6)
    if style == 0:  # bottle
        profile[3:] = [0.75, 0.35, 0.33]
    elif style == 1:  # vase
        profile = 0.55 + 0.45 * np.sin(np.linspace(0.4, kit.uniform(2.2, 3.4), 6))
    elif style == 2:  # cone
        profile = np.linspace(kit.uniform(0.4, 1), 1, 6)
    return tube(np.stack([0 * z, 0 * z, z], -1), radius * profile, material, 12, 0.2, capped=True)


def vessel(kit: Kit) -> Thing:
    """A cup, can, jar, vase or bottle."""
    radius = kit.uniform(0.025, 0.075)
    height = radius * kit.uniform(1.2, 5.5)
    mesh = turned_body(kit, height, radius, kit.any(kit.colours))
    if kit.chance(0.3):
        handle = np.linspace(-1.2, 1.2, 6)
        arc = np.stack([0 * handle, radius * (0.9 + 0.6 * np.cos(handle)), height * (0.5 + 0.3 * np.sin(handle))], -1)
        mesh = merge([mesh, tube(arc, 0.008, kit.any(kit.colours), 5)])
    return mesh, radius * 1.3


def book_pile(kit: Kit) -> Thing:
    """Books that lie on each other."""
    z, parts = 0.0, []
    for _ in range(int(kit.rng.integers(1, 6))):
        thickness = kit.uniform(0.01, 0.045)
        size = kit.rng.uniform([0.12, 0.17], [0.22, 0.3])
        cover = kit.any(kit.colours)
        volume = box((0, 0, z + thickness / 2), (*size, thickness), (cover, kit.white, kit.white, kit.white, cover, cover), 0.3)
        parts.append(volume.transformed(pose(yaw=float(kit.rng.normal(0, 0.2)))))
        z += thickness
    return merge(parts), 0.17


def carton(kit: Kit) -> Thing:
    """A small box, packet or appliance."""
    size = np.exp(kit.rng.uniform(np.log(0.03), np.log(0.28), 3))
    material = kit.any(kit.cartons) if kit.chance(0.3) else kit.any(kit.colours)
    return box((0, 0, size[2] / 2), size, material, float(size.max())), float(np.hypot(*size[:2]) / 2)


def globe(kit: Kit) -> Thing:
    """A ball, fruit or bowl-like round thing."""
    r = kit.uniform(0.02, 0.11)
    flat = kit.uniform(0.5, 1.1)
    return ball((0, 0, r * flat), (r, r, r * flat), kit.any(kit.colours), 8, 12), r


def figurine(kit: Kit) -> Thing:
    """A statue, toy animal or chess piece: a few round bodies on each other."""
    z, parts, r = 0.0, [], kit.uniform(0.025, 0.08)
    material, other = kit.any(kit.colours), kit.any(kit.colours)
    for level in range(int(kit.rng.integers(2, 5))):
        radii = r * kit.rng.uniform([0.6, 0.6, 0.7], [1.1, 1.1, 1.5])
        offset = kit.rng.normal(0, 0.2 * r, 2)
        parts.append(ball((*offset, z + radii[2] * 0.9), radii, material if level % 2 else other, 7, 10))
        z += radii[2] * 1.6
        r *= kit.uniform(0.6, 1.0)
    return merge(parts), 0.1


def sheets(kit: Kit) -> Thing:
    """Loose paper, a magazine or a keyboard lying flat."""
    size = kit.rng.uniform([0.1, 0.14], [0.24, 0.34])
    material = kit.any([kit.paper, kit.paper, *kit.colours])
    return box((0, 0, 0.004), (*size, kit.uniform(0.002, 0.02)), material, (size[0], size[1])), float(np.hypot(*size) / 2)


def laptop(kit: Kit) -> Thing:
    """An open laptop; its screen glows at times."""
    keys = kit.add("keys", ["metal", "black"], 0.3)
    shown = kit.add("screen", ["any", "white", "black"], 0.35, emission=kit.uniform(0, 1.5), gloss=0.1)
    back = kit.any(kit.metals)
    base = box((0, 0, 0.01), (0.23, 0.33, 0.02), (back, back, back, back, keys, back), (0.23, 0.33))
    lid = box((0, 0, 0.11), (0.01, 0.33, 0.22), (back, shown, back, back, back, back), (0.33, 0.22))
    tilt = pose(-0.115, 0, 0.015) @ turned("y", -kit.uniform(0.1, 0.6))
    return merge([base, lid.transformed(tilt)]), 0.24


def potted(kit: Kit) -> Thing:
    """A small plant in a pot."""
    return plant(kit, kit.uniform(0.15, 0.4)), 0.12


def desk_lamp(kit: Kit) -> Thing:
    """A lamp with a bent arm."""
    metal, shade = kit.any(kit.colours), kit.any(kit.colours)
    h = kit.uniform(0.25, 0.45)
    parts = [
        tube([[0, 0, 0], [0, 0, 0.02]], 0.07, metal, 10, capped=True),
        tube([[0, 0, 0], [-0.06, 0, h * 0.6]], 0.008, metal, 5),
        tube([[-0.06, 0, h * 0.6], [0.05, 0, h]], 0.008, metal, 5),
        tube([[0.04, 0, h + 0.03], [0.09, 0, h - 0.07]], [0.025, 0.07], shade, 10),
    ]
    return merge(parts), 0.12


def soft_thing(kit: Kit) -> Thing:
    """A bag, garment or cushion that lies about."""
    size = kit.rng.uniform([0.15, 0.15, 0.05], [0.5, 0.45, 0.28])
    return cushion((0, 0, size[2] / 2), size, kit.any(kit.cloths), kit.uniform(0.5, 1.1)), float(np.hypot(*size[:2]) / 2)


def shoes(kit: Kit) -> Thing:
    """A pair of shoes."""
    material = kit.any([kit.black, *kit.colours])
    pair = [cushion((kit.uniform(-0.05, 0.05), y, 0.04), (0.28, 0.1, 0.08), material, 0.7) for y in (-0.07, 0.07)]
    heels = [cushion((-0.09, y, 0.07), (0.11, 0.09, 0.1), material, 0.8) for y in (-0.07, 0.07)]
    return merge(pair + heels), 0.2


def cable(kit: Kit) -> Thing:
    """A cable in loops on the floor."""
    angle = np.linspace(0, kit.uniform(4, 14), 26)
    r = kit.uniform(0.1, 0.35) * (1 + 0.3 * np.sin(angle * 0.7 + kit.uniform(0, 6)))
    points = np.stack([r * np.cos(angle), 0.8 * r * np.sin(angle), np.full(26, 0.012)], -1)
    parts = [tube(points[i : i + 2], 0.008, kit.black, 4) for i in range(25)]
    return merge(parts), float(r.max())


def bucket(kit: Kit) -> Thing:
    """A bucket, waste bin or basket, open at the top."""
    r, h = kit.uniform(0.1, 0.24), kit.uniform(0.2, 0.6)
    material = kit.any([*kit.colours, *kit.metals])
    wall = tube([[0, 0, 0.0], [0, 0, h]], [r * kit.uniform(0.7, 1.0), r], material, 16, 0.4)
    filling = tube([[0, 0, 0], [0, 0, h * kit.uniform(0.05, 0.8)]], r * 0.72, kit.any(kit.cloths), 12, capped=True)
    return merge([wall, filling]), r


def plant(kit: Kit, height: float) -> Mesh:
    """A pot plant of a height: long leaves from the pot, or leaves on stems."""
    pot = height * kit.uniform(0.2, 0.35)
    radius = pot * kit.uniform(0.45, 0.7)
    soil = kit.add("plaster", ["soil"], 0.2)
    parts = [
        tube([[0, 0, 0], [0, 0, pot]], [radius * kit.uniform(0.6, 1), radius], kit.any(kit.colours), 12, 0.3),
        tube([[0, 0, 0], [0, 0, pot * 0.9]], radius * 0.9, soil, 10, capped=True),
    ]
    blade = np.array([[0, 0], [0.5, 0.35], [0.35, 0.75], [0, 1], [-0.35, 0.75], [-0.5, 0.35]])
    long_ones = kit.chance(0.4)
    for _ in range(int(kit.rng.integers(10, 30))):
        yaw, lean = kit.uniform(0, 2 * np.pi), kit.uniform(0.15, 1.25)
        length = (height - pot) * (kit.uniform(0.5, 1.0) if long_ones else kit.uniform(0.15, 0.4))
        start = kit.rng.normal(0, 0.2 * radius, 2)
        base = pot * 0.9
        if not long_ones:
            tip = np.array([*(start + kit.rng.normal(0, 0.22 * (height - pot), 2)), kit.uniform(pot * 1.1, height * 0.9)])
            parts.append(tube([[*start * 0.3, base], tip], [0.012, 0.004], kit.leaf, 4))
            start, base = tip[:2], tip[2]
        shape = blade * [length * (0.13 if long_ones else 0.55), length]
        up = np.array([np.sin(lean) * np.cos(yaw), np.sin(lean) * np.sin(yaw), np.cos(lean)])
        right = np.array([-np.sin(yaw), np.cos(yaw), 0])
        parts.append(polygon(shape, (*start, base), right, up, kit.leaf))
    return merge(parts)


_ON_TABLES = (vessel, vessel, book_pile, carton, carton, globe, figurine, sheets, sheets, laptop, potted, desk_lamp)
_ON_SHELVES = (vessel, vessel, carton, carton, carton, globe, figurine, book_pile, potted)
_ON_FLOORS = (carton, globe, soft_thing, soft_thing, shoes, cable, bucket, book_pile, figurine, sheets)


def table_thing(kit: Kit) -> Thing:
    """Something that lies on tables."""
    return kit.any(_ON_TABLES)(kit)


def shelf_thing(kit: Kit) -> Thing:
    """Something that stands on shelves."""
    return kit.any(_ON_SHELVES)(kit)


def floor_thing(kit: Kit) -> Thing:
    """Something that lies on the floor."""
    return kit.any(_ON_FLOORS)(kit)


def book_row(kit: Kit, length: float, height: float, depth: float) -> Mesh:
    """Books side by side along y from 0, no higher than ``height``, their backs at x = 0 and their pages behind."""
    cursor, parts = 0.0, []
    tall = kit.uniform(0.6, 0.9)
    while cursor < length - 0.05:
        thickness = kit.uniform(0.012, 0.05)
        h = min(height * 0.97, max(0.12, height * kit.uniform(tall - 0.15, tall + 0.1)))
        d = depth * kit.uniform(0.6, 0.95)
        recess = kit.uniform(0, 0.03)
        parts.append(kit.block((-recess - d, cursor, 0), (-recess, cursor + thickness, h), kit.any(kit.colours), 0.3))
        cursor += thickness + (kit.uniform(0.02, 0.15) if kit.chance(0.06) else 0.001)
    return merge(parts) if parts else kit.block((-depth / 2, 0, 0), (0, 0.03, height / 2), kit.any(kit.colours))
