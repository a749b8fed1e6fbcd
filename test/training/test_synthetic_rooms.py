"""The synthetic room: its ground truth against independent projection maths, its light against hand-computed cases, and
where its camera may be."""

from __future__ import annotations

import numpy as np
import pytest

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError, GeosegError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.data.synthetic import RoomConfig, SyntheticRoom, random_room_config
from geoseg_ros.training.data.synthetic.atlas import atlas_for
from geoseg_ros.training.data.synthetic.materials import NO_CLASS, Materials
from geoseg_ros.training.data.synthetic.mesh import box, merge, quad
from geoseg_ros.training.data.synthetic.rooms.camera import CLEARANCE, choose_camera
from geoseg_ros.training.data.synthetic.rooms.kit import Kit, cushion, strew
from geoseg_ros.training.data.synthetic.rooms.light import Lamp, RoomShader
from geoseg_ros.training.data.synthetic.tracer import TracedMesh

CAMERA = PinholeCamera(96, 72, 80.0, 81.0, 47.5, 35.0, frame_id="camera_optical_frame")
CLEAN = RoomConfig(camera=CAMERA, duration=0.4, noise=0.0)
SEEDS = (0, 6, 12, 18)  # of one texture library, which takes a second to make
WALKED = 264  # a room of that library in which somebody walks through the picture
PEDESTRIAN = CAMVID_11.index("Pedestrian")


@pytest.fixture(scope="module")
def rooms():
    return {seed: SyntheticRoom(seed, CLEAN, threads=1) for seed in (*SEEDS, WALKED)}


@pytest.fixture(scope="module")
def pairs(rooms):
    return {seed: (room.frame(1), room.frame(2)) for seed, room in rooms.items()}


def points_of(frame):
    """World points H×W×3 of all pixels."""
    x, y = np.meshgrid(np.arange(CAMERA.width, dtype=float), np.arange(CAMERA.height, dtype=float))
    rays = np.stack([(x - CAMERA.cx) / CAMERA.fx, (y - CAMERA.cy) / CAMERA.fy, np.ones_like(x)], -1)
    pose = frame.world_from_camera
    return (rays * frame.depth[..., None].astype(float)) @ pose[:3, :3].T + pose[:3, 3]


def flow_of(points, previous):
    """Flow to the previous image that standing points (H×W×3) would have, and their depths there."""
    seen = (points - previous.world_from_camera[:3, 3]) @ previous.world_from_camera[:3, :3]
    pixels = seen[..., :2] / seen[..., 2:] * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]
    x, y = np.meshgrid(np.arange(CAMERA.width, dtype=float), np.arange(CAMERA.height, dtype=float))
    return pixels - np.stack([x, y], -1), seen[..., 2]


def body_angles(pose):
    """Pitch (positive looks down) and roll of a camera, radians."""
    body = pose[:3, :3] @ BODY_FROM_OPTICAL.T
    return -np.arcsin(body[2, 0]), np.arctan2(body[2, 1], body[2, 2])


@pytest.mark.parametrize("seed", (*SEEDS, WALKED))
def test_static_flow_follows_from_depth_and_pose(pairs, seed):
    previous, frame = pairs[seed]
    expected, z = flow_of(points_of(frame), previous)
    static = (frame.motion_mask == 0) & (z > 0.1)
    assert static.mean() > 0.5
    assert np.abs(frame.flow_to_previous - expected)[static].max() < 2e-3


def test_depth_agrees_between_frames(pairs):
    """A point seen in both pictures has the same place in the room."""
    for previous, frame in pairs.values():
        flow, z = flow_of(points_of(frame), previous)
        x, y = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
        column, row = np.rint(x + flow[..., 0]).astype(int), np.rint(y + flow[..., 1]).astype(int)
        inside = (column >= 0) & (column < CAMERA.width) & (row >= 0) & (row < CAMERA.height) & (frame.motion_mask == 0)
        there = previous.depth[row[inside], column[inside]]
        assert inside.mean() > 0.5
        assert np.median(np.abs(there / z[inside] - 1)) < 0.01


def test_what_moves_has_its_own_flow_and_people_are_its_class(pairs):
    previous, frame = pairs[WALKED]
    expected, _ = flow_of(points_of(frame), previous)
    moving = frame.motion_mask > 0
    assert moving.sum() > 100
    assert (frame.semantic[moving] == PEDESTRIAN).mean() > 0.7
    own = np.linalg.norm(frame.flow_to_previous - expected, axis=-1)
    assert np.median(own[moving]) > 0.2


def test_rooms_are_closed_and_keep_their_promises(rooms, pairs):
    for seed, (_, frame) in pairs.items():
        shape = (CAMERA.height, CAMERA.width)
        assert frame.image.shape == (*shape, 3) and frame.image.dtype == np.uint8
        assert frame.depth.shape == shape and frame.depth.dtype == np.float32
        assert np.isfinite(frame.depth).all() and np.isfinite(frame.flow_to_previous).all()
        assert set(np.unique(frame.semantic)) <= {PEDESTRIAN, NO_CLASS}
        assert set(np.unique(frame.motion_mask)) <= {0, 255}
        assert frame.image.std() > 5
        height = points_of(frame)[..., 2]
        assert height.min() > -1e-3 and height.max() < 7.6
        assert np.isnan(rooms[seed].frame(0).flow_to_previous).all()


def test_same_seed_same_room_whatever_the_threads(pairs):
    frame = pairs[6][1]
    again = SyntheticRoom(6, CLEAN, threads=2).frame(2)
    for name in ("image", "depth", "semantic", "flow_to_previous", "motion_mask", "world_from_camera"):
        np.testing.assert_array_equal(getattr(again, name), getattr(frame, name), err_msg=name)
    assert (pairs[12][1].image != frame.image).mean() > 0.5


def test_cameras_keep_clear_and_move_little():
    heights, fields, steps = [], [], []
    for seed in range(0, 96, 6):
        config = random_room_config(seed, 48, 36, 4)
        room = SyntheticRoom(seed, config, threads=1)
        poses = [room.camera_pose(index / config.fps) for index in range(4)]
        for index, pose in enumerate(poses):
            pitch, roll = np.rad2deg(body_angles(pose))
            assert -25.5 < pitch < 50.5 and abs(roll) < 10.5
            assert 0.08 < pose[2, 3] < 1.95
        for index in (0, 3):
            assert room.frame(index).depth.min() >= CLEARANCE, seed
        for a, b in zip(poses, poses[1:]):
            relative = np.linalg.inv(a) @ b
            steps.append(np.linalg.norm(relative[:3, 3]))
            turn = np.rad2deg(np.arccos(np.clip((np.trace(relative[:3, :3]) - 1) / 2, -1, 1)))
            assert steps[-1] < 0.16 and turn < 6.5
        heights.append(poses[0][2, 3])
        fields.append(np.rad2deg(2 * np.arctan(24 / config.camera.fx)))
    assert min(heights) < 0.6 and max(heights) > 1.4
    assert min(fields) >= 45 and max(fields) <= 95 and np.ptp(fields) > 25
    assert min(steps) == 0.0 and max(steps) > 0.05  # some stand still


def test_a_room_without_a_free_place_is_refused():
    table, atlas, mesh = small_scene(box((1, 1, 1), (2, 2, 2), 0), box((1, 1, 1), (1.7, 1.7, 1.7), 0))
    with pytest.raises(GeosegError, match=r"no place for a camera found in a room of \[2.0, 2.0, 2.0\] m"):
        choose_camera(np.random.default_rng(0), TracedMesh(mesh, table, atlas), -1, np.full(3, 2.0), [], CLEAN)


def small_scene(*meshes):
    """Material 0 is of one grey, without texture."""
    atlas = atlas_for(0, "rooms")
    materials = Materials(atlas.layers, np.random.default_rng(0), 0.0)
    materials.add("plain", NO_CLASS, [np.full(3, 0.5)], 1.0, detail=0.0)
    return materials.table(), atlas, merge(meshes)


def light_below(lamp, *meshes):
    """Radiance (9×9×3) of the floor z = 0 seen from 1 m above it, straight down, over 0.8 × 0.8 m, without ambient light."""
    floor = quad(np.array([[-3, -3, 0], [3, -3, 0], [3, 3, 0], [-3, 3, 0.0]]), 0)
    table, atlas, mesh = small_scene(floor, *meshes)
    traced = TracedMesh(mesh, table, atlas)
    x, y = np.meshgrid(np.linspace(-0.4, 0.4, 45), np.linspace(-0.4, 0.4, 45))
    directions = np.stack([x, y, -np.ones_like(x)], -1).reshape(-1, 3).astype(np.float32)
    origin = np.array([0, 0, 1], np.float32)
    hits = traced.cast(np.tile(origin, (len(directions), 1)), directions, 1 / 45)
    shader = RoomShader(table, atlas, [lamp], np.zeros(3), 45)
    return shader.radiance(hits, origin, directions, 1 / 45, [traced]).reshape(45, 45, 3)


def test_a_lamp_lights_by_distance_and_angle():
    zero = np.zeros(3)
    lamp = Lamp(np.array([0, 0, 2.0]), zero, zero, zero, np.array([4.0, 2.0, 1.0]))
    light = light_below(lamp)
    np.testing.assert_allclose(light[22, 22], 0.5 * np.array([4.0, 2.0, 1.0]) / 4, rtol=0.2)  # the tile has a grain of 4 %
    np.testing.assert_allclose(light[..., 1] / light[..., 0], 0.5, rtol=1e-4)
    away = Lamp(lamp.centre, zero, zero, np.array([0, 0, 1.0]), lamp.power)
    assert np.abs(light_below(away)).max() == 0.0


def test_what_stands_before_a_lamp_casts_a_shadow():
    zero = np.zeros(3)
    lamp = Lamp(np.array([0, 0, 2.0]), zero, zero, zero, np.ones(3))
    # a plate of 0.2 m at a height of 1.5 m hides the lamp on 0.8 m of floor: beyond the picture
    assert light_below(lamp, box((0, 0, 1.5), (0.2, 0.2, 0.01), 0)).max() < 1e-6
    small = light_below(lamp, box((0, 0, 1.5), (0.05, 0.05, 0.01), 0))
    bright = light_below(lamp)
    assert small[22, 22].max() < 0.01 * bright[22, 22].max()
    np.testing.assert_allclose(small[2, 2], bright[2, 2], rtol=1e-3)
    wide = Lamp(lamp.centre, np.array([0.5, 0, 0]), np.array([0, 0.5, 0]), zero, np.ones(3))
    soft = light_below(wide, box((0, 0, 1.5), (0.05, 0.05, 0.01), 0))[22, 22, 0] / light_below(wide)[22, 22, 0]
    assert 0.5 < soft < 1.0


def test_cushions_have_their_size_and_unit_normals_outwards():
    mesh = cushion((1, 2, 3), (0.6, 0.4, 0.2), 0)
    np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), [0.6, 0.4, 0.2], rtol=0.06)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
    assert (((mesh.vertices - [1, 2, 3]) * mesh.normals).sum(1) > 0).all()


def test_strewn_things_stay_on_their_board_and_apart():
    atlas = atlas_for(0, "rooms")
    rng = np.random.default_rng(3)
    kit = Kit(rng, Materials(atlas.layers, rng, 0.0))

    def cube(kit):
        return box((0, 0, 0.05), (0.1, 0.1, 0.1), 0), 0.0708

    meshes = strew(kit, cube, (-0.5, -0.2), (0.5, 0.2), 0.7, 40)
    assert 5 < len(meshes) < 40
    every = merge(meshes).vertices
    assert (np.abs(every[:, 0]) <= 0.5).all() and (np.abs(every[:, 1]) <= 0.2).all()
    np.testing.assert_allclose([every[:, 2].min(), every[:, 2].max()], [0.7, 0.8], atol=1e-6)
    centres = np.array([m.vertices[:, :2].mean(0) for m in meshes])
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1)[~np.eye(len(centres), dtype=bool)]
    assert distances.min() > 2 * 0.0708


def test_refusals(rooms):
    with pytest.raises(ConfigError, match="frame 4 asked for, expected 0 to 3"):
        rooms[0].frame(4)
    with pytest.raises(ConfigError, match="fps is 0"):
        RoomConfig(fps=0.0)
