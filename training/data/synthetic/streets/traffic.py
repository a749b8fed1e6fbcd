"""Everybody else on the road: moving cars, cyclists and pedestrians, and those who stand."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.ground import Curve
from geoseg_ros.training.data.synthetic.materials import Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh
from geoseg_ros.training.data.synthetic.mover import Mover, body_poses
from geoseg_ros.training.data.synthetic.palette import color
from geoseg_ros.training.data.synthetic.people import Figure, bicycle, cyclist, pedestrian, rigid
from geoseg_ros.training.data.synthetic.streets.ego import Ego
from geoseg_ros.training.data.synthetic.streets.layout import KERB, Layout
from geoseg_ros.training.data.synthetic.streets.vehicles import VehicleModel, car, truck

_WATCHED = 60.0  # metres around the camera within which nobody drives through anybody


def _squared(offsets: np.ndarray) -> np.ndarray:
    return (offsets**2).sum(1)


class Traffic:
    """Movers and standing meshes of a street, made so that nobody drives through anybody (roughly)."""

    def __init__(self, rng: np.random.Generator, layout: Layout, ego: Ego, materials: Materials) -> None:
        self._rng, self._layout, self._ego, self._materials = rng, layout, ego, materials
        self._models = [car(rng, materials) for _ in range(5)]
        if rng.random() < 0.6:
            self._models.append(truck(rng, materials))
        self._people = [pedestrian(rng, materials) for _ in range(5)]
        self._riders = [cyclist(rng, materials) for _ in range(3)]
        self._bicycles = [bicycle(rng, materials) for _ in range(2)]
        self.standing: list[Mesh] = []
        self.movers: list[Mover] = []
        self._reach = float(ego.travelled[-1] - ego.start)
        self._taken: list[np.ndarray] = [ego.path.point(ego.travelled)]
        self._radii: list[float] = [2.6]
        self._density = float(rng.uniform(0.6, 1.5))
        self._parked_cars()
        self._cars()
        self._cyclists()
        self._pedestrians()
        self._crossing_cars()

    def _vehicle(self, big: bool = True) -> tuple[Figure, VehicleModel]:
        rng = self._rng
        model = self._models[int(rng.integers(len(self._models) if big else 5))]
        paint = self._materials.recolored(model.paint, color(rng, "car", 0.05))
        return rigid(model.mesh.remapped({model.paint: paint})), model

    def _add(self, figure: Figure, path: Curve, travelled: np.ndarray, above: float, radius: float) -> bool:
        """Let a figure move, or stand where its path never goes on; False where it would hit someone."""
        positions = path.point(travelled)
        seen = _squared(positions - self._taken[0]) < _WATCHED**2
        for taken, other in zip(self._taken, self._radii, strict=True):
            if (seen & (_squared(positions - taken) < (0.85 * (radius + other)) ** 2)).any():
                return False
        self._taken.append(positions)
        self._radii.append(radius)
        mover = Mover(figure, path, self._ego.times, travelled, above, radius, float(self._rng.random()))
        if np.ptp(travelled) == 0.0:
            body = body_poses([mover], self._layout.ground, 0.0)[0]
            poses = mover.part_poses(body, 0.0)
            self.standing += [part.mesh.transformed(p) for part, p in zip(figure.parts, poses, strict=True)]
        else:
            self.movers.append(mover)
        return True

    def _constant(self, start: float, speed: float) -> np.ndarray:
        return start + speed * self._ego.times

    def _parked_cars(self) -> None:
        rng = self._rng
        for road in self._layout.roads:
            for side in (-1, 1):
                if not road.section.parking[0 if side > 0 else 1]:
                    continue
                fill = rng.uniform(0.4, 0.97)
                t = side * (road.section.half_width(side) - 1.05)
                for s0, s1 in road.stretches(side, 6.0):
                    cursor = s0 + 3.0
                    while cursor < s1 - 3:
                        figure, model = self._vehicle(big=False)
                        if rng.random() < fill:
                            forward = (side < 0) == (self._layout.drive > 0) or rng.random() < 0.2
                            yaw = (
                                float(road.curve.yaw(cursor))
                                + (0 if forward else np.pi)
                                + rng.normal(0, 0.02)
                            )
                            xy = road.curve.point(cursor + model.length / 2, t + rng.normal(0, 0.08))
                            self.standing.append(
                                figure.parts[0].mesh.transformed(
                                    self._layout.ground.resting(xy, np.asarray(yaw))
                                )
                            )
                        cursor += model.length + rng.uniform(0.5, 1.6)

    def _cars(self) -> None:
        rng, layout, ego = self._rng, self._layout, self._ego
        section, curve = layout.section, layout.main.curve
        if rng.random() < 0.6 * min(self._density, 1.2):  # ahead in the own lane, keeping a gap
            gap = rng.uniform(8.0, 35.0)
            for _ in range(int(rng.integers(1, 4))):
                figure, model = self._vehicle()
                change = rng.uniform(-0.5, 2.0) * np.clip(ego.times, 0, 6) * (np.ptp(ego.travelled) > 0.5)
                self._add(
                    figure,
                    ego.path,
                    np.maximum.accumulate(ego.travelled + gap + model.length / 2 + change),
                    0.0,
                    0.5 * model.length,
                )
                gap += model.length + rng.uniform(6.0, 25.0)
        time_span = float(ego.times[-1])
        for lane in range(section.lanes):
            # oncoming
            t = layout.drive * section.lane_width * (lane + 0.5)
            path = curve.lane(curve.end, curve.start, t)
            standing = rng.random() < 0.25
            speed = 0.0 if standing else rng.uniform(3.0, 14.0)
            position = rng.uniform(8.0, 30.0)
            while position < self._reach + 110 + speed * time_span:
                figure, model = self._vehicle()
                along = path.end - (ego.start - curve.start + position)
                self._add(figure, path, self._constant(along, speed), 0.0, 0.5 * model.length)
                position += (
                    model.length + (rng.uniform(2, 8) if standing else rng.uniform(12, 60)) / self._density
                )
            if lane > 0:  # the same direction, in the other lane
                path = curve.lane(curve.start, curve.end, -t)
                speed = rng.uniform(2.0, 14.0)
                position = rng.uniform(-5.0, 20.0)
                while position < self._reach + 100:
                    figure, model = self._vehicle()
                    self._add(
                        figure,
                        path,
                        self._constant(ego.start - curve.start + position, speed),
                        0.0,
                        0.5 * model.length,
                    )
                    position += model.length + rng.uniform(10, 50)

    def _crossing_cars(self) -> None:
        rng, layout = self._rng, self._layout
        for arm in layout.sides:
            lane = layout.drive * arm.section.lane_width * 0.5
            waiting = self._rng.random() < 0.5
            path = arm.curve.lane(arm.end, -12.0, lane)  # towards the main road and over it
            for number in range(int(rng.integers(1, 4))):
                figure, model = self._vehicle()
                if waiting:
                    stop = arm.start + 2.5 + model.length / 2 + number * 6.5
                    self._add(figure, path, self._constant(arm.end - stop, 0.0), 0.0, 0.5 * model.length)
                else:
                    speed = rng.uniform(2.0, 8.0)
                    self._add(
                        figure,
                        path,
                        self._constant(arm.end - rng.uniform(2, 60), speed),
                        0.0,
                        0.5 * model.length,
                    )
            if rng.random() < 0.5:
                figure, model = self._vehicle()
                away = arm.curve.lane(-8.0, arm.end, -lane)
                self._add(
                    figure,
                    away,
                    self._constant(rng.uniform(5, 30), rng.uniform(2, 9)),
                    0.0,
                    0.5 * model.length,
                )

    def _places(self, low: float, high: float, mean_gap: float) -> np.ndarray:
        """Positions ahead of the ego's start, denser close by."""
        rng = self._rng
        near = rng.uniform(5.0, 38.0, rng.poisson(32.0 / mean_gap * self._density) + 1)
        far = rng.uniform(low, high, rng.poisson(max(high - low, 1) / (mean_gap * 1.6) * self._density))
        return np.concatenate([near, far]) + self._ego.start

    def _cyclists(self) -> None:
        rng, layout = self._rng, self._layout
        section, curve = layout.section, layout.main.curve
        kerb = section.lanes * section.lane_width - 0.5
        for s in self._places(0.0, self._reach + 80, 24.0):
            side = rng.choice([-1, 1])
            onward = (side < 0) == (layout.drive > 0)
            path = (
                curve.lane(curve.start, curve.end, side * kerb)
                if onward
                else curve.lane(curve.end, curve.start, side * kerb)
            )
            along = s - curve.start if onward else path.end - (s - curve.start)
            speed = 0.0 if rng.random() < 0.4 else rng.uniform(2.0, 7.0)
            self._add(self._riders[int(rng.integers(3))], path, self._constant(along, speed), 0.0, 0.9)
        for s in self._places(0.0, self._reach + 60, 30.0):
            side = rng.choice([-1, 1])
            t = side * (section.half_width(side) + rng.choice([0.7, section.pavement - 0.4]))
            yaw = float(curve.yaw(s)) + rng.choice([0, np.pi / 2, np.pi]) + rng.normal(0, 0.2)
            self.standing.append(
                self._bicycles[int(rng.integers(2))].transformed(
                    layout.ground.upright(curve.point(s, t), yaw, KERB)
                )
            )

    def _pedestrians(self) -> None:
        rng, layout = self._rng, self._layout
        section, curve = layout.section, layout.main.curve
        for s in self._places(0.0, self._reach + 80, 7.0):
            side = rng.choice([-1, 1])
            half = section.half_width(side)
            figure = self._people[int(rng.integers(len(self._people)))]
            choice = rng.random()
            above = KERB - 0.02
            if choice < 0.12:  # over the road
                across = curve.point(
                    s, np.linspace(side * (half + 2.0), -side * (section.half_width(-side) + 2.0), 12)
                )
                path = Curve(across)
                travelled = np.clip(
                    self._constant(rng.uniform(0.0, path.end * 0.8), rng.uniform(0.8, 1.7)), 0.0, path.end
                )
                self._add(figure, path, travelled, 0.01, 0.35)
                continue
            t = side * (half + rng.uniform(0.5, max(0.7, section.pavement - 0.3)))
            if rng.random() < 0.5:
                path, along = curve.lane(curve.start, curve.end, t), s - curve.start
            else:
                path = curve.lane(curve.end, curve.start, t)
                along = path.end - (s - curve.start)
            if choice < 0.5:  # standing, turned anywhere
                xy = curve.point(s, t)
                direction = rng.uniform(0, 2 * np.pi)
                path = Curve(np.stack([xy, xy + [np.cos(direction), np.sin(direction)]]))
                self._add(figure, path, self._constant(0.0, 0.0), above, 0.35)
            else:
                self._add(figure, path, self._constant(along, rng.uniform(0.7, 1.9)), above, 0.35)
