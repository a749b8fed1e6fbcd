"""Procedural texture tiles: what surfaces look like, before a street's seed gives them colours.

A tile is SIZE×SIZE×4 uint8: the weights of a material's second and third colour, a shade (128 = 1.0), and
opacity. Every tile repeats without seams. Tiles are made from multi-octave noise and drawn patterns.
"""

from __future__ import annotations

import numpy as np

SIZE = 256


def noise(
    rng: np.random.Generator, roughness: float = 1.0, low: int = 1, high: int = 128, stretch: float = 1.0
):
    """Periodic noise with amplitude ∝ frequency^-(roughness+1) between two frequencies (cycles per tile);
    SIZE×SIZE float32, mean 0, standard deviation 1. stretch > 1 draws it out vertically."""
    fy = np.fft.fftfreq(SIZE, 1 / SIZE)[:, None] * stretch
    fx = np.fft.rfftfreq(SIZE, 1 / SIZE)[None]
    frequency = np.hypot(fx, fy)
    amplitude = np.where(
        (frequency >= low) & (frequency <= high), np.maximum(frequency, 1) ** -(roughness + 1.0), 0
    )
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(spectrum, (SIZE, SIZE)).astype(np.float32)
    return field / (field.std() + 1e-9)


def make_tile(second=0.0, third=0.0, shade=1.0, opacity=1.0) -> np.ndarray:
    tile = np.empty((SIZE, SIZE, 4), np.uint8)
    for channel, (value, scale) in enumerate(((second, 255), (third, 255), (shade, 128), (opacity, 255))):
        tile[..., channel] = np.clip(np.asarray(value, np.float32) * scale + 0.5, 0, 255)
    return tile


def axes() -> tuple[np.ndarray, np.ndarray]:
    """Coordinates u (right) and v (up from the last row) in [0, 1)."""
    line = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    return np.broadcast_to(line[None], (SIZE, SIZE)), np.broadcast_to(line[::-1, None], (SIZE, SIZE))


def plain(rng):
    return make_tile(shade=1 + 0.04 * noise(rng, 0.8))


def asphalt(rng):
    coarse = noise(rng, 1.0, 1, 16)
    grain = noise(rng, -0.4, 24, 128)
    cracks = np.exp(-((noise(rng, 0.8, 2, 64) / rng.uniform(0.015, 0.05)) ** 2)) * (
        coarse > rng.uniform(0.2, 1.5)
    )
    return make_tile(
        second=np.clip(0.9 * cracks + 0.25 * np.clip(coarse, 0, 2), 0, 1),
        third=np.clip(noise(rng, -0.5, 32, 128) - 1.7, 0, 1),
        shade=1 + rng.uniform(0.05, 0.2) * grain + rng.uniform(0.03, 0.1) * coarse,
    )


def concrete(rng):
    stains = noise(rng, 1.2, 1, 32)
    return make_tile(
        second=np.clip(0.35 * stains, 0, 0.8), shade=1 + 0.07 * noise(rng, 0.2, 8, 128) + 0.05 * stains
    )


def blocks(rng, rows: int, columns: int, bond: float, joint: float, spread: float):
    """Joint mask and per-block values of a wall or floor of rows × columns blocks, odd rows shifted by
    bond."""
    u, v = axes()
    row = np.floor(v * rows).astype(int)
    shifted = (u + (row % 2) * bond / columns) % 1.0
    column = np.floor(shifted * columns).astype(int) % columns
    value = rng.normal(0, spread, (rows, columns)).astype(np.float32)[row, column]
    edge = np.minimum(
        np.abs((shifted * columns) % 1 - 0.5) * -1 + 0.5,
        (np.abs((v * rows) % 1 - 0.5) * -1 + 0.5) * columns / rows,
    )
    return np.clip(1.5 - edge / joint, 0, 1), value


def paving(rng):
    rows = int(rng.choice([4, 6, 8]))
    columns = int(rng.choice([4, 6, 8]))
    joints, slabs = blocks(rng, rows, columns, rng.choice([0, 0.5]), 0.03, 0.08)
    return make_tile(second=0.8 * joints, shade=1 + slabs + 0.06 * noise(rng, 0.3, 4, 128))


def cobbles(rng):
    joints, stones = blocks(rng, 16, 16, 0.5, 0.12, 0.14)
    return make_tile(second=0.9 * joints, shade=1 + stones + 0.08 * noise(rng, 0.3, 8, 128))


def brick(rng):
    joints, bricks = blocks(rng, 24, 8, 0.5, 0.07, 0.13)
    return make_tile(second=0.8 * joints, shade=1 + bricks + 0.05 * noise(rng, 0.5))


def plaster(rng):
    u, v = axes()
    stains = noise(rng, 1.3, 1, 24, stretch=2.5)
    return make_tile(
        second=np.clip(0.25 * stains, 0, 0.7), shade=1 + 0.03 * noise(rng, 0.1, 8, 128) + 0.03 * stains
    )


def roof(rng):
    u, v = axes()
    rows, columns = int(rng.integers(12, 20)), int(rng.integers(10, 18))
    joints, tiles = blocks(rng, rows, columns, 0.5, 0.08, 0.13)
    slope = (v * rows) % 1
    return make_tile(
        second=0.7 * joints,
        third=np.clip(noise(rng, 1.2, 1, 16) - 1, 0, 1) * 0.6,
        shade=0.75 + 0.4 * slope + tiles,
    )


def grass(rng):
    patches = noise(rng, 1.2, 1, 24)
    return make_tile(
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
    return make_tile(
        second=np.clip(0.45 + 0.4 * noise(rng, 0.7, 4, 64), 0, 1),
        third=np.clip(detail - 1.6, 0, 1),
        shade=np.clip(shade, 0.15, 1.9),
        opacity=np.clip(2.0 * (field + rng.uniform(0.5, 1.3)), 0, 1),
    )


def hedge(rng):
    tile = leaves(rng)
    tile[..., 3] = 255
    tile[..., 2] = np.clip(tile[..., 2] * 0.9 + 8, 0, 255)
    return tile


def twigs(rng):
    """A winter crown: thin branching lines with sky between."""
    a, b = noise(rng, 0.7, 3, 64), noise(rng, 0.5, 5, 96, stretch=2)
    lines = np.exp(-((a / 0.16) ** 2)) + np.exp(-((b / 0.2) ** 2))
    return make_tile(
        second=np.clip(0.3 * noise(rng, 0.5, 8, 96), 0, 1), shade=1 + 0.2 * a, opacity=lines * 1.1
    )


def bark(rng):
    ridges = noise(rng, 0.5, 4, 96, stretch=4)
    return make_tile(second=np.clip(0.5 * ridges, 0, 1), shade=1 + 0.22 * ridges)


def boards(rng):
    u, v = axes()
    count = int(rng.integers(10, 18))
    value = rng.normal(0, 0.1, count).astype(np.float32)[np.floor(u * count).astype(int)]
    gap = np.clip(1.6 - (0.5 - np.abs((u * count) % 1 - 0.5)) / 0.05, 0, 1)
    return make_tile(second=gap, shade=1 + value + 0.08 * noise(rng, 0.4, 4, 96, stretch=8))


def railing(rng):
    """Vertical bars between rails, open in between."""
    u, v = axes()
    count = int(rng.choice([6, 8, 10, 12]))
    bars = np.abs((u * count) % 1 - 0.5) < rng.uniform(0.12, 0.22)
    rails = (np.abs(v - 0.06) < 0.035) | (np.abs(v - 0.93) < 0.035)
    return make_tile(
        second=rails * 0.3, shade=1 + 0.06 * noise(rng), opacity=(bars | rails).astype(np.float32)
    )


def wire(rng):
    """A wire mesh, seen as a veil."""
    u, v = axes()
    count = 14
    lines = (np.abs((u + v) * count % 1 - 0.5) < 0.11) | (np.abs((u - v) * count % 1 - 0.5) < 0.11)
    lines = lines | (v > 0.96) | (v < 0.03) | (u < 0.03)
    return make_tile(shade=1 + 0.05 * noise(rng), opacity=lines.astype(np.float32))


def clouds(rng):
    """Second weight: cloud density."""
    field = noise(rng, 1.1, 1, 96)
    return make_tile(second=np.clip(0.5 + 0.33 * field, 0, 1), shade=1.0)


def grain(rng):
    """Shade: fine multi-octave variation that every surface gets on top."""
    return make_tile(shade=np.clip(1 + 0.32 * noise(rng, 0.2, 2, 128), 0, 1.99))


def cloth(rng):
    stripes = noise(rng, 1.0, 1, 24)
    if rng.random() < 0.35:
        u, v = axes()
        stripes = np.sign(np.sin(2 * np.pi * v * int(rng.integers(3, 12)))) * 1.2
    return make_tile(second=np.clip(0.4 * stripes, 0, 1), shade=1 + 0.14 * noise(rng, 0.9, 2, 48))


def paint(rng):
    """Worn road paint."""
    wear = noise(rng, 0.5, 4, 128)
    return make_tile(
        second=np.clip(0.3 * wear, 0, 0.7),
        shade=1 + 0.06 * noise(rng, 0.0, 16, 128),
        opacity=np.clip(0.5 + rng.uniform(0.9, 2.2) + wear, 0, 1),
    )
