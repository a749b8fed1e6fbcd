"""The synthetic room: a walk or a robot's drive through a furnished room, all by seed."""

from __future__ import annotations

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.training.data.synthetic.atlas import atlas_for
from geoseg_ros.training.data.synthetic.config import RoomConfig
from geoseg_ros.training.data.synthetic.ground import Ground
from geoseg_ros.training.data.synthetic.materials import Materials
from geoseg_ros.training.data.synthetic.mesh import apply, merge
from geoseg_ros.training.data.synthetic.moving import MovingScene
from geoseg_ros.training.data.synthetic.rooms.camera import RoomCamera, choose_camera
from geoseg_ros.training.data.synthetic.rooms.kit import Kit
from geoseg_ros.training.data.synthetic.rooms.layout import Furnishing, draw_size
from geoseg_ros.training.data.synthetic.rooms.light import RoomShader
from geoseg_ros.training.data.synthetic.rooms.people import draw_figures, place_movers, standing_person
from geoseg_ros.training.data.synthetic.rooms.shell import Shell, build_shell
from geoseg_ros.training.data.synthetic.sensor import Sensor
from geoseg_ros.training.data.synthetic.tracer import TracedMesh
from geoseg_ros.training.data.synthetic.world import Scene, SyntheticWorld, camera_rays

_SATURATION, _CONTRAST = (0.35, 1.15), (0.85, 1.4)  # of the sensor: rooms are duller than streets
_METER = (40, 30)  # pixels of the picture by which exposure is set


class SyntheticRoom(SyntheticWorld):
    """A furnished room and a camera's way through it, determined by ``seed`` and ``config`` alone (see
    :class:`~geoseg_ros.training.data.synthetic.world.SyntheticWorld`). Its classes are Pedestrian and none (255)."""

    config: RoomConfig
    divisible = False  # shadows are smoothed over neighbours

    def __init__(self, seed: int, config: RoomConfig | None = None, threads: int = 2) -> None:
        super().__init__(seed, config or RoomConfig(), threads)

    def build(self) -> Scene:
        """The room of this seed: its shell, furniture, lamps, people and camera."""
        streams = [np.random.default_rng([self.seed, 0x400D, stream]) for stream in range(5)]
        config, atlas = self.config, atlas_for(self.seed, "rooms")
        wildness = float(streams[0].choice([0.0, 0.1, 0.5], p=[0.55, 0.3, 0.15]))
        materials = Materials(atlas.layers, streams[0], wildness)
        kit = Kit(streams[0], materials)
        kind, size = draw_size(streams[0])
        shell = build_shell(kit, kind, size)
        people = [standing_person(kit, materials)] if kit.chance(0.12) else []
        furnishing = Furnishing(kit, kind, shell, people)
        figures = draw_figures(kit, materials)
        table = materials.table()
        static = TracedMesh(merge(shell.meshes + furnishing.meshes), table, atlas)
        path = choose_camera(streams[1], static, shell.floor, size, furnishing.targets, config)
        movers = place_movers(
            streams[2], figures, path, config.duration, config.fps, furnishing.floor.is_free_disc
        )
        moving = MovingScene(movers, Ground(streams[2], 0.0), table, atlas)
        ambient = _ambient(streams[3], shell)
        meter = _small(config.camera)
        brightness = _brightness(RoomShader(table, atlas, shell.lamps, ambient, meter.width), static, path, meter)
        if streams[3].random() < 0.12:  # underexposed
            brightness *= float(np.exp(streams[3].uniform(0.3, 1.1)))
        camera = config.camera
        sensor = Sensor(streams[4], camera.width, camera.height, brightness, config.noise, _SATURATION, _CONTRAST)
        shader = RoomShader(table, atlas, shell.lamps, ambient, camera.width)
        return Scene(table, static, moving, shader, path, sensor)


def _ambient(rng: np.random.Generator, shell: Shell) -> np.ndarray:
    """RGB irradiance by light that walls, floor and ceiling send on: of a total power (that of the lamps times π) the share
    that surfaces of a mean albedo keep in the room, over all its surface."""
    width, depth, height = shell.size
    surface = 2 * (width * depth + width * height + depth * height)
    power = np.sum([lamp.power for lamp in shell.lamps], axis=0) * np.pi
    kept = np.clip(shell.tint * rng.uniform(0.7, 1.1), 0.15, 0.75)
    return power * kept / (1 - kept) / surface + 0.01


def _small(camera: PinholeCamera) -> PinholeCamera:
    """A camera of the same field of view with few pixels."""
    x, y = _METER[0] / camera.width, _METER[1] / camera.height
    return PinholeCamera(*_METER, camera.fx * x, camera.fy * y, camera.cx * x, camera.cy * y)


def _brightness(shader: RoomShader, static: TracedMesh, path: RoomCamera, camera: PinholeCamera) -> float:
    """Typical radiance of the first picture; what glares counts little."""
    pose = path.world_from_camera(0.0)
    directions = apply(pose[:3, :3], camera_rays(camera))
    origin = pose[:3, 3].astype(np.float32)
    hits = static.cast(np.tile(origin, (len(directions), 1)), directions, 1.0 / camera.fx)
    light = shader.radiance(hits, origin, directions, 1.0 / camera.fx, [static]).mean(1)
    return float(np.minimum(light, 3 * np.median(light)).mean()) * 2.0 + 1e-4
