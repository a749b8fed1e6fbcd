"""Furniture of homes and offices: tables, chairs, shelves, cupboards, kitchen counters, sofas, beds, lamps, plants."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.mesh import Mesh, box, merge, pose, tube, turned
from geoseg_ros.training.data.synthetic.rooms.kit import Item, Kit, cushion, legs, strew
from geoseg_ros.training.data.synthetic.rooms.things import (
    book_row,
    bucket,
    plant,
    shelf_thing,
    table_thing,
    turned_body,
)


def table(kit: Kit) -> Item:
    """A dining, coffee or side table with things on it."""
    height = kit.uniform(0.68, 0.8) if kit.chance(0.65) else kit.uniform(0.32, 0.55)
    depth = kit.uniform(0.5, 1.0)
    width = depth * kit.uniform(1.0, 2.2)
    top, frame = kit.any(kit.woods), kit.any([*kit.woods, *kit.metals])
    t = kit.uniform(0.015, 0.06)
    if kit.chance(0.25):
        width = depth
        parts = [
            tube([[0, 0, height - t], [0, 0, height]], depth / 2, top, 24, capped=True),
            tube([[0, 0, 0], [0, 0, 0.03]], depth * 0.28, frame, 14, capped=True),
            tube([[0, 0, 0], [0, 0, height - t]], 0.04, frame, 8),
        ]
        low, high = np.full(2, -depth * 0.34), np.full(2, depth * 0.34)
    else:
        parts = [
            kit.block((-depth / 2, -width / 2, height - t), (depth / 2, width / 2, height), top),
            legs(kit, depth / 2 - 0.05, width / 2 - 0.05, height - t, frame, kit.uniform(0.03, 0.08)),
        ]
        high = np.array([depth, width]) / 2 - 0.02
        low = -high
    parts += strew(kit, table_thing, low, high, height, int(kit.rng.integers(0, 12)))
    return Item(merge(parts), depth, width, height + 0.3)


def monitor(kit: Kit) -> Mesh:
    """A monitor or television on its foot, 0.35–1.2 m wide, looking along +x."""
    width = kit.uniform(0.38, 0.72) if kit.chance(0.8) else kit.uniform(0.8, 1.2)
    height = width * kit.uniform(0.56, 0.75)
    lift = kit.uniform(0.08, 0.2)
    lit = kit.uniform(0.3, 2.0) if kit.chance(0.6) else 0.0
    colours = ["any", "white", "black"] if lit else [np.full(3, 0.01)]
    shown = kit.add("screen", colours, width, emission=lit, gloss=0.15)
    case = kit.black if kit.chance(0.8) else kit.any(kit.metals)
    parts = [
        box((0, 0, lift + height / 2), (0.035, width, height), case),
        box(
            (0.016, 0, lift + height / 2),
            (0.008, width - 0.03, height - 0.03),
            (case, shown, case, case, case, case),
            (width - 0.03, height - 0.03),
        ),
        box((-0.02, 0, lift / 2 + 0.05), (0.02, 0.06, lift + 0.1), case),
        box((0, 0, 0.008), (0.2, min(0.3, width * 0.6), 0.016), case),
    ]
    return merge(parts)


def desk(kit: Kit) -> Item:
    """A desk with monitors, keyboard and clutter; its user sits at +x."""
    height, depth, width = kit.uniform(0.68, 0.78), kit.uniform(0.6, 0.9), kit.uniform(1.1, 2.0)
    top, frame = kit.any(kit.woods), kit.any([*kit.woods, *kit.metals])
    parts = [
        kit.block((-depth / 2, -width / 2, height - 0.03), (depth / 2, width / 2, height), top),
        legs(kit, depth / 2 - 0.06, width / 2 - 0.05, height - 0.03, frame, 0.05),
    ]
    if kit.chance(0.5):
        y = kit.any([-1, 1]) * (width / 2 - 0.27)
        fronts = kit.add("doors", ["room_wood", "metal"], 0.5)
        parts.append(
            kit.block((-depth / 2 + 0.05, y - 0.2, 0.02), (depth / 2 - 0.05, y + 0.2, height - 0.08), fronts, (0.4, 0.6))
        )
    if kit.chance(0.4):  # a screen towards the neighbour
        cloth = kit.any(kit.cloths)
        parts.append(
            kit.block((-depth / 2 - 0.03, -width / 2, 0.4), (-depth / 2, width / 2, height + kit.uniform(0.3, 0.7)), cloth)
        )
    shows = int(kit.rng.integers(0, 3))
    for index in range(shows):
        y = (index - (shows - 1) / 2) * width * 0.42
        parts.append(monitor(kit).transformed(pose(-depth * 0.22, y, height, float(kit.rng.normal(0, 0.15)))))
        keys = kit.add("keys", ["black", "metal"], 0.4)
        sides = [kit.black] * 4 + [keys, kit.black]
        keyboard = box((0, 0, 0.012), (0.15, 0.44, 0.024), sides, (0.15, 0.44))
        parts.append(keyboard.transformed(pose(depth * 0.2, y + 0.05, height, float(kit.rng.normal(0, 0.1)))))
    low = (-0.02 if shows else -depth / 2, -width / 2)
    parts += strew(kit, table_thing, low, (depth / 2, width / 2), height, int(kit.rng.integers(2, 12)))
    return Item(merge(parts), depth, width, height + 0.5)


def chair(kit: Kit) -> Item:
    """A kitchen chair, stool or office chair; who sits looks along +x."""
    seat = kit.uniform(0.42, 0.5)
    wide = kit.uniform(0.38, 0.5)
    frame, pad = kit.any([*kit.woods, *kit.metals, kit.black]), kit.any([*kit.cloths, *kit.woods, kit.black])
    back = kit.uniform(0.78, 1.1)
    if kit.chance(0.35):  # on castors
        parts = [
            cushion((0, 0, seat), (wide, wide, 0.1), pad),
            tube([[0, 0, 0.1], [0, 0, seat]], 0.03, kit.black, 8),
            cushion((-wide / 2 - 0.02, 0, (seat + back) / 2 + 0.08), (0.08, wide * 0.95, back - seat - 0.1), pad),
            box((-wide / 2 - 0.04, 0, seat + 0.1), (0.03, 0.08, 0.35), kit.black),
        ]
        for angle in np.arange(5) * 2 * np.pi / 5:
            tip = 0.3 * np.array([np.cos(angle), np.sin(angle)])
            parts.append(tube([[0, 0, 0.12], [*tip, 0.08]], 0.018, kit.black, 5))
            parts.append(tube([[*tip, 0.03], [*(tip * 1.06), 0.031]], 0.03, kit.black, 7, capped=True))
        if kit.chance(0.5):
            for y in (-wide / 2 - 0.03, wide / 2 + 0.03):
                parts.append(kit.block((-0.12, y - 0.03, seat + 0.2), (0.14, y + 0.03, seat + 0.23), kit.black))
                parts.append(kit.block((-0.03, y - 0.015, seat - 0.02), (0.0, y + 0.015, seat + 0.2), kit.black))
        return Item(merge(parts), 0.62, 0.62, back)
    t = kit.uniform(0.025, 0.045)
    parts = [
        cushion((0, 0, seat), (wide, wide, 0.06), pad, 0.2) if kit.chance(0.4) else box((0, 0, seat), (wide, wide, 0.03), pad),
        legs(kit, wide / 2 - t / 2, wide / 2 - t / 2, seat, frame, t),
    ]
    if kit.chance(0.85):
        x = -wide / 2
        rest = [
            kit.block((x, s * (wide / 2 - t / 2) - t / 2, seat), (x + t, s * (wide / 2 - t / 2) + t / 2, back), frame)
            for s in (-1, 1)
        ]
        style = kit.rng.integers(3)
        if style == 0:
            rest.append(kit.block((x, -wide / 2, back - kit.uniform(0.15, 0.35)), (x + 0.02, wide / 2, back), pad))
        elif style == 1:
            rest += [
                kit.block((x, -wide / 2, z), (x + 0.02, wide / 2, z + 0.05), frame)
                for z in np.linspace(seat + 0.12, back - 0.05, 4)
            ]
        else:
            rest += [
                kit.block((x, y - 0.01, seat), (x + 0.02, y + 0.01, back), frame)
                for y in np.linspace(-wide / 2.5, wide / 2.5, 5)
            ]
            rest.append(kit.block((x, -wide / 2, back - 0.06), (x + 0.025, wide / 2, back), frame))
        tilt = turned("y", -kit.uniform(0, 0.15), (x, 0, seat))
        parts += [mesh.transformed(tilt) for mesh in rest]
    return Item(merge(parts), wide + 0.1, wide, back)


def shelf(kit: Kit) -> Item:
    """An open shelf full of books, boxes and small things."""
    depth, width, height = kit.uniform(0.24, 0.42), kit.uniform(0.5, 1.8), kit.uniform(0.7, 2.3)
    wood = kit.any(kit.woods)
    t = kit.uniform(0.015, 0.035)
    bays = max(1, round(width / kit.uniform(0.6, 1.1)))
    levels = np.linspace(0.06, height - t, max(3, round(height / kit.uniform(0.26, 0.45)) + 1))
    parts = [
        kit.block((-depth / 2, y - t / 2, 0), (depth / 2, y + t / 2, height), wood)
        for y in np.linspace(-width / 2, width / 2, bays + 1)
    ]
    parts += [kit.block((-depth / 2, -width / 2, z), (depth / 2, width / 2, z + t), wood) for z in levels]
    if kit.chance(0.7):
        parts.append(kit.block((-depth / 2 - 0.01, -width / 2, 0), (-depth / 2, width / 2, height), kit.any(kit.woods)))
    bay = width / bays
    fill = kit.uniform(0.4, 1.0)
    backs = kit.add("spines", ["any", "any", "any"], 0.6)
    for z, above in zip(levels[:-1], levels[1:]):
        room = above - z - t - 0.01
        for index in range(bays):
            y0 = -width / 2 + index * bay + t
            if not kit.chance(fill):
                continue
            content = kit.rng.random()
            if content < 0.3:
                row = book_row(kit, (bay - 2 * t) * kit.uniform(0.4, 1.0), room, depth)
                parts.append(row.transformed(pose(depth / 2 - kit.uniform(0, 0.06), y0, z + t)))
            elif content < 0.5:
                length = (bay - 2 * t) * kit.uniform(0.5, 1.0)
                h = room * kit.uniform(0.6, 0.95)
                parts.append(kit.block((-depth / 2, y0, z + t), (depth / 2 - 0.03, y0 + length, z + t + h), backs, (length, h)))
            elif content < 0.62:
                h = room * kit.uniform(0.5, 0.95)
                basket = kit.any([*kit.cartons, *kit.cloths, *kit.colours])
                parts.append(
                    kit.block((-depth / 2, y0 + 0.02, z + t), (depth / 2 - 0.01, y0 + bay * 0.85, z + t + h), basket, 0.4)
                )
            else:
                things = strew(kit, shelf_thing, (-depth / 2, y0), (depth / 2, y0 + bay - 2 * t), z + t, 5)
                parts += [m for m in things if m.vertices[:, 2].max() < above]
    parts += strew(kit, shelf_thing, (-depth / 2, -width / 2), (depth / 2, width / 2), height, 3)
    return Item(merge(parts), depth, width, height + 0.2)


def cupboard(kit: Kit) -> Item:
    """A closed cupboard, chest of drawers, wardrobe, fridge or metal cabinet, at times with things on top."""
    depth, width = kit.uniform(0.35, 0.65), kit.uniform(0.45, 1.8)
    height = kit.uniform(0.6, 1.1) if kit.chance(0.55) else kit.uniform(1.5, 2.3)
    front = kit.add(
        "doors", [str(kit.rng.choice(["room_wood", "room_wood", "metal", "white"])), "metal"], width, gloss=kit.uniform(0, 0.2)
    )
    body = kit.any([*kit.woods, kit.white])
    foot = kit.uniform(0.0, 0.12)
    parts = [
        kit.block(
            (-depth / 2, -width / 2, foot),
            (depth / 2, width / 2, height),
            (body, front, body, body, body, body),
            (width, height - foot),
        ),
        kit.block((-depth / 2 + 0.03, -width / 2 + 0.03, 0), (depth / 2 - 0.05, width / 2 - 0.03, foot + 0.01), kit.black),
    ]
    things = strew(kit, shelf_thing, (-depth / 2, -width / 2), (depth / 2, width / 2), height, int(kit.rng.integers(0, 8)))
    return Item(merge(parts + things), depth, width, height + 0.3)


def counter(kit: Kit) -> Item:
    """A kitchen line: base units, worktop, sink, hob and oven, and at times units on the wall above (height 2.2 m)."""
    units, unit = int(kit.rng.integers(2, 6)), 0.6
    width, depth, height = units * unit, 0.6, kit.uniform(0.85, 0.95)
    front = kit.add("doors", [str(kit.rng.choice(["room_wood", "any", "white"])), "metal"], 0.6, gloss=kit.uniform(0, 0.2))
    top = kit.add(str(kit.rng.choice(["terrazzo", "plain", "grained"])), ["room_floor", "any"], 1.0, gloss=kit.uniform(0, 0.25))
    metal = kit.any(kit.metals)
    parts = [kit.block((-depth / 2, -width / 2, height - 0.04), (depth / 2 + 0.02, width / 2, height), top)]
    parts.append(kit.block((-depth / 2, -width / 2, 0), (depth / 2 - 0.06, width / 2, 0.1), kit.black))
    special = kit.rng.permutation(units)[:3]
    for index in range(units):
        y0 = -width / 2 + index * unit
        middle = y0 + unit / 2
        face = front
        if index == special[0]:  # an oven below a hob
            face = kit.black
            parts.append(kit.block((-0.22, y0 + 0.05, height), (0.22, y0 + unit - 0.05, height + 0.006), kit.black))
            parts.append(tube([[depth / 2 + 0.03, y0 + 0.06, 0.7], [depth / 2 + 0.03, y0 + 0.54, 0.7]], 0.01, metal, 6))
            if kit.chance(0.6):
                parts.append(turned_body(kit, 0.14, 0.11, metal).transformed(pose(kit.uniform(-0.1, 0.1), middle, height)))
        elif units > 2 and index == special[1]:  # a sink with its tap
            parts.append(kit.block((-0.2, y0 + 0.06, height), (0.2, y0 + unit - 0.06, height + 0.004), metal))
            parts.append(kit.block((-0.16, y0 + 0.1, height + 0.004), (0.16, y0 + unit - 0.1, height + 0.006), kit.black))
            arc = np.linspace(0, np.pi, 7)
            tap = np.stack([-0.24 + 0.08 * (1 - np.cos(arc)), np.full(7, middle), height + 0.2 + 0.08 * np.sin(arc)], -1)
            parts += [
                tube([[-0.24, middle, height], [-0.24, middle, height + 0.2]], 0.012, metal, 6), tube(tap, 0.01, metal, 6)
            ]
        parts.append(
            kit.block(
                (-depth / 2, y0 + 0.002, 0.1),
                (depth / 2, y0 + unit - 0.002, height - 0.04),
                (front, face, front, front, front, front),
                (unit, height - 0.14),
            )
        )
    if kit.chance(0.6):
        for index in range(units):
            if kit.chance(0.8):
                y0 = -width / 2 + index * unit
                parts.append(
                    kit.block((-depth / 2, y0 + 0.002, 1.42), (-depth / 2 + 0.34, y0 + unit - 0.002, 2.15), front, (unit, 0.73))
                )
    parts += strew(kit, shelf_thing, (-depth / 2, -width / 2), (depth / 2, width / 2), height, units * 3)
    return Item(merge(parts), depth, width, 2.2)


def sofa(kit: Kit) -> Item:
    """A sofa or armchair with cushions."""
    places = int(kit.rng.integers(1, 4))
    depth, seat, arm = kit.uniform(0.75, 1.0), kit.uniform(0.36, 0.46), kit.uniform(0.1, 0.25)
    width = places * kit.uniform(0.55, 0.75) + 2 * arm
    cloth = kit.any(kit.cloths)
    back = kit.uniform(0.7, 0.95)
    square = kit.uniform(0.1, 0.4)
    parts = [
        cushion((-0.02, 0, seat / 2), (depth - 0.04, width - 0.02, seat - 0.08), cloth, 0.12),
        cushion((-depth / 2 + 0.12, 0, back / 2 + 0.05), (0.24, width, back - 0.1), cloth, square * 0.6),
    ]
    for s in (-1, 1):
        parts.append(cushion((0, s * (width - arm) / 2, 0.3), (depth, arm, 0.6), cloth, square))
    place = (width - 2 * arm) / places
    for index in range(places):
        y = -width / 2 + arm + (index + 0.5) * place
        parts.append(cushion((0.08, y, seat), (depth - 0.25, place - 0.01, 0.16), cloth, 0.25))
        if kit.chance(0.7):
            lean = pose(-depth / 2 + 0.3, y + kit.uniform(-0.1, 0.1), seat + 0.25) @ turned("y", kit.uniform(-0.6, -0.1))
            parts.append(cushion((0, 0, 0), (0.14, 0.42, 0.4), kit.any(kit.cloths), 0.55).transformed(lean))
    return Item(merge(parts), depth, width, back)


def bed(kit: Kit) -> Item:
    """A bed; its head is at -x."""
    depth, width, height = kit.uniform(1.9, 2.15), kit.uniform(0.8, 1.8), kit.uniform(0.35, 0.6)
    wood, sheet, cover = kit.any(kit.woods), kit.any([kit.white, *kit.cloths]), kit.any(kit.cloths)
    parts = [
        kit.block((-depth / 2, -width / 2, 0.1), (depth / 2, width / 2, height - 0.15), wood),
        kit.block((-depth / 2 - 0.03, -width / 2, 0), (-depth / 2, width / 2, height + kit.uniform(0.1, 0.7)), wood),
        cushion((0, 0, height - 0.08), (depth - 0.02, width - 0.02, 0.24), sheet, 0.12),
    ]
    if kit.chance(0.8):
        parts.append(
            cushion(
                (kit.uniform(0.1, 0.3), kit.uniform(-0.1, 0.1), height + 0.02), (depth * 0.68, width * 1.03, 0.14), cover, 0.2
            ),
        )
    for _ in range(int(kit.rng.integers(1, 5))):
        place = pose(
            -depth / 2 + 0.3 + kit.uniform(0, 0.2),
            kit.uniform(-0.5, 0.5) * (width - 0.5),
            height + kit.uniform(0.08, 0.2),
            kit.uniform(-0.4, 0.4),
        )
        parts.append(cushion((0, 0, 0), (0.4, 0.62, 0.16), kit.any([kit.white, *kit.cloths]), 0.55).transformed(place))
    return Item(merge(parts), depth, width, height + 0.4)


def floor_lamp(kit: Kit) -> Item:
    """A lamp on a stand."""
    h, metal = kit.uniform(1.2, 1.8), kit.any(kit.metals)
    shade = kit.add("plain", ["white"], 0.5, emission=kit.uniform(0, 2))
    parts = [
        tube([[0, 0, 0], [0, 0, 0.03]], 0.15, metal, 14, capped=True),
        tube([[0, 0, 0], [0, 0, h]], 0.012, metal, 6),
        tube([[0, 0, h - 0.1], [0, 0, h + 0.18]], [kit.uniform(0.15, 0.25), 0.12], shade, 16),
    ]
    return Item(merge(parts), 0.45, 0.45, h + 0.2)


def pot_plant(kit: Kit) -> Item:
    """A plant that stands on the floor."""
    height = kit.uniform(0.5, 1.8)
    return Item(plant(kit, height), 0.3 + 0.3 * height, 0.3 + 0.3 * height, height)


def bin_(kit: Kit) -> Item:
    """A waste bin."""
    mesh, radius = bucket(kit)
    return Item(mesh, 2 * radius, 2 * radius, 0.6)


def stairs(kit: Kit) -> Item:
    """A flight of steps that ends at the wall at -x."""
    steps, width = int(kit.rng.integers(3, 12)), kit.uniform(0.8, 1.5)
    rise, tread = kit.uniform(0.15, 0.2), kit.uniform(0.22, 0.3)
    wood, other = kit.any(kit.woods), kit.any([kit.white, *kit.woods])
    parts = []
    depth = steps * tread
    solid = kit.chance(0.6)
    for k in range(steps):
        x1, z1 = depth / 2 - k * tread, (k + 1) * rise
        parts.append(kit.block((x1 - tread - 0.02, -width / 2, z1 - 0.035), (x1 + 0.02, width / 2, z1), wood))
        if solid:
            parts.append(kit.block((x1 - tread, -width / 2 + 0.02, 0), (x1, width / 2 - 0.02, z1 - 0.03), other))
    return Item(merge(parts), depth, width, steps * rise)
