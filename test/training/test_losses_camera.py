"""The loss that shows a camera's focal length: by hand, its gradient, and a camera that is found by it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from geoseg_ros.networks.pose import MIDDLE, solve_pose
from geoseg_ros.projection import pose_from_vector, rigid_flow
from geoseg_ros.training.losses.camera import CUT, DEPTH_STD, camera_loss
from geoseg_ros.training.tasks.learned_camera import FocalLength

WIDTH, HEIGHT = 40, 24


def camera(focal, dtype=torch.float64):
    return torch.tensor([[[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]]], dtype=dtype)


def pose(*vector):
    return pose_from_vector(torch.tensor([vector], dtype=torch.float64))


def scene():
    """Depth 1×1×H×W between 4 and 20 m, uneven."""
    return 4 + 16 * torch.rand(1, 1, HEIGHT, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_distances_by_hand():
    """Sideways by 0.5 m before a wall at 10 m, f = 40: points move by 2 pixels along x. Across that a pixel is a pixel; along it
    depth may have erred by 0.3 · 2 = 0.6 pixels as well."""
    depth = torch.full((1, 1, HEIGHT, WIDTH), 10.0, dtype=torch.float64)
    matrix, step, weight = camera(40.0), pose(0, 0, 0, 0.5, 0, 0), torch.ones_like(depth)
    still, _ = rigid_flow(depth, matrix, step)

    def loss(dx, dy, std=1.0):
        flow = still + torch.tensor([dx, dy], dtype=torch.float64).view(1, 2, 1, 1)
        return camera_loss(flow, depth, matrix, step, weight, std).item()

    assert loss(0, 0) == 0
    assert loss(0, 3) == pytest.approx(9 / (9 + CUT**2)) and loss(0, 3, 3.0) == pytest.approx(1 / (1 + CUT**2))
    along = 9 / (1 + (DEPTH_STD * 2) ** 2)
    assert loss(3, 0) == pytest.approx(along / (along + CUT**2))
    half = torch.zeros_like(weight)
    half[..., : WIDTH // 2] = 1.0
    flow = still.clone()
    flow[..., WIDTH // 2 :] += 50.0
    assert camera_loss(flow, depth, matrix, step, half).item() == 0, "what has no weight says nothing"


def test_gradient():
    step, weight = pose(0.01, 0.03, 0.02, 0.2, -0.1, 0.3), torch.rand(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
    flow, _ = rigid_flow(scene(), camera(35.0), pose(0.0, 0.05, 0.0, 0.1, 0.0, 0.4))
    focal = torch.tensor(42.0, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda f: camera_loss(flow, scene(), _matrix(f), step, weight), (focal,))


def _matrix(focal):
    """:func:`camera` through which a gradient passes."""
    eye = torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    return camera(0.0) + focal * eye


@settings(max_examples=3, deadline=None)
@given(st.floats(0.5, 1.4), st.floats(0.04, 0.1))
def test_turning_shows_the_focal_length(share, turn):
    """A camera that turns and drives, its flow exact, its depth in other units and pose solved anew at each step: from 0.9 of the
    width the focal length goes to what it is."""
    depth = scene().float().repeat_interleave(4, 2).repeat_interleave(4, 3)
    truth, found = camera(share * WIDTH, torch.float32), FocalLength()
    flow, _ = rigid_flow(scene().float(), truth, pose(0.0, turn, 0.0, 0.05, 0.0, 0.6).float())
    optimizer = torch.optim.Adam(found.parameters(), lr=5e-4)
    confidence = torch.full((1, 1, HEIGHT, WIDTH), 3.0)
    for _ in range(150):
        with torch.no_grad():
            full = found(1, MIDDLE * HEIGHT, MIDDLE * WIDTH)
            solved = solve_pose(MIDDLE * flow, confidence, 3 * depth, full, torch.eye(4)[None], MIDDLE, 4)
        optimizer.zero_grad()
        camera_loss(flow, 3 * scene().float(), found(1, HEIGHT, WIDTH), solved, torch.ones_like(confidence), 1 / MIDDLE).backward()
        optimizer.step()
    assert found.mean[0].item() == pytest.approx(share, rel=0.03)
