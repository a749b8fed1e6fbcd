"""Street furniture: lamp posts, signs, traffic lights, bollards, fences, railings, walls and hedges."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.materials import BUILDING, FENCE, POLE, SIGN, TREE, Materials
from geoseg_ros.training.data.synthetic.mesh import Mesh, ball, box, merge, polygon, pose, tube
from geoseg_ros.training.data.synthetic.palette import color
from geoseg_ros.training.data.synthetic.streets.layout import KERB, Layout, Road
from geoseg_ros.training.data.synthetic.streets.surfaces import strip

_CIRCLE = np.stack(
    [np.cos(np.linspace(0, 2 * np.pi, 17)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 17)[:-1])], -1
)
_TRIANGLE = np.array([[-1.0, -0.6], [1.0, -0.6], [0, 1.1]])
_SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1.0]])


def lamp_post(rng: np.random.Generator, materials: Materials) -> Mesh:
    """A lamp post; its arm reaches along +y."""
    metal = materials.add("plain", POLE, ["metal"], 1.0)
    height, arm = rng.uniform(4.0, 9.5), rng.uniform(0.4, 2.0)
    radius = rng.uniform(0.05, 0.1)
    parts = [
        tube([[0, 0, 0], [0, 0, height]], [radius, radius * 0.6], metal, 8),
        tube([[0, 0, 0], [0, 0, 1.0]], [radius * 1.7, radius * 1.6], metal, 8),
    ]
    if rng.random() < 0.75:
        parts.append(tube([[0, 0, height - 0.1], [0, arm, height + 0.2]], [0.04, 0.03], metal, 5))
        parts.append(box((0, arm, height + 0.18), (0.22, 0.6, 0.12), metal))
    else:
        parts.append(ball((0, 0, height + 0.2), (0.22, 0.22, 0.28), metal))
    return merge(parts)


def sign_face(rng: np.random.Generator, materials: Materials, height: float, facing: float = np.pi) -> Mesh:
    """One traffic sign whose face looks along ``facing`` (radians about z), mounted at the origin's pole."""
    style = rng.random()
    if style < 0.4:
        colors = (["white", "red", "black"], ["blue", "white", "white"], ["red", "red", "white"])[
            int(rng.integers(3))
        ]
        face, outline, size = (
            materials.add("sign_round", SIGN, colors, 1.0, detail=0.1),
            _CIRCLE,
            rng.uniform(0.3, 0.45),
        )
    elif style < 0.65:
        colors = (["white", "red", "black"], ["yellow", "black", "black"])[int(rng.integers(2))]
        face, outline, size = (
            materials.add("sign_triangle", SIGN, colors, 1.0, detail=0.1),
            _TRIANGLE,
            rng.uniform(0.35, 0.5),
        )
        if rng.random() < 0.3:
            outline = -outline
    else:
        board = ("blue", "green", "white", "yellow", "black", "any")[int(rng.integers(6))]
        ink = "black" if board in ("white", "yellow") else "white"
        face = materials.add("sign_board", SIGN, [board, ink, ink], 1.0, detail=0.1)
        outline, size = _SQUARE * rng.uniform([0.7, 0.6], [1.6, 1.3]), rng.uniform(0.3, 0.5)
    grey = materials.add("plain", SIGN, ["metal"], 1.0)
    front = polygon(outline * size, (0, -0.06, height), (1, 0, 0), (0, 0, 1), face)
    back = polygon(outline * size, (0, -0.045, height), (1, 0, 0), (0, 0, 1), grey)
    return merge([front, back]).transformed(pose(yaw=facing + np.pi / 2))


def sign_post(rng: np.random.Generator, materials: Materials) -> Mesh:
    """A pole with one to three signs that face traffic coming along +x (they look along -x)."""
    metal = materials.add("plain", POLE, ["metal"], 1.0)
    height = rng.uniform(2.1, 3.2)
    count = int(rng.choice([1, 1, 2, 3]))
    parts = [tube([[0, 0, 0], [0, 0, height + 0.8 * (count - 1) + 0.2]], 0.035, metal, 6)]
    parts += [sign_face(rng, materials, height + 0.8 * k, np.pi + rng.normal(0, 0.15)) for k in range(count)]
    return merge(parts)


def gantry_sign(rng: np.random.Generator, materials: Materials) -> Mesh:
    """A large direction board on two posts, facing -x."""
    metal = materials.add("plain", POLE, ["metal"], 1.0)
    board = materials.add(
        "sign_board", SIGN, [str(rng.choice(["blue", "green", "white", "yellow"])), "white", "black"], 1.0
    )
    width, height = rng.uniform(1.5, 3.2), rng.uniform(0.9, 1.8)
    z = rng.uniform(1.2, 2.4)
    posts = [tube([[0, y, 0], [0, y, z + height]], 0.05, metal, 6) for y in (-width / 3, width / 3)]
    return merge([*posts, box((-0.08, 0, z + height / 2), (0.05, width, height), board, (width, height))])


def traffic_light(rng: np.random.Generator, materials: Materials) -> Mesh:
    """A signal on a pole, facing -x."""
    metal = materials.add("plain", POLE, [color(rng, "metal") * 0.4], 1.0)
    case = materials.add("plain", SIGN, ["black"], 1.0)
    height = rng.uniform(2.2, 3.2)
    parts = [
        tube([[0, 0, 0], [0, 0, height + 0.9]], 0.06, metal, 7),
        box((-0.15, 0, height + 0.45), (0.25, 0.34, 1.0), case),
    ]
    if rng.random() < 0.5:
        board = materials.add("plain", SIGN, ["black", "white"], 1.0)
        parts.append(box((-0.06, 0, height + 0.45), (0.03, 0.6, 1.3), board))
    lit = int(rng.integers(3))
    for index, name in enumerate(("green", "yellow", "red")):
        glow = materials.add(
            "plain",
            SIGN,
            [color(rng, name) * (1.0 if index == lit else 0.12)],
            1.0,
            emission=4.0 if index == lit else 0.0,
        )
        parts.append(
            polygon(_CIRCLE * 0.11, (-0.285, 0, height + 0.15 + 0.3 * index), (0, -1, 0), (0, 0, 1), glow)
        )
    return merge(parts)


def build_furniture(layout: Layout, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    """Poles, signs and traffic lights beside the roads, and fences before the houses."""
    lamps = [lamp_post(rng, materials) for _ in range(2)]
    meshes: list[Mesh] = []
    for road in layout.roads:
        edge_offset = float(rng.uniform(0.35, 0.7))
        for side in (-1, 1):
            edge = road.section.half_width(side) + edge_offset
            inward = 0.0 if side < 0 else np.pi  # arms reach over the road
            lamp_spacing, sign_spacing = rng.uniform(14, 38), rng.uniform(9, 26)
            pole_spacing = rng.uniform(12, 60)
            for s0, s1 in road.stretches(side, 1.5):
                for s in np.arange(s0 + rng.uniform(0, lamp_spacing), s1, lamp_spacing):
                    meshes.append(_stand(layout, road, s, side * edge, lamps[0], inward))
                for s in np.arange(s0 + rng.uniform(0, sign_spacing), s1, sign_spacing):
                    toward = np.pi if (side > 0) == (layout.drive > 0) and rng.random() < 0.7 else 0.0
                    post = gantry_sign(rng, materials) if rng.random() < 0.12 else sign_post(rng, materials)
                    meshes.append(_stand(layout, road, s, side * (edge + rng.uniform(0, 0.5)), post, toward))
                for s in np.arange(s0 + rng.uniform(0, pole_spacing), s1, pole_spacing):
                    meshes.append(
                        _stand(
                            layout,
                            road,
                            s,
                            side * (road.section.half_width(side) + road.section.pavement - 0.3),
                            lamps[1],
                            inward,
                        )
                    )
                if rng.random() < 0.25:
                    bollard = tube(
                        [[0, 0, 0], [0, 0, rng.uniform(0.7, 1.1)]],
                        rng.uniform(0.05, 0.12),
                        materials.add("plain", POLE, ["metal"], 1.0),
                        7,
                        capped=True,
                    )
                    start = rng.uniform(s0, s1)
                    meshes += [
                        _stand(layout, road, s, side * edge, bollard, 0.0)
                        for s in np.arange(start, min(start + 16, s1), rng.uniform(1.2, 2.5))
                    ]
            meshes += _fences(layout, road, side, materials, rng)
    return meshes + _signals(layout, materials, rng)


def _stand(layout: Layout, road: Road, s: float, t: float, mesh: Mesh, turn: float) -> Mesh:
    yaw = float(road.curve.yaw(s)) + turn
    return mesh.transformed(layout.ground.upright(road.curve.point(s, t), yaw, KERB - 0.03))


def _signals(layout: Layout, materials: Materials, rng: np.random.Generator) -> list[Mesh]:
    meshes = []
    for low, high, _ in layout.main.gaps:
        if rng.random() < 0.7:
            signal = traffic_light(rng, materials)
            for s, side, turn in (
                (low - 1.5, -1, 0.0),
                (low - 1.5, 1, 0.0),
                (high + 1.5, 1, np.pi),
                (high + 1.5, -1, 0.0),
            ):
                meshes.append(
                    _stand(
                        layout, layout.main, s, side * (layout.section.half_width(side) + 0.6), signal, turn
                    )
                )
    return meshes


def _fences(
    layout: Layout, road: Road, side: int, materials: Materials, rng: np.random.Generator
) -> list[Mesh]:
    """Garden fences, walls and hedges at the back of the pavement, and railings at the kerb."""
    section = road.section
    meshes = []
    line = section.half_width(side) + section.pavement + 0.15
    share = {"terraced": 0.35, "residential": 0.8, "commercial": 0.3, "avenue": 0.6, "rural": 0.6}[
        layout.kind
    ]
    for s0, s1 in road.stretches(side, 4.0):
        s0 = s0 if road is layout.main else s0 + layout.section.pavement + layout.section.setback
        cursor = s0
        while cursor < s1 - 3:
            end = min(cursor + rng.uniform(6, 22), s1)
            if section.setback > 0.8 and rng.random() < share:
                meshes.append(_barrier(layout, road, (cursor, end), side * line, materials, rng))
            cursor = end + rng.uniform(0, 3.0)
        if s1 - s0 > 8 and rng.random() < (0.45 if section.setback > 0.8 else 0.75):
            start = rng.uniform(s0, s1 - 6)
            span = (start, min(start + rng.uniform(8, 40), s1))
            at = side * (section.half_width(side) + 0.3)
            bars = materials.add(
                "railing" if rng.random() < 0.7 else "wire", FENCE, ["metal"], 1.0, cutout=True
            )
            meshes.append(_wall(layout, road, span, at, rng.uniform(0.9, 1.2), 0.0, bars, 1.2))
    return meshes


def _barrier(
    layout: Layout, road: Road, span, t: float, materials: Materials, rng: np.random.Generator
) -> Mesh:
    style = rng.random()
    if style < 0.25:
        leaf = color(rng, "leaf")
        hedge = materials.add("hedge", TREE, [leaf, leaf * 0.3, leaf * 1.5], 1.5, detail=0.5)
        return _wall(layout, road, span, t, rng.uniform(0.8, 2.2), 0.7, hedge, 1.5)
    if style < 0.38:
        stone = materials.add(
            str(rng.choice(["brick", "plaster", "concrete"])), BUILDING, ["brick", "mortar"], 2.0
        )
        return _wall(layout, road, span, t, rng.uniform(0.6, 2.0), 0.25, stone, 2.0)
    if style < 0.65:
        wood = materials.add("boards", FENCE, ["wood", "black"], 2.0)
        return _wall(layout, road, span, t, rng.uniform(0.9, 2.0), 0.05, wood, 1.6)
    height = float(rng.uniform(0.9, 1.9))
    bars = materials.add(
        "railing" if rng.random() < 0.7 else "wire", FENCE, ["metal", "metal"], 1.0, cutout=True
    )
    if style < 0.8:
        return _wall(layout, road, span, t, height, 0.0, bars, height)
    stone = materials.add("brick", FENCE, ["brick", "mortar"], 2.0)
    low = _wall(layout, road, span, t, 0.6, 0.25, stone, 2.0)
    return merge([low, _wall(layout, road, span, t, height, 0.0, bars, height)])


def _wall(
    layout: Layout, road: Road, span, t: float, height: float, thickness: float, material: int, tile: float
) -> Mesh:
    """An upright band along a road from the ground to a height; thick ones have two faces and a top."""
    ground, curve = layout.ground, road.curve
    base = KERB - 0.1

    def face(at: float, lower: float, upper: float, width: float = 0.002) -> Mesh:
        mesh = strip(ground, curve, span, (at, at + width), (lower, upper), material, tile)
        return mesh

    if thickness == 0.0:
        mesh = strip(ground, curve, span, (t, t + 0.002), (base, base + height), material, tile)
        mesh.uv[:, 1] = np.where(np.arange(len(mesh.uv)) % 2 == 0, 0.0, 0.999)
        return mesh
    outer = t + np.sign(t) * thickness
    top = strip(ground, curve, span, tuple(sorted((t, outer))), base + height, material, tile)
    ends = []
    for s in span:
        point = curve.point(s, (t + outer) / 2)
        cap = box((0, 0, height / 2), (0.05, thickness, height), material, tile)
        ends.append(cap.transformed(ground.upright(point, float(curve.yaw(s)), base)))
    return merge([face(t, base, base + height), face(outer, base, base + height), top, *ends])
