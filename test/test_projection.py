"""Projective geometry: hand-computed flows, finite differences, validity masks, precision."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from geoseg_ros import projection

HEIGHT, WIDTH = 6, 8
F, CX, CY = 10.0, 3.5, 2.5


def intrinsics(dtype: torch.dtype = torch.float64, batch: int = 1) -> torch.Tensor:
    return torch.tensor([[F, 0, CX], [0, F, CY], [0, 0, 1]], dtype=dtype).expand(batch, 3, 3)


def translation(x: float, y: float, z: float) -> torch.Tensor:
    return projection.pose_from_vector(torch.tensor([[0, 0, 0, x, y, z]], dtype=torch.float64))


def plane(z: float) -> torch.Tensor:
    return torch.full((1, 1, HEIGHT, WIDTH), z, dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_pixel_grid():
    grid = projection.pixel_grid(2, 3)
    assert grid.shape == (1, 2, 2, 3)
    assert grid[0, 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert grid[0, 1].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_backproject_and_project_by_hand():
    points = projection.backproject(plane(4.0), intrinsics())
    assert points[0, :, 0, 0].tolist() == pytest.approx([-3.5 * 4 / 10, -2.5 * 4 / 10, 4.0])
    pixels, z = projection.project(points, intrinsics())
    torch.testing.assert_close(pixels, projection.pixel_grid(HEIGHT, WIDTH, dtype=torch.float64))
    assert (z == 4.0).all()


def test_project_stays_finite_at_and_behind_the_camera():
    points = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, -3.0]]).view(2, 3, 1, 1)
    pixels, z = projection.project(points, intrinsics(torch.float32, 2))
    assert torch.isfinite(pixels).all()
    assert z.flatten().tolist() == [0.0, -3.0]


def test_transform_equals_matrix_product():
    points, pose = random(2, 3, 4, 5), projection.pose_from_vector(random(2, 6))
    expected = pose[:, :3, :3] @ points.flatten(2) + pose[:, :3, 3:]
    torch.testing.assert_close(projection.transform(points, pose).flatten(2), expected)


def test_rigid_flow_of_sideways_motion():
    """A point at depth Z moves by f t_x / Z, everywhere."""
    flow, valid = projection.rigid_flow(plane(5.0), intrinsics(), translation(0.4, -0.2, 0))
    torch.testing.assert_close(flow[:, 0], torch.full_like(flow[:, 0], F * 0.4 / 5))
    torch.testing.assert_close(flow[:, 1], torch.full_like(flow[:, 1], -F * 0.2 / 5))
    assert valid.all()


def test_rigid_flow_of_forward_motion():
    """Driving on by 1 m, the previous camera sees a point at Z = 5 m from 6 m: (p - c) shrinks by 5 / 6."""
    flow, _ = projection.rigid_flow(plane(5.0), intrinsics(), translation(0, 0, 1))
    grid = projection.pixel_grid(HEIGHT, WIDTH, dtype=torch.float64)
    centre = torch.tensor([CX, CY], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(flow, (grid - centre) * (5 / 6 - 1))


def test_rigid_flow_of_pure_rotation_ignores_depth():
    """Turning by an angle a about y moves the centre column by f tan(a), at 1 m as at infinity."""
    pose = projection.pose_from_vector(torch.tensor([[0, 0.1, 0, 0, 0, 0]], dtype=torch.float64))
    K = intrinsics().clone()
    K[:, 0, 2] = 4.0
    depth = plane(1.0)
    depth[..., 1:3, :] = torch.inf
    flow, valid = projection.rigid_flow(depth, K, pose)
    assert valid.all()
    torch.testing.assert_close(flow[0, 0, :, 4], torch.full((HEIGHT,), F * np.tan(0.1), dtype=torch.float64))
    torch.testing.assert_close(flow, projection.rigid_flow(plane(9.0), K, pose)[0])


def test_rigid_flow_at_infinity_feels_no_translation():
    flow, valid = projection.rigid_flow(plane(torch.inf), intrinsics(), translation(3, 2, 1))
    assert valid.all()
    assert (flow == 0).all()


def test_rigid_flow_of_no_motion_is_exactly_zero():
    flow, _ = projection.rigid_flow(
        random(1, 1, 50, 70).float(), intrinsics(torch.float32), torch.eye(4)[None]
    )
    assert (flow == 0).all()


def test_rigid_flow_equals_the_chain_of_its_parts():
    depth, pose = 2 + 8 * random(2, 1, HEIGHT, WIDTH), projection.pose_from_vector(0.2 * random(2, 6, seed=1))
    K = intrinsics(batch=2)
    points = projection.transform(projection.backproject(depth, K), pose)
    expected = projection.project(points, K)[0] - projection.pixel_grid(HEIGHT, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(projection.rigid_flow(depth, K, pose)[0], expected)


def test_rigid_flow_is_invalid_without_depth_or_behind():
    depth = plane(5.0)
    depth[0, 0, 0, :4] = torch.tensor([0.0, -1.0, torch.nan, -torch.inf])
    depth[0, 0, 1, 0] = 2.0
    flow, valid = projection.rigid_flow(depth, intrinsics(), translation(0, 0, -3))
    assert not valid[0, 0, 0, :4].any() and not valid[0, 0, 1, 0]
    assert valid.sum() == HEIGHT * WIDTH - 5
    assert (flow[0, :, 0, :4] == 0).all() and (flow[0, :, 1, 0] == 0).all()


def test_sample_at_whole_and_half_pixels():
    image = torch.arange(12.0, dtype=torch.float64).view(1, 1, 3, 4)
    pixels = torch.tensor([[0.0, 0.0], [3.0, 2.0], [1.5, 0.5], [-4.0, 1.0], [9.0, 2.5]], dtype=torch.float64)
    pixels = pixels.T.view(1, 2, 1, 5)
    assert projection.sample(image, pixels).flatten().tolist() == pytest.approx([0, 11, 3.5, 4, 11])
    assert projection.sample(image, pixels, "zeros").flatten().tolist() == pytest.approx([0, 11, 3.5, 0, 0])
    one = torch.full((1, 1, 1, 1), 7.0, dtype=torch.float64)
    assert projection.sample(one, torch.tensor([0.0, 5.0]).double().view(1, 2, 1, 1), "zeros").item() == 0


def test_sample_equals_opencv():
    image = random(1, 3, 30, 40)
    pixels = torch.cat([random(1, 1, 20, 25, seed=1) * 39, random(1, 1, 20, 25, seed=2) * 29], dim=1)
    x, y = pixels[0].float().numpy()
    expected = cv2.remap(image[0].permute(1, 2, 0).numpy(), x, y, cv2.INTER_LINEAR)
    ours = projection.sample(image, pixels)[0].permute(1, 2, 0)
    np.testing.assert_allclose(ours, expected, atol=0.05)  # OpenCV rounds to 1/32 pixel


def test_warp_moves_and_masks():
    image = torch.arange(48.0, dtype=torch.float64).view(1, 1, HEIGHT, WIDTH)
    flow = torch.zeros(1, 2, HEIGHT, WIDTH, dtype=torch.float64)
    flow[:, 0], flow[:, 1] = 2, -1
    flow[0, 0, 5, 0] = torch.nan
    warped, valid = projection.warp(image, flow)
    assert torch.equal(warped[..., 1:5, :-2], image[..., :4, 2:])
    assert not valid[0, 0, 0].any() and not valid[0, 0, :, -2:].any() and not valid[0, 0, 5, 0]
    assert valid.sum() == 5 * 6 - 1
    assert torch.isfinite(warped).all()


def test_inverse_warp_reconstructs_a_plane():
    """A wall with a smooth picture, seen from two places."""
    K, pose = intrinsics() * torch.tensor([[8.0], [8.0], [1.0]]).double(), translation(0.3, 0.1, 0.5)
    depth = torch.full((1, 1, 48, 64), 5.0, dtype=torch.float64)

    def wall(points: torch.Tensor) -> torch.Tensor:
        return torch.sin(points[:, :1]) + torch.cos(1.3 * points[:, 1:2])

    target = projection.backproject(depth, K)
    source = projection.backproject(depth + 0.5, K)
    source = source - torch.tensor([0.3, 0.1, 0.0], dtype=torch.float64).view(1, 3, 1, 1)
    warped, valid, z = projection.inverse_warp(wall(source), depth, K, pose)
    assert valid.float().mean() > 0.85
    torch.testing.assert_close(
        warped[valid], wall(target)[valid], atol=2e-3, rtol=0
    )  # bilinear: (5.5 / 80)² · 2.7 / 8
    torch.testing.assert_close(z, torch.full_like(z, 5.5))


def test_inverse_warp_of_unknown_and_infinite_depth():
    depth = plane(torch.inf)
    depth[0, 0, 0, 0] = torch.nan
    warped, valid, z = projection.inverse_warp(
        random(1, 3, HEIGHT, WIDTH), depth, intrinsics(), translation(0, 0, 1)
    )
    assert valid.sum() == HEIGHT * WIDTH - 1
    assert z[0, 0, 0, 0] == 0 and torch.isinf(z[valid]).all()
    assert torch.isfinite(warped).all()


def test_gradients_of_warp():
    image, flow = (
        random(1, 2, 5, 6).requires_grad_(),
        (0.37 + 0.3 * random(1, 2, 5, 6, seed=1)).requires_grad_(),
    )
    assert gradcheck(lambda image, flow: projection.warp(image, flow)[0], (image, flow))


def test_gradients_of_rigid_flow():
    depth = (2 + random(1, 1, 4, 5)).requires_grad_()
    vector = (0.1 * random(1, 6, seed=1)).requires_grad_()
    K = intrinsics().clone().requires_grad_()
    assert gradcheck(
        lambda d, K, v: projection.rigid_flow(d, K, projection.pose_from_vector(v))[0], (depth, K, vector)
    )


def test_gradients_of_inverse_warp():
    image, depth = random(1, 2, 5, 6).requires_grad_(), (2 + random(1, 1, 5, 6, seed=1)).requires_grad_()
    vector = (0.05 * random(1, 6, seed=2)).requires_grad_()

    def function(image, depth, vector):
        warped, _, z = projection.inverse_warp(
            image, depth, intrinsics(), projection.pose_from_vector(vector)
        )
        return warped, z

    assert gradcheck(function, (image, depth, vector))


def test_gradients_are_finite_with_unknown_and_infinite_depth():
    depth = plane(3.0)
    depth[0, 0, 0, :4] = torch.tensor([torch.inf, torch.nan, 0.0, -1.0])
    depth.requires_grad_()
    vector = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    warped, valid, z = projection.inverse_warp(
        random(1, 1, HEIGHT, WIDTH), depth, intrinsics(), projection.pose_from_vector(vector)
    )
    ((warped + torch.where(torch.isfinite(z), z, 0.0)) * valid).sum().backward()
    assert torch.isfinite(depth.grad).all() and torch.isfinite(vector.grad).all()


@pytest.mark.parametrize("size", [0.0, 1e-9, 9.99e-4, 1e-3, 0.7, 2.5])
def test_gradients_of_poses(size):
    vector = torch.tensor([[2.0, -1.0, 0.5, 0.3, 0.2, -0.1]], dtype=torch.float64)
    vector[:, :3] *= size / vector[:, :3].norm()
    vector.requires_grad_()
    assert gradcheck(projection.pose_from_vector, vector)
    assert gradcheck(lambda v: projection.vector_from_pose(projection.pose_from_vector(v)), vector)


def test_quarter_turn():
    pose = projection.pose_from_vector(torch.tensor([[0, 0, np.pi / 2, 1, 2, 3]], dtype=torch.float64))
    expected = torch.tensor([[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(pose[0], expected)


@settings(max_examples=200)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(0, np.pi - 1e-7))
def test_pose_round_trips(axis, angle):
    direction = np.array(axis) if np.linalg.norm(axis) > 1e-3 else np.array([0.0, 1.0, 0.0])
    vector = np.concatenate([direction / np.linalg.norm(direction) * angle, [1.0, -2.0, 3.0]])
    vector = torch.from_numpy(vector)[None]
    pose = projection.pose_from_vector(vector)
    torch.testing.assert_close(projection.vector_from_pose(pose), vector, atol=1e-8, rtol=0)
    rotation, _ = cv2.Rodrigues(vector[0, :3].numpy())
    np.testing.assert_allclose(pose[0, :3, :3].numpy(), rotation, atol=1e-12)
    torch.testing.assert_close(projection.invert_pose(pose), torch.linalg.inv(pose))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    depth, pose = (2 + 8 * random(1, 1, 40, 300)).to(dtype), translation(0.3, 0.1, 0.9).float()
    expected = projection.rigid_flow(depth.float(), intrinsics(torch.float32), pose)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        flow, _ = projection.rigid_flow(depth, intrinsics(torch.float32), pose)
        warped, _ = projection.warp(depth, flow=flow)
    assert flow.dtype == warped.dtype == torch.float32
    assert torch.equal(flow, expected)
    assert torch.equal(warped, projection.warp(depth.float(), expected)[0])
