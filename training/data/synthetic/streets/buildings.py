"""Houses along the streets: walls with windows, shop fronts, roofs, balconies, chimneys and doors."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.materials import BUILDING, SIGN, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, box, merge, polygon, quad
from geoseg_ros.training.data.synthetic.palette import color
from geoseg_ros.training.data.synthetic.streets.layout import KERB, Layout

_STYLES = {
    # width, floors, gap between houses, share of gable roofs, share of shops
    "terraced": ((5, 9), (2, 5), (0.0, 0.0), 0.8, 0.3),
    "residential": ((8, 15), (1, 4), (2.0, 9.0), 0.9, 0.03),
    "commercial": ((10, 28), (2, 9), (0.0, 1.0), 0.2, 0.75),
    "avenue": ((12, 30), (2, 7), (3.0, 18.0), 0.4, 0.2),
    "rural": ((9, 16), (1, 3), (15.0, 60.0), 0.95, 0.0),
}


def build_buildings(layout: Layout, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    """Buildings along both sides of all roads."""
    widths, floors, gaps, gables, shops = _STYLES[layout.kind]
    meshes: list[Mesh] = []
    street_floors = int(rng.integers(*floors))
    for road in layout.roads:
        main = road is layout.main
        crossing = 3.5 if main else 0.0
        for side in (-1, 1):
            for s0, s1 in road.stretches(side, crossing):
                cursor = s0 if main else s0 + layout.section.building_line(side) - road.start + 16.0
                while cursor < s1 - 4.0:
                    width = float(min(rng.uniform(*widths), s1 - cursor))
                    depth = float(rng.uniform(8, 13))
                    line = road.section.building_line(side) + float(rng.uniform(0, 0.8) if gaps[1] else 0.0)
                    centre = road.curve.point(cursor + width / 2, side * (line + depth / 2))
                    yaw = float(road.curve.yaw(cursor + width / 2)) + (np.pi if side > 0 else 0.0)
                    corners = road.curve.point(
                        [cursor, cursor + width, cursor, cursor + width],
                        side * np.array([line, line, line + depth, line + depth]),
                    )
                    levels = max(1, street_floors + int(rng.integers(-1, 2)))
                    if width > 4.0 and layout.clear_of_roads(corners, road):
                        house = _house(
                            rng, materials, width, depth, levels, rng.random() < gables, rng.random() < shops
                        )
                        meshes.append(house.transformed(layout.ground.upright(centre, yaw, KERB - 0.3)))
                    cursor += width + float(rng.uniform(*gaps)) + 0.02
    return meshes


def _house(
    rng, materials: Materials, width: float, depth: float, floors: int, gable: bool, shop: bool
) -> Mesh:
    """A house whose front lies at y = +depth/2, centred at the origin."""
    storey = float(rng.uniform(2.7, 3.5))
    base = 0.3 + float(rng.choice([0.0, 0.3, 0.8]))
    wall = color(rng, "brick" if rng.random() < 0.35 else "wall", 0.05)
    trim, glass = color(rng, "trim", 0.05), color(rng, "glass")
    front = materials.add("facade", BUILDING, [wall, glass, trim], 10.0, glossy_second=0.5)
    plain_wall = materials.add(str(rng.choice(["plaster", "brick"])), BUILDING, [wall, wall * 0.7, trim], 3.0)
    ground_floor = storey * (1.15 if shop else 0.0)
    height = base + ground_floor + storey * (floors - (1 if shop else 0))
    height = max(height, base + ground_floor + storey * 0.9)
    bays = max(1, round(width / rng.uniform(2.2, 3.8)))
    offset = rng.integers(0, 4, 2)
    bottom = base + ground_floor
    y = depth / 2

    def face(a, b, z0, z1, material, across) -> Mesh:
        levels = (z1 - z0) / storey
        uv = (offset[0] / 4, offset[1] / 4, (offset[0] + across) / 4, (offset[1] + levels) / 4)
        return quad([[*a, z0], [*b, z0], [*b, z1], [*a, z1]], material, uv)

    half = width / 2
    side_bays = max(1, round(depth / 3.5))
    parts = [
        face((half, y), (-half, y), bottom, height, front, bays),
        face((-half, y), (-half, -y), bottom, height, front if rng.random() < 0.5 else plain_wall, side_bays),
        face((half, -y), (half, y), bottom, height, front if rng.random() < 0.5 else plain_wall, side_bays),
        face((-half, -y), (half, -y), bottom, height, front, bays),
        box((0, 0, bottom / 2), (width, depth, bottom), plain_wall, 3.0),
    ]
    if shop:
        window = materials.add(
            "shop", BUILDING, [color(rng, "any"), glass, color(rng, "any")], 5.0, glossy_second=0.4
        )
        repeat = max(1, round(width / 5.0))
        parts.append(
            quad(
                [
                    [half, y + 0.06, 0.2],
                    [-half, y + 0.06, 0.2],
                    [-half, y + 0.06, bottom],
                    [half, y + 0.06, bottom],
                ],
                window,
                (0, 0, repeat, 1),
            )
        )
        if rng.random() < 0.4:
            awning = materials.add("cloth", BUILDING, ["any", "white"], 2.0)
            parts.append(
                quad(
                    [
                        [half - 0.4, y + 1.3, bottom - 1.0],
                        [-half + 0.4, y + 1.3, bottom - 1.0],
                        [-half + 0.4, y + 0.05, bottom - 0.4],
                        [half - 0.4, y + 0.05, bottom - 0.4],
                    ],
                    awning,
                    (0, 0, width / 2, 1),
                )
            )
        if rng.random() < 0.5:
            board = materials.add("sign_board", SIGN, ["any", "any", "white"], 1.0)
            x = rng.uniform(-half + 0.5, half - 0.5)
            parts.append(
                box((x, y + 0.5, bottom + 0.5), (0.12, 0.9, rng.uniform(0.6, 1.1)), board, (0.9, 1.0))
            )
    else:
        door = materials.add("boards", BUILDING, ["wood", "black"], 1.5)
        x = rng.uniform(-half + 1, half - 1)
        parts.append(box((x, y, base + 0.85), (1.0, 0.16, 2.3), door, 1.5))
    parts += _roof(rng, materials, width, depth, height, gable, plain_wall, trim)
    if floors > 1 and rng.random() < 0.25:
        slab = materials.add("concrete", BUILDING, [trim, wall], 2.0)
        for level in range(1, floors):
            z = bottom + (level - (1 if shop else 0)) * storey + 0.1
            if z + 1.2 < height:
                for x in np.arange(-half + 1.8, half - 1.2, rng.choice([3.0, 5.0])):
                    parts.append(box((x, y + 0.5, z + 0.5), (2.2, 1.0, 1.1), slab, 2.0))
    return merge(parts)


def _roof(rng, materials: Materials, width, depth, height, gable: bool, wall: int, trim) -> list[Mesh]:
    half, y = width / 2, depth / 2
    tiles = materials.add("roof", BUILDING, ["roof", "black", "grass"], 3.5)
    stone = materials.add("plain", BUILDING, [trim], 2.0)
    parts = [box((0, 0, height + 0.06), (width + 0.3, depth + 0.5, 0.2), stone, 2.0)]
    if not gable:
        parts.append(box((0, 0, height + 0.4), (width, depth, rng.uniform(0.3, 1.0)), wall, 3.0))
        for _ in range(rng.integers(0, 3)):
            parts.append(
                box(
                    (rng.uniform(-half, half) * 0.7, rng.uniform(-y, y) * 0.5, height + 1.2),
                    (2.0, 2.0, 1.8),
                    wall,
                    3.0,
                )
            )
        return parts
    rise = float(rng.uniform(0.25, 0.6)) * depth / 2 * 1.3
    z, top, over = height + 0.15, height + 0.15 + rise, 0.4
    if rng.random() < 0.75:  # the ridge runs along the street
        for sign in (1, -1):
            parts.append(
                quad(
                    [
                        [sign * (half + over / 3), sign * (y + over), z],
                        [-sign * (half + over / 3), sign * (y + over), z],
                        [-sign * (half + over / 3), 0, top],
                        [sign * (half + over / 3), 0, top],
                    ],
                    tiles,
                    (0, 0, width / 3.5, np.hypot(rise, y) / 3.5),
                )
            )
            parts.append(
                polygon([[-y, 0], [y, 0], [0, rise]], (sign * half, 0, z), (0, 1, 0), (0, 0, 1), wall)
            )
        parts += _dormers(rng, materials, half, y, z, rise)
    else:
        for sign in (1, -1):
            parts.append(
                quad(
                    [
                        [sign * (half + over), -sign * y, z],
                        [sign * (half + over), sign * y, z],
                        [0, sign * y, top],
                        [0, -sign * y, top],
                    ],
                    tiles,
                    (0, 0, depth / 3.5, np.hypot(rise, half) / 3.5),
                )
            )
            parts.append(
                polygon([[-half, 0], [half, 0], [0, rise]], (0, sign * y, z), (1, 0, 0), (0, 0, 1), wall)
            )
    if rng.random() < 0.6:
        parts.append(
            box(
                (rng.uniform(-half, half) * 0.8, rng.uniform(-0.5, 0.5), top + 0.2),
                (0.9, 0.6, 1.8),
                wall,
                3.0,
            )
        )
    return parts


def _dormers(rng, materials: Materials, half, y, z, rise) -> list[Mesh]:
    if rise < 2.0 or rng.random() < 0.5:
        return []
    window = materials.add("facade", BUILDING, ["trim", "glass", "trim"], 10.0, glossy_second=0.5)
    count = max(1, int(half / 2.0))
    return [
        box((x, y * 0.62, z + rise * 0.42), (1.5, y * 0.5, 1.3), window, (6.0, 5.2))
        for x in np.linspace(-half * 0.7, half * 0.7, count)
    ]
