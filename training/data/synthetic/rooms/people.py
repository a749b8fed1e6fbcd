"""Who and what moves in rooms by itself: people who walk, at times carrying a box, and things that roll."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geoseg_ros.training.data.synthetic.ground import Curve
from geoseg_ros.training.data.synthetic.materials import Materials
from geoseg_ros.training.data.synthetic.mesh import box, merge
from geoseg_ros.training.data.synthetic.mover import Mover
from geoseg_ros.training.data.synthetic.people import Figure, Part, pedestrian, rigid
from geoseg_ros.training.data.synthetic.rooms.camera import RoomCamera
from geoseg_ros.training.data.synthetic.rooms.equipment import cart, crate, vacuum_robot
from geoseg_ros.training.data.synthetic.rooms.kit import Item, Kit
from geoseg_ros.training.data.synthetic.rooms.things import globe

_APART = 0.6  # metres between the camera and whoever moves
_LEAD = 1.0  # seconds before the first frame that are known too


def walker(kit: Kit, materials: Materials) -> Figure:
    """A person who walks, at times with a box in the hands."""
    figure = pedestrian(kit.rng, materials)
    if kit.chance(0.25):
        load = box((0.32, 0, 1.05), kit.rng.uniform(0.15, 0.4, 3), kit.any(kit.cartons), 0.4)
        figure = Figure((*figure.parts, Part(load)), figure.stride)
    return figure


def standing_person(kit: Kit, materials: Materials) -> Item:
    """A person who stands."""
    figure, cycle = pedestrian(kit.rng, materials), kit.uniform(-0.1, 0.1)
    mesh = merge([part.mesh.transformed(part.local(cycle)) for part in figure.parts])
    return Item(mesh, 0.5, 0.6, 1.9)


def draw_figures(kit: Kit, materials: Materials) -> list[tuple[Figure, float, float]]:
    """Figures that shall move, with radius (m) and speed (m/s); at most times none."""
    figures = []
    for _ in range(int(kit.rng.choice([0, 1, 2], p=[0.6, 0.27, 0.13]))):
        figures.append((walker(kit, materials), 0.45, kit.uniform(0.3, 1.6)))
    if kit.chance(0.2):
        item = kit.any([cart, vacuum_robot, crate])(kit)
        figures.append((rigid(item.mesh), max(item.depth, item.width) / 2, kit.uniform(0.25, 1.2)))
    elif kit.chance(0.06):
        mesh, radius = globe(kit)
        figures.append((rigid(mesh), radius, kit.uniform(0.3, 1.5)))
    return figures


def place_movers(
    rng: np.random.Generator,
    figures: list[tuple[Figure, float, float]],
    camera: RoomCamera,
    duration: float,
    fps: float,
    is_free: Callable[[np.ndarray, float], bool],
) -> list[Mover]:
    """Let figures go straight through the free floor in the camera's view; those that find no way are left out.
    ``is_free`` says whether a disc (x, y; radius) of the floor is free."""
    times = np.array([-_LEAD, duration + _LEAD])
    moments = np.linspace(-1 / fps, duration, 7)
    eyes = np.array([camera.world_from_camera(t)[:3, 3] for t in moments])
    start = camera.world_from_camera(0.0)
    yaw = np.arctan2(start[1, 2], start[0, 2])
    movers: list[Mover] = []
    for figure, radius, speed in figures:
        for _ in range(30):
            bearing, far = yaw + rng.uniform(-0.5, 0.5), rng.uniform(0.8, 5.0)
            middle = eyes[0, :2] + far * np.array([np.cos(bearing), np.sin(bearing)])
            course = rng.uniform(0, 2 * np.pi)
            step = np.array([np.cos(course), np.sin(course)])
            path = Curve(np.stack([middle, middle + step]))
            positions = middle + (speed * moments)[:, None] * step
            apart = np.linalg.norm(positions - eyes[:, :2], axis=1).min() > radius + _APART
            others = all(
                np.linalg.norm(
                    positions - other.path.point([other.distance(t) for t in moments]), axis=1
                ).min() > radius + other.radius
                for other in movers
            )
            if apart and others and all(is_free(position, radius) for position in positions):
                movers.append(Mover(figure, path, times, speed * times, 0.0, radius, float(rng.random())))
                break
    return movers
