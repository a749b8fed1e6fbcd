"""Procedural texture tiles: what surfaces look like, before a street's seed gives them colours.

A tile is SIZE×SIZE×4 uint8: the weights of a material's second and third colour, a shade (128 = 1.0), and opacity.
Every tile repeats without seams. Tiles are made from multi-octave noise and drawn patterns.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SIZE = 256


def noise(rng: np.random.Generator, roughness: float = 1.0, low: int = 1, high: int = 128, stretch: float = 1.0):
    """Periodic noise with amplitude ∝ frequency^-(roughness+1) between two frequencies (cycles per tile); SIZE×SIZE float32,
    mean 0, standard deviation 1. stretch > 1 draws it out vertically."""
    fy = np.fft.fftfreq(SIZE, 1 / SIZE)[:, None] * stretch
    fx = np.fft.rfftfreq(SIZE, 1 / SIZE)[None]
    frequency = np.hypot(fx, fy)
    amplitude = np.where((frequency >= low) & (frequency <= high), np.maximum(frequency, 1) ** -(roughness + 1.0), 0)
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(spectrum, (SIZE, SIZE)).astype(np.float32)
    return field / (field.std() + 1e-9)


def _tile(second=0.0, third=0.0, shade=1.0, opacity=1.0) -> np.ndarray:
    tile = np.empty((SIZE, SIZE, 4), np.uint8)
    for channel, (value, scale) in enumerate(((second, 255), (third, 255), (shade, 128), (opacity, 255))):
        tile[..., channel] = np.clip(np.asarray(value, np.float32) * scale + 0.5, 0, 255)
    return tile


def _axes() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates u (right) and v (up from the last row) in [0, 1)."""
    line = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    return np.broadcast_to(line[None], (SIZE, SIZE)), np.broadcast_to(line[::-1, None], (SIZE, SIZE))


def plain(rng):
    return _tile(shade=1 + 0.04 * noise(rng, 0.8))


def asphalt(rng):
    coarse = noise(rng, 1.0, 1, 16)
    grain = noise(rng, -0.4, 24, 128)
    cracks = np.exp(-((noise(rng, 0.8, 2, 64) / rng.uniform(0.015, 0.05)) ** 2)) * (coarse > rng.uniform(0.2, 1.5))
    return _tile(
        second=np.clip(0.9 * cracks + 0.25 * np.clip(coarse, 0, 2), 0, 1),
        third=np.clip(noise(rng, -0.5, 32, 128) - 1.7, 0, 1),
        shade=1 + rng.uniform(0.05, 0.2) * grain + rng.uniform(0.03, 0.1) * coarse,
    )


def concrete(rng):
    stains = noise(rng, 1.2, 1, 32)
    return _tile(
        second=np.clip(0.35 * stains, 0, 0.8), shade=1 + 0.07 * noise(rng, 0.2, 8, 128) + 0.05 * stains
    )


def _blocks(rng, rows: int, columns: int, bond: float, joint: float, spread: float):
    """Joint mask and per-block values of a wall or floor of rows × columns blocks, odd rows shifted by bond."""
    u, v = _axes()
    row = np.floor(v * rows).astype(int)
    shifted = (u + (row % 2) * bond / columns) % 1.0
    column = np.floor(shifted * columns).astype(int) % columns
    value = rng.normal(0, spread, (rows, columns)).astype(np.float32)[row, column]
    edge = np.minimum(
        np.abs((shifted * columns) % 1 - 0.5) * -1 + 0.5, (np.abs((v * rows) % 1 - 0.5) * -1 + 0.5) * columns / rows
    )
    return np.clip(1.5 - edge / joint, 0, 1), value


def paving(rng):
    rows = int(rng.choice([4, 6, 8]))
    columns = int(rng.choice([4, 6, 8]))
    joints, slabs = _blocks(rng, rows, columns, rng.choice([0, 0.5]), 0.03, 0.08)
    return _tile(second=0.8 * joints, shade=1 + slabs + 0.06 * noise(rng, 0.3, 4, 128))


def cobbles(rng):
    joints, stones = _blocks(rng, 16, 16, 0.5, 0.12, 0.14)
    return _tile(second=0.9 * joints, shade=1 + stones + 0.08 * noise(rng, 0.3, 8, 128))


def brick(rng):
    joints, bricks = _blocks(rng, 24, 8, 0.5, 0.07, 0.13)
    return _tile(second=0.8 * joints, shade=1 + bricks + 0.05 * noise(rng, 0.5))


def plaster(rng):
    u, v = _axes()
    stains = noise(rng, 1.3, 1, 24, stretch=2.5)
    return _tile(second=np.clip(0.25 * stains, 0, 0.7), shade=1 + 0.03 * noise(rng, 0.1, 8, 128) + 0.03 * stains)


def roof(rng):
    u, v = _axes()
    rows, columns = int(rng.integers(12, 20)), int(rng.integers(10, 18))
    joints, tiles = _blocks(rng, rows, columns, 0.5, 0.08, 0.13)
    slope = (v * rows) % 1
    return _tile(second=0.7 * joints, third=np.clip(noise(rng, 1.2, 1, 16) - 1, 0, 1) * 0.6,
                 shade=0.75 + 0.4 * slope + tiles)


def grass(rng):
    patches = noise(rng, 1.2, 1, 24)
    return _tile(
        second=np.clip(0.4 + 0.35 * patches, 0, 1),
        third=np.clip(noise(rng, 0.2, 16, 128) - 1.8, 0, 1),
        shade=1 + 0.28 * noise(rng, 0.0, 12, 128),
    )


def leaves(rng):
    """Foliage with gaps between the leaves."""
    clumps = noise(rng, 0.9, 2, 64)
    detail = noise(rng, 0.0, 14, 128)
    field = clumps + 0.6 * detail
    shade = 0.95 + 0.32 * noise(rng, 0.5, 6, 128) + 0.25 * clumps
    return _tile(second=np.clip(0.45 + 0.4 * noise(rng, 0.7, 4, 64), 0, 1), third=np.clip(detail - 1.6, 0, 1),
                 shade=np.clip(shade, 0.15, 1.9), opacity=np.clip(2.0 * (field + rng.uniform(0.5, 1.3)), 0, 1))


def hedge(rng):
    tile = leaves(rng)
    tile[..., 3] = 255
    tile[..., 2] = np.clip(tile[..., 2] * 0.9 + 8, 0, 255)
    return tile


def twigs(rng):
    """A winter crown: thin branching lines with sky between."""
    a, b = noise(rng, 0.7, 3, 64), noise(rng, 0.5, 5, 96, stretch=2)
    lines = np.exp(-((a / 0.16) ** 2)) + np.exp(-((b / 0.2) ** 2))
    return _tile(second=np.clip(0.3 * noise(rng, 0.5, 8, 96), 0, 1), shade=1 + 0.2 * a, opacity=lines * 1.1)


def bark(rng):
    ridges = noise(rng, 0.5, 4, 96, stretch=4)
    return _tile(second=np.clip(0.5 * ridges, 0, 1), shade=1 + 0.22 * ridges)


def boards(rng):
    u, v = _axes()
    count = int(rng.integers(10, 18))
    value = rng.normal(0, 0.1, count).astype(np.float32)[np.floor(u * count).astype(int)]
    gap = np.clip(1.6 - (0.5 - np.abs((u * count) % 1 - 0.5)) / 0.05, 0, 1)
    return _tile(second=gap, shade=1 + value + 0.08 * noise(rng, 0.4, 4, 96, stretch=8))


def railing(rng):
    """Vertical bars between rails, open in between."""
    u, v = _axes()
    count = int(rng.choice([6, 8, 10, 12]))
    bars = np.abs((u * count) % 1 - 0.5) < rng.uniform(0.12, 0.22)
    rails = (np.abs(v - 0.06) < 0.035) | (np.abs(v - 0.93) < 0.035)
    return _tile(second=rails * 0.3, shade=1 + 0.06 * noise(rng), opacity=(bars | rails).astype(np.float32))


def wire(rng):
    """A wire mesh, seen as a veil."""
    u, v = _axes()
    count = 14
    lines = (np.abs((u + v) * count % 1 - 0.5) < 0.11) | (np.abs((u - v) * count % 1 - 0.5) < 0.11)
    lines = lines | (v > 0.96) | (v < 0.03) | (u < 0.03)
    return _tile(shade=1 + 0.05 * noise(rng), opacity=lines.astype(np.float32))


def _rectangle(target: np.ndarray, u0: float, v0: float, u1: float, v1: float, value: float) -> None:
    """Fill a rectangle given in tile coordinates (v up)."""
    cv2.rectangle(target, (int(u0 * SIZE), int((1 - v1) * SIZE)), (int(u1 * SIZE) - 1, int((1 - v0) * SIZE) - 1),
                  float(value), -1)


def facade(rng):
    """Four by four windows in a wall: second colour glass, third colour frames, sills and trims."""
    style = rng.integers(4)
    if style == 0:
        wall = brick(rng)
    elif style == 1:
        wall = _tile(shade=1 + 0.05 * noise(rng, 0.5) + 0.0)
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
            _rectangle(trim, 0, row / 4, 1, row / 4 + 0.018, 0.8)
        for column in range(4):
            u0, v0 = (column + 0.5 - width / 2) / 4, (row + sill) / 4
            u1, v1 = u0 + width / 4, min(v0 + height / 4, (row + 0.97) / 4)
            _rectangle(trim, u0 - frame / 4, v0 - frame / 4, u1 + frame / 4, v1 + frame / 4, 1)
            _rectangle(trim, u0 - 2 * frame / 4, v0 - 2 * frame / 4, u1 + 2 * frame / 4, v0, rng.uniform(0.5, 1))
            _rectangle(shade, u0, v0, u1, v1, rng.uniform(0.5, 1.6))
            _rectangle(trim, u0, v0, u1, v1, 0)
            _rectangle(glass, u0, v0, u1, v1, 1)
            if rng.random() < 0.35:  # a curtain or blind
                drop = rng.uniform(0.2, 1.0)
                _rectangle(glass, u0, v1 - drop * (v1 - v0), u1, v1, rng.uniform(0.1, 0.5))
                _rectangle(trim, u0, v1 - drop * (v1 - v0), u1, v1, rng.uniform(0.3, 0.8))
            for pane in range(1, panes):
                u = u0 + (u1 - u0) * pane / panes
                _rectangle(glass, u - 0.004, v0, u + 0.004, v1, 0)
                _rectangle(trim, u - 0.004, v0, u + 0.004, v1, 1)
            _rectangle(shade, u0, v1 - 0.012, u1, v1, 0.35)
    second = np.maximum(glass, (wall[..., 0] / 255.0) * 0.4 * (trim == 0))
    return _tile(second=second * (1 - 0.9 * trim * (glass < 0.6)), third=trim * (glass < 0.6), shade=shade)


def shop(rng):
    """A shop front: panes (second colour), sign band and pillars (third colour)."""
    u, v = _axes()
    glass = np.zeros((SIZE, SIZE), np.float32)
    trim = np.zeros((SIZE, SIZE), np.float32)
    shade = 1 + 0.05 * noise(rng)
    _rectangle(trim, 0, 0.78, 1, 0.97, 1)
    cursor = 0.03
    while cursor < 0.9:
        width = rng.uniform(0.12, 0.4)
        end = min(cursor + width, 0.97)
        bottom = 0.0 if rng.random() < 0.25 else rng.uniform(0.08, 0.22)
        _rectangle(glass, cursor, bottom, end, 0.74, 1)
        for _ in range(3):
            a, b = np.sort(rng.uniform(cursor, end, 2))
            _rectangle(shade, a, bottom, b, rng.uniform(bottom, 0.74), rng.uniform(0.3, 1.8))
        cursor = end + rng.uniform(0.02, 0.08)
    letters = int(rng.integers(4, 12))
    start = rng.uniform(0.1, 0.4)
    for index in range(letters):
        u0 = start + index * 0.045
        _rectangle(trim, u0, 0.83, u0 + rng.uniform(0.015, 0.035), 0.92, 0.05)
    return _tile(second=glass, third=trim * (glass < 0.5), shade=shade)


def sign_round(rng):
    """Second colour: the rim; third: the symbol."""
    u, v = _axes()
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
    return _tile(second=rim, third=symbol * ~rim, shade=1 + 0.03 * noise(rng))


def sign_triangle(rng):
    u, v = _axes()
    half = (1 - v) * 0.5
    inside = (np.abs(u - 0.5) < half - 0.16) & (v > 0.09)
    symbol = np.zeros((SIZE, SIZE), np.float32)
    if rng.random() < 0.6:
        cv2.line(symbol, (128, 120), (128, 190), 1, 18)
        cv2.circle(symbol, (128, 216), 10, 1, -1)
    return _tile(second=~inside, third=symbol * inside, shade=1 + 0.03 * noise(rng))


def sign_board(rng):
    """A rectangular board with a border and lines of text or an arrow."""
    u, v = _axes()
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
    return _tile(second=border * (rng.random() < 0.7), third=symbol * (border == 0), shade=1 + 0.03 * noise(rng))


def poster(rng):
    """Advertisements, vans' lettering, graffiti: blocks of two colours over a third."""
    second = np.zeros((SIZE, SIZE), np.float32)
    third = np.zeros((SIZE, SIZE), np.float32)
    for target in (second, third):
        for _ in range(rng.integers(2, 7)):
            a, b = rng.integers(0, SIZE, 2), rng.integers(16, 130, 2)
            if rng.random() < 0.4:
                cv2.ellipse(target, tuple(map(int, a)), tuple(map(int, b // 2)), float(rng.uniform(0, 180)), 0, 360,
                            float(rng.random()), -1)
            else:
                cv2.rectangle(target, tuple(map(int, a)), tuple(map(int, a + b)), float(rng.random()), -1)
    return _tile(second=second, third=third * (1 - second), shade=1 + 0.08 * noise(rng))


def cloth(rng):
    stripes = noise(rng, 1.0, 1, 24)
    if rng.random() < 0.35:
        u, v = _axes()
        stripes = np.sign(np.sin(2 * np.pi * v * int(rng.integers(3, 12)))) * 1.2
    return _tile(second=np.clip(0.4 * stripes, 0, 1), shade=1 + 0.14 * noise(rng, 0.9, 2, 48))


def panels(rng):
    """A car's side: door gaps and handles (second colour); one tile is one car length by one metre and a half."""
    second = np.zeros((SIZE, SIZE), np.float32)
    for u in (0.30, 0.50, 0.70)[: int(rng.integers(2, 4))]:
        _rectangle(second, u, 0.18, u + 0.008, 0.75, 0.9)
        _rectangle(second, u + 0.10, 0.52, u + 0.14, 0.545, 0.8)
    _rectangle(second, 0, 0.1, 1, 0.17, rng.uniform(0, 0.9))
    shade = 1 + 0.02 * noise(rng, 1.0)
    _rectangle(shade, 0, 0.40, 1, 0.43, rng.uniform(0.8, 1.2))
    return _tile(second=second, shade=shade)


def paint(rng):
    """Worn road paint."""
    wear = noise(rng, 0.5, 4, 128)
    return _tile(second=np.clip(0.3 * wear, 0, 0.7), shade=1 + 0.06 * noise(rng, 0.0, 16, 128),
                 opacity=np.clip(0.5 + rng.uniform(0.9, 2.2) + wear, 0, 1))


def lattice(rng):
    """Wheel: rim and spokes (second colour) over the tyre; a disc in the tile's middle."""
    u, v = _axes()
    radius, angle = np.hypot(u - 0.5, v - 0.5), np.arctan2(v - 0.5, u - 0.5)
    spokes = np.cos(angle * int(rng.integers(5, 11))) > rng.uniform(-0.6, 0.4)
    rim = (radius < 0.34) & ((radius > 0.28) | spokes | (radius < 0.08))
    return _tile(second=rim, shade=1 + 0.05 * noise(rng))


def clouds(rng):
    """Second weight: cloud density."""
    field = noise(rng, 1.1, 1, 96)
    return _tile(second=np.clip(0.5 + 0.33 * field, 0, 1), shade=1.0)


def grain(rng):
    """Shade: fine multi-octave variation that every surface gets on top."""
    return _tile(shade=np.clip(1 + 0.32 * noise(rng, 0.2, 2, 128), 0, 1.99))


# how many variants of each kind a library holds
KINDS: dict[Callable, int] = {
    grain: 2, clouds: 3, plain: 1, asphalt: 3, concrete: 2, paving: 3, cobbles: 1, brick: 2, plaster: 2, roof: 2, grass: 2,
    leaves: 3, hedge: 2, twigs: 2, bark: 1, boards: 2, railing: 2, wire: 1, facade: 8, shop: 3, sign_round: 4,
    sign_triangle: 2, sign_board: 4, poster: 4, cloth: 4, panels: 2, paint: 2, lattice: 2,
}
