"""Pedestrians who walk with swinging limbs, and cyclists who pedal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.materials import BICYCLIST, PEDESTRIAN, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, pose, tube, turned
from geoseg_ros.training.data.synthetic.palette import color


@dataclass(frozen=True)
class Part:
    """A rigid part of a figure: it swings by ``amplitude`` (radians) about the y axis through ``pivot``;
    ``phase`` in turns. Zero amplitude: it moves with the body."""

    mesh: Mesh
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    amplitude: float = 0.0
    phase: float = 0.0

    def local(self, cycle: float) -> np.ndarray:
        """Pose in the figure's frame at a point of the gait cycle (turns)."""
        if self.amplitude == 0.0:
            return np.eye(4)
        return turned("y", self.amplitude * np.sin(2 * np.pi * (cycle + self.phase)), self.pivot)


@dataclass(frozen=True)
class Figure:
    """Something that moves in parts; ``stride`` is the distance (metres) of one cycle."""

    parts: tuple[Part, ...]
    stride: float = 1.4


def rigid(mesh: Mesh) -> Figure:
    """A figure of one part, such as a car."""
    return Figure((Part(mesh),))


def _clothes(rng: np.random.Generator, materials: Materials, semantic: int) -> dict[str, int]:
    top, legs = color(rng, "cloth"), color(rng, "cloth")
    return {
        "top": materials.add("cloth", semantic, [top, top * 0.5, top], 1.0),
        "legs": materials.add("cloth", semantic, [legs, legs * 0.6], 1.0),
        "skin": materials.add("plain", semantic, ["skin"], 1.0),
        "hair": materials.add("plain", semantic, ["hair"], 1.0),
        "shoe": materials.add("plain", semantic, ["black"], 1.0),
    }


def pedestrian(rng: np.random.Generator, materials: Materials) -> Figure:
    """A person of 1.2–1.95 m; some wear a coat or skirt, some carry a bag."""
    wear = _clothes(rng, materials, PEDESTRIAN)
    height = float(rng.uniform(1.55, 1.95) if rng.random() < 0.88 else rng.uniform(1.1, 1.5))
    k = height / 1.75
    broad = rng.uniform(0.85, 1.25)
    hip, shoulder = 0.88 * k, 1.44 * k
    skirt = rng.random() < 0.25
    body = [
        tube(
            [
                [0, 0, hip - 0.05],
                [0, 0, hip + 0.12],
                [0, 0, (hip + shoulder) / 2],
                [0, 0, shoulder - 0.05],
                [0, 0, shoulder],
            ],
            np.array([0.15, 0.16, 0.15, 0.18, 0.10]) * k * broad,
            wear["top"],
            9,
            0.6,
            capped=True,
        ),
        tube([[0, 0, shoulder - 0.02], [0, 0, shoulder + 0.1 * k]], 0.05 * k, wear["skin"], 6),
        ball((0.01, 0, height - 0.12 * k), (0.095 * k, 0.08 * k, 0.12 * k), wear["skin"], 7, 9),
        ball((-0.02, 0, height - 0.09 * k), (0.1 * k, 0.088 * k, 0.105 * k), wear["hair"], 6, 9),
    ]
    body = [m if i else _flatten(m, 0.72) for i, m in enumerate(body)]
    if skirt:
        body.append(
            tube([[0, 0, hip - 0.45 * k], [0, 0, hip + 0.05]], [0.24 * k, 0.15 * k], wear["top"], 9, 0.6)
        )
    if rng.random() < 0.35:
        bag = materials.add("cloth", PEDESTRIAN, ["cloth"], 0.8)
        place = (-0.2 * k, 0, 1.2 * k) if rng.random() < 0.5 else (0, 0.3 * k, 0.75 * k)
        body.append(box(place, (0.2 * k, 0.16 * k, 0.4 * k), bag))
    parts = [Part(merge(body))]
    for side in (-1, 1):
        y = side * 0.1 * k * broad
        leg = merge(
            [
                tube(
                    [[0, y, hip], [0.02, y, hip * 0.5], [0, y, 0.08]],
                    np.array([0.095, 0.07, 0.045]) * k * broad,
                    wear["legs"],
                    7,
                    0.6,
                ),
                box((0.05, y, 0.05), (0.26 * k, 0.1 * k, 0.1), wear["shoe"]),
            ]
        )
        parts.append(Part(leg, (0, y, hip), 0.42, 0.0 if side > 0 else 0.5))
        y = side * 0.2 * k * broad
        arm = merge(
            [
                tube(
                    [
                        [0, y, shoulder - 0.03],
                        [0, y * 1.15, shoulder - 0.3 * k],
                        [0.04, y * 1.15, shoulder - 0.55 * k],
                    ],
                    np.array([0.06, 0.05, 0.04]) * k * broad,
                    wear["top"],
                    6,
                    0.6,
                    capped=True,
                ),
                ball((0.05, y * 1.15, shoulder - 0.6 * k), (0.045, 0.04, 0.06), wear["skin"], 5, 6),
            ]
        )
        parts.append(Part(arm, (0, y, shoulder), 0.38, 0.5 if side > 0 else 0.0))
    return Figure(tuple(parts), 1.45 * k)


def _flatten(mesh: Mesh, depth: float) -> Mesh:
    """A mesh pressed along x."""
    vertices = mesh.vertices * np.array([depth, 1.0, 1.0], np.float32)
    return Mesh(vertices, mesh.normals, mesh.uv, mesh.faces, mesh.material)


def bicycle(rng: np.random.Generator, materials: Materials) -> Mesh:
    """A bicycle or a scooter, x forward."""
    frame = materials.add("plain", BICYCLIST, ["car"], 1.0, gloss=0.1)
    dark = materials.add("plain", BICYCLIST, ["rubber"], 1.0)
    if rng.random() < 0.2:
        return merge(
            [
                *(
                    tube([[x, -0.06, 0.25], [x, 0.06, 0.25]], 0.25, dark, 12, capped=True)
                    for x in (-0.6, 0.65)
                ),
                box((-0.4, 0, 0.6), (0.9, 0.32, 0.4), frame),
                box((-0.3, 0, 0.84), (0.7, 0.28, 0.1), dark),
                box((0.15, 0, 0.35), (0.6, 0.3, 0.1), frame),
                box((0.45, 0, 0.75), (0.12, 0.42, 0.7), frame),
                tube([[0.45, -0.32, 1.05], [0.45, 0.32, 1.05]], 0.03, dark, 6),
            ]
        )
    parts = []
    for x in (-0.52, 0.53):
        angle = np.linspace(0, 2 * np.pi, 19)
        rim = np.stack([x + 0.34 * np.cos(angle), np.zeros_like(angle), 0.35 + 0.34 * np.sin(angle)], -1)
        parts += [tube(rim[i : i + 2], 0.022, dark, 4) for i in range(18)]
        parts += [
            tube(
                [
                    [x - 0.33 * np.cos(a), 0, 0.35 - 0.33 * np.sin(a)],
                    [x + 0.33 * np.cos(a), 0, 0.35 + 0.33 * np.sin(a)],
                ],
                0.004,
                dark,
                3,
            )
            for a in (0.3, 1.35, 2.4)
        ]
    joints = {
        "rear": (-0.52, 0, 0.35),
        "crank": (-0.08, 0, 0.3),
        "seat": (-0.22, 0, 0.85),
        "head": (0.36, 0, 0.85),
        "front": (0.53, 0, 0.35),
        "bar": (0.38, 0, 1.02),
    }
    for a, b in (
        ("rear", "crank"),
        ("crank", "seat"),
        ("seat", "head"),
        ("crank", "head"),
        ("head", "front"),
        ("rear", "seat"),
        ("head", "bar"),
    ):
        parts.append(tube([joints[a], joints[b]], 0.02, frame, 5))
    parts.append(tube([[0.4, -0.28, 1.03], [0.4, 0.28, 1.03]], 0.018, dark, 5))
    parts.append(box((-0.22, 0, 0.9), (0.25, 0.13, 0.06), dark))
    return merge(parts)


def cyclist(rng: np.random.Generator, materials: Materials) -> Figure:
    """A rider on a bicycle; the legs pedal."""
    wear = _clothes(rng, materials, BICYCLIST)
    helmet = materials.add("plain", BICYCLIST, ["any"], 1.0, gloss=0.1)
    lean = rng.uniform(0.15, 0.45)
    neck = (-0.2 + lean, 0, 1.42)
    torso = _flatten(
        tube(
            [[0, 0, 0], [0, 0, 0.2], [0, 0, 0.42], [0, 0, 0.52]],
            [0.15, 0.16, 0.18, 0.1],
            wear["top"],
            9,
            0.6,
            capped=True,
        ),
        0.75,
    )
    tilt = np.arctan2(lean, 0.52)
    parts = [
        bicycle(rng, materials),
        torso.transformed(pose(-0.2, 0, 0.92) @ turned("y", tilt)),
        ball((neck[0] + 0.06, 0, neck[2] + 0.16), (0.1, 0.085, 0.125), wear["skin"], 7, 9),
        ball(
            (neck[0] + 0.03, 0, neck[2] + 0.21),
            (0.13, 0.1, 0.1),
            helmet if rng.random() < 0.6 else wear["hair"],
            6,
            9,
        ),
    ]
    for side in (-1, 1):
        parts.append(
            tube(
                [
                    [neck[0] - 0.02, side * 0.18, neck[2] - 0.02],
                    [0.2, side * 0.27, 1.15],
                    [0.38, side * 0.25, 1.05],
                ],
                [0.06, 0.045, 0.035],
                wear["top"],
                6,
                0.6,
            )
        )
    moving = []
    for side, phase in ((-1, 0.0), (1, 0.5)):
        y = side * 0.11
        knee = (0.12, y, 0.68)
        leg = merge(
            [
                tube([(-0.2, y, 0.92), knee], [0.09, 0.065], wear["legs"], 7, 0.6),
                tube([knee, (0.0, y, 0.26)], [0.06, 0.045], wear["legs"], 7, 0.6),
                box((0.05, y, 0.22), (0.24, 0.09, 0.08), wear["shoe"]),
            ]
        )
        moving.append(Part(leg, (-0.2, y, 0.92), 0.2, phase))
    return Figure((Part(merge(parts)), *moving), stride=5.0)
