"""Drawn texture tiles: windows, shop fronts, signs, posters, car sides and wheels. Conventions as in
textures.py."""

from __future__ import annotations

import cv2
import numpy as np

from geoseg_ros.training.data.synthetic.textures import SIZE, axes, brick, make_tile, noise, plaster


def rectangle(target: np.ndarray, u0: float, v0: float, u1: float, v1: float, value: float) -> None:
    """Fill a rectangle given in tile coordinates (v up)."""
    cv2.rectangle(
        target,
        (int(u0 * SIZE), int((1 - v1) * SIZE)),
        (int(u1 * SIZE) - 1, int((1 - v0) * SIZE) - 1),
        float(value),
        -1,
    )


def facade(rng):
    """Four by four windows in a wall: second colour glass, third colour frames, sills and trims."""
    style = rng.integers(4)
    if style == 0:
        wall = brick(rng)
    elif style == 1:
        wall = make_tile(shade=1 + 0.05 * noise(rng, 0.5) + 0.0)
    else:
        wall = plaster(rng)
    glass = np.zeros((SIZE, SIZE), np.float32)
    trim = np.zeros((SIZE, SIZE), np.float32)
    shade = wall[..., 2].astype(np.float32) / 128
    width, height = rng.uniform(0.32, 0.75), rng.uniform(0.42, 0.75)
    sill = rng.uniform(0.16, 0.3) * (1 - height) / 0.4
    frame = rng.uniform(0.02, 0.06)
    panes = int(rng.integers(1, 4))
    band = rng.random() < 0.35
    for row in range(4):
        if band:
            rectangle(trim, 0, row / 4, 1, row / 4 + 0.018, 0.8)
        for column in range(4):
            u0, v0 = (column + 0.5 - width / 2) / 4, (row + sill) / 4
            u1, v1 = u0 + width / 4, min(v0 + height / 4, (row + 0.97) / 4)
            rectangle(trim, u0 - frame / 4, v0 - frame / 4, u1 + frame / 4, v1 + frame / 4, 1)
            rectangle(
                trim, u0 - 2 * frame / 4, v0 - 2 * frame / 4, u1 + 2 * frame / 4, v0, rng.uniform(0.5, 1)
            )
            rectangle(shade, u0, v0, u1, v1, rng.uniform(0.5, 1.6))
            rectangle(trim, u0, v0, u1, v1, 0)
            rectangle(glass, u0, v0, u1, v1, 1)
            if rng.random() < 0.35:  # a curtain or blind
                drop = rng.uniform(0.2, 1.0)
                rectangle(glass, u0, v1 - drop * (v1 - v0), u1, v1, rng.uniform(0.1, 0.5))
                rectangle(trim, u0, v1 - drop * (v1 - v0), u1, v1, rng.uniform(0.3, 0.8))
            for pane in range(1, panes):
                u = u0 + (u1 - u0) * pane / panes
                rectangle(glass, u - 0.004, v0, u + 0.004, v1, 0)
                rectangle(trim, u - 0.004, v0, u + 0.004, v1, 1)
            rectangle(shade, u0, v1 - 0.012, u1, v1, 0.35)
    second = np.maximum(glass, (wall[..., 0] / 255.0) * 0.4 * (trim == 0))
    return make_tile(
        second=second * (1 - 0.9 * trim * (glass < 0.6)), third=trim * (glass < 0.6), shade=shade
    )


def shop(rng):
    """A shop front: panes (second colour), sign band and pillars (third colour)."""
    u, v = axes()
    glass = np.zeros((SIZE, SIZE), np.float32)
    trim = np.zeros((SIZE, SIZE), np.float32)
    shade = 1 + 0.05 * noise(rng)
    rectangle(trim, 0, 0.78, 1, 0.97, 1)
    cursor = 0.03
    while cursor < 0.9:
        width = rng.uniform(0.12, 0.4)
        end = min(cursor + width, 0.97)
        bottom = 0.0 if rng.random() < 0.25 else rng.uniform(0.08, 0.22)
        rectangle(glass, cursor, bottom, end, 0.74, 1)
        for _ in range(3):
            a, b = np.sort(rng.uniform(cursor, end, 2))
            rectangle(shade, a, bottom, b, rng.uniform(bottom, 0.74), rng.uniform(0.3, 1.8))
        cursor = end + rng.uniform(0.02, 0.08)
    letters = int(rng.integers(4, 12))
    start = rng.uniform(0.1, 0.4)
    for index in range(letters):
        u0 = start + index * 0.045
        rectangle(trim, u0, 0.83, u0 + rng.uniform(0.015, 0.035), 0.92, 0.05)
    return make_tile(second=glass, third=trim * (glass < 0.5), shade=shade)


def sign_round(rng):
    """Second colour: the rim; third: the symbol."""
    u, v = axes()
    radius = np.hypot(u - 0.5, v - 0.5)
    rim = radius > rng.uniform(0.36, 0.42)
    symbol = np.zeros((SIZE, SIZE), np.float32)
    kind = rng.integers(4)
    if kind == 0:
        symbol = ((np.abs(v - 0.5) < 0.08) & (np.abs(u - 0.5) < 0.32)).astype(np.float32)
    elif kind == 1:
        cv2.putText(symbol, str(rng.integers(1, 13) * 10), (52, 158), cv2.FONT_HERSHEY_DUPLEX, 3.0, 1, 12)
    elif kind == 2:
        symbol = ((np.abs(u - v) < 0.05) & (radius < 0.4)).astype(np.float32)
    else:
        cv2.arrowedLine(symbol, (128, 190), (128, 70), 1, 20, tipLength=0.4)
    return make_tile(second=rim, third=symbol * ~rim, shade=1 + 0.03 * noise(rng))


def sign_triangle(rng):
    u, v = axes()
    half = (1 - v) * 0.5
    inside = (np.abs(u - 0.5) < half - 0.16) & (v > 0.09)
    symbol = np.zeros((SIZE, SIZE), np.float32)
    if rng.random() < 0.6:
        cv2.line(symbol, (128, 120), (128, 190), 1, 18)
        cv2.circle(symbol, (128, 216), 10, 1, -1)
    return make_tile(second=~inside, third=symbol * inside, shade=1 + 0.03 * noise(rng))


def sign_board(rng):
    """A rectangular board with a border and lines of text or an arrow."""
    u, v = axes()
    border = (np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) < 0.035).astype(np.float32)
    symbol = np.zeros((SIZE, SIZE), np.float32)
    if rng.random() < 0.25:
        cv2.arrowedLine(symbol, (60, 200), (200, 60), 1, 22, tipLength=0.4)
    else:
        lines = int(rng.integers(1, 6))
        for line in range(lines):
            y = int((line + 0.75) / (lines + 0.3) * SIZE)
            cursor = int(rng.integers(20, 70))
            height = int(90 / (lines + 1))
            while cursor < rng.integers(150, 240):
                width = int(rng.integers(3, max(5, height)))
                cv2.rectangle(symbol, (cursor, y - height), (cursor + width, y), 1, -1)
                cursor += width + int(rng.integers(4, 10))
    return make_tile(
        second=border * (rng.random() < 0.7), third=symbol * (border == 0), shade=1 + 0.03 * noise(rng)
    )


def poster(rng):
    """Advertisements, vans' lettering, graffiti: blocks of two colours over a third."""
    second = np.zeros((SIZE, SIZE), np.float32)
    third = np.zeros((SIZE, SIZE), np.float32)
    for target in (second, third):
        for _ in range(rng.integers(2, 7)):
            a, b = rng.integers(0, SIZE, 2), rng.integers(16, 130, 2)
            if rng.random() < 0.4:
                cv2.ellipse(
                    target,
                    tuple(map(int, a)),
                    tuple(map(int, b // 2)),
                    float(rng.uniform(0, 180)),
                    0,
                    360,
                    float(rng.random()),
                    -1,
                )
            else:
                cv2.rectangle(target, tuple(map(int, a)), tuple(map(int, a + b)), float(rng.random()), -1)
    return make_tile(second=second, third=third * (1 - second), shade=1 + 0.08 * noise(rng))


def panels(rng):
    """A car's side: door gaps and handles (second colour); one tile is one car length by one metre and a
    half."""
    second = np.zeros((SIZE, SIZE), np.float32)
    for u in (0.30, 0.50, 0.70)[: int(rng.integers(2, 4))]:
        rectangle(second, u, 0.18, u + 0.008, 0.75, 0.9)
        rectangle(second, u + 0.10, 0.52, u + 0.14, 0.545, 0.8)
    rectangle(second, 0, 0.1, 1, 0.17, rng.uniform(0, 0.9))
    shade = 1 + 0.02 * noise(rng, 1.0)
    rectangle(shade, 0, 0.40, 1, 0.43, rng.uniform(0.8, 1.2))
    return make_tile(second=second, shade=shade)


def lattice(rng):
    """Wheel: rim and spokes (second colour) over the tyre; a disc in the tile's middle."""
    u, v = axes()
    radius, angle = np.hypot(u - 0.5, v - 0.5), np.arctan2(v - 0.5, u - 0.5)
    spokes = np.cos(angle * int(rng.integers(5, 11))) > rng.uniform(-0.6, 0.4)
    rim = (radius < 0.34) & ((radius > 0.28) | spokes | (radius < 0.08))
    return make_tile(second=rim, shade=1 + 0.05 * noise(rng))
