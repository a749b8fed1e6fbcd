"""Augmentation of one example: intrinsics, flow and pose stay consistent with the pictures, which stay uint8."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.projection import rigid_flow
from geoseg_ros.training.data.augmentation import (
    AugmentConfig,
    augment,
    crop_and_scale,
    flip,
    no_augmentation,
    random_box,
)

CAMERA = PinholeCamera(96, 48, 70.0, 68.0, 46.0, 25.0)
POSE = np.eye(4)
POSE[:3, :3] = [[0.9998, 0.0, 0.02], [0.0, 1.0, 0.0], [-0.02, 0.0, 0.9998]]
POSE[:3, 3] = [0.1, -0.05, 0.8]


def plane_sample() -> dict[str, np.ndarray]:
    """A slanted plane in front of CAMERA (z = 8 + 0.5 x + 0.3 y), seen again from POSE, with its exact
    flow."""
    columns, rows = np.meshgrid(np.arange(96), np.arange(48))
    ray_x, ray_y = (columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy
    depth = (8 / (1 - 0.5 * ray_x - 0.3 * ray_y)).astype(np.float32)
    image = np.stack([columns, rows, columns + rows], -1).astype(np.uint8)
    sample = {
        "image": image,
        "previous": image[::-1].copy(),
        "depth": depth,
        "semantic": (columns // 10).astype(np.uint8),
        "motion": (columns > 50).astype(np.float32),
        "K": CAMERA.matrix,
        "previous_from_current": POSE,
    }
    return {**sample, "flow": flow_of(depth[None], CAMERA.matrix, POSE).transpose(1, 2, 0)}


def flow_of(depth: np.ndarray, K: np.ndarray, pose: np.ndarray) -> np.ndarray:
    arguments = (torch.from_numpy(np.asarray(value, np.float64))[None] for value in (depth, K, pose))
    return rigid_flow(*arguments)[0][0].numpy().astype(np.float32)


def test_crop_and_scale_follow_the_pinhole_camera():
    result = crop_and_scale(plane_sample(), (10, 4, 60, 30), (40, 15))
    expected = CAMERA.crop(10, 4, 60, 30).resize(40, 15).matrix
    np.testing.assert_allclose(result["K"], expected, atol=1e-12)
    assert result["image"].shape == (15, 40, 3) and result["flow"].shape == (15, 40, 2)


def sequence_sample() -> dict[str, np.ndarray]:
    """Three frames with both poses, distances and an assumed camera."""
    sample = plane_sample()
    return {key: sample[key] for key in ("image", "previous", "K", "previous_from_current")} | {
        "next": np.ascontiguousarray(sample["image"][:, ::-1]),
        "next_from_current": np.linalg.inv(POSE),
        "previous_distance": np.linalg.norm(POSE[:3, 3]),
        "next_distance": np.float64("nan"),
        "intrinsics_known": False,
    }


@given(
    x=st.integers(-8, 30), y=st.integers(-8, 20), width=st.integers(20, 66), height=st.integers(10, 28),
    mirrored=st.booleans(), point=st.tuples(st.floats(-3, 3), st.floats(-2, 2), st.floats(4, 20)),
)  # fmt: skip
def test_points_are_seen_where_the_pictures_show_them(x, y, width, height, mirrored, point):
    """A point of the scene in all three frames: cropping, scaling and mirroring its pixel gives the pixel that the new
    K and the new poses say."""
    sample, size = sequence_sample(), (48, 24)
    result = crop_and_scale(sample, (x, y, width, height), size)
    result = flip(result) if mirrored else result
    mirror = np.diag([-1.0 if mirrored else 1.0, 1, 1, 1])
    for name in ("previous_from_current", "next_from_current"):
        seen = (sample[name] @ [*point, 1])[:3]
        pixel = (CAMERA.matrix @ (seen / seen[2]))[:2]
        moved = (pixel - (x, y) + 0.5) * np.divide(size, (width, height)) - 0.5
        expected = [size[0] - 1 - moved[0] if mirrored else moved[0], moved[1]]
        seen = (result[name] @ mirror @ [*point, 1])[:3]
        np.testing.assert_allclose((result["K"] @ (seen / seen[2]))[:2], expected, atol=1e-8)


def test_the_next_frame_is_treated_like_the_previous_one():
    sample = sequence_sample()
    sample["next"] = sample["previous"]
    config = AugmentConfig(per_frame=0.0, jitter=1.0, flip=0.5, noise=0.0, motion_blur=1.0)
    result = augment(sample, (48, 24), config, np.random.default_rng(4))
    np.testing.assert_array_equal(result["next"], result["previous"])
    for key in ("colour_gamma", "colour_matrix"):
        assert len(result[key]) == 3
        np.testing.assert_array_equal(result[key][2], result[key][1])


def test_distances_and_the_mark_of_an_assumed_camera_pass_through():
    result = augment(sequence_sample(), (48, 24), AugmentConfig(), np.random.default_rng(0))
    assert result["previous_distance"] == np.float32(np.linalg.norm([0.1, -0.05, 0.8]))
    assert np.isnan(result["next_distance"]) and result["next_distance"].dtype == np.float32
    assert result["intrinsics_known"].dtype == bool and not result["intrinsics_known"]
    assert result["next_from_current"].shape == (4, 4)


def test_flip_mirrors_intrinsics_flow_and_pose():
    sample = plane_sample()
    result = flip(sample)
    np.testing.assert_allclose(result["K"], CAMERA.hflip().matrix, atol=1e-12)
    np.testing.assert_array_equal(result["flow"][:, 0], sample["flow"][:, -1] * [-1, 1])
    np.testing.assert_allclose(result["previous_from_current"][:3, 3], [-0.1, -0.05, 0.8])
    np.testing.assert_allclose(result["previous_from_current"][0, 2], -0.02)
    np.testing.assert_allclose(sample["previous_from_current"], POSE)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("box", "size"), [((6, 3, 60, 30), (60, 30)), ((9, 0, 72, 48), (24, 16)), ((3, 6, 84, 36), (28, 36))]
)
def test_flow_stays_the_rigid_flow_of_depth_intrinsics_and_pose(box, size, mirrored):
    """Sizes at which the nearest pixel lies exactly under the new one, so that equality is exact."""
    result = crop_and_scale(plane_sample(), box, size)
    result = flip(result) if mirrored else result
    expected = flow_of(result["depth"][None], result["K"], result["previous_from_current"])
    np.testing.assert_allclose(result["flow"].transpose(2, 0, 1), expected, atol=1e-4)


@given(
    seed=st.integers(0, 10_000),
    low=st.floats(0.5, 1.0),
    high=st.floats(1.0, 2.5),
    stretch=st.floats(0.7, 1.4),
)
@settings(max_examples=40)
def test_any_augmentation_keeps_geometry_consistent(seed, low, high, stretch):
    config = AugmentConfig(scale=(low, high), aspect=(min(1, stretch), max(1, stretch)))
    result = augment(plane_sample(), (48, 24), config, np.random.default_rng(seed))
    expected = flow_of(result["depth"], result["K"], result["previous_from_current"])
    known = np.isfinite(result["flow"][0])
    assert known.mean() > 0.2
    np.testing.assert_array_equal(known, np.isfinite(result["depth"][0]))
    np.testing.assert_array_equal(known, result["semantic"] != 255)
    np.testing.assert_array_equal(known, np.isfinite(result["motion"][0]))
    assert (
        np.abs(result["flow"] - expected)[:, known].max() < 0.35
    )  # nearest value, at most half a pixel beside
    assert result["image"].shape == (3, 24, 48)


def test_layout_and_types():
    result = augment(plane_sample(), (48, 24), AugmentConfig(), np.random.default_rng(0))
    expected = {
        **dict.fromkeys(("image", "previous"), ((3, 24, 48), np.uint8)),
        "depth": ((1, 24, 48), np.float32),
        "motion": ((1, 24, 48), np.float32),
        "flow": ((2, 24, 48), np.float32),
        "semantic": ((24, 48), np.uint8),
        "K": ((3, 3), np.float32),
        "previous_from_current": ((4, 4), np.float32),
        "colour_gamma": ((2,), np.float32),
        "colour_matrix": ((2, 3, 4), np.float32),
        "blur_kernel": ((11, 11), np.float32),
        "noise_sigma": ((), np.float32),
        "noise_seed": ((), np.int64),
    }
    assert {key: (value.shape, value.dtype.type) for key, value in result.items()} == expected


def test_a_small_image_is_padded_with_unknown_ground_truth():
    result = augment(plane_sample(), (96, 48), no_augmentation(scale=(0.5, 0.5)), np.random.default_rng(0))
    assert np.isnan(result["depth"][0, 0, 0]) and result["semantic"][0, 0] == 255
    np.testing.assert_array_equal(result["image"][:, 0, 0], [0, 0, 0])  # the corner's colour, repeated
    np.testing.assert_array_equal(result["image"][:, -1, -1], [95, 47, 142])
    assert np.isfinite(result["depth"]).mean() == pytest.approx(0.25, abs=0.01)


def test_the_anchor_bounds_the_vertical_place():
    config = AugmentConfig(scale=(1.0, 1.0), anchor=(1.0, 1.0))
    assert random_box((480, 360), (416, 128), config, np.random.default_rng(0)) == (0, 360 - 148, 480, 148)


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (0.0, 1.0)},
        {"scale": (2.0, 1.0)},
        {"flip": 1.5},
        {"hue": 1.0},
        {"anchor": (0.5, 1.5)},
        {"motion_blur": -0.1},
        {"motion_blur_length": (8.0, 4.0)},
    ],
)
def test_values_out_of_bounds_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        AugmentConfig(**change)
