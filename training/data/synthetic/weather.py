"""Light, sky and air, drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.data.synthetic.atlas import Atlas
from geoseg_ros.training.data.synthetic.mesh import apply


@dataclass(frozen=True)
class Weather:
    """Sun direction (world, towards the sun), its radiance and that of the sky (linear RGB), clouds and haze.

    ``haze`` is the extinction per metre, ``cover`` the share of sky under clouds (0…1), ``sky_rise`` how soon
    above the horizon the sky reaches the zenith's colour.
    """

    sun_direction: np.ndarray
    sun: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    cloud: np.ndarray
    sky_rise: float
    cover: float
    cloud_layer: int
    cloud_scale: float
    cloud_offset: np.ndarray
    ambient: np.ndarray
    bounce: np.ndarray
    haze: float

    def sky(self, directions: np.ndarray, atlas: Atlas | None) -> np.ndarray:
        """Radiance N×3 of the sky along unit directions N×3 (world); without an atlas, no clouds."""
        up = np.clip(directions[:, 2], 0.0, 1.0)
        blend = np.power(np.clip(up * self.sky_rise, 0, 1), 0.6)[:, None]
        colour = self.horizon + (self.zenith - self.horizon) * blend
        if atlas is not None:
            density = self._clouds(directions, up, atlas)[:, None]
            colour += (self.cloud * (0.75 + 0.25 * blend + 0.25 * (1 - density)) - colour) * density
        glow = np.clip(apply(self.sun_direction[None], directions)[:, 0], 0, 1)
        halo = 0.25 * glow**8 + 0.6 * glow**64 + 6.0 * glow**1500
        colour += halo[:, None] * (self.sun * 0.35 + 0.02)
        return colour.astype(np.float32)

    def _clouds(self, directions: np.ndarray, up: np.ndarray, atlas: Atlas) -> np.ndarray:
        plane = directions[:, :2] / (up + 0.12)[:, None] * np.float32(self.cloud_scale) + self.cloud_offset
        layer = np.full(len(up), self.cloud_layer, np.float32)
        level = np.full(len(up), 1.0, np.float32)
        field = atlas.sample(layer, plane.astype(np.float32), level)[:, 0] / 255
        low = 1.0 - self.cover
        return np.clip((field - low * 0.85) / 0.3, 0, 1) * np.clip(up * 9, 0.25, 1)


def draw_weather(rng: np.random.Generator, atlas: Atlas) -> Weather:
    """Bright sun to dull overcast, blue to white skies, noon to evening."""
    overcast = rng.random() < 0.3
    elevation = np.deg2rad(rng.uniform(45, 80) if overcast else rng.uniform(12, 65))
    azimuth = rng.uniform(0, 2 * np.pi)
    direction = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    warmth = np.clip((35 - np.rad2deg(elevation)) / 30, 0, 1) * rng.uniform(0.2, 1.0)
    tint = np.array([1.0, 0.95 - 0.18 * warmth, 0.88 - 0.45 * warmth])
    if overcast:
        cover = rng.uniform(0.65, 1.0)
        sun = tint * rng.uniform(0.05, 0.35)
        ambient = np.array([0.92, 0.97, 1.05]) * rng.uniform(0.7, 1.0)
        grey = rng.uniform(0.7, 1.6)
        zenith, horizon = np.array([0.6, 0.7, 0.85]) * grey, np.array([0.85, 0.9, 0.95]) * grey
        cloud = np.array([0.9, 0.95, 1.0]) * grey * rng.uniform(0.7, 1.2)
    else:
        cover = rng.uniform(0.0, 0.75) * (rng.random() < 0.75)
        sun = tint * rng.uniform(1.3, 3.2)
        ambient = np.array([0.75, 0.9, 1.15]) * rng.uniform(0.12, 0.45)
        blue = rng.uniform(0.5, 1.3)
        deep = rng.uniform(0.08, 0.45)
        zenith = np.array([deep, 0.25 + 0.75 * deep, 0.85]) * blue
        horizon = np.array([0.62, 0.82, 1.0]) * blue * rng.uniform(0.8, 1.4) + sun * rng.uniform(0.0, 0.15)
        cloud = np.array([1.0, 1.0, 1.0]) * rng.uniform(1.0, 2.2)
    haze = float(np.exp(rng.uniform(np.log(0.0002), np.log(0.004 if rng.random() < 0.85 else 0.02))))
    ground = np.array([0.2, 0.19, 0.17])
    return Weather(
        sun_direction=direction.astype(np.float32),
        sun=sun.astype(np.float32),
        zenith=zenith.astype(np.float32),
        horizon=horizon.astype(np.float32),
        cloud=cloud.astype(np.float32),
        sky_rise=float(rng.uniform(1.0, 5.0)),
        cover=float(cover),
        cloud_layer=int(rng.choice(atlas.layers["clouds"])),
        cloud_scale=float(rng.uniform(0.08, 0.3)),
        cloud_offset=rng.random(2).astype(np.float32),
        ambient=ambient.astype(np.float32),
        bounce=(ground * (ambient + sun * direction[2] * 0.7)).astype(np.float32),
        haze=haze,
    )
