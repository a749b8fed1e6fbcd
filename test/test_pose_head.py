"""The network's least-squares pose: exact on exact flow, sturdy against outliers and wrong depth, differentiable."""

from __future__ import annotations

import pytest
import torch

from geoseg_ros.networks.flow import LevelEstimate
from geoseg_ros.networks.pose import PoseHead, pool_depth, solve_pose, still_scene_flow
from geoseg_ros.projection import pose_from_vector

INTRINSICS = torch.tensor([[[370.0, 0, 319.5], [0, 365.0, 95.5], [0, 0, 1]]])
MOTIONS = {
    "drive": [0.003, -0.01, 0.002, 0.05, -0.02, 0.9],
    "turn back": [0.0, 0.03, 0.0, 0.0, 0.0, -1.2],
    "stand": [0.0] * 6,
}


def scene(motion, stride):
    """Depth at half size, the true pose, the flow of the still scene, and a confidence of one half."""
    torch.manual_seed(3)
    depth = 3 + 30 * torch.rand(1, 1, 96, 320)
    pose = pose_from_vector(torch.tensor([MOTIONS[motion]]))
    return depth, pose, still_scene_flow(depth, INTRINSICS, pose, stride), torch.zeros(1, 1, 192 // stride, 640 // stride)


def error(estimate, pose):
    return (estimate - pose).abs().max().item()


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("motion", MOTIONS)
def test_exact_flow_gives_the_exact_pose(motion, stride):
    depth, pose, flow, confidence = scene(motion, stride)
    assert error(solve_pose(flow, confidence, depth, INTRINSICS, torch.eye(4)[None], stride, 5), pose) < 1e-5


def test_noise_outliers_and_wrong_depth_do_little_harm():
    depth, pose, flow, confidence = scene("drive", 8)
    flow = flow + torch.randn_like(flow)
    flow[..., :16] += 12  # a fifth of the picture moves by itself
    wrong = depth * (1 + 0.15 * torch.randn_like(depth)).clamp(min=0.3)
    estimate = solve_pose(flow, confidence, wrong, INTRINSICS, torch.eye(4)[None], 8, 6)
    assert error(estimate[:, :3, :3], pose[:, :3, :3]) < 2e-3
    assert error(estimate[:, :3, 3], pose[:, :3, 3]) < 0.06


def test_what_has_no_confidence_has_no_say():
    depth, pose, flow, confidence = scene("drive", 16)
    flow[..., :24] += 30  # more than half of the picture
    confidence[..., :24] = -30.0
    assert error(solve_pose(flow, confidence, depth, INTRINSICS, torch.eye(4)[None], 16, 8), pose) < 0.02


def test_confidence_learns_to_leave_out_what_moves():
    depth, pose, flow, confidence = scene("drive", 16)
    flow[..., :12] += 5
    confidence.requires_grad_()
    estimate = solve_pose(flow, confidence, depth, INTRINSICS, torch.eye(4)[None], 16, 3)
    (estimate - pose).square().sum().backward()
    assert torch.isfinite(confidence.grad).all()
    assert confidence.grad[..., :12].mean() > 0 > confidence.grad[..., 12:].mean()


@pytest.mark.parametrize("part", ["everything", "the left third", "what is far"])
def test_the_poses_gradient_by_depth_is_how_the_solution_moves(part):
    """One iteration from the solution has the derivative of the solution: beside it, that is what solving anew finds."""
    depth, _, flow, confidence = scene("drive", 8)
    chosen = {"everything": depth > 0, "the left third": torch.arange(320) < 107, "what is far": depth > 18}[part]
    flow = flow + 0.1 * torch.randn_like(flow)

    def solve(growth, start, iterations):
        grown = depth * torch.where(chosen, growth, torch.zeros(())).exp()
        return solve_pose(flow, confidence, grown, INTRINSICS, start, 8, iterations)

    solution = solve(torch.zeros(()), torch.eye(4)[None], 12)
    growth = torch.zeros((), requires_grad=True)
    near = solve(growth, solution, 1)
    weights = torch.tensor([[1.0, 2.0, -1.0, 0.3], [0.5, 1.0, 3.0, -0.2], [1.0, -2.0, 0.5, 0.4], [0.0] * 4])
    (slope,) = torch.autograd.grad((weights * near).sum(), growth)
    ends = [solve(torch.tensor(b), solution, 8) for b in (0.05, -0.05)]
    assert slope.item() == pytest.approx((weights * (ends[0] - ends[1])).sum().item() / 0.1, rel=0.1, abs=2e-3)
    if part == "everything":
        assert slope.item() == pytest.approx((weights * solution)[:, :3, 3].sum().item(), rel=0.05)


def test_depth_is_pooled_as_inverse_depth():
    depth = torch.tensor([[1.0, 1.0], [4.0, torch.inf]]).view(1, 1, 2, 2)
    assert pool_depth(depth, 4).item() == pytest.approx(4 / 2.25)


def test_the_finest_flow_corrects_a_wrong_pose():
    depth, pose, flow, _ = scene("drive", 4)
    start = pose_from_vector(torch.tensor([[0.0, -0.008, 0.0, 0.0, 0.0, 1.1]]))
    torch.manual_seed(4)
    head = PoseHead(coarse_hidden=3, middle_hidden=3, fine_hidden=5)
    fine = LevelEstimate(flow, torch.randn(1, 5, 48, 160), None, None)
    assert error(start, pose) > 0.15 and error(head.fine(fine, depth, INTRINSICS, start), pose) < 0.01
