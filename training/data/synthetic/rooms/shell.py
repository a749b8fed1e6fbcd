"""What encloses a room: floor, ceiling, walls with doors, windows and passages, and the lamps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, pose, quad, tube
from geoseg_ros.training.data.synthetic.rooms.kit import Kit
from geoseg_ros.training.data.synthetic.rooms.light import Lamp

_BEYOND = 6.0  # metres that floor and ceiling go on behind the walls, for passages
_LAP = 0.03  # metres that walls run past the corners


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: from y0 to y1 along it, z0 to z1 in height; ``depth`` to what closes it."""

    y0: float
    y1: float
    z0: float
    z1: float
    depth: float
    window: bool


@dataclass(frozen=True)
class Wall:
    """A wall in its own frame: x points into the room, y along it (0 in its middle), z up."""

    world_from_wall: np.ndarray
    length: float
    openings: list[Opening] = field(default_factory=list)

    def is_free(self, y0: float, y1: float, z1: float) -> bool:
        """Whether something up to the height z1 may stand before the wall from y0 to y1."""
        return all(y1 < o.y0 or y0 > o.y1 or (o.window and z1 < o.z0 + 0.15) for o in self.openings)


@dataclass(frozen=True)
class Shell:
    """A box-shaped room from (0, 0, 0) to ``size`` (width, depth, height): its meshes in the world, walls and lamps, and the
    mean albedo of its surfaces."""

    size: np.ndarray
    walls: list[Wall]
    meshes: list[Mesh]
    lamps: list[Lamp]
    floor: int
    tint: np.ndarray


def light_colour(kit: Kit) -> np.ndarray:
    """White light, warm to cool (RGB, about 1)."""
    warmth = kit.uniform(-0.35, 1.0)
    return np.array([1.0, 1 - 0.16 * warmth, 1 - 0.42 * warmth])


def build_shell(kit: Kit, kind: str, size: np.ndarray) -> Shell:
    """A room of a kind and size (width, depth, height in metres)."""
    width, depth, height = size
    walls = [
        Wall(pose(width / 2, 0, 0, np.pi / 2), width),
        Wall(pose(width, depth / 2, 0, np.pi), depth),
        Wall(pose(width / 2, depth, 0, -np.pi / 2), width),
        Wall(pose(0, depth / 2, 0, 0.0), depth),
    ]
    rng = kit.rng
    industrial = kind in ("hall", "cellar")
    floors = ["concrete", "paving", "terrazzo", "checks"] if industrial else [
        "parquet", "parquet", "carpet", "paving", "checks", "terrazzo", "plain"
    ]
    floor = kit.add(
        str(rng.choice(floors)), ["room_floor", "room_floor", "room_floor"], kit.uniform(0.8, 2.4),
        gloss=kit.uniform(0, 0.22) * kit.chance(0.45),
    )
    ceiling = kit.add(
        str(rng.choice(["plain", "plaster", "ceiling_tiles", "boards", "concrete"], p=[0.35, 0.2, 0.25, 0.08, 0.12])),
        ["white" if kit.chance(0.75) else "room_wall", "metal"], 2.4,
    )
    plain = ["plain", "plaster"] if kit.chance(0.65) else ["wallpaper", "plaster", "brick", "boards", "concrete", "paving"]
    surface = kit.add(
        str(rng.choice(plain)), ["room_wall", "room_wall", "room_wall"], kit.uniform(0.5, 2.5), detail=kit.uniform(0, 0.35)
    )
    accent = kit.add(
        str(rng.choice(["plain", "wallpaper", "brick", "boards"])), ["any", "room_wall", "any"], kit.uniform(0.5, 2.0)
    )
    below = kit.add(
        str(rng.choice(["paving", "plain", "boards"])),
        ["room_wall", "room_wood"],
        kit.uniform(0.4, 1.6),
        gloss=kit.uniform(0, 0.15),
    )
    band = kit.uniform(0.9, 1.5) if kit.chance(0.2) else 0.0
    accented = int(rng.integers(4)) if kit.chance(0.3) else -1
    trim = kit.add("plain", ["white" if kit.chance(0.6) else "room_wood"], 1.0)
    _open(kit, kind, walls, height)
    meshes = [_plane(kit, size, 0.0, floor, 1), _plane(kit, size, height, ceiling, -1)]
    # whatever slips through a crack ends here
    meshes.append(box(size / 2, size + 2 * _BEYOND, surface, 2.0))
    lamps = []
    sky = kit.uniform(0.5, 1.6)
    for index, wall in enumerate(walls):
        skin = accent if index == accented else surface
        parts = _panels(kit, wall, height, skin, below if band else skin, band)
        for opening in wall.openings:
            parts += _window(kit, opening, trim) if opening.window else _door(kit, opening, trim, surface)
            if opening.window:
                lamps.append(_daylight(wall, opening, sky))
        parts += _skirting(kit, wall, trim)
        meshes += [part.transformed(wall.world_from_wall) for part in parts]
    fixtures, more = _ceiling_lamps(kit, kind, size)
    meshes += fixtures
    lamps += more
    tint = 0.5 * kit.albedo(surface) + 0.25 * kit.albedo(floor) + 0.25 * kit.albedo(ceiling)
    return Shell(size, walls, meshes, lamps, floor, tint)


def _plane(kit: Kit, size: np.ndarray, z: float, material: int, side: int) -> Mesh:
    """The floor (side 1) or ceiling (-1)."""
    low, high = np.full(2, -_BEYOND), size[:2] + _BEYOND
    corners = np.array([[low[0], low[1], z], [high[0], low[1], z], [high[0], high[1], z], [low[0], high[1], z]])
    return quad(corners[::side], material, np.array([*low, *high]) / kit.tile(material))


def _open(kit: Kit, kind: str, walls: list[Wall], height: float) -> None:
    """Doors, passages and windows where they fit."""
    outside = kit.rng.permutation(4)[: int(kit.rng.integers(1, 3))] if kit.chance(0.8) else []
    doors = kit.rng.permutation(4)[: int(kit.rng.integers(1, 4))]
    for index, wall in enumerate(walls):
        if index in doors:
            for _ in range(1 if wall.length < 6 else int(kit.rng.integers(1, 4))):
                top = min(kit.uniform(1.95, 2.15), height - 0.1)
                deep = kit.uniform(0.03, 0.14) if kit.chance(0.65) else kit.uniform(0.8, 4.5)
                _fit(kit, wall, kit.uniform(0.7, 1.1) if deep < 0.2 else kit.uniform(0.8, 1.6), 0.0, top, deep, False)
        if index in outside:
            sill = kit.any([0.0, 0.1, 0.9, 0.9, 1.0]) if kind != "hall" else kit.uniform(1.0, 2.5)
            top = min(height - 0.15, sill + kit.uniform(0.9, 2.2))
            wide = kit.uniform(0.6, 2.4)
            for _ in range(int(np.clip(wall.length / (wide + 0.8), 1, 3))):
                if top - sill > 0.5:
                    _fit(kit, wall, wide, sill, top, kit.uniform(0.05, 0.35), True)


def _fit(kit: Kit, wall: Wall, wide: float, z0: float, z1: float, depth: float, window: bool) -> None:
    reach = wall.length / 2 - wide / 2 - 0.15
    if reach <= 0:
        return
    for _ in range(6):
        y = kit.uniform(-reach, reach)
        if all(y + wide / 2 + 0.25 < o.y0 or y - wide / 2 - 0.25 > o.y1 for o in wall.openings):
            wall.openings.append(Opening(y - wide / 2, y + wide / 2, z0, z1, depth, window))
            wall.openings.sort(key=lambda o: o.y0)
            return


def _panels(kit: Kit, wall: Wall, height: float, upper: int, lower: int, band: float) -> list[Mesh]:
    """The wall's surface around its openings; below the height ``band`` of another material."""
    spans, cursor = [], -wall.length / 2 - _LAP
    for o in wall.openings:
        spans += [(cursor, o.y0, 0.0, height), (o.y0, o.y1, 0.0, o.z0), (o.y0, o.y1, o.z1, height)]
        cursor = o.y1
    spans.append((cursor, wall.length / 2 + _LAP, 0.0, height))
    meshes = []
    for y0, y1, z0, z1 in spans:
        for low, high, material in ((z0, min(z1, band), lower), (max(z0, band), z1, upper)):
            if high > low and y1 > y0:
                corners = np.array([[0, y0, low], [0, y1, low], [0, y1, high], [0, y0, high]])
                uv = np.array([y0, low, y1, high]) / kit.tile(material)
                meshes.append(quad(corners, material, uv))
    return meshes


def _reveal(kit: Kit, o: Opening, material: int) -> list[Mesh]:
    """The sides of an opening, and its lower side where it is above the floor."""
    far, near, t = -o.depth - 0.02, -0.001, 0.08
    parts = [
        kit.block((far, o.y0 - t, o.z0 - t), (near, o.y0, o.z1 + t), material),
        kit.block((far, o.y1, o.z0 - t), (near, o.y1 + t, o.z1 + t), material),
        kit.block((far, o.y0 - t, o.z1), (near, o.y1 + t, o.z1 + t), material),
    ]
    if o.z0 > 0:
        parts.append(kit.block((far, o.y0 - t, o.z0 - t), (near, o.y1 + t, o.z0), material))
    return parts


def _facing(o: Opening, x: float, material: int) -> Mesh:
    """A surface that closes an opening at x; one texture tile."""
    return quad(np.array([[x, o.y0, o.z0], [x, o.y1, o.z0], [x, o.y1, o.z1], [x, o.y0, o.z1]]), material)


def _bars(kit: Kit, o: Opening, trim: int, x: float) -> list[Mesh]:
    """The frame and the bars of a window."""
    t, d = kit.uniform(0.03, 0.08), 0.03
    columns, rows = int(kit.rng.integers(1, 4)), int(kit.rng.integers(1, 3))
    parts = [
        kit.block((x, y - t / 2, o.z0), (x + d, y + t / 2, o.z1), trim)
        for y in np.linspace(o.y0 + t / 2, o.y1 - t / 2, columns + 1)
    ]
    return parts + [
        kit.block((x, o.y0, z - t / 2), (x + d, o.y1, z + t / 2), trim)
        for z in np.linspace(o.z0 + t / 2, o.z1 - t / 2, rows + 1)
    ]


def _window(kit: Kit, o: Opening, trim: int) -> list[Mesh]:
    """A window with what it shows, its sill, blinds or curtains."""
    shown = kit.add("view", [np.array([0.8, 0.88, 0.95]), "leaf", "wall"], 1.5, emission=kit.uniform(0.6, 4.0))
    parts = [*_reveal(kit, o, trim), _facing(o, -o.depth, shown), *_bars(kit, o, trim, -o.depth)]
    if o.z0 > 0.2:
        parts.append(kit.block((-o.depth, o.y0 - 0.05, o.z0 - 0.04), (kit.uniform(0.02, 0.2), o.y1 + 0.05, o.z0), trim))
    if kit.chance(0.3):
        drop = o.z1 - (o.z1 - o.z0) * kit.uniform(0.1, 1.0)
        slats = kit.add("blinds", ["white", "black"], 1.0, emission=kit.uniform(0, 0.8))
        parts.append(kit.block((-0.03, o.y0, drop), (-0.01, o.y1, o.z1), slats))
    elif kit.chance(0.4):
        cloth = kit.add("folds", ["cloth", "any"], 1.0)
        low = 0.02 if kit.chance(0.6) else max(0.0, o.z0 - 0.2)
        for side, y in ((-1, o.y0), (1, o.y1)):
            wide = kit.uniform(0.15, 0.6)
            centre = y + side * (0.15 - wide / 2)
            line = np.linspace(centre - wide / 2, centre + wide / 2, 25)
            sway = 0.09 + 0.03 * np.sin(line * kit.uniform(40, 70))
            parts += [
                quad(np.array([[a, y0, low], [b, y1, low], [b, y1, o.z1 + 0.1], [a, y0, o.z1 + 0.1]]), cloth, (y0, 0, y1, 2))
                for a, b, y0, y1 in zip(sway, sway[1:], line, line[1:])
            ]
    return parts


def _door(kit: Kit, o: Opening, trim: int, surface: int) -> list[Mesh]:
    """A closed door, or a passage that ends at a wall, with its casing and at times the open leaf."""
    casing, t = kit.uniform(0.05, 0.1), kit.uniform(0.01, 0.03)
    leaf = kit.add("doors" if kit.chance(0.4) else str(kit.rng.choice(["plain", "grained"])), ["room_wood", "metal"], 1.0)
    parts = _reveal(kit, o, trim if o.depth < 0.3 else surface)
    parts += [
        kit.block((-0.01, o.y0 - casing, 0), (t, o.y0, o.z1 + casing), trim),
        kit.block((-0.01, o.y1, 0), (t, o.y1 + casing, o.z1 + casing), trim),
        kit.block((-0.01, o.y0, o.z1), (t, o.y1, o.z1 + casing), trim),
    ]
    metal = kit.any(kit.metals)
    wide = o.y1 - o.y0
    handle = merge(
        [kit.block((0.0, -0.06, 1.0), (0.05, 0.06, 1.02), metal), kit.block((0, -0.02, 0.9), (0.012, 0.02, 1.1), metal)]
    )
    if o.depth < 0.3:
        return [*parts, _facing(o, -o.depth, leaf), handle.transformed(pose(-o.depth, o.y0 + 0.09))]
    parts.append(_facing(o, -o.depth, surface if kit.chance(0.6) else leaf))
    if kit.chance(0.5):
        slab = merge(
            [kit.block((-0.02, -wide, 0.01), (0.02, 0, o.z1), leaf, (wide, o.z1)), handle.transformed(pose(0.02, -wide + 0.1))]
        )
        parts.append(slab.transformed(pose(0.03, o.y1, 0, kit.uniform(0.6, 1.7))))
    return parts


def _skirting(kit: Kit, wall: Wall, trim: int) -> list[Mesh]:
    if kit.chance(0.2):
        return []
    h, t = kit.uniform(0.04, 0.14), kit.uniform(0.008, 0.02)
    spans, cursor = [], -wall.length / 2
    for o in wall.openings:
        if o.z0 < h:
            spans.append((cursor, o.y0 - 0.1))
            cursor = o.y1 + 0.1
    spans.append((cursor, wall.length / 2))
    return [kit.block((-0.01, a, 0), (t, b, h), trim) for a, b in spans if b > a]


def _daylight(wall: Wall, o: Opening, sky: float) -> Lamp:
    matrix = wall.world_from_wall
    wide, high = (o.y1 - o.y0) / 2, (o.z1 - o.z0) / 2
    centre = matrix @ [0.03, (o.y0 + o.y1) / 2, (o.z0 + o.z1) / 2, 1.0]
    colour = np.array([0.85, 0.95, 1.1]) * sky
    return Lamp(centre[:3], matrix[:3, 1] * wide * 0.9, np.array([0, 0, high * 0.9]), matrix[:3, 0], colour * wide * high * 4)


def _ceiling_lamps(kit: Kit, kind: str, size: np.ndarray) -> tuple[list[Mesh], list[Lamp]]:
    """Panels, tubes or hanging lamps, all of one style; some are off, rooms with windows may have none on."""
    width, depth, height = size
    colour = light_colour(kit)
    style = kit.rng.choice(["panel", "tube", "hanging", "dome"])
    bright = kit.uniform(1.5, 6.0) if kit.chance(0.85) else 0.15
    across, along = (int(np.clip(round(length / kit.uniform(2.5, 5)), 1, 3)) for length in (width, depth))
    shade = kit.any(kit.colours)
    down, none = np.array([0, 0, -1.0]), np.zeros(3)
    drop = kit.uniform(0.3, max(0.35, height - 2.0))
    half = np.array([0.3, 0.3]) if style == "panel" else np.array([0.06, 0.6])
    meshes, lamps = [], []
    for x in (np.arange(across) + 0.5) * width / across:
        for y in (np.arange(along) + 0.5) * depth / along:
            lit = bright * (1.0 if kit.chance(0.9) else 0.03)
            glow = kit.add("plain", [colour * 0.8], 1.0, emission=lit * 1.5)
            place = pose(x, y, height)
            if style in ("panel", "tube"):
                meshes.append(box((0, 0, -0.02), (*(2 * half), 0.04), (kit.white,) * 5 + (glow,)).transformed(place))
                lamp = Lamp(
                    np.array([x, y, height - 0.07]), np.array([half[0], 0, 0]), np.array([0, half[1], 0]), down, colour * lit
                )
            elif style == "dome":
                meshes.append(ball((x, y, height), (0.2, 0.2, 0.1), glow, 7, 16))
                lamp = Lamp(np.array([x, y, height - 0.15]), np.array([0.15, 0, 0]), np.array([0, 0.15, 0]), none, colour * lit)
            else:
                parts = [
                    tube([[0, 0, 0], [0, 0, -drop]], 0.006, kit.black, 4),
                    tube([[0, 0, -drop], [0, 0, -drop - 0.22]], [0.05, kit.uniform(0.12, 0.28)], shade, 16),
                    ball((0, 0, -drop - 0.16), (0.05, 0.05, 0.06), glow, 6, 10),
                ]
                meshes += [part.transformed(place) for part in parts]
                lamp = Lamp(
                    np.array([x, y, height - drop - 0.26]), np.array([0.06, 0, 0]), np.array([0, 0.06, 0]), none, colour * lit
                )
            lamps.append(lamp)
    return meshes, lamps
