"""Drawn texture tiles of rooms: floors, wallpapers, fronts, screens, books, labels. Conventions as in textures.py."""

from __future__ import annotations

import cv2
import numpy as np

from geoseg_ros.training.data.synthetic.drawings import rectangle
from geoseg_ros.training.data.synthetic.textures import SIZE, axes, blocks, make_tile, noise


def _empty() -> np.ndarray:
    return np.zeros((SIZE, SIZE), np.float32)


def parquet(rng):
    """Planks along u; second colour: joints and dark grain."""
    rows, columns = int(rng.choice([4, 6, 8, 12])), int(rng.choice([1, 2, 3]))
    joints, planks = blocks(rng, rows, columns, rng.uniform(0.2, 0.5), 0.01 * columns, rng.uniform(0.04, 0.16))
    grain = noise(rng, 0.4, 4, 128, stretch=10).T
    return make_tile(
        second=np.clip(0.7 * joints + 0.25 * np.clip(grain, 0, 2), 0, 1),
        shade=1 + planks + rng.uniform(0.03, 0.1) * grain,
    )


def grained(rng):
    """A single board of wood, grain along u."""
    rings = np.sin(noise(rng, 1.2, 1, 32, stretch=5) * rng.uniform(2, 7)).T
    fine = noise(rng, 0.2, 8, 128, stretch=12).T
    return make_tile(second=np.clip(0.35 * rings + 0.12 * fine, 0, 1), shade=1 + 0.05 * fine)


def carpet(rng):
    """Pile with a woven pattern (second colour) now and then."""
    u, v = axes()
    second = np.clip(0.3 * noise(rng, 0.8, 1, 32), 0, 1)
    if rng.random() < 0.5:
        n = int(rng.integers(2, 9))
        style = rng.integers(3)
        if style == 0:
            second = (np.abs((u * n) % 1 - 0.5) + np.abs((v * n) % 1 - 0.5) < 0.3) * 0.8
        elif style == 1:
            second = ((v * n) % 1 < rng.uniform(0.2, 0.6)) * 0.8
        else:
            second = (np.hypot((u * n) % 1 - 0.5, (v * n) % 1 - 0.5) < 0.35) * 0.8
    return make_tile(second=second, shade=1 + 0.16 * noise(rng, -0.5, 24, 128) + 0.04 * noise(rng, 1.0))


def wallpaper(rng):
    """Stripes, dots, leaves or checks in the second and third colour."""
    u, v = axes()
    n = int(rng.choice([2, 4, 6, 8]))
    style = rng.integers(5)
    third = _empty()
    if style == 0:
        second = ((u * n) % 1 < rng.uniform(0.2, 0.7)).astype(np.float32)
    elif style == 1:
        second = (np.hypot((u * n) % 1 - 0.5, (v * n + 0.5 * np.floor(u * n)) % 1 - 0.5) < rng.uniform(0.15, 0.4)) * 1.0
    elif style == 2:
        second = np.clip(np.sin(2 * np.pi * n * u + 2 * np.sin(2 * np.pi * n * v)) * 2, 0, 1)
    elif style == 3:
        second = np.clip(np.sin(2 * np.pi * n * u) * np.sin(2 * np.pi * n * v) * 4, 0, 1)
        third = np.clip(noise(rng, 0.8, 4, 32) - 1, 0, 1)
    else:
        second = np.clip((noise(rng, 0.6, 3, 16) - 0.6) * 4, 0, 1)
        third = np.clip((noise(rng, 0.6, 3, 16) - 0.8) * 4, 0, 1)
    return make_tile(
        second=second * rng.uniform(0.3, 1), third=third, shade=1 + 0.03 * noise(rng, 0.1, 8, 128) + 0.02 * noise(rng, 1.2)
    )


def terrazzo(rng):
    """Chips of two colours in a plain floor."""
    return make_tile(
        second=np.clip((noise(rng, -0.2, 12, 64) - 0.9) * 4, 0, 1),
        third=np.clip((noise(rng, -0.2, 12, 64) - 1.1) * 4, 0, 1),
        shade=1 + 0.05 * noise(rng, 0.5),
    )


def checks(rng):
    """A two-coloured floor of 4×4 tiles with joints (third colour)."""
    u, v = axes()
    odd = (np.floor(u * 4) + np.floor(v * 4)) % 2
    joints, tiles = blocks(rng, 4, 4, 0.0, 0.03, 0.05)
    return make_tile(second=odd, third=joints, shade=1 + tiles + 0.04 * noise(rng, 0.4))


def ceiling_tiles(rng):
    """Mineral panels, 4×4, in a grid of rails (second colour)."""
    joints, panels = blocks(rng, 4, 4, 0.0, 0.05, 0.02)
    return make_tile(second=joints, shade=1 + panels + 0.07 * noise(rng, -0.6, 24, 128))


def doors(rng):
    """Fronts of a cupboard: gaps and handles (second colour), panels in relief; one tile is the whole front."""
    second, shade = _empty(), 1 + 0.03 * noise(rng, 0.8)
    columns, rows = int(rng.integers(1, 5)), int(rng.choice([1, 1, 2, 3, 4]))
    gap, relief, handle = 0.006, rng.random() < 0.4, rng.integers(3)
    for c in range(columns):
        for r in range(rows):
            u0, u1, v0, v1 = c / columns, (c + 1) / columns, r / rows, (r + 1) / rows
            for a, b, c1, d in ((u0, v0, u0 + gap, v1), (u1 - gap, v0, u1, v1), (u0, v0, u1, v0 + gap), (u0, v1 - gap, u1, v1)):
                rectangle(second, a, b, c1, d, 0.9)
            w, h = (u1 - u0) * 0.16, (v1 - v0) * 0.16
            if relief:
                rectangle(shade, u0 + w, v0 + h, u1 - w, v1 - h, rng.uniform(0.8, 0.95))
                rectangle(shade, u0 + w, v1 - h - 0.01, u1 - w, v1 - h, 0.6)
            if handle == 0:
                rectangle(second, (u0 + u1) / 2 - 0.3 * w, v1 - 0.7 * h, (u0 + u1) / 2 + 0.3 * w, v1 - 0.7 * h + 0.015, 1)
            elif handle == 1:
                x = u1 - 0.5 * w if c % 2 == 0 else u0 + 0.5 * w
                rectangle(second, x - 0.006, (v0 + v1) / 2 - 0.6 * h, x + 0.006, (v0 + v1) / 2 + 0.6 * h, 1)
    return make_tile(second=second, shade=shade)


def spines(rng):
    """A row of book backs in three colours, with bands for titles."""
    second, third, shade = _empty(), _empty(), 1 + _empty()
    cursor = 0.0
    while cursor < 1.0:
        width = rng.uniform(0.02, 0.07)
        top = rng.uniform(0.7, 1.0)
        rectangle(second, cursor, 0, cursor + width, 1, rng.choice([0, 0.3, 1]))
        rectangle(third, cursor, 0, cursor + width, 1, rng.choice([0, 0, 0.5, 1]))
        rectangle(shade, cursor, 0, cursor + width, 1, rng.uniform(0.4, 1.7))
        rectangle(shade, cursor, top, cursor + width, 1, 0.12)
        rectangle(shade, cursor, 0, cursor + 0.005, 1, 0.2)
        band = rng.uniform(0.2, 0.7)
        rectangle(shade, cursor + 0.2 * width, band, cursor + 0.8 * width, band + rng.uniform(0.02, 0.2), rng.uniform(0.3, 1.9))
        cursor += width
    return make_tile(second=second, third=third, shade=shade)


def _text(rng, target: np.ndarray, u0: float, v0: float, u1: float, v1: float, lines: int) -> None:
    """Lines of words in a rectangle."""
    pitch = (v1 - v0) / max(lines, 1)
    for line in range(lines):
        v, cursor = v1 - (line + 0.8) * pitch, u0
        end = u0 + (u1 - u0) * rng.uniform(0.4, 1.0)
        while cursor < end:
            width = rng.uniform(0.01, 0.08)
            rectangle(target, cursor, v, min(cursor + width, u1), v + 0.5 * pitch, 1)
            cursor += width + 0.015


def page(rng):
    """Printed paper: text and boxes in the second colour, a picture in the third."""
    second, third = _empty(), _empty()
    if rng.random() < 0.6:
        a, b = rng.uniform(0.05, 0.5, 2)
        rectangle(third, a, b, a + rng.uniform(0.2, 0.45), b + rng.uniform(0.2, 0.45), rng.uniform(0.4, 1))
    _text(rng, second, 0.08, 0.55, 0.92, 0.95, int(rng.integers(1, 8)))
    _text(rng, second, 0.08, 0.06, rng.uniform(0.4, 0.92), 0.5, int(rng.integers(0, 12)))
    return make_tile(second=second, third=third, shade=1 + 0.02 * noise(rng))


def screen(rng):
    """A monitor's picture: windows (second and third colour) with text."""
    second, third, shade = _empty(), _empty(), 1 + 0.3 * np.clip(noise(rng, 1.3, 1, 8), -1, 1)
    for _ in range(int(rng.integers(1, 4))):
        u0, v0 = rng.uniform(0.0, 0.5, 2)
        u1, v1 = u0 + rng.uniform(0.2, 0.5), v0 + rng.uniform(0.2, 0.5)
        rectangle(second, u0, v0, u1, v1, 1)
        rectangle(shade, u0, v0, u1, v1, 1)
        rectangle(third, u0, v1 - 0.03, u1, v1, 1)
        _text(rng, third, u0 + 0.02, v0 + 0.02, u1 - 0.02, v1 - 0.05, int(rng.integers(3, 12)))
    return make_tile(second=second, third=third, shade=shade)


def keys(rng):
    """A keyboard: 5 rows of keys (second colour)."""
    u, v = axes()
    columns = 15
    inside = (np.abs((u * columns + 0.5 * np.floor(v * 5)) % 1 - 0.5) < 0.38) & (np.abs((v * 5) % 1 - 0.5) < 0.38)
    return make_tile(second=inside, shade=1 + 0.02 * noise(rng))


def painting(rng):
    """An abstract picture or a photograph of hills."""
    u, v = axes()
    a, b = noise(rng, 1.2, 1, 32), noise(rng, 0.9, 1, 64)
    if rng.random() < 0.5:
        second = np.clip((v - 0.5 + 0.08 * a) * 20, 0, 1)
        third = np.clip((0.3 - v + 0.1 * b) * 20, 0, 1)
    else:
        second, third = np.clip(a * 3, 0, 1), np.clip((b - 0.5) * 3, 0, 1)
    return make_tile(second=second, third=third, shade=1 + 0.2 * noise(rng, 0.7))


def parcel(rng):
    """A cardboard side: tape (second colour) and a label (third) with writing."""
    second, third, shade = _empty(), _empty(), 1 + 0.04 * noise(rng, 0.6, 1, 64)
    if rng.random() < 0.7:
        rectangle(second, 0.44, 0, 0.56, 1, 0.7)
    if rng.random() < 0.6:
        u, v = rng.uniform(0.05, 0.5, 2)
        w, h = rng.uniform(0.15, 0.4, 2)
        rectangle(third, u, v, u + w, v + h, 1)
        ink = _empty()
        _text(rng, ink, u + 0.02, v + 0.02, u + w - 0.02, v + h - 0.02, int(rng.integers(2, 6)))
        shade = shade * (1 - 0.85 * ink)
    return make_tile(second=second, third=third, shade=shade)


def view(rng):
    """What a window shows: bright sky above blurred trees (second colour) and houses (third)."""
    u, v = axes()
    line = rng.uniform(0.15, 0.6)
    second = np.clip((line - v + 0.09 * noise(rng, 0.9, 1, 24)) * 14, 0, 1)
    third = _empty()
    for _ in range(int(rng.integers(0, 4))):
        u0 = rng.uniform(0, 0.8)
        rectangle(third, u0, 0, u0 + rng.uniform(0.08, 0.3), line + rng.uniform(-0.2, 0.2), 1)
    shade = 1 + 0.25 * second * noise(rng, 0.6, 4, 48)
    soft = [cv2.GaussianBlur(channel, (0, 0), 1.5) for channel in (second, third, shade)]
    return make_tile(*soft)


def blinds(rng):
    """Slats (second colour: the gaps between them)."""
    _, v = axes()
    n = int(rng.integers(12, 28))
    return make_tile(second=((v * n) % 1 < 0.15) * rng.uniform(0.3, 1.0), shade=1.1 - 0.25 * ((v * n) % 1))


def folds(rng):
    """A curtain's folds along v, with a pattern at times."""
    u, v = axes()
    phase = u * int(rng.integers(6, 14)) + 0.15 * noise(rng, 1.5, 1, 4)
    pattern = np.clip(noise(rng, 0.6, 4, 16) * 2 - 1, 0, 1) * (rng.random() < 0.4)
    return make_tile(second=pattern, shade=0.85 + 0.25 * np.sin(2 * np.pi * phase))


def vents(rng):
    """A grid of slots (second colour), as on radiators, servers and machines."""
    u, v = axes()
    columns, rows = int(rng.choice([1, 2, 3])), int(rng.integers(8, 24))
    slots = (np.abs((v * rows) % 1 - 0.5) < 0.25) & (np.abs((u * columns) % 1 - 0.5) < 0.42)
    if rng.random() < 0.5:
        slots = slots.T
    return make_tile(second=slots * 0.9, shade=1 + 0.03 * noise(rng))
