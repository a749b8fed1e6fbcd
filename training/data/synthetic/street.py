"""The synthetic street: frames with exact depth, semantics, flow, motion and pose, all by seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.data.synthetic.atlas import atlas_for
from geoseg_ros.training.data.synthetic.buildings import build_buildings
from geoseg_ros.training.data.synthetic.config import StreetConfig
from geoseg_ros.training.data.synthetic.ego import TIME_STEP, Ego, speed_profile
from geoseg_ros.training.data.synthetic.furniture import build_furniture
from geoseg_ros.training.data.synthetic.layout import Layout
from geoseg_ros.training.data.synthetic.materials import SKY, Materials
from geoseg_ros.training.data.synthetic.mesh import apply, merge
from geoseg_ros.training.data.synthetic.moving import MovingParts, MovingScene
from geoseg_ros.training.data.synthetic.sensor import Sensor, smooth_edges
from geoseg_ros.training.data.synthetic.shading import Shader
from geoseg_ros.training.data.synthetic.surfaces import build_surfaces
from geoseg_ros.training.data.synthetic.tracer import Hits, TracedMesh
from geoseg_ros.training.data.synthetic.traffic import Traffic
from geoseg_ros.training.data.synthetic.vegetation import build_vegetation
from geoseg_ros.training.data.synthetic.weather import draw_weather

_VIEW = 150.0  # metres of street built ahead of the last position
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


class SyntheticStreet:
    """A street, its traffic and a drive through it, determined by ``seed`` and ``config`` alone.

    Frames are random-access. ``threads``: how many frames of :meth:`frames`, or halves of one :meth:`frame`,
    are rendered at once; the result does not depend on it.
    """

    def __init__(self, seed: int, config: StreetConfig | None = None, threads: int = 2) -> None:
        self.seed, self.config = seed, config or StreetConfig()
        self._threads = threads
        streams = [np.random.default_rng([seed, stream]) for stream in range(9)]
        wildness = float(streams[8].choice([0.0, 0.1, 0.4], p=[0.5, 0.35, 0.15]))
        self._atlas = atlas_for(seed)
        speeds = speed_profile(streams[0], self.config.duration)
        length = float(speeds.sum() * TIME_STEP) + _VIEW
        self._layout = Layout(streams[1], length, self.config.hills)
        self._ego = Ego(streams[2], self._layout, self.config, speeds)
        materials = Materials(self._atlas.layers, streams[3], wildness)
        static = build_surfaces(self._layout, materials, streams[3])
        static += build_buildings(self._layout, materials, streams[4])
        static += build_vegetation(self._layout, materials, streams[5])
        static += build_furniture(self._layout, materials, streams[6])
        traffic = Traffic(streams[7], self._layout, self._ego, materials)
        self._table = materials.table()
        self._moving = MovingScene(traffic.movers, self._layout.ground, self._table, self._atlas)
        self._static = TracedMesh(merge(static + traffic.standing), self._table, self._atlas)
        weather = draw_weather(streams[8], self._atlas)
        self._shader = Shader(self._table, self._atlas, weather)
        brightness = float((0.6 * weather.sun + weather.ambient).mean()) * 0.35
        camera = self.config.camera
        self._sensor = Sensor(streams[8], camera.width, camera.height, brightness, self.config.noise)
        rows, columns = np.mgrid[0 : camera.height, 0 : camera.width]
        self._rays = (
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

    @property
    def camera_mount(self) -> np.ndarray:
        """4×4 body_from_camera: where the camera (optical frame) sits on the vehicle's base."""
        return self._ego.mount

    def camera_pose(self, time: float) -> np.ndarray:
        """4×4 world_from_camera (optical frame) at a time in seconds from the first frame."""
        return self._ego.world_from_camera(time)

    def vehicle_pose(self, time: float) -> np.ndarray:
        """4×4 pose in the world of the vehicle's base (on the ground, x forward, y left, z up) at a time in
        seconds."""
        return self._ego.body(time)

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
        pose, previous = self._ego.world_from_camera(time), self._ego.world_from_camera(before)
        moving = self._moving.at(time, before, pose, self.camera)
        half = len(self._rays) // 2
        bands = [slice(0, half), slice(half, len(self._rays))]
        results = list(run(lambda band: self._render(band, pose, previous, moving), bands))
        radiance, depth, material, flow, moved = (np.concatenate(parts) for parts in zip(*results))
        shape = (self.camera.height, self.camera.width)
        flow = flow.reshape(*shape, 2)
        depth, material = depth.reshape(shape), material.reshape(shape)
        semantic = np.where(material >= 0, self._table.semantic[material], np.uint8(SKY))
        rng = np.random.default_rng([self.seed, 100, index])
        image = self._sensor.expose(smooth_edges(radiance.reshape(*shape, 3), depth, material), flow, rng)
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
        hits = self._static.cast(origins, directions, footprint)
        part = np.full(len(directions), -1, np.int32)
        occluders = [self._static]
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
        radiance = self._shader.radiance(hits, origin, directions, footprint, occluders)
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
