"""Where the camera of a room is and how it moves: in a hand, on wheels, turning on the spot, or still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import GeosegError
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.data.synthetic.config import RoomConfig
from geoseg_ros.training.data.synthetic.mesh import apply, directions_around, turned
from geoseg_ros.training.data.synthetic.tracer import TracedMesh

CLEARANCE = 0.2  # metres that surfaces keep from the camera
_MARGIN = 0.07  # metres more, since only some rays look
_STEP = 0.15  # metres per frame at most
_TURN = np.deg2rad(6.0)  # radians per frame at most
_HEIGHTS = (0.1, 1.9)  # metres
_PITCH = np.deg2rad([-25.0, 50.0])  # positive looks down
_ROLL = np.deg2rad(10.0)
_TRIES = 400
_VIEW = (28, 21)  # rays of a first look


@dataclass(frozen=True)
class Wave:
    """amplitude · sin(frequency · frame + phase)."""

    amplitude: float = 0.0
    frequency: float = 1.0
    phase: float = 0.0

    def at(self, frame: float) -> float:
        """Its value at a frame's number."""
        return self.amplitude * float(np.sin(self.frequency * frame + self.phase))


def _wave(rng: np.random.Generator, rate: float, most: float) -> Wave:
    """A wave of 6–60 frames that changes by up to ``rate`` per frame and never exceeds ``most``."""
    frequency = 2 * np.pi / float(rng.uniform(6, 60))
    return Wave(min(rate * float(rng.random()) / frequency, most), frequency, float(rng.uniform(0, 2 * np.pi)))


@dataclass(frozen=True)
class RoomCamera:
    """A camera's path. It starts at ``position``, swings along ``heading`` (3, unit; on wheels along an arc of
    ``curvature``, 1/m) and sways; yaw, pitch (positive looks down) and roll (radians) swing around their middles, ``spin``
    (radians per frame) adds to the yaw."""

    fps: float
    position: np.ndarray
    yaw: float
    pitch: float
    roll: float
    heading: np.ndarray
    curvature: float = 0.0
    spin: float = 0.0
    travel: Wave = Wave()
    sway: tuple[Wave, Wave, Wave] = (Wave(),) * 3
    turn: tuple[Wave, Wave, Wave] = (Wave(),) * 3

    def world_from_camera(self, time: float) -> np.ndarray:
        """4×4 pose of the camera's optical frame in the room at a time in seconds from the first frame."""
        frame = time * self.fps
        along = self.travel.at(frame) - self.travel.at(0.0)
        bend = self.curvature * along
        chord = along * np.sinc(bend / 2 / np.pi)
        offset = turned("z", bend / 2)[:3, :3] @ self.heading * chord
        offset = offset + [wave.at(frame) for wave in self.sway]
        yaw, pitch, roll = (wave.at(frame) for wave in self.turn)
        yaw += self.yaw + bend + self.spin * frame
        pose = turned("z", yaw) @ turned("y", self.pitch + pitch) @ turned("x", self.roll + roll)
        pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL
        pose[:3, 3] = self.position + offset
        return pose


def _draw_height(rng: np.random.Generator, ceiling: float) -> tuple[float, bool]:
    """Height of a camera, and whether it is on wheels."""
    kind = rng.random()
    if kind < 0.16:
        return float(rng.uniform(_HEIGHTS[0], 0.35)), True
    if kind < 0.4:
        return float(rng.uniform(0.35, 1.3)), True
    if kind < 0.75:
        return float(rng.uniform(0.7, 1.6)), False
    return min(float(rng.uniform(1.45, _HEIGHTS[1])), ceiling - 0.4), False


def _draw(
    rng: np.random.Generator, size: np.ndarray, targets: Sequence[np.ndarray], fps: float, calm: float
) -> RoomCamera:
    """A camera somewhere, looking at something or anywhere; ``calm`` (0…1) scales its motion."""
    height, wheeled = _draw_height(rng, float(size[2]))
    yaw = float(rng.uniform(-np.pi, np.pi))
    pitch = float(np.clip(rng.normal(0.05 if wheeled else 0.15, 0.12 if wheeled else 0.25), *_PITCH))
    place = rng.uniform([0.25, 0.25], size[:2] - 0.25)
    if len(targets) and rng.random() < 0.65:
        target = targets[int(rng.integers(len(targets)))]
        away = float(rng.uniform(0.4, 2.4))
        place = np.clip(target[:2] - away * np.array([np.cos(yaw), np.sin(yaw)]), 0.25, size[:2] - 0.25)
        yaw += float(rng.normal(0, 0.25))
        if not wheeled:
            pitch = float(np.clip(np.arctan2(height - target[2], away) + rng.normal(0, 0.2), *_PITCH))
    roll = float(np.clip(rng.normal(0, 0.01 if wheeled else 0.06), -_ROLL, _ROLL))
    position = np.array([*place, height])
    style = rng.random()
    forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
    if style < 0.1:
        return RoomCamera(fps, position, yaw, pitch, roll, forward)
    speed = calm * _STEP * float(rng.uniform(0.05, 0.85))
    reach = float(rng.uniform(0.4, 1.5))
    travel = Wave(reach, speed / reach, float(rng.normal(0, 0.5)))
    if wheeled:
        if style < 0.25:
            return RoomCamera(fps, position, yaw, pitch, roll, forward, spin=calm * float(rng.uniform(-1, 1)) * _TURN * 0.95)
        limit = 0.9 * _TURN / max(_STEP * 0.9, 1e-6)
        curvature = float(np.clip(rng.normal(0, 0.4), -limit, limit))
        jolts = tuple(_wave(rng, calm * 0.002, 0.004) for _ in range(3))
        shakes = tuple(_wave(rng, calm * r, 0.006) for r in (0.001, 0.004, 0.003))
        return RoomCamera(fps, position, yaw, pitch, roll, forward, curvature, 0.0, travel, jolts, shakes)
    heading = rng.normal(0, [0.6, 0.6, 0.15]) + (forward if rng.random() < 0.6 else 0)
    heading /= np.linalg.norm(heading) + 1e-9
    sway = tuple(_wave(rng, calm * rate, 0.08) for rate in (0.012, 0.012, 0.01))
    # what pitch and roll have left of their ranges
    free = min(pitch - _PITCH[0], _PITCH[1] - pitch, 0.2), min(_ROLL - abs(roll), 0.08)
    turn = (_wave(rng, calm * 0.07, 0.6), _wave(rng, calm * 0.035, free[0]), _wave(rng, calm * 0.02, free[1]))
    return RoomCamera(fps, position, yaw, pitch, roll, heading, 0.0, 0.0, travel, sway, turn)


class _Scout:
    """Looks around from places that a camera may take."""

    def __init__(self, traced: TracedMesh, floor: int, camera: PinholeCamera) -> None:
        self._traced, self._floor = traced, floor
        self._around = directions_around(220)
        x, y = np.meshgrid(np.linspace(0, camera.width - 1, _VIEW[0]), np.linspace(0, camera.height - 1, _VIEW[1]))
        self._rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)
        self._rays = self._rays.reshape(-1, 3).astype(np.float32)

    def is_free(self, position: np.ndarray) -> bool:
        """Whether nothing but the floor is near, and the place is not inside of anything."""
        origins = np.tile(position.astype(np.float32), (len(self._around), 1))
        hits = self._traced.cast(origins, self._around, 0.01)
        inside = np.einsum("ij,ij->i", hits.normal, self._around) > 0.02
        near = (hits.distance < CLEARANCE + _MARGIN) & (hits.material != self._floor)
        return not near.any() and inside.mean() < 0.1

    def look(self, pose: np.ndarray) -> tuple[np.ndarray, int]:
        """Depths along some rays of the picture, and how many materials it shows."""
        directions = apply(pose[:3, :3], self._rays)
        hits = self._traced.cast(np.tile(pose[:3, 3].astype(np.float32), (len(directions), 1)), directions, 0.01)
        return hits.distance, len(np.unique(hits.material))


def choose_camera(
    rng: np.random.Generator,
    traced: TracedMesh,
    floor: int,
    size: np.ndarray,
    targets: Sequence[np.ndarray],
    config: RoomConfig,
) -> RoomCamera:
    """A path through a room of a size (3) that keeps CLEARANCE from all surfaces in the pictures, and at most times shows
    something; ``targets`` (3 each) are worth looking at. Raises GeosegError where the room has no place for a camera."""
    scout = _Scout(traced, floor, config.camera)
    frames = range(-1, config.frames)
    nearest_median, fewest = float(rng.choice([0.45, 0.8])), int(rng.choice([5, 9], p=[0.2, 0.8]))
    for attempt in range(_TRIES):
        patience = attempt / _TRIES
        path = _draw(rng, size, targets, config.fps, max(0.0, 1 - 2 * patience))
        poses = [path.world_from_camera(frame / config.fps) for frame in frames]
        places = np.array([pose[:3, 3] for pose in poses])
        if (places < [0, 0, _HEIGHTS[0]]).any() or (places > [*size[:2], _HEIGHTS[1]]).any():
            continue
        if not all(scout.is_free(place) for place in places[:: max(1, len(places) // 6)]):
            continue
        views = [scout.look(pose) for pose in (poses[1], poses[-1])]
        if min(depth.min() for depth, _ in views) < CLEARANCE + _MARGIN:
            continue
        depth, materials = views[0]
        if patience < 0.5 and (np.median(depth) < nearest_median or materials < fewest):
            continue
        return path
    raise GeosegError(f"no place for a camera found in a room of {size.round(2).tolist()} m after {_TRIES} tries")
