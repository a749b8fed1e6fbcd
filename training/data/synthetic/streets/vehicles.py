"""Cars, vans, trucks and buses: lofted bodies with windows, wheels, lights and plates."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.materials import CAR, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, box, merge, polygon, quad, sheet, tube

_ROUND = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 15)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 15)[:-1])], -1
)

# stations along the body from the nose (0) to the tail (1): position, belt line, roof line (fractions of the
# height); the letters say what each interval's side and top are made of: b body, g glass
_BODIES = {
    "sedan": (
        [0, 0.03, 0.10, 0.28, 0.42, 0.44, 0.57, 0.59, 0.72, 0.86, 0.97, 1.0],
        [0.36, 0.47, 0.54, 0.63, 0.65, 0.65, 0.66, 0.66, 0.67, 0.68, 0.66, 0.5],
        [0.37, 0.49, 0.57, 0.66, 0.97, 0.98, 1.0, 1.0, 0.98, 0.72, 0.68, 0.52],
        "bbbgbgbggbb",
        "bbbgbbbbgbb",
    ),
    "hatch": (
        [0, 0.04, 0.12, 0.26, 0.42, 0.44, 0.60, 0.62, 0.84, 0.86, 0.97, 1.0],
        [0.36, 0.45, 0.52, 0.60, 0.62, 0.62, 0.64, 0.64, 0.66, 0.67, 0.66, 0.5],
        [0.37, 0.47, 0.55, 0.63, 0.97, 0.98, 1.0, 1.0, 0.97, 0.95, 0.70, 0.52],
        "bbbgbgbgbbb",
        "bbbgbbbbbgb",
    ),
    "estate": (
        [0, 0.03, 0.10, 0.27, 0.41, 0.43, 0.57, 0.59, 0.75, 0.77, 0.95, 1.0],
        [0.36, 0.47, 0.54, 0.62, 0.64, 0.64, 0.65, 0.65, 0.66, 0.66, 0.67, 0.52],
        [0.37, 0.49, 0.57, 0.65, 0.97, 0.98, 1.0, 1.0, 0.99, 0.99, 0.92, 0.56],
        "bbbgbgbgbgb",
        "bbbgbbbbbbg",
    ),
    "suv": (
        [0, 0.03, 0.09, 0.25, 0.37, 0.39, 0.55, 0.57, 0.74, 0.76, 0.95, 1.0],
        [0.38, 0.50, 0.57, 0.62, 0.64, 0.64, 0.65, 0.65, 0.66, 0.66, 0.66, 0.5],
        [0.39, 0.52, 0.60, 0.66, 0.96, 0.98, 1.0, 1.0, 0.99, 0.98, 0.93, 0.54],
        "bbbgbgbgbgb",
        "bbbgbbbbbbg",
    ),
    "van": (
        [0, 0.02, 0.07, 0.14, 0.25, 0.27, 0.38, 0.40, 0.62, 0.64, 0.985, 1.0],
        [0.26, 0.36, 0.43, 0.47, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.52, 0.4],
        [0.27, 0.38, 0.46, 0.52, 0.94, 0.97, 1.0, 1.0, 1.0, 1.0, 0.98, 0.9],
        "bbbgbgbbbbb",
        "bbbgbbbbbbb",
    ),
}
# length, width, height
_SIZES = {
    "sedan": (4.5, 1.78, 1.44),
    "hatch": (3.9, 1.7, 1.48),
    "estate": (4.6, 1.8, 1.47),
    "suv": (4.5, 1.86, 1.72),
    "van": (5.2, 1.95, 2.2),
}


class VehicleModel:
    """A vehicle's mesh (origin on the ground below its middle, x forward), its size (length, width) and paint
    material."""

    def __init__(self, mesh: Mesh, length: float, width: float, paint: int) -> None:
        self.mesh, self.length, self.width, self.paint = mesh, length, width, paint


def _common(materials: Materials) -> dict[str, int]:
    return {
        "glass": materials.add("plain", CAR, ["glass"], 1.0, gloss=0.35, detail=0.05),
        "dark": materials.add("plain", CAR, ["black"], 1.0),
        "tyre": materials.add("plain", CAR, ["rubber"], 1.0),
        "lamp": materials.add("plain", CAR, ["white"], 1.0, gloss=0.3),
        "tail": materials.add("plain", CAR, ["red"], 1.0, gloss=0.2),
        "plate": materials.add("sign_board", CAR, ["white", "black", "black"], 1.0),
        "wheel": materials.add("lattice", CAR, ["rubber", "metal"], 1.0, gloss=0.05),
    }


def _wheels(length: float, half: float, radius: float, places, parts: dict[str, int]) -> list[Mesh]:
    meshes = []
    for x in places:
        for side in (-1, 1):
            y = side * (half - 0.10)
            meshes.append(tube([[x, y - 0.1, radius], [x, y + 0.1, radius]], radius, parts["tyre"], 14))
            outer = side * (half + 0.005)
            meshes.append(
                polygon(_ROUND * radius, (x, outer, radius), (-side, 0, 0), (0, 0, 1), parts["wheel"])
            )
            meshes.append(
                polygon(
                    _ROUND * radius * 1.2,
                    (x, side * (half - 0.012), radius * 1.02),
                    (-side, 0, 0),
                    (0, 0, 1),
                    parts["dark"],
                )
            )
    return meshes


def car(rng: np.random.Generator, materials: Materials, kind: str | None = None) -> VehicleModel:
    """A passenger car or van."""
    kind = kind or str(rng.choice(["sedan", "hatch", "estate", "suv", "van"], p=[0.26, 0.3, 0.18, 0.16, 0.1]))
    length, width, height = np.array(_SIZES[kind]) * rng.uniform(0.93, 1.07, 3)
    place, belt, roof, side_kind, top_kind = _BODIES[kind]
    place, belt, roof = np.array(place), np.array(belt) * height, np.array(roof) * height
    half = width / 2
    parts = _common(materials)
    paint = materials.add(
        "panels", CAR, ["car", "black", "metal"], 4.0, gloss=float(rng.uniform(0.08, 0.3)), detail=0.06
    )
    taper = 1 - 0.22 * np.clip(0.16 - place, 0, 1) / 0.16 - 0.14 * np.clip(place - 0.88, 0, 1) / 0.12
    inset = np.where(roof - belt > 0.12 * height, 0.78 if kind != "van" else 0.9, 0.93)
    low = 0.20 + 0.06 * (np.abs(place - 0.5) > 0.46)
    x = (0.5 - place) * length
    columns = [
        (-1, 0.82, low),
        (-1, 1.0, low + 0.10),
        (-1, 1.0, belt - 0.10 * (belt - low)),
        (-1, 0.965, belt),
        (-1, inset, roof - 0.02),
        (-1, inset * 0.86, roof),
        (0, 0, roof + 0.015),
    ]
    columns += [(-sign, share, level) for sign, share, level in columns[-2::-1]]
    points = np.stack(
        [
            np.stack([x, sign * half * taper * share, np.broadcast_to(level, x.shape)], -1)
            for sign, share, level in columns
        ],
        1,
    )
    uv = np.stack([np.broadcast_to(place[:, None], points.shape[:2]), points[..., 2] / 1.5], -1)
    material = np.full((len(place) - 1, len(columns) - 1), paint)
    middle = (len(columns) - 1) // 2
    for row, (on_side, on_top) in enumerate(zip(side_kind, top_kind)):
        if on_side == "g":
            material[row, 3] = material[row, -4] = parts["glass"]
        if on_top == "g":
            material[row, middle - 2 : middle + 2] = parts["glass"]
            material[row, [4, -5]] = paint
    meshes = [sheet(points, uv, material)]
    for station, material in ((points[0], parts["dark"]), (points[-1], paint)):
        meshes.append(polygon(station[:, 1:], (station[0, 0], 0, 0), (0, 1, 0), (0, 0, 1), material))
    meshes.append(
        quad(
            [
                [length * 0.46, -half * 0.9, 0.2],
                [-length * 0.46, -half * 0.9, 0.2],
                [-length * 0.46, half * 0.9, 0.2],
                [length * 0.46, half * 0.9, 0.2],
            ],
            parts["dark"],
        )
    )
    radius = 0.3 * height / 1.45 if kind in ("suv",) else 0.30 * rng.uniform(0.97, 1.1)
    meshes += _wheels(length, half * 0.99, radius, (length * 0.32, -length * 0.30), parts)
    meshes += _lights(length, half, belt, parts)
    return VehicleModel(merge(meshes), length, width, paint)


def _lights(length: float, half: float, belt: np.ndarray, parts: dict[str, int]) -> list[Mesh]:
    nose, tail = length / 2, -length / 2
    front, rear = belt[1] * 0.93, belt[-2] * 0.86
    meshes = []
    for side in (-1, 1):
        meshes.append(box((nose - 0.12, side * half * 0.66, front), (0.2, half * 0.3, 0.13), parts["lamp"]))
        meshes.append(box((tail + 0.12, side * half * 0.74, rear), (0.2, half * 0.24, 0.24), parts["tail"]))
        meshes.append(
            box((nose * 0.38, side * (half + 0.06), belt[4] + 0.05), (0.16, 0.14, 0.13), parts["dark"])
        )
    plate = (1.0, 0.52, 0.11)
    meshes.append(box((nose - 0.02, 0, 0.40), (0.06, 0.52, 0.11), parts["plate"], plate[1:]))
    meshes.append(box((tail + 0.02, 0, 0.55), (0.06, 0.52, 0.11), parts["plate"], plate[1:]))
    meshes.append(box((nose - 0.05, 0, 0.55), (0.08, half * 0.9, 0.13), parts["dark"]))
    meshes.append(box((tail + 0.06, 0, 0.36), (0.1, half * 1.5, 0.14), parts["dark"]))
    return meshes


def truck(rng: np.random.Generator, materials: Materials) -> VehicleModel:
    """A lorry with a box, or a bus."""
    parts = _common(materials)
    paint = materials.add("plain", CAR, ["car"], 3.0, gloss=0.1)
    bus = rng.random() < 0.45
    length, width, height = (
        rng.uniform(8.5, 11.5) if bus else rng.uniform(5.5, 9.0),
        rng.uniform(2.2, 2.5),
        rng.uniform(2.7, 3.4),
    )
    half = width / 2
    meshes = []
    if bus:
        side = materials.add("poster", CAR, ["car", "any", "any"], 4.0)
        body = [side, paint, side, paint, paint, parts["dark"]]
        meshes.append(box((0, 0, height / 2 + 0.2), (length, width, height - 0.4), body, (5.0, 3.0)))
        for x in np.arange(-length / 2 + 0.8, length / 2 - 0.9, 1.35):
            for y in (-half - 0.012, half + 0.012):
                meshes.append(box((x + 0.6, y, height * 0.62), (1.2, 0.02, height * 0.3), parts["glass"]))
        meshes.append(
            box((length / 2 + 0.012, 0, height * 0.58), (0.02, width * 0.9, height * 0.42), parts["glass"])
        )
        meshes.append(
            box((-length / 2 - 0.012, 0, height * 0.66), (0.02, width * 0.8, height * 0.25), parts["glass"])
        )
    else:
        cargo = materials.add(str(rng.choice(["poster", "plain", "cloth"])), CAR, ["car", "any", "any"], 4.0)
        cab = 1.9
        meshes.append(
            box((-cab / 2, 0, height / 2 + 0.5), (length - cab - 0.1, width, height - 1.0), cargo, 4.0)
        )
        meshes.append(box((length / 2 - cab / 2, 0, 1.35), (cab, width * 0.95, 1.9), paint, 3.0))
        meshes.append(box((length / 2 + 0.012, 0, 1.8), (0.02, width * 0.86, 0.75), parts["glass"]))
        for y in (-half * 0.95 - 0.012, half * 0.95 + 0.012):
            meshes.append(box((length / 2 - 0.75, y, 1.85), (0.9, 0.02, 0.65), parts["glass"]))
        meshes.append(box((0, 0, 0.75), (length * 0.95, width * 0.6, 0.35), parts["dark"]))
    meshes += _wheels(length, half, 0.46, (length * 0.34, -length * 0.32), parts)
    for side in (-1, 1):
        meshes.append(box((length / 2 + 0.02, side * half * 0.7, 0.75), (0.06, 0.35, 0.18), parts["lamp"]))
        meshes.append(box((-length / 2 - 0.02, side * half * 0.8, 0.9), (0.06, 0.2, 0.3), parts["tail"]))
    meshes.append(box((-length / 2 - 0.03, 0, 0.65), (0.05, 0.52, 0.13), parts["plate"], (0.52, 0.13)))
    return VehicleModel(merge(meshes), float(length), float(width), paint)
