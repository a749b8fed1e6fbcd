"""What hangs on walls and ceilings of rooms: pictures, boards, shelves, clocks, pipes, ducts, radiators, beams."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, box, merge, pose, tube, turned
from geoseg_ros.training.data.synthetic.rooms.equipment import pipes, radiator
from geoseg_ros.training.data.synthetic.rooms.furniture import monitor
from geoseg_ros.training.data.synthetic.rooms.kit import Kit, cushion, strew
from geoseg_ros.training.data.synthetic.rooms.shell import Wall
from geoseg_ros.training.data.synthetic.rooms.things import shelf_thing


def _picture(kit: Kit) -> Mesh:
    """A framed picture, poster, note or whiteboard around the origin, facing +x."""
    wide, high = kit.rng.uniform(0.15, 0.9, 2)
    if kit.chance(0.12):
        wide, high = kit.uniform(1.2, 2.4), kit.uniform(0.9, 1.2)
        shown = kit.add("sign_board", ["white", "metal", "any"], wide, gloss=kit.uniform(0, 0.2))
    else:
        shown = kit.add(
            str(kit.rng.choice(["painting", "poster", "page", "sign_board", "wallpaper"])), ["any", "any", "any"], wide
        )
    frame = kit.any([kit.black, kit.white, *kit.woods])
    t = kit.uniform(0.002, 0.04)
    picture = box((t / 2, 0, 0), (t, wide, high), (frame, shown, frame, frame, frame, frame), (wide, high))
    if t < 0.012:
        return picture
    border = kit.uniform(0.01, 0.05)
    parts = [picture]
    for s in (-1, 1):
        parts.append(box((t / 2 + 0.005, s * wide / 2, 0), (t + 0.01, border, high + border), frame))
        parts.append(box((t / 2 + 0.005, 0, s * high / 2), (t + 0.01, wide + border, border), frame))
    return merge(parts)


def _board(kit: Kit) -> Mesh:
    """A wall shelf with things on it."""
    wide, deep = kit.uniform(0.4, 1.4), kit.uniform(0.14, 0.3)
    plank = kit.block((0, -wide / 2, -0.025), (deep, wide / 2, 0), kit.any(kit.woods))
    return merge([plank, *strew(kit, shelf_thing, (0, -wide / 2), (deep, wide / 2), 0.0, 7)])


def _clock(kit: Kit) -> Mesh:
    """A clock, plate or round vent."""
    face = kit.any([kit.white, *kit.colours])
    return tube([[0, 0, 0], [0.03, 0, 0]], kit.uniform(0.08, 0.2), face, 20, capped=True)


def _television(kit: Kit) -> Mesh:
    return monitor(kit).transformed(pose(0.06, 0, -0.3))


def _hooks(kit: Kit) -> Mesh:
    """Garments or bags that hang on a rail."""
    wide = kit.uniform(0.3, 1.0)
    parts = [kit.block((0, -wide / 2, 0), (0.03, wide / 2, 0.08), kit.any(kit.woods))]
    for y in np.arange(-wide / 2 + 0.1, wide / 2, 0.2):
        if kit.chance(0.7):
            size = kit.rng.uniform([0.08, 0.16, 0.4], [0.2, 0.35, 0.95])
            parts.append(cushion((0.05 + size[0] / 2, y, -size[2] / 2), size, kit.any(kit.cloths), kit.uniform(0.5, 0.9)))
    return merge(parts)


def _fixture(kit: Kit) -> Mesh:
    """An extinguisher, a fuse box, a hand dryer or the like."""
    if kit.chance(0.3):
        red = kit.add("sign_board", ["red", "red", "white"], 0.3, gloss=0.1)
        return tube([[0.1, 0, -0.5], [0.1, 0, 0.0], [0.1, 0, 0.06]], [0.075, 0.075, 0.03], red, 14, 0.4, capped=True)
    size = kit.rng.uniform([0.05, 0.1, 0.1], [0.25, 0.6, 0.7])
    return box((size[0] / 2, 0, 0), size, kit.any([kit.white, *kit.metals, *kit.colours]), float(size[1]))


_HEIGHTS = {
    _picture: (1.2, 1.8),
    _board: (1.1, 1.9),
    _clock: (1.7, 2.1),
    _television: (1.2, 1.7),
    _hooks: (1.5, 1.8),
    _fixture: (0.9, 1.6),
}
_WEIGHTS = (0.5, 0.2, 0.06, 0.06, 0.08, 0.1)


def on_wall(kit: Kit, wall: Wall, height: float, density: float) -> list[Mesh]:
    """Things on a wall, switches and sockets, pipes; in the wall's frame."""
    meshes = []
    taken: list[tuple[float, float]] = []
    for _ in range(kit.rng.poisson(wall.length * 0.45 * density)):
        make = list(_HEIGHTS)[int(np.searchsorted(np.cumsum(_WEIGHTS), kit.rng.random()))]
        mesh = make(kit)
        half = float(np.abs(mesh.vertices[:, 1]).max()) + 0.05
        reach = wall.length / 2 - half - 0.1
        if reach <= 0:
            continue
        y = kit.uniform(-reach, reach)
        z = min(kit.uniform(*_HEIGHTS[make]), height - float(mesh.vertices[:, 2].max()) - 0.05)
        if wall.is_free(y - half, y + half, z) and all(y + half < a or y - half > b for a, b in taken):
            taken.append((y - half, y + half))
            tilt = turned("x", float(kit.rng.normal(0, 0.01)))
            meshes.append(mesh.transformed(pose(0.001, y, z) @ tilt))
    for _ in range(int(kit.rng.integers(0, 4))):
        y, z = kit.uniform(-wall.length / 2 + 0.2, wall.length / 2 - 0.2), kit.any([0.3, 0.3, 1.1])
        if wall.is_free(y - 0.1, y + 0.1, 2.0):
            meshes.append(box((0.005, y, z), (0.012, 0.08 * kit.any([1, 1, 2]), 0.08), kit.white))
    if kit.chance(0.15):
        run = pipes(kit, wall.length - 0.1)
        meshes.append(run.transformed(pose(0.13, 0, height - kit.uniform(0.02, 0.3))))
    if kit.chance(0.1):
        y = kit.any([-1, 1]) * (wall.length / 2 - 0.15)
        meshes.append(
            tube([[0.1, y, 0], [0.1, y, height]], kit.uniform(0.02, 0.09), kit.any([*kit.metals, kit.white]), 12, 0.5)
        )
    return meshes


def between_windows(kit: Kit, wall: Wall) -> list[Mesh]:
    """Radiators below windows; in the wall's frame."""
    return [
        radiator(kit).mesh.transformed(pose(0.09, (o.y0 + o.y1) / 2))
        for o in wall.openings
        if o.window and o.z0 > 0.75 and kit.chance(0.5)
    ]


def on_ceiling(kit: Kit, size: np.ndarray, industrial: bool) -> list[Mesh]:
    """Beams, pipes and ducts below the ceiling; in the world."""
    width, depth, height = size
    meshes = []
    if kit.chance(0.5 if industrial else 0.1):
        skin = kit.any([*kit.woods, *kit.metals, kit.white])
        drop, thick = kit.uniform(0.1, 0.35), kit.uniform(0.08, 0.25)
        for y in np.arange(kit.uniform(0.5, 1.5), depth, kit.uniform(1.0, 3.0)):
            meshes.append(kit.block((-0.1, y - thick / 2, height - drop), (width + 0.1, y + thick / 2, height + 0.1), skin))
    if kit.chance(0.6 if industrial else 0.12) and height > 2.4:
        for _ in range(int(kit.rng.integers(1, 4))):
            if kit.chance(0.5):
                duct = pipes(kit, depth).transformed(pose(kit.uniform(0.3, width - 0.3), depth / 2, height))
            else:
                wide, high = kit.rng.uniform(0.2, [0.7, 0.45])
                x = kit.uniform(0.4, width - 0.4)
                duct = kit.block(
                    (x - wide / 2, -0.1, height - high - 0.08), (x + wide / 2, depth + 0.1, height - 0.08), kit.any(kit.metals)
                )
            meshes.append(duct)
    return meshes
