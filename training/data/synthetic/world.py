"""A synthetic world seen by a moving camera: frames with exact depth, semantics, flow, motion and pose, all by seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.synthetic.config import WorldConfig
from geoseg_ros.training.data.synthetic.materials import SKY, MaterialTable
from geoseg_ros.training.data.synthetic.mesh import apply
from geoseg_ros.training.data.synthetic.moving import MovingParts, MovingScene
from geoseg_ros.training.data.synthetic.sensor import Sensor, smooth_edges
from geoseg_ros.training.data.synthetic.tracer import Hits, TracedMesh

_NEAR = 0.05  # metres; nothing is drawn closer


@dataclass(frozen=True)
class SyntheticFrame:
    """One frame and its ground truth, all H×W arrays on the current image's grid.

    image H×W×3 uint8 RGB; depth H×W float32, z in metres, +inf for the sky; semantic H×W uint8, ids of
    CAMVID_11; flow_to_previous H×W×2 float32 (x, y) pixels from here to the same surface point in the
    previous image, also where it was hidden there (NaN on the first frame); motion_mask H×W uint8, 255 where
    something moves by itself; world_from_camera 4×4 float64, camera in its optical frame (x right, y down, z
    forward), world z up; stamp in ns from the start.
    """

    index: int
    stamp: int
    image: np.ndarray
    depth: np.ndarray
    semantic: np.ndarray
    flow_to_previous: np.ndarray
    motion_mask: np.ndarray
    world_from_camera: np.ndarray


class CameraPath(Protocol):
    """Where the camera is."""

    def world_from_camera(self, time: float) -> np.ndarray:
        """4×4 pose of the camera's optical frame at a time in seconds."""


class Light(Protocol):
    """How surfaces look."""

    def radiance(self, hits: Hits, origin: np.ndarray, directions: np.ndarray, footprint: float, occluders: list) -> np.ndarray:
        """Linear RGB N×3 along rays from one origin (3) along directions (N×3, not unit); ``footprint``: a pixel's width
        per unit of distance."""


@dataclass(frozen=True)
class Scene:
    """What a world is rendered from: the materials of its meshes, what stands, what moves, how it is lit, where the camera
    is, and its sensor."""

    table: MaterialTable
    static: TracedMesh
    moving: MovingScene
    shader: Light
    path: CameraPath
    sensor: Sensor


def camera_rays(camera: PinholeCamera) -> np.ndarray:
    """The rays (HW×3 float32, z = 1, optical frame) of all pixels, row by row."""
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
    return (
        np.stack(
            [
                (columns - camera.cx) / camera.fx,
                (rows - camera.cy) / camera.fy,
                np.ones_like(rows, float),
            ],
            -1,
        )
        .reshape(-1, 3)
        .astype(np.float32)
    )


class SyntheticWorld(ABC):
    """A world determined by ``seed`` and ``config`` alone; kinds of worlds differ in the scene that :meth:`build` makes.

    Frames are random-access. ``threads``: how many frames of :meth:`frames`, or halves of one :meth:`frame`,
    are rendered at once; the result does not depend on it.
    """

    divisible = True
    """Whether the light of a pixel depends on no other, so that halves of a picture may be rendered apart."""

    def __init__(self, seed: int, config: WorldConfig, threads: int = 2) -> None:
        self.seed, self.config = seed, config
        self._threads = threads
        self._scene = self.build()
        self._rays = camera_rays(config.camera)

    @abstractmethod
    def build(self) -> Scene:
        """The scene of this world's seed and configuration."""

    @property
    def camera(self) -> PinholeCamera:
        """The camera of all frames."""
        return self.config.camera

    def frames(self, count: int | None = None) -> Iterator[SyntheticFrame]:
        """The first ``count`` frames (all of the configured duration by default)."""
        total = self.config.frames if count is None else count
        if self._threads == 1:
            yield from map(self.frame, range(total))
            return
        # whole frames side by side: nothing waits for the slower half
        with ThreadPoolExecutor(self._threads) as pool:
            pending: deque[Future[SyntheticFrame]] = deque()
            for index in range(total):
                pending.append(pool.submit(self._draw, index, map))
                if len(pending) > self._threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

    def camera_pose(self, time: float) -> np.ndarray:
        """4×4 world_from_camera (optical frame) at a time in seconds from the first frame."""
        return self._scene.path.world_from_camera(time)

    def frame(self, index: int) -> SyntheticFrame:
        """Render one frame; index counts from 0 and must lie within the configured duration."""
        if self._threads == 1:
            return self._draw(index, map)
        with ThreadPoolExecutor(self._threads) as pool:
            return self._draw(index, pool.map)

    def _draw(self, index: int, run: Callable[..., Iterable]) -> SyntheticFrame:
        """One frame; ``run`` maps the renderer over its halves, like ``map``."""
        if not 0 <= index < self.config.frames:
            raise ConfigError(
                f"synthetic frame {index} asked for, expected 0 to {self.config.frames - 1}: raise duration"
            )
        time, before = index / self.config.fps, (index - 1) / self.config.fps
        pose, previous = self._scene.path.world_from_camera(time), self._scene.path.world_from_camera(before)
        moving = self._scene.moving.at(time, before, pose, self.camera)
        half = self.camera.height // 2 * self.camera.width
        bands = [slice(0, half), slice(half, len(self._rays))] if self.divisible else [slice(0, len(self._rays))]
        results = list(run(lambda band: self._render(band, pose, previous, moving), bands))
        radiance, depth, material, flow, moved = (np.concatenate(parts) for parts in zip(*results))
        shape = (self.camera.height, self.camera.width)
        flow = flow.reshape(*shape, 2)
        depth, material = depth.reshape(shape), material.reshape(shape)
        semantic = np.where(material >= 0, self._scene.table.semantic[material], np.uint8(SKY))
        rng = np.random.default_rng([self.seed, 100, index])
        image = self._scene.sensor.expose(smooth_edges(radiance.reshape(*shape, 3), depth, material), flow, rng)
        return SyntheticFrame(
            index,
            int(round(time * 1e9)),
            image,
            depth,
            semantic,
            flow if index > 0 else np.full_like(flow, np.nan),
            np.where(moved.reshape(shape), np.uint8(255), np.uint8(0)),
            pose,
        )

    def _render(
        self, band: slice, pose: np.ndarray, previous: np.ndarray, moving: MovingParts | None
    ) -> tuple:
        """Radiance, depth, material, flow and motion of a band of pixels."""
        rays = self._rays[band]
        directions = apply(pose[:3, :3], rays)
        origin = pose[:3, 3].astype(np.float32)
        origins = np.float32(_NEAR) * directions + origin
        footprint = 1.0 / self.camera.fx
        hits = self._scene.static.cast(origins, directions, footprint)
        part = np.full(len(directions), -1, np.int32)
        occluders = [self._scene.static]
        if moving is not None:
            occluders.append(moving.mesh)
            seen = np.flatnonzero(moving.seen.reshape(-1)[band])
            dynamic = moving.mesh.cast(origins[seen], directions[seen], footprint)
            nearer = np.flatnonzero(dynamic.distance < hits.distance[seen])
            target = seen[nearer]
            for name in ("distance", "material", "uv", "normal"):
                getattr(hits, name)[target] = getattr(dynamic, name)[nearer]
            part[target] = moving.part_of_triangle[dynamic.triangle[nearer]]
        hits.distance += np.float32(_NEAR)
        radiance = self._scene.shader.radiance(hits, origin, directions, footprint, occluders)
        flow = self._flow(hits, rays, part, pose, previous, moving)
        moved = np.zeros(len(part), bool)
        if moving is not None:
            moved = (part >= 0) & moving.moves[part]
        return radiance, hits.distance, hits.material, flow, moved

    def _flow(
        self,
        hits: Hits,
        rays: np.ndarray,
        part: np.ndarray,
        pose: np.ndarray,
        previous: np.ndarray,
        moving: MovingParts | None,
    ) -> np.ndarray:
        """Flow to the previous image (N×2): exact rigid motion of each surface; rotation alone for the
        sky."""
        camera = self.camera
        camera_from_world = np.linalg.inv(previous)
        relative = (camera_from_world @ pose).astype(np.float32)
        # homogeneous: ray + w * translation with w = 1 / z, which is 0 for the sky
        inverse_depth = np.float32(1.0) / hits.distance
        points = apply(relative[:3, :3], rays)
        points += inverse_depth[:, None] * relative[:3, 3]
        index = np.flatnonzero(part >= 0)
        if moving is not None and len(index):
            chain = (camera_from_world @ moving.previous_from_current @ pose).astype(np.float32)[part[index]]
            points[index] = np.einsum("nij,nj->ni", chain[:, :3, :3], rays[index])
            points[index] += inverse_depth[index, None] * chain[:, :3, 3]
        z = points[:, 2]
        z = np.where(np.abs(z) < 1e-5, np.float32(1e-5), z)
        flow = np.empty((len(rays), 2), np.float32)
        flow[:, 0] = (points[:, 0] / z - rays[:, 0]) * np.float32(camera.fx)
        flow[:, 1] = (points[:, 1] / z - rays[:, 1]) * np.float32(camera.fy)
        return flow
