"""Things of halls, cellars, laboratories and workshops: racks, machines, crates, pipes, ladders, carts."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, pose, tube, turned
from geoseg_ros.training.data.synthetic.rooms.kit import Item, Kit, strew
from geoseg_ros.training.data.synthetic.rooms.things import shelf_thing


def crate(kit: Kit) -> Item:
    """A cardboard box or crate of 0.25–0.9 m."""
    size = kit.rng.uniform(0.25, 0.75, 3) * kit.uniform(0.8, 1.25)
    material = kit.any(kit.cartons) if kit.chance(0.6) else kit.any([*kit.woods, *kit.colours])
    return Item(box((0, 0, size[2] / 2), size, material, float(size[1])), float(size[0]), float(size[1]), float(size[2]))


def pile(kit: Kit) -> Item:
    """Crates on each other, each turned a little."""
    parts, z = [], 0.0
    items = sorted((crate(kit) for _ in range(int(kit.rng.integers(2, 5)))), key=lambda item: -item.depth * item.width)
    for item in items:
        parts.append(item.mesh.transformed(pose(*kit.rng.normal(0, 0.04, 2), z, float(kit.rng.normal(0, 0.25)))))
        z += item.height
    side = float(np.hypot(items[0].depth, items[0].width))
    return Item(merge(parts), side, side, z)


def rack(kit: Kit) -> Item:
    """A storage rack with boxes on its levels."""
    depth, width, height = kit.uniform(0.5, 1.1), kit.uniform(1.5, 3.2), kit.uniform(1.8, 3.6)
    steel = kit.add("plain", [str(kit.rng.choice(["blue", "metal", "red"]))], 0.5)
    beam = kit.add("plain", [str(kit.rng.choice(["yellow", "metal", "any"]))], 0.5)
    parts = [
        kit.block((x - 0.03, y - 0.04, 0), (x + 0.03, y + 0.04, height), steel)
        for x in (-depth / 2, depth / 2)
        for y in (-width / 2, 0, width / 2)
    ]
    for z in np.arange(0.12, height, kit.uniform(0.6, 1.2)):
        parts.append(kit.block((-depth / 2, -width / 2, z - 0.02), (depth / 2, width / 2, z), kit.any(kit.woods)))
        parts += [kit.block((x - 0.02, -width / 2, z - 0.1), (x + 0.02, width / 2, z), beam) for x in (-depth / 2, depth / 2)]
        y = -width / 2 + 0.08
        while y < width / 2 - 0.35:
            item = crate(kit)
            if kit.chance(0.8) and item.depth < depth:
                parts.append(item.mesh.transformed(pose(kit.uniform(-0.05, 0.1), y + item.width / 2, z)))
            y += item.width + kit.uniform(0.02, 0.25)
    return Item(merge(parts), depth + 0.06, width + 0.08, height + 0.5)


def machine(kit: Kit) -> Item:
    """A machine: a cabinet with boxes, vents, a panel and pipes on it."""
    depth, width, height = kit.uniform(0.5, 1.3), kit.uniform(0.6, 1.8), kit.uniform(0.7, 1.7)
    paint = kit.add("plain", ["any"], 0.6, gloss=kit.uniform(0, 0.15))
    vents = kit.add("vents", ["metal", "black"], 0.5)
    panel = kit.add("sign_board", ["black", "metal", "any"], 0.4, emission=kit.uniform(0, 0.6))
    sides = [kit.any([paint, paint, vents]) for _ in range(5)]
    parts = [kit.block((-depth / 2, -width / 2, 0.08), (depth / 2, width / 2, height), [*sides, paint], 0.6)]
    parts += [
        kit.block((x - 0.05, y - 0.05, 0), (x + 0.05, y + 0.05, 0.1), kit.black)
        for x in (-depth / 2 + 0.1, depth / 2 - 0.1)
        for y in (-width / 2 + 0.1, width / 2 - 0.1)
    ]
    for _ in range(int(kit.rng.integers(1, 5))):
        size = kit.rng.uniform(0.12, 0.5, 3)
        at = kit.rng.uniform([-depth / 3, -width / 3, height], [depth / 3, width / 3, height])
        parts.append(box(at + [0, 0, size[2] / 2], size, kit.any([paint, vents, kit.black, *kit.metals]), 0.5))
    for _ in range(int(kit.rng.integers(0, 4))):
        x, y = kit.rng.uniform([-depth / 2.5, -width / 2.5], [depth / 2.5, width / 2.5])
        r = kit.uniform(0.03, 0.15)
        parts.append(
            tube([[x, y, height - 0.1], [x, y, height + kit.uniform(0.15, 0.6)]], r, kit.any(kit.metals), 10, capped=True)
        )
    parts.append(
        box(
            (depth / 2 + 0.01, kit.uniform(-0.2, 0.2), height * 0.75),
            (0.03, 0.3, 0.2),
            (paint, panel, paint, paint, paint, paint),
            (0.3, 0.2),
        ),
    )
    return Item(merge(parts), depth, width, height + 0.5)


def barrel(kit: Kit) -> Item:
    """A drum, gas bottle or column."""
    r, h = kit.uniform(0.12, 0.32), kit.uniform(0.6, 1.5)
    paint = kit.any([*kit.colours, *kit.metals])
    parts = [tube([[0, 0, 0], [0, 0, h]], r, paint, 18, 0.6, capped=True)]
    parts += [tube([[0, 0, z], [0, 0, z + 0.02]], r * 1.03, paint, 18) for z in (0.02, h / 3, 2 * h / 3, h - 0.04)]
    if kit.chance(0.4):
        parts += [
            ball((0, 0, h), (r, r, 0.6 * r), paint, 6, 18),
            tube([[0, 0, h], [0, 0, h + 0.15]], 0.04, kit.any(kit.metals), 8, capped=True),
        ]
    return Item(merge(parts), 2 * r, 2 * r, h + 0.2)


def pillar(kit: Kit) -> Item:
    """A column up to any ceiling."""
    r = kit.uniform(0.12, 0.35)
    stone = kit.add(str(kit.rng.choice(["concrete", "plaster", "brick"])), ["room_wall", "mortar"], 1.5)
    mesh = tube([[0, 0, 0], [0, 0, 9]], r, stone, 20, 1.5) if kit.chance(0.4) else kit.block((-r, -r, 0), (r, r, 9), stone, 1.5)
    return Item(mesh, 2 * r, 2 * r, 9.0)


def ladder(kit: Kit) -> Item:
    """A step ladder, open."""
    h, metal = kit.uniform(1.0, 2.0), kit.any([*kit.metals, *kit.woods])
    half = []
    for s in (-1, 1):
        half.append(kit.block((-0.02, s * 0.22 - 0.015, 0), (0.02, s * 0.22 + 0.015, h), metal))
    half += [kit.block((-0.05, -0.22, z), (0.05, 0.22, z + 0.03), metal) for z in np.arange(0.25, h, 0.27)]
    side = merge(half)
    spread = kit.uniform(0.15, 0.3)
    mesh = merge([side.transformed(turned("y", sign * spread, (0, 0, h))) for sign in (-1, 1)])
    return Item(mesh, 2 * h * np.sin(spread) + 0.1, 0.5, h)


def cart(kit: Kit) -> Item:
    """A trolley with things on it."""
    depth, width, height = kit.uniform(0.4, 0.6), kit.uniform(0.6, 0.95), kit.uniform(0.7, 0.95)
    metal, deck = kit.any(kit.metals), kit.any([*kit.woods, *kit.colours])
    parts = []
    for z in (0.18, height - 0.02):
        parts.append(kit.block((-depth / 2, -width / 2, z), (depth / 2, width / 2, z + 0.025), deck))
        parts += strew(kit, shelf_thing, (-depth / 2, -width / 2), (depth / 2, width / 2), z + 0.025, 5)
    for x in (-depth / 2 + 0.02, depth / 2 - 0.02):
        for y in (-width / 2 + 0.02, width / 2 - 0.02):
            parts.append(tube([[x, y, 0.1], [x, y, height + 0.05]], 0.012, metal, 6))
            parts.append(tube([[x, y - 0.015, 0.06], [x, y + 0.015, 0.06]], 0.06, kit.black, 10, capped=True))
    return Item(merge(parts), depth, width, height + 0.3)


def vacuum_robot(kit: Kit) -> Item:
    """A flat round cleaning robot."""
    r, h = kit.uniform(0.15, 0.19), kit.uniform(0.07, 0.1)
    shell = kit.any([kit.black, kit.white])
    parts = [
        tube([[0, 0, 0.01], [0, 0, h]], r, shell, 22, capped=True),
        tube([[0.03, 0, h], [0.03, 0, h + 0.02]], 0.05, kit.any(kit.metals), 12, capped=True),
    ]
    return Item(merge(parts), 2 * r, 2 * r, h)


def pipes(kit: Kit, length: float) -> Mesh:
    """Pipes side by side along y, centred on the origin, with brackets."""
    parts, z = [], 0.0
    for _ in range(int(kit.rng.integers(1, 5))):
        r = kit.uniform(0.012, 0.12)
        z -= r + 0.03
        paint = kit.any([*kit.metals, kit.white, *kit.colours])
        parts.append(tube([[0, -length / 2, z], [0, length / 2, z]], r, paint, 10, 0.5))
        z -= r
    parts += [
        kit.block((-0.01, y - 0.02, z), (0.02, y + 0.02, 0), kit.any(kit.metals))
        for y in np.arange(-length / 2 + 0.4, length / 2, 1.5)
    ]
    return merge(parts)


def radiator(kit: Kit) -> Item:
    """A radiator before a wall."""
    width, height = kit.uniform(0.5, 1.6), kit.uniform(0.4, 0.7)
    white = kit.white if kit.chance(0.8) else kit.any(kit.metals)
    parts = [
        kit.block((-0.04, y, 0.12), (0.04, y + 0.035, 0.12 + height), white)
        for y in np.arange(-width / 2, width / 2 - 0.03, 0.055)
    ]
    parts.append(tube([[0, width / 2, 0.0], [0, width / 2, 0.2]], 0.012, white, 6))
    return Item(merge(parts), 0.1, width, height + 0.12)
