"""Networks: published sizes and key names, the folding of training branches, correlation, streaming state."""

from __future__ import annotations

import pytest
import torch

from geoseg_ros.errors import ConfigError
from geoseg_ros.networks import create_network
from geoseg_ros.networks.blocks import RepConv, count_parameters
from geoseg_ros.networks.encoder import ENCODERS, create_encoder
from geoseg_ros.networks.flow import convex_upsample, correlation
from geoseg_ros.projection import rigid_flow

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


@pytest.mark.parametrize("c_in, c_out, kernel, stride, groups", [(8, 8, 3, 1, 8), (8, 8, 3, 2, 8), (8, 12, 1, 1, 1), (8, 8, 5, 1, 1)])
def test_fused_block_equals_its_branches(c_in, c_out, kernel, stride, groups):
    torch.manual_seed(2)
    block = randomise_norms(RepConv(c_in, c_out, kernel, stride, groups)).eval()
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
    expected = [(current * padded[:, :, y : y + 6, x : x + 8]).mean(1) for y in range(5) for x in range(5)]
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
    features = network.encoder(frames(1))
    wide, narrow = INTRINSICS.clone(), INTRINSICS.clone()
    narrow[:, 0, 0] *= 2
    torch.testing.assert_close(network.depth(features, narrow), 2 * network.depth(features, wide))


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
    assert output.logits.shape == (1, 11, *IMAGE) and output.depth.shape == (1, 1, *IMAGE)
    assert output.flow.shape == (1, 2, *IMAGE) and output.motion.shape == (1, 1, *IMAGE)
    assert [tuple(level.shape[2:]) for level in output.flow_levels] == [(16, 32), (8, 16), (4, 8)]
    rotation = output.previous_from_current[0, :3, :3]
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-5, rtol=0)


def test_every_parameter_learns(network):
    net = create_network("perception").train()
    state = net(frames(2), heads=()).state
    out = net(frames(2), INTRINSICS.repeat(2, 1, 1), state)
    loss = out.logits.square().mean() + out.depth.log().mean() + out.flow.abs().mean()
    loss = loss + out.motion.square().mean()
    (loss + out.previous_from_current.sum() + sum(f.abs().mean() for f in out.flow_levels)).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_the_motion_head_sends_no_gradient_to_the_heads_it_reads():
    net = create_network("perception").train()
    state = net(frames(2), heads=()).state
    net(frames(2), INTRINSICS.repeat(2, 1, 1), tuple(s.detach() for s in state)).motion.sum().backward()
    assert {name.split(".")[0] for name, p in net.named_parameters() if p.grad is not None} == {"motion_head"}


def test_flow_starts_from_the_flow_of_a_still_scene(network):
    """With an estimator that changes nothing, flow is the rigid flow of depth and pose."""
    twin = create_network("perception", {"encoder": "lite"}).eval()
    twin.load_state_dict(network.state_dict())
    for level in twin.flow_head.levels:
        torch.nn.init.zeros_(level.update.weight)
        torch.nn.init.zeros_(level.update.bias)
    state = twin(frames(1), heads=()).state
    output = twin(frames(2)[1:], INTRINSICS, state)
    depth = 1 / torch.nn.functional.avg_pool2d(1 / output.depth, 8)
    coarse = torch.tensor([[[60 / 8, 0, 64 / 8 - 0.5], [0, 60 / 8, 32 / 8 - 0.5], [0, 0, 1]]])
    expected, _ = rigid_flow(depth, coarse, output.previous_from_current)
    assert output.flow.abs().max() > 0.01
    torch.testing.assert_close(output.flow_levels[1], 8 * expected, rtol=1e-3, atol=1e-4)
    assert twin(frames(2)[1:], None, state).flow.abs().max() == 0


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="perception"):
        create_network("perceptron")
    with pytest.raises(ConfigError, match="'encoder'"):
        create_network("perception", {"encodr": "lite"})
    with pytest.raises(ConfigError, match="'resnet101'.*lite, resnet18"):
        create_network("perception", {"encoder": "resnet101"})
