"""Networks: published sizes and key names, the folding of training branches, correlation, streaming state."""

from __future__ import annotations

import math

import pytest
import torch

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks import create_network
from geoseg_ros.networks.blocks import RepConv, count_parameters
from geoseg_ros.networks.encoder import ENCODERS, create_encoder
from geoseg_ros.networks.flow import FlowLevel, convex_upsample, correlation
from geoseg_ros.networks.position import assumed_intrinsics, position_pyramid

INTRINSICS = torch.tensor([[[60.0, 0.0, 63.5], [0.0, 60.0, 31.5], [0.0, 0.0, 1.0]]])
IMAGE = (64, 128)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return randomise_norms(create_network("perception", {"encoder": "lite"})).eval()


def randomise_norms(module):
    """Statistics as after training: folding must not be tested on the identity."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, 0, 0.1)
    return module


def frames(count):
    return torch.rand(count, 3, *IMAGE, generator=torch.Generator().manual_seed(1))


def test_resnet18_has_the_published_size_and_torchvision_keys():
    encoder = create_encoder("resnet18")
    assert count_parameters(encoder) == 11_689_512 - (512 * 1000 + 1000)
    keys = set(encoder.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias"} <= keys
    assert not any(key.startswith(("fc", "normalize")) for key in keys)


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_encoders_give_five_maps_at_halving_sizes(name):
    encoder = create_encoder(name).eval()
    features = encoder(frames(1))
    assert [f.shape[1] for f in features] == list(encoder.channels)
    assert [tuple(f.shape[2:]) for f in features] == [(64 // s, 128 // s) for s in (2, 4, 8, 16, 32)]


@pytest.mark.parametrize("c_in, c_out, kernel, stride", [(8, 8, 3, 1), (8, 8, 3, 2), (8, 12, 1, 1), (8, 8, 5, 1)])
def test_fused_block_equals_its_branches(c_in, c_out, kernel, stride):
    torch.manual_seed(2)
    block = randomise_norms(RepConv(c_in, c_out, kernel, stride)).eval()
    x = torch.randn(2, c_in, 9, 11)
    torch.testing.assert_close(block.fuse()(x), block(x), rtol=1e-4, atol=1e-5)


def test_fused_network_equals_the_trained_one(network):
    state = network(frames(1), heads=()).state
    expected = network(frames(2)[1:], INTRINSICS, state)
    twin = create_network("perception", {"encoder": "lite"})
    twin.load_state_dict(network.state_dict())
    twin.for_inference()
    assert not any(isinstance(m, (RepConv, torch.nn.BatchNorm2d)) for m in twin.modules())
    actual = twin(frames(2)[1:], INTRINSICS, state)
    for name in ("logits", "depth", "flow", "previous_from_current", "motion"):
        torch.testing.assert_close(getattr(actual, name), getattr(expected, name), rtol=2e-3, atol=2e-4)


def test_correlation_equals_shift_and_multiply():
    current, previous, radius = torch.randn(2, 5, 6, 8), torch.randn(2, 5, 6, 8), 2
    padded = torch.nn.functional.pad(previous, [radius] * 4)
    expected = [(current * padded[:, :, y : y + 6, x : x + 8]).sum(1) for y in range(5) for x in range(5)]
    torch.testing.assert_close(correlation(current, previous, radius), torch.stack(expected, 1))


def test_correlation_peaks_at_the_shift_between_the_frames():
    previous = torch.randn(1, 64, 12, 16)
    current = torch.roll(previous, (1, -2), (2, 3))  # current(y, x) = previous(y - 1, x + 2)
    peak = correlation(current, previous, 3)[0, :, 6, 8].argmax().item()
    assert (peak % 7 - 3, peak // 7 - 3) == (2, -1)


def test_convex_upsampling_of_a_constant_is_that_constant():
    flow = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 4, 5)
    fine = convex_upsample(flow, torch.randn(1, 9 * 4, 4, 5), 2)
    torch.testing.assert_close(fine, torch.tensor([3.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 8, 10))


def test_convex_upsampling_picks_the_neighbour_that_the_weights_name():
    flow = torch.arange(12.0).view(1, 1, 3, 4).repeat(1, 2, 1, 1)
    weights = torch.full((1, 9, 4, 3, 4), -50.0)
    weights[:, 5] = 50.0  # right neighbour of the 3×3 window
    fine = convex_upsample(flow, weights.view(1, 36, 3, 4), 2)
    torch.testing.assert_close(fine[0, 0, 2, 2], torch.tensor(6.0))
    torch.testing.assert_close(fine[0, 0, 2, 7], torch.tensor(7.0))  # the edge repeats


def test_depth_scales_with_the_focal_length(network):
    decoded = network.decode(network.encoder(frames(1)), INTRINSICS)
    wide, narrow = INTRINSICS.clone(), INTRINSICS.clone()
    narrow[:, 0, 0] *= 2
    torch.testing.assert_close(network.depth(decoded, narrow), 2 * network.depth(decoded, wide))


def test_depth_stays_within_the_configured_range(network):
    scale = INTRINSICS[0, 0, 0] / network.config.canonical_focal
    for bias in (-100.0, 100.0):
        head = network.depth_head.predict
        saved = head.bias.data.clone()
        head.bias.data.fill_(bias)
        depth = network(frames(1), INTRINSICS, heads=("depth",)).depth
        head.bias.data.copy_(saved)
        expected = scale * (network.config.max_depth if bias < 0 else network.config.min_depth)
        torch.testing.assert_close(depth, torch.full_like(depth, expected), rtol=1e-4, atol=0)


def test_only_the_wanted_heads_run(network):
    state = network(frames(1), heads=()).state
    output = network(frames(1), INTRINSICS, state, heads=("semantic",))
    assert output.logits is not None
    assert output.depth is output.flow is output.flow_levels is output.previous_from_current is output.motion is None
    assert network(frames(1), INTRINSICS, None).flow is None
    assert network(frames(1), None, state).depth is None


def test_outputs_have_the_input_size_and_poses_are_rigid(network):
    state = network(frames(1), heads=()).state
    output = network(frames(2)[1:], INTRINSICS, state)
    assert output.logits.shape == (1, 11, 32, 64) and output.depth.shape == (1, 1, *IMAGE)
    assert output.flow.shape == (1, 2, *IMAGE) and output.motion.shape == (1, 1, *IMAGE)
    assert [tuple(level.shape[2:]) for level in output.flow_levels] == [(16, 32), (8, 16), (4, 8)]
    rotation = output.previous_from_current[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)


def test_every_parameter_learns(network):
    net = create_network("perception").train()
    state = net(frames(2), heads=()).state
    cameras = INTRINSICS.repeat(2, 1, 1)
    out = net(frames(2), cameras, state)
    loss = out.logits.square().mean() + out.depth.log().mean() + out.flow.abs().mean()
    loss = loss + out.motion.square().mean() + sum(f.abs().mean() for f in out.flow_levels)
    _, poses = net.flow_and_pose(out.state, state, out.depth[..., ::2, ::2], cameras)
    (loss + sum(pose.square().sum() for pose in poses)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_the_motion_head_sends_no_gradient_to_the_heads_it_reads():
    net = create_network("perception").train()
    state = net(frames(2), heads=()).state
    net(frames(2), INTRINSICS.repeat(2, 1, 1), tuple(s.detach() for s in state)).motion.sum().backward()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {"motion_head"}


def test_flow_goes_on_from_the_prior_and_without_one_from_the_coarse_estimate(network):
    """Estimators that trust no match and add nothing leave the flow as it was."""
    head = create_network("perception", {"encoder": "lite"}).eval().flow_head
    for level, added in zip(head.levels, (0.0, 0.0, 0.25), strict=True):
        torch.nn.init.zeros_(level.update.weight)
        level.update.bias.data = torch.tensor([added, added, -50.0, -50.0])
    state, previous = (network(frames(2)[i : i + 1], heads=()).state for i in (1, 0))
    prior = torch.rand(1, 2, 8, 16) * 9
    coarse = head.coarse(state, previous)
    torch.testing.assert_close(coarse.flow, torch.full((1, 2, 4, 8), 4.0))
    torch.testing.assert_close(head.middle(state, previous, coarse, prior).flow, prior)
    middle = head.middle(state, previous, coarse, None)
    fine = head.fine(state, previous, middle, torch.rand(1, 2, 16, 32))
    torch.testing.assert_close(head.half(fine), torch.full((1, 2, 32, 64), 4.0))


def test_full_trust_in_the_alternative_gives_the_alternative():
    level = FlowLevel(32, radius=3, extra=0, widths=(8, 8)).eval()
    torch.nn.init.zeros_(level.update.weight)
    level.update.bias.data = torch.tensor([0.0, 0.0, -50.0, 50.0])
    frame, alternative = torch.rand(1, 32, 16, 32), 20 * torch.rand(1, 2, 16, 32)
    torch.testing.assert_close(level(frame, frame, torch.zeros(1, 2, 16, 32), 4, alternative).flow, alternative)


def test_a_match_moves_the_flow_by_whole_cells():
    level = FlowLevel(16, radius=3, extra=0, widths=(8, 8)).eval()
    torch.nn.init.zeros_(level.update.weight)
    level.update.bias.data = torch.tensor([0.0, 0.0, 50.0, -50.0])
    level.log_sharpness.data.fill_(4.0)
    previous = torch.nn.functional.normalize(torch.randn(1, 16, 12, 16), dim=1)
    current = torch.roll(previous, (1, -2), (2, 3))
    flow = level(current, previous, torch.zeros(1, 2, 12, 16), 8).flow
    torch.testing.assert_close(flow[0, :, 6, 8], torch.tensor([16.0, -8.0]), atol=0.1, rtol=0)


def test_positions_are_measured_from_the_principal_point_in_canonical_focal_lengths():
    matrix = torch.tensor([[[50.0, 0, 40.0], [0, 100.0, 20.0], [0, 0, 1]]])
    pyramid = position_pyramid(matrix, 200.0, 64, 128)
    assert [tuple(p.shape) for p in pyramid] == [(1, 3, 64 // s, 128 // s) for s in (2, 4, 8, 16, 32)]
    x, y, below = pyramid[0][0, :, 30, 10]  # covers the pixels 20, 21 of the rows 60, 61
    assert x.item() == pytest.approx((20.5 - 40) / 200)
    assert y.item() == pytest.approx(4 * (60.5 - 20) / 200 * 0.5)
    assert below.item() == pytest.approx((math.log((60.5 - 20) / 200 * 0.5) + 2.5) / 1.3)
    assert pyramid[0][0, 2, 0].unique().numel() == 1, "above the horizon there is no ground"
    torch.testing.assert_close(pyramid[2], torch.nn.functional.avg_pool2d(pyramid[0], 4))


def test_the_assumed_camera_looks_along_the_middle_of_the_image():
    matrix = assumed_intrinsics(torch.zeros(2, 3, 64, 128), 200.0)
    torch.testing.assert_close(matrix, torch.tensor([[200, 0, 63.5], [0, 200, 31.5], [0, 0, 1]]).expand(2, 3, 3))


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="perception"):
        create_network("perceptron")
    with pytest.raises(ConfigError, match="'encoder'"):
        create_network("perception", {"encodr": "lite"})
    with pytest.raises(ConfigError, match="'resnet101'.*lite, resnet18"):
        create_network("perception", {"encoder": "resnet101"})
