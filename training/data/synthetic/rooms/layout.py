"""What stands where in a room: furniture along the walls and in the middle, things on walls, floor and ceiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, box, pose
from geoseg_ros.training.data.synthetic.rooms import equipment
from geoseg_ros.training.data.synthetic.rooms import furniture
from geoseg_ros.training.data.synthetic.rooms.decoration import between_windows, on_ceiling, on_wall
from geoseg_ros.training.data.synthetic.rooms.kit import Item, Kit
from geoseg_ros.training.data.synthetic.rooms.shell import Shell, Wall
from geoseg_ros.training.data.synthetic.rooms.things import floor_thing

Maker = Callable[[Kit], Item]


@dataclass(frozen=True)
class Kind:
    """A kind of room: ranges of width, depth and height (m), what stands along its walls and what in the middle, how many of
    each per metre of wall and square metre of floor."""

    width: tuple[float, float]
    depth: tuple[float, float]
    height: tuple[float, float]
    along: tuple[Maker, ...]
    middle: tuple[Maker, ...]
    per_metre: float
    per_square: float


f, e = furniture, equipment
KINDS = {
    "living": Kind(
        (3, 7), (3, 6), (2.3, 3.2),
        (f.sofa, f.shelf, f.shelf, f.cupboard, f.table, f.pot_plant, f.floor_lamp, f.chair, f.desk),
        (f.table, f.sofa, f.chair, f.pot_plant, e.crate), 0.6, 0.16,
    ),
    "bedroom": Kind(
        (2.5, 5), (2.8, 5), (2.3, 2.9),
        (f.bed, f.cupboard, f.cupboard, f.shelf, f.desk, f.chair, f.floor_lamp, f.bin_), (f.bed, f.chair, e.crate), 0.6, 0.1,
    ),
    "office": Kind(
        (3, 12), (3, 10), (2.5, 3.4),
        (f.desk, f.desk, f.desk, f.shelf, f.cupboard, f.cupboard, f.pot_plant, f.bin_, f.table),
        (f.desk, f.desk, f.table, f.chair, f.pot_plant, e.cart), 0.55, 0.14,
    ),
    "kitchen": Kind(
        (2.5, 6), (2.5, 5), (2.3, 3.0),
        (f.counter, f.counter, f.cupboard, f.shelf, f.table, f.bin_, f.chair), (f.table, f.table, f.chair, e.crate), 0.6, 0.12,
    ),
    "corridor": Kind(
        (1.3, 2.6), (5, 15), (2.2, 3.2),
        (f.cupboard, f.chair, f.pot_plant, f.bin_, f.shelf, e.crate, e.pile, f.table), (e.crate, e.cart), 0.25, 0.03,
    ),
    "cellar": Kind(
        (2.5, 7), (2.5, 7), (2.1, 3.2),
        (f.shelf, e.rack, f.shelf, e.pile, e.crate, e.barrel, e.machine, f.cupboard, f.stairs, e.ladder, f.desk),
        (e.crate, e.pile, e.barrel, f.table, e.pillar, e.ladder, f.chair), 0.6, 0.18,
    ),
    "hall": Kind(
        (8, 15), (6, 15), (3.2, 7),
        (e.rack, e.rack, e.machine, e.pile, e.barrel, f.cupboard, f.stairs, f.desk, e.ladder),
        (e.rack, e.machine, e.machine, e.pile, e.crate, e.barrel, e.pillar, e.cart, f.table), 0.45, 0.1,
    ),
}
_CHANCES = (0.22, 0.12, 0.26, 0.14, 0.08, 0.1, 0.08)


class Floor:
    """What parts of a room's floor are taken."""

    def __init__(self, size: np.ndarray) -> None:
        self._size = size
        self._taken: list[tuple[np.ndarray, np.ndarray]] = []

    def is_free(self, low: np.ndarray, high: np.ndarray) -> bool:
        """Whether a rectangle (corners, x and y) lies in the room and touches nothing."""
        if (low < 0).any() or (high > self._size[:2]).any():
            return False
        return not any((low < b).all() and (high > a).all() for a, b in self._taken)

    def is_free_disc(self, centre: np.ndarray, radius: float) -> bool:
        """Whether a disc's bounding square is free."""
        return self.is_free(centre - radius, centre + radius)

    def take(self, low: np.ndarray, high: np.ndarray) -> None:
        """Take a rectangle."""
        self._taken.append((np.asarray(low), np.asarray(high)))


def draw_size(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A kind of room, and its width, depth and height."""
    kind = str(rng.choice(list(KINDS), p=_CHANCES))
    ranges = KINDS[kind]
    return kind, np.array([float(rng.uniform(*span)) for span in (ranges.width, ranges.depth, ranges.height)])


class Furnishing:
    """Fills a room; ``meshes`` are in the world, ``targets`` what is worth looking at (3 each), ``floor`` what is taken."""

    def __init__(self, kit: Kit, kind: str, shell: Shell, people: list[Item]) -> None:
        self._kit, self._shell, self._kind = kit, shell, KINDS[kind]
        self.floor = Floor(shell.size)
        self.meshes: list[Mesh] = []
        self.targets: list[np.ndarray] = []
        self._standing_place()
        density = kit.uniform(0.5, 1.8)
        for wall in shell.walls:
            self._line(wall, density)
        area = float(np.prod(shell.size[:2]))
        if kit.chance(0.3):
            self._partition()
        for item in people:
            self._in_middle(item)
        for _ in range(kit.rng.poisson(area * self._kind.per_square * density)):
            maker = kit.any(self._kind.middle)
            self._in_middle(maker(kit), maker)
        self._rugs()
        self._clutter(min(40, kit.rng.poisson(area * kit.uniform(0, 1.4) ** 2)))
        for wall in shell.walls:
            parts = on_wall(kit, wall, shell.size[2], density) + between_windows(kit, wall)
            self.meshes += [part.transformed(wall.world_from_wall) for part in parts]
        self.meshes += on_ceiling(kit, shell.size, kind in ("hall", "cellar"))

    def _standing_place(self) -> None:
        """Keep a place free where a camera can be at any rate."""
        centre = self._kit.rng.uniform(0.65, np.maximum(self._shell.size[:2] - 0.65, 0.66))
        self.floor.take(centre - 0.4, centre + 0.4)

    def _put(self, item: Item, place: np.ndarray, gap: float = 0.02) -> bool:
        """Place an item whose pose in the world is given, unless something is in the way."""
        x, y = item.depth / 2, item.width / 2
        corners = np.array([[x, y, 0, 1], [x, -y, 0, 1], [-x, y, 0, 1], [-x, -y, 0, 1]]) @ place.T
        low, high = corners[:, :2].min(0), corners[:, :2].max(0)
        if not self.floor.is_free(low + gap, high - gap):
            return False
        self.floor.take(low, high)
        self.meshes.append(item.mesh.transformed(place))
        self.targets.append(np.array([*place[:2, 3], min(item.height, 1.2) * self._kit.uniform(0.3, 0.9)]))
        return True

    def _line(self, wall: Wall, density: float) -> None:
        """Furniture along one wall, backs to it."""
        kit = self._kit
        for _ in range(kit.rng.poisson(wall.length * self._kind.per_metre * density)):
            maker = kit.any(self._kind.along)
            item = maker(kit)
            if item.height > self._shell.size[2] - 0.05 or item.width > wall.length - 0.1:
                continue
            for _ in range(5):
                reach = (wall.length - item.width) / 2
                y = kit.any([-1, 1]) * reach * 0.995 if kit.chance(0.3) else kit.uniform(-reach, reach)
                if not wall.is_free(y - item.width / 2, y + item.width / 2, item.height):
                    continue
                away = 0.02 + (kit.uniform(0, 0.25) if kit.chance(0.3) else 0.0)
                turn = float(kit.rng.normal(0, 0.03))
                place = wall.world_from_wall @ pose(item.depth / 2 + away, y, 0, turn)
                if self._put(item, place, 0.04):
                    self._seats(maker, item, place)
                    break

    def _seats(self, maker: Maker | None, item: Item, place: np.ndarray) -> None:
        """Chairs at desks and around tables, pushed in or pulled out."""
        kit = self._kit
        if maker is furniture.desk:
            sides = [(item.depth / 2, kit.uniform(-0.3, 0.3), np.pi)] if kit.chance(0.8) else []
        elif maker is furniture.table:
            x, y = item.depth / 2, item.width / 4
            sides = [
                (x, y, np.pi), (x, -y, np.pi), (-x, y, 0.0), (-x, -y, 0.0), (0.0, 2 * y, -np.pi / 2), (0.0, -2 * y, np.pi / 2)
            ]
            sides = [side for side in sides if kit.chance(0.5)]
        else:
            return
        seat = furniture.chair(kit)
        for x, y, yaw in sides:
            out = kit.uniform(0.1, 0.45)
            inward = np.array([np.cos(yaw), np.sin(yaw)])
            centre = np.array([x, y]) - inward * out
            stand = place @ pose(*centre, 0, yaw + float(kit.rng.normal(0, 0.25)))
            middle = stand[:2, 3]
            inside = (middle > 0.3).all() and (middle < self._shell.size[:2] - 0.3).all()
            if inside and self.floor.is_free(*self._behind(stand)):
                self.meshes.append(seat.mesh.transformed(stand))
                self.floor.take(middle - 0.25, middle + 0.25)

    @staticmethod
    def _behind(stand: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The square of a chair's back, which must not be taken."""
        middle = stand[:2, 3] - 0.2 * stand[:2, 0]
        return middle - 0.12, middle + 0.12

    def _in_middle(self, item: Item, maker: Maker | None = None) -> None:
        """Something of a maker anywhere on the floor."""
        kit = self._kit
        for _ in range(6):
            xy = kit.rng.uniform(0.2, np.maximum(self._shell.size[:2] - 0.2, 0.3))
            square = kit.any([0, 1, 2, 3]) * np.pi / 2 + float(kit.rng.normal(0, 0.05))
            place = pose(*xy, 0, kit.uniform(-np.pi, np.pi) if kit.chance(0.4) else square)
            if self._put(item, place):
                self._seats(maker, item, place)
                return

    def _partition(self) -> None:
        """A wall that reaches some way into the room, or a low divider."""
        kit, size = self._kit, self._shell.size
        wall = kit.any(self._shell.walls)
        length = min(kit.uniform(0.6, 3.0), 0.5 * (size[:2].sum() - wall.length))
        height = size[2] + 0.5 if kit.chance(0.5) else kit.uniform(0.9, 1.8)
        skin = kit.add(str(kit.rng.choice(["plain", "plaster", "boards", "cloth", "brick"])), ["room_wall", "room_wood"], 1.2)
        thick = kit.uniform(0.04, 0.2)
        item = Item(
            kit.block((-length / 2, -thick / 2, 0), (length / 2, thick / 2, height), skin), length, thick, min(height, 2.0)
        )
        y = kit.uniform(-wall.length / 2 + 1.0, wall.length / 2 - 1.0) if wall.length > 2.2 else 0.0
        if wall.is_free(y - 0.2, y + 0.2, 2.0):
            self._put(item, wall.world_from_wall @ pose(length / 2 + 0.001, y), 0.0005)

    def _rugs(self) -> None:
        kit, size = self._kit, self._shell.size
        for _ in range(int(kit.rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))):
            extent = kit.rng.uniform(0.6, [2.5, 1.8])
            cloth = kit.add("carpet", ["cloth", "any"], kit.uniform(0.4, 1.5))
            thickness = kit.uniform(0.006, 0.02)
            rug = box((0, 0, thickness / 2), (*extent, thickness), cloth, kit.tile(cloth))
            self.meshes.append(rug.transformed(pose(*kit.rng.uniform(0.5, size[:2] - 0.5), 0, kit.uniform(0, np.pi))))

    def _clutter(self, count: int) -> None:
        """Small things on the free floor, and under tables."""
        for _ in range(count):
            mesh, radius = floor_thing(self._kit)
            xy = self._kit.rng.uniform(0.1, self._shell.size[:2] - 0.1)
            low, high = xy - radius, xy + radius
            if self.floor.is_free(low, high):
                self.floor.take(low, high)
                self.meshes.append(mesh.transformed(pose(*xy, 0, self._kit.uniform(0, 2 * np.pi))))
                self.targets.append(np.array([*xy, 0.1]))
