"""The synthetic street: its ground truth against independent projection maths, and its promises."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data.synthetic import StreetConfig, SyntheticStreet, random_config

CAMERA = PinholeCamera(160, 64, 100.0, 101.0, 80.0, 31.0, frame_id="camera_optical_frame")
CLEAN = StreetConfig(camera=CAMERA, duration=0.5, noise=0.0)
SEEDS = (1, 4)


@pytest.fixture(scope="module")
def streets():
    return {seed: SyntheticStreet(seed, CLEAN) for seed in SEEDS}


@pytest.fixture(scope="module")
def pairs(streets):
    return {seed: (street.frame(2), street.frame(3)) for seed, street in streets.items()}


def grid(camera):
    return np.meshgrid(np.arange(camera.width, dtype=np.float64), np.arange(camera.height, dtype=np.float64))


def reproject(frame, previous, camera):
    """Pixels and depths in the previous image of the current frame's static surfaces: H×W×2, H×W."""
    x, y = grid(camera)
    depth = frame.depth.astype(np.float64)
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)
    transform = np.linalg.inv(previous.world_from_camera) @ frame.world_from_camera
    far = np.isinf(depth)[..., None]
    points = np.where(far, rays @ transform[:3, :3].T, 0.0)
    near = (rays * np.where(far[..., 0], 1.0, depth)[..., None]) @ transform[:3, :3].T + transform[:3, 3]
    points = np.where(far, points, near)
    pixels = points[..., :2] / points[..., 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    return pixels, points[..., 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_static_flow_follows_from_depth_and_pose(pairs, seed):
    previous, frame = pairs[seed]
    pixels, z = reproject(frame, previous, CAMERA)
    expected = pixels - np.stack(grid(CAMERA), -1)
    static = (frame.motion_mask == 0) & (z > 0.2)
    assert static.mean() > 0.3
    error = np.abs(frame.flow_to_previous - expected)[static]
    # a figure that stands in this frame may have moved by less than 2 cm, so a few pixels may differ
    assert np.quantile(error, 0.98) < 1e-3


@pytest.mark.parametrize("seed", SEEDS)
def test_warping_the_previous_image_by_flow_gives_the_current_one(pairs, seed):
    previous, frame = pairs[seed]
    x, y = (g.astype(np.float32) for g in grid(CAMERA))
    map_x, map_y = x + frame.flow_to_previous[..., 0], y + frame.flow_to_previous[..., 1]
    warped = cv2.remap(previous.image, map_x, map_y, cv2.INTER_LINEAR)
    inverse = 1.0 / previous.depth
    seen = cv2.remap(inverse, map_x, map_y, cv2.INTER_NEAREST, borderValue=-1.0)
    _, z = reproject(frame, previous, CAMERA)
    visible = (frame.motion_mask == 0) & np.isfinite(frame.depth) & (np.abs(seen * z - 1) < 0.03)
    visible = cv2.erode(visible.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # outlines mix two surfaces
    assert visible.mean() > 0.3
    difference = np.abs(warped.astype(int) - frame.image)[visible]
    unwarped = np.abs(previous.image.astype(int) - frame.image)[visible]
    assert np.median(difference) <= 4
    assert difference.mean() < 0.5 * unwarped.mean()


def test_moving_objects_carry_their_texture(streets):
    """On moving pixels the flow explains the picture better than standing still does."""
    explained, still = [], []
    for street in streets.values():
        for index in (1, 2, 3):
            previous, frame = street.frame(index - 1), street.frame(index)
            x, y = (g.astype(np.float32) for g in grid(CAMERA))
            warped = cv2.remap(
                previous.image,
                x + frame.flow_to_previous[..., 0],
                y + frame.flow_to_previous[..., 1],
                cv2.INTER_LINEAR,
            )
            moving = cv2.erode(frame.motion_mask, np.ones((3, 3), np.uint8)) > 0
            explained.append(np.abs(warped.astype(int) - frame.image)[moving])
            still.append(np.abs(previous.image.astype(int) - frame.image)[moving])
    assert sum(map(len, explained)) > 300
    assert np.median(np.concatenate(explained)) < 0.5 * np.median(np.concatenate(still))


def test_same_seed_same_street_whatever_the_threads(pairs):
    again = SyntheticStreet(4, CLEAN, threads=1).frame(3)
    frame = pairs[4][1]
    for name in ("image", "depth", "semantic", "flow_to_previous", "motion_mask", "world_from_camera"):
        np.testing.assert_array_equal(getattr(again, name), getattr(frame, name), err_msg=name)
    assert (SyntheticStreet(5, CLEAN).frame(3).image != frame.image).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_hold_what_they_promise(pairs, seed):
    frame = pairs[seed][1]
    shape = (CAMERA.height, CAMERA.width)
    assert frame.index == 3 and frame.stamp == 300_000_000
    assert frame.image.shape == (*shape, 3) and frame.image.dtype == np.uint8
    assert frame.depth.shape == shape and frame.depth.dtype == np.float32
    assert frame.semantic.shape == shape and frame.semantic.dtype == np.uint8
    assert frame.semantic.max() < len(CAMVID_11.names)
    assert (np.isinf(frame.depth) == (frame.semantic == CAMVID_11.index("Sky"))).all()
    assert frame.depth.min() > 0
    assert frame.flow_to_previous.shape == (*shape, 2) and np.isfinite(frame.flow_to_previous).all()
    assert set(np.unique(frame.motion_mask)) <= {0, 255}
    rotation = frame.world_from_camera[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert frame.image.std() > 10


def test_only_dynamic_classes_move(streets):
    for street in streets.values():
        frame = street.frame(2)
        assert set(np.unique(frame.semantic[frame.motion_mask > 0])) <= set(CAMVID_11.dynamic_ids)


def test_motion_mask_marks_what_has_its_own_velocity(streets):
    """Moved pixels differ from rigid flow where the object's motion is visible at all; unmarked ones never
    do."""
    marked = 0
    for street in streets.values():
        previous, frame = street.frame(1), street.frame(2)
        pixels, z = reproject(frame, previous, CAMERA)
        own = np.linalg.norm(frame.flow_to_previous - (pixels - np.stack(grid(CAMERA), -1)), axis=-1)
        moving = (frame.motion_mask > 0) & (z > 0.2)
        # slower than MOVING_SPEED is 2 cm in 0.1 s, less than CAMERA.fx * 0.02 / z pixels
        assert (own[~moving] * frame.depth[~moving] <= CAMERA.fx * 0.02 * 1.5 + 1e-2)[
            np.isfinite(frame.depth[~moving])
        ].all()
        marked += int(moving.sum())
        assert not moving.any() or np.median(own[moving]) > 0.05
    assert marked > 100


def test_depth_of_flat_road_is_camera_height_geometry():
    config = replace(CLEAN, hills=0.0, vibration=0.0, camera_height=1.5, mount_pitch=0.1)
    street = SyntheticStreet(7, config)
    frame = street.frame(1)
    road = frame.semantic == CAMVID_11.index("Road")
    assert road.sum() > 500
    _, y = grid(CAMERA)
    slope = (y - CAMERA.cy) / CAMERA.fy
    # a ray meets the ground where z * (slope * cos(pitch) + sin(pitch)) = height
    expected = 1.5 / (slope * np.cos(0.1) + np.sin(0.1))
    error = np.abs(frame.depth[road] / expected[road] - 1)
    assert np.median(error) < 1e-4
    assert error.max() < 0.012  # paint and repairs lie up to 12 mm high


def test_speed_and_height_of_the_camera(streets):
    for street in streets.values():
        positions = np.array([street.camera_pose(t)[:3, 3] for t in np.arange(0, 0.5, 0.1)])
        speeds = np.linalg.norm(np.diff(positions, axis=0), axis=1) / 0.1
        assert (speeds < 16).all()
        bodies = np.array([street.vehicle_pose(t)[:3, 3] for t in np.arange(0, 0.5, 0.1)])
        np.testing.assert_allclose(np.linalg.norm(positions - bodies, axis=1), np.hypot(1.65, 1.2), atol=0.01)


def test_first_frame_has_no_flow(streets):
    assert np.isnan(streets[4].frame(0).flow_to_previous).all()


def test_random_cameras_vary_within_their_ranges():
    configs = [random_config(seed, 320, 96) for seed in range(40)]
    ratios = np.array([c.camera.fx / 320 for c in configs])
    assert ratios.min() >= 0.45 and ratios.max() <= 1.1 and np.ptp(ratios) > 0.4
    heights = np.array([c.camera_height for c in configs])
    assert heights.min() >= 0.4 and heights.max() <= 2.2 and np.ptp(heights) > 1.0
    assert configs[5] == random_config(5, 320, 96)
    assert {(c.camera.width, c.camera.height) for c in configs} == {(320, 96)}


def test_refusals():
    street = SyntheticStreet(0, replace(CLEAN, duration=0.2))
    with pytest.raises(ConfigError, match="frame 2 asked for, expected 0 to 1"):
        street.frame(2)
    with pytest.raises(ConfigError, match="distortion"):
        StreetConfig(camera=replace(CAMERA, distortion=(0.1, 0.0, 0.0, 0.0)))
    for name, value in (("fps", 0.0), ("duration", -1.0), ("camera_height", 9.0)):
        with pytest.raises(ConfigError, match=name.split("_")[-1]):
            replace(CLEAN, **{name: value})
