"""The monodepth network: sizes, units, the camera it learns, streaming state, and its place in the pipeline."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.networks.blocks import RepConv, count_parameters
from geoseg_ros.networks.posenet import CameraHead, PoseNetwork, intrinsics_of_shares, shares_of_intrinsics
from geoseg_ros.pipeline import UNKNOWN_VARIANCE, Pipeline

HEIGHT, WIDTH = 32, 64
SMALL = {"decoder_widths": [4, 4, 4, 4, 4]}
INTRINSICS = torch.tensor([[[60.0, 0, 31.5], [0, 60, 15.5], [0, 0, 1]]])
STEP = 100_000_000


def frames(count, seed=1):
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_network("monodepth", SMALL).eval()


def test_disparity_has_four_sizes_and_starts_at_the_initial_depth(network):
    disparities = network.disparities(network.encoder(frames(2)))
    assert [tuple(d.shape) for d in disparities] == [(2, 1, HEIGHT // s, WIDTH // s) for s in (1, 2, 4, 8)]
    assert [len(network.disparities(network.encoder(frames(1)), scales)) for scales in (1, 3)] == [1, 3]
    far = create_network("monodepth", {**SMALL, "initial_depth": 8.0}).eval()
    for predict in (*network.decoder.predict, *far.decoder.predict):
        torch.nn.init.zeros_(predict.weight)
    for initial, net in ((0.2, network), (8.0, far)):
        for disparity in net.disparities(net.encoder(frames(1))):
            torch.testing.assert_close(1 / disparity, torch.full_like(disparity, initial))


def test_the_finest_disparity_does_not_depend_on_the_number_of_scales():
    net = create_network("monodepth", SMALL).eval()
    torch.testing.assert_close(net.disparities(net.encoder(frames(1)), 1)[0], net.disparities(net.encoder(frames(1)))[0])


def test_depth_and_translation_scale_with_the_focal_length(network):
    magnified = INTRINSICS.clone()
    magnified[:, 0, 0] *= 2
    disparity, vector = torch.rand(1, 1, 4, 4) + 0.1, torch.tensor([[0.1, 0.0, 0.2, 0.3, 0.4, 0.5]])
    torch.testing.assert_close(network.depth(disparity, magnified), 2 * network.depth(disparity, INTRINSICS))
    pose, other = network.pose(vector, INTRINSICS), network.pose(vector, magnified)
    torch.testing.assert_close(other[:, :3, 3], 2 * pose[:, :3, 3])
    torch.testing.assert_close(other[:, :3, :3], pose[:, :3, :3])
    torch.testing.assert_close(pose[0, :3, 3], vector[0, 3:] * 60 / 240)


@pytest.mark.parametrize("encoder", ["small", "lite", "resnet18"])
def test_pose_encoders_read_pairs_in_order(encoder):
    torch.manual_seed(0)
    net = PoseNetwork(encoder, 0.01).eval()
    earlier, later = frames(1, 1), frames(1, 2)
    vector, camera = net(earlier, later)
    assert vector.shape == (1, 6) and camera is None
    assert not torch.allclose(vector, net(later, earlier)[0])


def test_monodepth2_is_a_configuration():
    config = {"encoder": "resnet18", "pose_encoder": "resnet18", "decoder_widths": [16, 32, 64, 128, 256]}
    net = create_network("monodepth", config)
    assert count_parameters(net.encoder) == 11_176_512
    assert count_parameters(net.pose_network.encoder) == 11_176_512 + 64 * 3 * 49  # three more channels
    assert 2.9e6 < count_parameters(net.decoder) < 3.4e6  # published: 3.15 M


def test_the_learned_camera_starts_as_an_ordinary_one():
    net = PoseNetwork("small", 0.01, learns_intrinsics=True).eval()
    _, camera = net(frames(2, 1), frames(2, 2))
    expected = torch.tensor([[0.9 * WIDTH, 0, (WIDTH - 1) / 2], [0, 0.9 * WIDTH, (HEIGHT - 1) / 2], [0, 0, 1]])
    torch.testing.assert_close(camera, expected.expand(2, 3, 3))


def test_the_camera_head_remembers_what_it_saw():
    head = CameraHead(4)
    seen = intrinsics_of_shares(torch.tensor([[0.6, 0.7, 0.4, 0.5]]), 20, 40)
    torch.testing.assert_close(seen[0], torch.tensor([[24.0, 0, 15.5], [0, 28.0, 9.5], [0, 0, 1]]))
    torch.testing.assert_close(shares_of_intrinsics(seen, 20, 40), torch.tensor([[0.6, 0.7, 0.4, 0.5]]))
    for _ in range(1000):
        head.remember(seen, 20, 40, torch.tensor([[0.01, -0.05, 0.3]]))
    torch.testing.assert_close(head.mean, torch.tensor([0.6, 0.7, 0.4, 0.5]), rtol=1e-3, atol=0)
    torch.testing.assert_close(head.turn, torch.tensor([0.01, 0.05]))


def test_forward_inverts_the_pose_from_earlier_to_later(network):
    state = network(frames(1, 1)).state
    output = network(frames(1, 2), INTRINSICS, state)
    later_from_earlier = network.pose(network.pose_network(frames(1, 1), frames(1, 2))[0], INTRINSICS)
    torch.testing.assert_close(output.previous_from_current @ later_from_earlier, torch.eye(4)[None])
    torch.testing.assert_close(output.depth, network.depth(network.disparities(network.encoder(frames(1, 2)))[0], INTRINSICS))
    assert output.logits is output.flow is output.motion is None


def test_what_is_not_asked_or_not_known_stays_none(network):
    state = network(frames(1)).state
    assert network(frames(1), None, state).depth is network(frames(1), None, state).previous_from_current is None
    assert network(frames(1), INTRINSICS, None).previous_from_current is None
    assert network(frames(1), INTRINSICS, state, heads=("depth",)).previous_from_current is None
    assert network(frames(1), INTRINSICS, state, heads=("pose",)).depth is None


def test_every_parameter_learns():
    net = create_network("monodepth", {**SMALL, "learns_intrinsics": True}).train()
    vector, camera = net.pose_network(frames(2, 1), frames(2, 2))
    (sum(d.log().mean() for d in net.disparities(net.encoder(frames(2)))) + vector.square().sum() + camera.sum()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_the_folded_network_equals_the_trained_one(network):
    twin = create_network("monodepth", asdict(network.config))
    twin.load_state_dict(network.state_dict())
    state = network(frames(1, 1)).state
    expected = network(frames(1, 2), INTRINSICS, state)
    actual = twin.for_inference()(frames(1, 2), INTRINSICS, state)
    assert not any(isinstance(module, (RepConv, torch.nn.BatchNorm2d)) for module in twin.modules())
    torch.testing.assert_close(actual.depth, expected.depth, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(actual.previous_from_current, expected.previous_from_current, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "config, message",
    [
        ({"decoder_widths": [4, 4]}, "decoder_widths has 2 entries, expected 5"),
        ({"initial_depth": 0.05}, "expected positive and ascending"),
        ({"encoder": "resnet101"}, "'resnet101'"),
        ({"pose_encoder": "tiny"}, "'tiny'"),
        ({"learn_intrinsics": True}, "'learns_intrinsics'"),
    ],
)
def test_wrong_settings_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        create_network("monodepth", config)


def test_the_pipeline_publishes_the_networks_depth_and_pose_as_they_are(network, tmp_path):
    """Nothing is held steady from frame to frame: depth and pose come from two networks, and their scales differ."""
    bundle = Bundle(
        "monodepth", asdict(network.config), CAMVID_11, (WIDTH, HEIGHT), weights=network.state_dict()
    )
    save_bundle(bundle, tmp_path / "model.safetensors", dtype=torch.float32)
    pipeline = Pipeline(load_bundle(tmp_path / "model.safetensors"), device="cpu", precision="float32")
    camera = PinholeCamera(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 15.5)
    pictures = [np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for seed in (0, 1)]
    first = pipeline.step(pictures[0], camera, STEP)
    result = pipeline.step(pictures[1], camera, 2 * STEP)
    tensors = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in pictures]
    with torch.no_grad():
        expected = network(tensors[1], INTRINSICS, network(tensors[0]).state)
    assert first.ego_motion is None
    np.testing.assert_allclose(result.depth, expected.depth[0, 0].numpy(), rtol=1e-3)
    np.testing.assert_allclose(result.ego_motion.previous_from_current, expected.previous_from_current[0], atol=1e-5)
    assert np.diag(result.ego_motion.covariance)[:3].min() >= UNKNOWN_VARIANCE
    assert result.semantic is result.motion_mask is result.confidence is result.flow is None
