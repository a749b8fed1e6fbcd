"""Carriageways with their markings, kerbs, pavements, verges and the open land."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.ground import Curve, Ground
from geoseg_ros.training.data.synthetic.materials import PAVEMENT, ROAD, TREE, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, sheet
from geoseg_ros.training.data.synthetic.palette import color
from geoseg_ros.training.data.synthetic.streets.layout import KERB, Layout, Road

_STEP = 2.0  # metres between the rows of a strip
_PAINT_HEIGHT = 0.012
_PATCH_HEIGHT = 0.006


def strip(
    ground: Ground,
    curve: Curve,
    s: tuple[float, float],
    t: tuple[float, float],
    above: float | tuple[float, float],
    material: int,
    tile: float,
    fit: bool = False,
) -> Mesh:
    """A band along a curve between arc lengths s and offsets t, at one height above ground or one per edge.
    ``fit`` stretches one texture tile over the whole band instead of tiling in metres."""
    rows = max(2, int(np.ceil((s[1] - s[0]) / _STEP)) + 1)
    columns = max(2, int(np.ceil(abs(t[1] - t[0]) / 4.0)) + 1)
    along = np.linspace(s[0], s[1], rows)[:, None]
    across = np.linspace(t[0], t[1], columns)[None]
    xy = curve.point(along, across)
    height = np.interp(np.linspace(0, 1, columns), [0, 1], np.broadcast_to(above, (2,)))
    points = np.concatenate([xy, (ground.height(xy) + height)[..., None]], -1)
    if fit:
        u, v = (along - s[0]) / (s[1] - s[0]), (across - t[0]) / (t[1] - t[0])
    else:
        rise = abs(np.subtract(*np.broadcast_to(above, (2,)))) * np.linspace(0, 1, columns)
        u, v = along / tile, (across + rise) / tile
    return sheet(points, np.stack(np.broadcast_arrays(u, v), -1), material)


def build_surfaces(layout: Layout, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    """All ground surfaces of a street."""
    meshes = [_land(layout, materials, rng)]
    for number, road in enumerate(layout.roads):
        meshes += _carriageway(layout, road, number, materials, rng)
        meshes += _markings(layout, road, materials, rng)
        meshes += _sides(layout, road, number, materials, rng)
    return meshes


def _land(layout: Layout, materials: Materials, rng: np.random.Generator) -> Mesh:
    xy = layout.main.curve.xy
    low, high = xy.min(0) - 350, xy.max(0) + 350
    x = np.arange(low[0], high[0] + 12, 12.0)
    y = np.arange(low[1], high[1] + 12, 12.0)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1)
    grass = materials.add("grass", TREE, ["grass", "soil", "grass"], tile=rng.uniform(2, 4), detail=0.5)
    return sheet(layout.ground.lift(grid, -0.07), grid / 3.0, grass)


def _carriageway(
    layout: Layout, road: Road, number: int, materials: Materials, rng: np.random.Generator
) -> list[Mesh]:
    base = color(rng, "asphalt")
    texture = "cobbles" if rng.random() < 0.04 else "asphalt"
    tile = float(rng.uniform(2.0, 5.0))
    asphalt = materials.add(
        texture,
        ROAD,
        [base, base * rng.uniform(0.4, 0.75), base * rng.uniform(1.2, 2.0)],
        tile,
        detail=rng.uniform(0.1, 0.5),
        gloss=float(rng.choice([0, 0, 0.02, 0.06])),
    )
    section = road.section
    # side roads lie a hair lower and reach under the main road's edge
    height, lead = (0.0, 0.0) if number == 0 else (-0.004, 1.0)
    span = (road.start - lead, road.end)
    meshes = [
        strip(
            layout.ground,
            road.curve,
            span,
            (-section.half_width(-1), section.half_width(1)),
            height,
            asphalt,
            tile,
        )
    ]
    # repairs, trenches and manholes
    patches = rng.poisson((road.end - road.start) / rng.uniform(15, 80))
    for _ in range(min(patches, 30)):
        shade = base * rng.uniform(0.55, 1.35)
        patch = materials.add("asphalt", ROAD, [shade, shade * 0.6, shade * 1.5], tile, detail=0.3)
        s = rng.uniform(road.start, road.end - 6)
        t = rng.uniform(-section.half_width(-1) + 0.5, section.half_width(1) - 2.5)
        length, width = (
            (rng.uniform(4, 30), rng.uniform(0.4, 1.0)) if rng.random() < 0.4 else rng.uniform(0.5, 3.0, 2)
        )
        meshes.append(
            strip(
                layout.ground,
                road.curve,
                (s, min(s + length, road.end)),
                (t, t + width),
                height + _PATCH_HEIGHT,
                patch,
                tile,
            )
        )
    return meshes


def _markings(layout: Layout, road: Road, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    if rng.random() < (0.15 if road is layout.main else 0.4):
        return []
    section, ground, curve = road.section, layout.ground, road.curve
    white = color(rng, "paint") * rng.uniform(0.6, 1.0)
    paint = materials.add("paint", ROAD, [white, white * 0.5], 1.0, detail=0.3, cutout=True)
    meshes: list[Mesh] = []

    def band(s0: float, s1: float, t0: float, t1: float) -> None:
        if s1 - s0 > 0.05:
            meshes.append(strip(ground, curve, (s0, s1), (t0, t1), _PAINT_HEIGHT, paint, 1.0))

    def dashes(t: float, on: float, off: float, width: float) -> None:
        for s in np.arange(road.start + 2.0, road.end - on, on + off):
            if not any(low - 1 < s + on and s < high + 1 for low, high, _ in road.gaps):
                band(s, s + on, t - width / 2, t + width / 2)

    width = rng.uniform(0.10, 0.18)
    on = rng.uniform(1.5, 4.0)
    dashes(0.0, on, on * rng.uniform(0.7, 2.5), width)
    for lane in range(1, section.lanes):
        for side in (-1, 1):
            dashes(side * lane * section.lane_width, on, on * 1.5, width)
    style = rng.random()
    for side in (-1, 1):
        edge = section.half_width(side)
        kerb_line = section.lanes * section.lane_width
        for s0, s1 in road.stretches(side, 2.0):
            if style < 0.4:
                band(s0, s1, side * (edge - 0.35) - width / 2, side * (edge - 0.35) + width / 2)
            if style < 0.12:
                band(s0, s1, side * (edge - 0.15) - width / 2, side * (edge - 0.15) + width / 2)
        if section.parking[0 if side > 0 else 1] and rng.random() < 0.5:
            for s0, s1 in road.stretches(side, 4.0):
                for s in np.arange(s0, s1, 5.5):
                    band(s, s + 0.12, *sorted((side * kerb_line, side * edge)))
    meshes += _crossing_markings(layout, road, paint, rng)
    return meshes


def _crossing_markings(layout: Layout, road: Road, paint: int, rng: np.random.Generator) -> list[Mesh]:
    """Zebra crossings, stop lines and arrows."""
    section, ground, curve = road.section, layout.ground, road.curve
    meshes = []

    def zebra(s: float, length: float) -> None:
        stripe = rng.uniform(0.4, 0.6)
        for t in np.arange(-section.half_width(-1) + 0.3, section.half_width(1) - stripe, 2 * stripe):
            meshes.append(strip(ground, curve, (s, s + length), (t, t + stripe), _PAINT_HEIGHT, paint, 1.0))

    if road is not layout.main:
        lane = (
            -layout.drive
        ) * section.lane_width  # traffic towards the main road drives against the curve's s
        stop = road.start + 1.5
        if rng.random() < 0.6:
            meshes.append(
                strip(ground, curve, (stop, stop + 0.4), tuple(sorted((0.0, -lane))), _PAINT_HEIGHT, paint, 1)
            )
        if rng.random() < 0.4:
            zebra(stop + 1.5, 3.0)
        return meshes
    places = [low - rng.uniform(4, 6) for low, _, _ in road.gaps] + list(rng.uniform(10, road.end, 2))
    for s in places:
        choice = rng.random()
        if choice < 0.35:
            zebra(s - 3.0, rng.uniform(2.5, 4.0))
        elif choice < 0.7:
            t = -layout.drive * section.lane_width * (rng.integers(section.lanes) + 0.5)
            meshes += [
                strip(ground, curve, (s - 8.0, s - 5.0), (t - 0.09, t + 0.09), _PAINT_HEIGHT, paint, 1.0),
                *(
                    strip(
                        ground,
                        curve,
                        (s - 5.0 + k * 0.2, s - 4.78 + k * 0.2),
                        (t - w, t + w),
                        _PAINT_HEIGHT,
                        paint,
                        1.0,
                    )
                    for k, w in enumerate((0.5, 0.4, 0.3, 0.2, 0.1))
                ),
                strip(
                    ground,
                    curve,
                    (s - 1.0, s - 0.6),
                    tuple(sorted((0.0, -layout.drive * section.lanes * section.lane_width))),
                    _PAINT_HEIGHT,
                    paint,
                    1.0,
                ),
            ]
    return meshes


def _sides(
    layout: Layout, road: Road, number: int, materials: Materials, rng: np.random.Generator
) -> list[Mesh]:
    """Kerbs, pavements and what lies between them and the walls."""
    meshes = []
    section, ground, curve = road.section, layout.ground, road.curve
    texture = str(rng.choice(["paving", "asphalt", "concrete", "cobbles"], p=[0.5, 0.25, 0.2, 0.05]))
    floor = color(rng, "pavement")
    tile = float(rng.uniform(1.5, 4.0))
    pavement = materials.add(
        texture, PAVEMENT, [floor, floor * rng.uniform(0.3, 0.8), floor * 1.3], tile, detail=0.35
    )
    stone = color(rng, "pavement")
    kerb = materials.add("concrete", PAVEMENT, [stone, stone * 0.6], 1.0)
    paved = {"terraced": 0.8, "residential": 0.15, "commercial": 0.95, "avenue": 0.35, "rural": 0.0}[
        layout.kind
    ]
    for side in (-1, 1):
        edge = section.half_width(side)
        height = KERB - 0.02 * (number > 0)
        outer = edge + section.pavement
        front = (
            materials.add(
                "concrete" if rng.random() < 0.6 else "paving", PAVEMENT, ["pavement", "pavement"], 3.0
            )
            if rng.random() < paved
            else materials.add("grass", TREE, ["grass", "soil", "leaf"], 2.5, detail=0.5)
        )
        has_pavement = layout.kind != "rural" or rng.random() < 0.3
        strip_of_grass = rng.random() < (0.4 if layout.kind in ("residential", "avenue") else 0.08)
        for s0, s1 in road.stretches(side):
            if has_pavement:
                meshes.append(
                    strip(
                        ground,
                        curve,
                        (s0, s1),
                        (side * edge, side * (edge + 0.015)),
                        (0.0, height),
                        kerb,
                        1.0,
                    )
                )
                meshes.append(
                    strip(
                        ground,
                        curve,
                        (s0, s1),
                        (side * (edge + 0.015), side * (edge + 0.14)),
                        height,
                        kerb,
                        1.0,
                    )
                )
                if strip_of_grass and section.pavement > 2.2:
                    lawn = materials.add("grass", TREE, ["grass", "soil", "leaf"], 2.5, detail=0.5)
                    middle = edge + 0.14 + 0.9
                    meshes.append(
                        strip(
                            ground,
                            curve,
                            (s0 + 4, s1 - 4),
                            (side * (edge + 0.14), side * middle),
                            height + 0.02,
                            lawn,
                            2.5,
                        )
                    )
                meshes.append(
                    strip(
                        ground, curve, (s0, s1), (side * (edge + 0.14), side * outer), height, pavement, tile
                    )
                )
            else:
                meshes.append(
                    strip(ground, curve, (s0, s1), (side * edge, side * outer), (-0.03, 0.05), front, 2.5)
                )
        first = road.start if number == 0 else road.start + layout.section.pavement + layout.section.setback
        for s0, s1 in road.stretches(side, 3.0 if number == 0 else 0.0):
            s0 = max(s0, first)
            if s1 - s0 > 1:
                reach = outer + section.setback + (14.0 if number == 0 else 4.0)
                meshes.append(
                    strip(ground, curve, (s0, s1), (side * outer, side * reach), height - 0.015, front, 2.5)
                )
    return meshes
