"""Segmentation networks: published sizes, blocks by hand, odd image sizes, auxiliary heads, and their place in the pipeline."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from geoseg_ros.backends import create_backend
from geoseg_ros.bundle import Bundle, load_bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BundleError, ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.networks.bisenet import AttentionRefinement, FeatureFusion
from geoseg_ros.networks.blocks import ConvBlock, RepConv, count_parameters, fuse
from geoseg_ros.networks.encoder import create_encoder
from geoseg_ros.networks.linknet import LinkBlock
from geoseg_ros.networks.pspnet import BINS, PyramidPooling
from geoseg_ros.networks.unet import ExpandingBlock
from geoseg_ros.pipeline import Pipeline

SEGMENTERS = ("bisenet", "fpn", "linknet", "pspnet", "topdown", "unet")
CHOICES = [
    *((name, {}) for name in SEGMENTERS),
    *(("unet", {"upsampling": upsampling}) for upsampling in ("nearest", "unpooling", "transposed")),
    ("linknet", {"upsampling": "bilinear"}),
    ("pspnet", {"output_stride": 32}),
]
LITE = {"encoder": "lite"}
DEEP_STEM = 28_512 - 9_408
"""Weights that mmsegmentation's three 3×3 convolutions have beyond ResNet's 7×7; each is used once per pixel of the 1/2 map."""


def on_paper(name, config):
    """A network without values: parameters, shapes and multiply-adds are known all the same."""
    with torch.device("meta"):
        return create_network(name, config).eval()


def giga_multiply_adds(network, height, width):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, 3, height, width, device="meta"))
    return counter.get_total_flops() / 2e9


def images(count=2, height=45, width=61):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def after_training(module):
    """Statistics and factors of normalisation that are not those of an untrained network."""
    generator = torch.Generator().manual_seed(1)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
    return module.eval()


# Published sizes


def test_resnet50_has_the_published_size_and_torchvision_keys():
    with torch.device("meta"):
        encoder = create_encoder("resnet50")
    assert count_parameters(encoder) == 25_557_032 - (2048 * 1000 + 1000)
    shapes = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert shapes["layer4.2.bn3.running_var"] == (2048,)
    assert encoder.channels == (64, 256, 512, 1024, 2048)


@pytest.mark.parametrize("encoder, multiply_adds", [("resnet18", 1.82), ("resnet50", 4.11)])
def test_resnets_cost_what_is_published(encoder, multiply_adds):
    """1.8 and 4.1 G at 224×224 (torchvision's model table: 1.81 and 4.09), with the classifier's 0.5 and 2 M."""
    with torch.device("meta"):
        network = create_encoder(encoder)
    assert giga_multiply_adds(network, 224, 224) == pytest.approx(multiply_adds, rel=0.01)


def test_bisenet_equals_the_public_implementation():
    """github.com/CoinCheung/BiSeNet at 6b4b67a, BiSeNetV1(19), counted by the same counter."""
    network = on_paper("bisenet", {"classes": 19})
    assert count_parameters(network) == 13_425_721
    assert giga_multiply_adds(network, 1024, 2048) == pytest.approx(118.338, abs=0.001)


def test_unet_equals_the_public_one_on_resnet18():
    """segmentation_models_pytorch's Unet("resnet18", classes=1): 14,328,209 parameters; its decoder's cost by hand."""
    network = on_paper("unet", {"classes": 1})
    assert count_parameters(network) == 14_328_209
    levels = ((8, 512 + 256, 256), (16, 256 + 128, 128), (32, 128 + 64, 64), (64, 64 + 64, 32), (128, 32, 16))
    decoder = sum(side**2 * 9 * (c_in * c_out + c_out**2) for side, c_in, c_out in levels) + 128**2 * 9 * 16
    whole, encoder = giga_multiply_adds(network, 128, 128), giga_multiply_adds(network.encoder, 128, 128)
    assert whole - encoder == pytest.approx(decoder / 1e9, rel=1e-6)


def test_linknet_has_the_size_of_the_paper():
    """11.5 M parameters; 21.2 GFLOPs at 640×360, two per multiply-add, where the paper counts more than convolutions."""
    network = on_paper("linknet", {"classes": 20})
    assert count_parameters(network) / 1e6 == pytest.approx(11.5, abs=0.05)
    assert 2 * giga_multiply_adds(network, 360, 640) == pytest.approx(21.2, rel=0.1)


def test_pspnet_has_the_published_size():
    """68.1 M parameters and 256.4 GMACs at 512×512 with ResNet-101 and 150 classes (SegFormer, Xie et al., NeurIPS 2021,
    table of ADE20K): ResNet-50 has 17 blocks of 1 117 184 parameters less in its third layer, at 1/8 here."""
    network = on_paper("pspnet", {"encoder": "resnet50", "classes": 150})
    parameters = count_parameters(network) + 17 * 1_117_184 + DEEP_STEM
    assert parameters / 1e6 == pytest.approx(68.1, rel=0.002)
    multiply_adds = giga_multiply_adds(network, 512, 512) + (17 * 1_114_112 * 64**2 + DEEP_STEM * 256**2) / 1e9
    assert multiply_adds == pytest.approx(256.4, rel=0.005)


@pytest.mark.parametrize("encoder, parameters, multiply_adds", [("resnet18", 15.5, 32.2), ("resnet50", 28.5, 45.6)])
def test_fpn_has_the_published_size(encoder, parameters, multiply_adds):
    """Semantic FPN at 512×512 with 150 classes (PVT, Wang et al., ICCV 2021, table of ADE20K)."""
    network = on_paper("fpn", {"encoder": encoder, "classes": 150})
    assert (count_parameters(network) + DEEP_STEM) / 1e6 == pytest.approx(parameters, abs=0.06)
    total = giga_multiply_adds(network, 512, 512) + DEEP_STEM * 256**2 / 1e9
    assert total == pytest.approx(multiply_adds, rel=0.005)


def test_topdown_is_the_semantic_branch_of_perception_without_positions():
    """What position adds: three channels at 1/4, 1/8 and 1/16 to the laterals, at 1/32 to the context, at 1/2 to the head."""
    network, perception = on_paper("topdown", {}), on_paper("perception", {})
    branch = nn.ModuleList((perception.encoder, perception.decoder, perception.semantic_head))
    positions = 3 * (64 + 96 + 128 + 2 * 128 + 24)
    assert count_parameters(network) - count_parameters(network.auxiliary_head) == count_parameters(branch) - positions


# Encoders


@pytest.mark.parametrize("name", ["lite", "resnet18"])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_encoder_computes_the_same_at_more_places(name, output_stride):
    torch.manual_seed(0)
    coarse = after_training(create_encoder(name))
    dense = create_encoder(name, output_stride).eval()
    dense.load_state_dict(coarse.state_dict())
    with torch.no_grad():
        expected, actual = coarse(images(1)), dense(images(1))
    for level, (few, many) in enumerate(zip(expected, actual, strict=True), 1):
        step = max(1, 2**level // output_stride)
        assert many.shape[-1] == -(-61 // min(2**level, output_stride))
        torch.testing.assert_close(many[..., ::step, ::step], few, rtol=1e-3, atol=1e-4)


def test_a_stride_that_no_encoder_has_is_refused():
    with pytest.raises(ConfigError, match="output_stride is 4; expected one of 8, 16, 32"):
        create_encoder("resnet18", 4)


# Blocks by hand


def open_blocks(module):
    """Convolutions that sum their inputs; normalisation that does nothing."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.zeros_(part.weight)
            part.weight.data[:, :, part.kernel_size[0] // 2, part.kernel_size[1] // 2] = 1.0
        elif isinstance(part, nn.BatchNorm2d):
            part.eps = 0.0
    return module.eval()


def test_attention_refinement_weighs_channels_by_the_sigmoid_of_their_mean():
    block = open_blocks(AttentionRefinement(1, 1))
    x = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])  # the ReLU makes the last one 0, so the mean is 1.5
    expected = torch.tensor([[1.0, 2.0], [3.0, 0.0]]) / (1 + np.exp(-1.5))
    torch.testing.assert_close(block(x)[0, 0], expected)


def test_feature_fusion_adds_the_weighted_features_to_themselves():
    block = open_blocks(FeatureFusion(2, 1))
    spatial, context = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.5, 0.5]]]])
    features = torch.tensor([1.5, 0.5])  # the mean is 1
    torch.testing.assert_close(block(spatial, context)[0, 0, 0], features * (1 + 1 / (1 + np.exp(-1.0))))


def test_pyramid_pooling_adds_the_means_of_its_bins():
    pool = open_blocks(PyramidPooling(4))
    x = torch.rand(1, 4, 6, 6)
    result = pool(x)
    assert result.shape == (1, 8, 6, 6)
    torch.testing.assert_close(result[:, :4], x)
    total = x.sum(1)
    torch.testing.assert_close(result[0, 4], total.mean().expand(6, 6))
    torch.testing.assert_close(result[0, 5, 0, 0], total[0, :3, :3].mean())  # outside the bins' centres: no mixing
    torch.testing.assert_close(result[0, 6, 5, 5], total[0, 4:, 4:].mean())
    torch.testing.assert_close(result[0, 7], total[0])
    assert BINS == (1, 2, 3, 6)


def test_linknet_adds_its_link():
    block = LinkBlock(8, 4, "transposed").eval()
    nn.init.zeros_(block.widen[1].weight)
    link = torch.rand(1, 4, 5, 7)
    torch.testing.assert_close(block(torch.rand(1, 8, 3, 4), link), link)


def test_unet_concatenates_its_skip():
    block = ExpandingBlock(2, 1, 4, "nearest")
    block.merge = nn.Identity()
    x, skip = torch.tensor([[[[1.0]], [[2.0]]]]), torch.tensor([[[[3.0, 4.0], [5.0, 6.0]]]])
    assert block(x, skip)[0].tolist() == [[[1.0, 1], [1, 1]], [[2.0, 2], [2, 2]], [[3.0, 4], [5, 6]]]


# All networks


@pytest.mark.parametrize("name, config", CHOICES)
def test_logits_have_the_images_size_whatever_it_is(name, config):
    network = on_paper(name, {"classes": 5, **config})
    for height, width in ((360, 480), (361, 479), (192, 640), (33, 50)):
        result = network(torch.empty(1, 3, height, width, device="meta"))
        assert result.logits.shape == (1, 5, height, width) and result.auxiliary == ()


@pytest.mark.parametrize("name, config", CHOICES)
def test_every_parameter_learns_and_auxiliary_heads_are_for_training(name, config):
    torch.manual_seed(0)
    network = create_network(name, {**LITE, **config})
    result = network.train()(images())
    assert len(result.auxiliary) == {"bisenet": 2, "pspnet": 1, "topdown": 1}.get(name, 0)
    assert all(logits.shape == (2, 11, 45, 61) for logits in (result.logits, *result.auxiliary))
    sum(logits.square().mean() for logits in (result.logits, *result.auxiliary)).backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
    assert network.eval()(images(1)).auxiliary == ()


@pytest.mark.parametrize(
    "name, config", [*((name, LITE) for name in SEGMENTERS), ("bisenet", {}), ("unet", {**LITE, "upsampling": "unpooling"})]
)
def test_the_folded_network_equals_the_trained_one(name, config):
    torch.manual_seed(0)
    network = after_training(create_network(name, config))
    twin = create_network(name, config)
    twin.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected, actual = network(images(1)).logits, twin.for_inference()(images(1)).logits
    assert not any(isinstance(module, (RepConv, nn.BatchNorm2d)) for module in twin.modules())
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())


def test_folding_leaves_a_normalisation_alone_that_follows_no_convolution():
    module = after_training(nn.Sequential(ConvBlock(2, 3), nn.BatchNorm2d(3)))
    x = torch.rand(1, 2, 5, 5)
    expected = module(x)
    torch.testing.assert_close(fuse(module)(x), expected)
    assert isinstance(module[1], nn.BatchNorm2d) and isinstance(module[0][1], nn.Identity)


@pytest.mark.parametrize(
    "name, config, message",
    [
        ("bisenet", {"upsampling": "unpooling"}, "upsampling is 'unpooling'; expected one of nearest, bilinear"),
        ("linknet", {"upsampling": "unpooling"}, "expected one of nearest, bilinear, transposed"),
        ("pspnet", {"upsampling": "nearest"}, "expected one of bilinear"),
        ("fpn", {"upsampling": "transposed"}, "expected one of nearest, bilinear"),
        ("unet", {"upsampling": "bicubic"}, "expected one of nearest, bilinear, unpooling, transposed"),
        ("unet", {"classes": 0}, "classes is 0; expected at least 1"),
        ("fpn", {"encoder": "resnet101"}, "'resnet101'; expected one of lite, resnet18, resnet50"),
        ("pspnet", {"output_stride": 7}, "output_stride is 7"),
        ("unet", {"upsample": "nearest"}, "'upsampling'"),
    ],
)
def test_wrong_settings_are_refused(name, config, message):
    with pytest.raises(ConfigError, match=message):
        create_network(name, config)


# In the pipeline

WIDTH, HEIGHT = 96, 64
CAMERA = PinholeCamera(WIDTH, HEIGHT, 80.0, 80.0, 47.5, 31.5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    network = after_training(create_network("unet", {"encoder": "lite", "upsampling": "unpooling"}))
    bundle = Bundle("unet", asdict(network.config), CAMVID_11, (WIDTH, HEIGHT), weights=network.state_dict())
    path = tmp_path_factory.mktemp("model") / "unet.safetensors"
    save_bundle(bundle, path, dtype=torch.float32)
    return load_bundle(path)


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("backend", ["eager", "traced"])
@pytest.mark.parametrize("camera", [CAMERA, None])
def test_a_segmenter_runs_in_the_pipeline(bundle, backend, camera):
    pipeline = Pipeline(bundle, device="cpu", precision="float32", backend=backend)
    assert pipeline.gives == {"semantic", "confidence"}
    network = create_network("unet", bundle.config).eval()
    network.load_state_dict(bundle.weights)
    for index in range(2):
        result = pipeline.step(picture(index), camera, index + 1)
        tensor = torch.from_numpy(picture(index)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            probability, ids = network(tensor).logits[0].softmax(0).max(0)
        assert (result.semantic == ids.numpy()).mean() > 0.999
        np.testing.assert_allclose(result.confidence, probability.numpy(), atol=1e-3)
        assert result.depth is result.flow is result.ego_motion is result.motion_mask is result.motion_probability is None


@pytest.mark.parametrize("name, config", CHOICES)
def test_the_traced_backend_equals_the_eager_one(name, config):
    torch.manual_seed(0)
    config = {**LITE, **config}
    weights = after_training(create_network(name, config)).state_dict()
    bundle = Bundle(name, config, CAMVID_11, (WIDTH, HEIGHT), weights=weights)
    eager, traced = (create_backend(backend, bundle, "cpu", "float32") for backend in ("eager", "traced"))
    for height, width in ((64, 96), (32, 64)):
        image = images(1, height, width)
        expected = eager.run(image, None, None, frozenset({"semantic"})).logits
        actual = traced.run(image, None, (), frozenset({"semantic", "depth"}))
        torch.testing.assert_close(actual.logits, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item())
        assert actual.state == () and actual.depth is None


def test_semantics_that_nobody_wants_are_not_computed(bundle):
    for name in ("eager", "traced"):
        backend = create_backend(name, bundle, "cpu", "float32")
        assert backend.heads == {"semantic"}
        assert backend.run(torch.rand(1, 3, 32, 32), None, None, frozenset({"depth", "flow"})).logits is None


def test_a_bundle_of_another_configuration_is_refused(bundle):
    wrong = Bundle(**{**vars(bundle), "config": {**bundle.config, "upsampling": "transposed"}})
    with pytest.raises(BundleError, match="do not fit its architecture 'unet'"):
        Pipeline(wrong, device="cpu")
