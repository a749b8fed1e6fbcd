"""Depth corrected by parallax: near things follow the flow, far, standing, moving and contradictory ones do not; and the
head that starts from there."""

from __future__ import annotations

import math

import pytest
import torch

from geoseg_ros.networks import create_network
from geoseg_ros.networks.decoder import Decoded
from geoseg_ros.networks.flow import FlowEstimate, LevelEstimate
from geoseg_ros.networks.parallax import DEPTH_STD, FLOW_STD, ParallaxHead, log_correction, measure_parallax
from geoseg_ros.projection import pose_from_vector, rigid_flow, rigid_flow_and_parallax

INTRINSICS = torch.tensor([[[370.0, 0, 63.5], [0, 365.0, 31.5], [0, 0, 1]]])
DRIVE = pose_from_vector(torch.tensor([[0.003, -0.01, 0.002, 0.05, -0.02, 1.0]]))
STILL = torch.zeros(1, 1, 64, 128)


def scene():
    torch.manual_seed(5)
    truth = 3 + 30 * torch.rand(1, 1, 64, 128)
    return truth, truth * torch.exp(0.2 * torch.randn_like(truth)), rigid_flow(truth, INTRINSICS, DRIVE)[0]


def correct_depth(depth, flow, intrinsics, pose, moving):
    return depth * torch.exp(-log_correction(measure_parallax(depth, flow, intrinsics, pose, moving)))


def error(depth, truth, where=slice(None)):
    return ((depth - truth).abs() / truth)[where].mean().item()


def test_exact_flow_corrects_what_shows_parallax():
    truth, seen, flow = scene()
    _, parallax, _ = rigid_flow_and_parallax(truth, INTRINSICS, DRIVE)
    clear = parallax.norm(dim=1, keepdim=True) > 10
    corrected = correct_depth(seen, flow, INTRINSICS, DRIVE, STILL)
    assert error(seen, truth, clear) > 0.15 and error(corrected, truth, clear) < 0.04
    assert error(corrected, truth) < error(seen, truth)


def test_the_gain_weighs_parallax_against_noise():
    depth, turn = torch.full((1, 1, 64, 128), 10.0), torch.eye(4)[None].clone()
    turn[:, 0, 3] = 0.2  # sideways: 7.4 px of flow, all of it parallax
    flow = rigid_flow(depth, INTRINSICS, turn)[0]
    measured = flow + torch.tensor([0.37, 0.0]).view(1, 2, 1, 1)
    gain = 7.4 * 0.37 / (7.4**2 + (FLOW_STD / DEPTH_STD) ** 2)
    corrected = correct_depth(depth, measured, INTRINSICS, turn, STILL)
    torch.testing.assert_close(corrected, depth * torch.exp(torch.tensor(-gain)))
    half = correct_depth(depth, measured, INTRINSICS, turn, STILL + 0.5)
    torch.testing.assert_close(half, depth * torch.exp(torch.tensor(-gain / 2)))


@pytest.mark.parametrize("reason", ["standing camera", "moves by itself", "flow as expected"])
def test_depth_stays_where_flow_says_nothing(reason):
    _, seen, flow = scene()
    pose, moving = DRIVE, STILL
    if reason == "standing camera":
        pose = torch.eye(4)[None]
    elif reason == "moves by itself":
        moving = STILL + 1
    else:
        flow = rigid_flow(seen, INTRINSICS, DRIVE)[0]
    torch.testing.assert_close(correct_depth(seen, flow, INTRINSICS, pose, moving), seen, rtol=1e-4, atol=0)


def test_flow_across_the_epipolar_line_is_not_trusted():
    depth, turn = torch.full((1, 1, 64, 128), 10.0), torch.eye(4)[None].clone()
    turn[:, 0, 3] = 0.2
    wrong = rigid_flow(depth, INTRINSICS, turn)[0] + torch.tensor([1.5, 30.0]).view(1, 2, 1, 1)
    assert error(correct_depth(depth, wrong, INTRINSICS, turn, STILL), depth) < 0.001


def test_parallax_is_the_derivative_of_flow_by_log_inverse_depth():
    truth = scene()[0].double()
    matrix, pose = INTRINSICS.double(), DRIVE.double()
    step = 1e-6
    ahead, behind = (rigid_flow(truth * math.exp(s), matrix, pose)[0] for s in (-step, step))
    flow, parallax, valid = rigid_flow_and_parallax(truth, matrix, pose)
    torch.testing.assert_close(parallax, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(flow, rigid_flow(truth, matrix, pose)[0])
    assert valid.all()


def head_and_inputs():
    torch.manual_seed(6)
    head = ParallaxHead(hidden=5, decoded=7)
    _, seen, flow = scene()
    return head, (seen, measure_parallax(seen, flow, INTRINSICS, DRIVE, STILL), torch.randn(1, 5, 32, 64), torch.randn(1, 7, 32, 64))


def test_an_untrained_head_applies_the_filter_gain():
    head, (seen, parallax, hidden, decoded) = head_and_inputs()
    trusted = parallax._replace(trust=parallax.trust / (1 + math.exp(-3.0)))
    torch.testing.assert_close(head(seen, parallax, hidden, decoded)[0], seen * torch.exp(-log_correction(trusted)))


def test_the_head_learns_the_noise_of_the_flow():
    """Flow that is pure noise along the epipolar line: the head learns to leave depth alone."""
    head, (_, _, hidden, decoded) = head_and_inputs()
    truth, _, flow = scene()
    parallax = measure_parallax(truth, flow, INTRINSICS, DRIVE, STILL)
    noisy = parallax._replace(along=20 * torch.randn_like(parallax.along))
    optimizer = torch.optim.Adam(head.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = (head(truth, noisy, hidden, decoded)[0] / truth).log().abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_corrections_are_bounded():
    head, (seen, parallax, hidden, decoded) = head_and_inputs()
    torch.nn.init.constant_(head.predict.bias, 50.0)
    wild = parallax._replace(along=parallax.along * 1e4)
    assert (head(seen, wild, hidden, decoded)[0] / seen).log().abs().max() <= 1.4 + 1e-4


def reconciled(moving):
    """Depth and flow at half size before and after a network with an untrained parallax head reconciled them."""
    torch.manual_seed(7)
    network = create_network("perception", {"encoder": "lite"}).eval()
    truth, seen, flow = scene()
    full = INTRINSICS.clone()
    full[:, :2] *= 2
    full[:, :2, 2] += 0.5
    levels = [LevelEstimate(None, torch.randn(1, 32, 32, 64), None, None)]
    decoded = Decoded(torch.randn(1, 64, 32, 64), None)
    motion = torch.full((1, 1, 128, 256), 50.0 if moving else -50.0)
    depth, estimate = network.reconcile(seen, FlowEstimate(2 * flow, levels, None), full, DRIVE, motion, decoded)
    return seen, 2 * flow, depth, estimate.half


def test_what_moves_by_itself_keeps_its_depth_and_flow():
    seen, flow, depth, half = reconciled(moving=True)
    torch.testing.assert_close(depth, seen)
    torch.testing.assert_close(half, flow)


def test_what_stands_still_moves_towards_the_flow_of_its_corrected_depth():
    seen, flow, depth, half = reconciled(moving=False)
    truth = scene()[0]
    assert error(depth, truth) < error(seen, truth)
    still = 2 * rigid_flow(depth, INTRINSICS, DRIVE)[0]
    torch.testing.assert_close(half, flow + (still - flow) / (1 + math.exp(2.0)), rtol=1e-4, atol=1e-3)
