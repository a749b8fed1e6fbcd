"""The synthetic street: a drive along a road with its traffic, all by seed."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.data.synthetic.atlas import atlas_for
from geoseg_ros.training.data.synthetic.config import StreetConfig
from geoseg_ros.training.data.synthetic.materials import Materials
from geoseg_ros.training.data.synthetic.mesh import merge
from geoseg_ros.training.data.synthetic.moving import MovingScene
from geoseg_ros.training.data.synthetic.sensor import Sensor
from geoseg_ros.training.data.synthetic.shading import Shader
from geoseg_ros.training.data.synthetic.streets.buildings import build_buildings
from geoseg_ros.training.data.synthetic.streets.ego import TIME_STEP, Ego, speed_profile
from geoseg_ros.training.data.synthetic.streets.furniture import build_furniture
from geoseg_ros.training.data.synthetic.streets.layout import Layout
from geoseg_ros.training.data.synthetic.streets.surfaces import build_surfaces
from geoseg_ros.training.data.synthetic.streets.traffic import Traffic
from geoseg_ros.training.data.synthetic.streets.vegetation import build_vegetation
from geoseg_ros.training.data.synthetic.tracer import TracedMesh
from geoseg_ros.training.data.synthetic.weather import draw_weather
from geoseg_ros.training.data.synthetic.world import Scene, SyntheticWorld

_VIEW = 150.0  # metres of street built ahead of the last position


class SyntheticStreet(SyntheticWorld):
    """A street, its traffic and a drive through it, determined by ``seed`` and ``config`` alone (see
    :class:`~geoseg_ros.training.data.synthetic.world.SyntheticWorld`)."""

    config: StreetConfig

    def __init__(self, seed: int, config: StreetConfig | None = None, threads: int = 2) -> None:
        super().__init__(seed, config or StreetConfig(), threads)

    def build(self) -> Scene:
        """The street of this seed: its layout, meshes, traffic, weather and drive."""
        streams = [np.random.default_rng([self.seed, stream]) for stream in range(9)]
        wildness = float(streams[8].choice([0.0, 0.1, 0.4], p=[0.5, 0.35, 0.15]))
        atlas = atlas_for(self.seed)
        speeds = speed_profile(streams[0], self.config.duration)
        length = float(speeds.sum() * TIME_STEP) + _VIEW
        layout = Layout(streams[1], length, self.config.hills)
        self._ego = Ego(streams[2], layout, self.config, speeds)
        materials = Materials(atlas.layers, streams[3], wildness)
        static = build_surfaces(layout, materials, streams[3])
        static += build_buildings(layout, materials, streams[4])
        static += build_vegetation(layout, materials, streams[5])
        static += build_furniture(layout, materials, streams[6])
        traffic = Traffic(streams[7], layout, self._ego, materials)
        table = materials.table()
        moving = MovingScene(traffic.movers, layout.ground, table, atlas)
        traced = TracedMesh(merge(static + traffic.standing), table, atlas)
        weather = draw_weather(streams[8], atlas)
        brightness = float((0.6 * weather.sun + weather.ambient).mean()) * 0.35
        camera = self.config.camera
        sensor = Sensor(streams[8], camera.width, camera.height, brightness, self.config.noise)
        return Scene(table, traced, moving, Shader(table, atlas, weather), self._ego, sensor)

    @property
    def camera_mount(self) -> np.ndarray:
        """4×4 body_from_camera: where the camera (optical frame) sits on the vehicle's base."""
        return self._ego.mount

    def vehicle_pose(self, time: float) -> np.ndarray:
        """4×4 pose in the world of the vehicle's base (on the ground, x forward, y left, z up) at a time in
        seconds."""
        return self._ego.body(time)
