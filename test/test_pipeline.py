"""The pipeline against direct network calls: sizes, signs, camera, stream state, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from geoseg_ros.backends.precision import resolve_precision
from geoseg_ros.bundle import Bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.stream_settings import StreamSettings
from geoseg_ros.errors import BundleError, ConfigError, ImageError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.motion import MOTION_METHODS
from geoseg_ros.networks import create_network
from geoseg_ros.networks.perception import PerceptionOutput
from geoseg_ros.pipeline import UNKNOWN_VARIANCE, Pipeline, network_size
from geoseg_ros.projection import pose_from_vector, rigid_flow, vector_from_pose
from geoseg_ros.scale import ENOUGH, MODEL_STD
from geoseg_ros.scale_drift import HEIGHT_CUT

WIDTH, HEIGHT = 192, 128
CAMERA = PinholeCamera(WIDTH, HEIGHT, 150.0, 150.0, 95.5, 63.5, frame_id="camera")
STEP = 100_000_000


@pytest.fixture(scope="module")
def bundle():
    torch.manual_seed(0)
    network = create_network("perception", {"encoder": "lite"})
    return Bundle(
        "perception", asdict(network.config), CAMVID_11, (96, 64), weights=network.state_dict(), provenance={"metric": True}
    )


@pytest.fixture
def pipeline(bundle):
    return Pipeline(bundle, device="cpu", precision="float32")


def picture(seed):
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "image, expected", [((1242, 375), (640, 192)), ((640, 480), (416, 288)), ((480, 640), (288, 416)), ((32, 32), (352, 352))]
)
def test_network_size_keeps_aspect_and_area(image, expected):
    assert network_size(*image, 640 * 192) == expected


def test_every_output_has_the_image_size_type_and_range(pipeline):
    pipeline.step(picture(0), CAMERA, STEP)
    result = pipeline.step(picture(1), CAMERA, 2 * STEP)
    assert result.stamp == 2 * STEP and result.camera == CAMERA
    np.testing.assert_array_equal(result.image, picture(1))
    for name, dtype in {
        "semantic": np.uint8, "confidence": np.float32, "depth": np.float32,
        "motion_probability": np.float32, "motion_mask": np.uint8,
    }.items():
        value = getattr(result, name)
        assert (value.shape, value.dtype) == ((HEIGHT, WIDTH), dtype), name
    assert result.flow.shape == (HEIGHT, WIDTH, 2) and np.isfinite(result.flow).all()
    assert result.semantic.max() < 11 and result.confidence.min() >= 1 / 11 - 1e-5 and result.confidence.max() <= 1
    assert (result.depth > 0).all()
    assert set(np.unique(result.motion_mask)) <= {0, 255}
    assert set(result.timings) >= {"resize", "network", "semantic", "motion"}


def test_outputs_equal_the_network_at_its_own_size(bundle):
    pipeline = Pipeline(bundle, precision="float32", input_area=WIDTH * HEIGHT, settings=StreamSettings(depth_memory=0.0))
    network = create_network("perception", bundle.config).eval()
    network.load_state_dict(bundle.weights)
    tensors = [torch.from_numpy(picture(seed)).permute(2, 0, 1)[None].float() / 255 for seed in (0, 1)]
    intrinsics = torch.from_numpy(CAMERA.matrix).float()[None]
    with torch.no_grad():
        expected = network(tensors[1], intrinsics, network(tensors[0], intrinsics).state)
    pipeline.step(picture(0), CAMERA, STEP)
    result = pipeline.step(picture(1), CAMERA, 2 * STEP)
    depth = result.depth / expected.depth[0, 0].numpy()
    np.testing.assert_allclose(depth, np.median(depth), rtol=1e-3)  # the scale of the frame before
    np.testing.assert_allclose(result.flow, -expected.flow[0].permute(1, 2, 0).numpy(), atol=1e-3)
    same = result.semantic[::2, 1::2] == expected.logits[0].argmax(0).numpy()
    assert same.mean() > 0.999


def test_flow_scales_with_the_image(bundle):
    """Published vectors are pixels of the image, not of the network's input."""
    small, large = (Pipeline(bundle, precision="float32") for _ in range(2))
    blocks = [np.kron(picture(seed)[::2, ::2], np.ones((2, 2, 1), np.uint8)) for seed in (0, 1)]
    flows = []
    for pipeline, factor in ((small, 1), (large, 2)):
        for i, block in enumerate(blocks):
            frame = np.kron(block, np.ones((factor, factor, 1), np.uint8))
            result = pipeline.step(frame, CAMERA.resize(WIDTH * factor, HEIGHT * factor), i * STEP)
        flows.append(result.flow)
    np.testing.assert_allclose(flows[1].mean((0, 1)), 2 * flows[0].mean((0, 1)), rtol=0.05, atol=0.02)


def test_first_frame_has_no_motion_and_unknown_flow(pipeline):
    result = pipeline.step(picture(0), CAMERA, STEP)
    assert np.isnan(result.flow).all()
    assert result.ego_motion is None and result.motion_mask is None and result.depth is not None


@pytest.mark.parametrize("stamp", [STEP, STEP // 2])
def test_a_stamp_that_does_not_advance_starts_a_new_stream(pipeline, stamp):
    pipeline.step(picture(0), CAMERA, STEP)
    assert np.isnan(pipeline.step(picture(1), CAMERA, stamp).flow).all()
    assert np.isfinite(pipeline.step(picture(2), CAMERA, stamp + STEP).flow).all()


def test_another_camera_starts_a_new_stream(pipeline):
    pipeline.step(picture(0), CAMERA, STEP)
    other = PinholeCamera(WIDTH, HEIGHT, 120.0, 120.0, 95.5, 63.5)
    assert np.isnan(pipeline.step(picture(1), other, 2 * STEP).flow).all()


def test_without_a_camera_semantics_and_flow_still_run(pipeline):
    pipeline.step(picture(0), None, STEP)
    result = pipeline.step(picture(1), None, 2 * STEP)
    assert result.semantic is not None and np.isfinite(result.flow).all()
    assert result.depth is result.ego_motion is result.motion_mask is result.camera is None


def test_only_what_was_asked_is_returned(pipeline):
    pipeline.step(picture(0), CAMERA, STEP, outputs={"depth"})
    result = pipeline.step(picture(1), CAMERA, 2 * STEP, outputs={"depth"})
    assert result.depth is not None
    assert result.semantic is result.confidence is result.flow is result.ego_motion is result.motion_mask is None


def test_ego_motion_covers_the_time_between_the_stamps(pipeline):
    pipeline.step(picture(0), CAMERA, STEP)
    ego = pipeline.step(picture(1), CAMERA, 3 * STEP).ego_motion
    assert ego.dt == pytest.approx(0.2)
    assert ego.scale_source == "model"
    assert np.linalg.eigvalsh(ego.covariance).min() > 0


def test_a_model_without_metric_scale_says_so(bundle):
    unscaled = Bundle(**{**vars(bundle), "provenance": {}})
    pipeline = Pipeline(unscaled)
    pipeline.step(picture(0), CAMERA, STEP)
    ego = pipeline.step(picture(1), CAMERA, 2 * STEP).ego_motion
    assert ego.scale_source == "none" and not pipeline.scale.current.known
    assert np.diag(ego.covariance)[:3].min() >= UNKNOWN_VARIANCE


def test_odometry_scales_depth_and_ego_motion_alike(bundle):
    plain, driven = (Pipeline(bundle, precision="float32") for _ in range(2))
    for i in range(ENOUGH + 1):
        without = plain.step(picture(i), CAMERA, (i + 1) * STEP)
        result = driven.step(picture(i), CAMERA, (i + 1) * STEP, speed=20.0)
    assert result.ego_motion.scale_source == result.scale.source == "odometry"
    scale = result.scale.factor
    assert result.scale.confidence > 0
    np.testing.assert_allclose(result.depth, without.depth * scale, rtol=1e-4)
    ours, theirs = result.ego_motion.previous_from_current, without.ego_motion.previous_from_current
    np.testing.assert_allclose(ours[:3, 3], theirs[:3, 3] * scale, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(ours[:3, :3], theirs[:3, :3], atol=1e-9)
    assert without.ego_motion.scale_source == "model"


def test_depth_alone_is_scaled_too(bundle):
    pipeline = Pipeline(bundle, precision="float32")
    for i in range(ENOUGH + 1):
        result = pipeline.step(picture(i), CAMERA, (i + 1) * STEP, {"depth"}, speed=20.0)
    assert result.scale.source == "odometry" and result.ego_motion is None


def test_the_scales_uncertainty_widens_the_covariance_along_the_motion(pipeline):
    pipeline.step(picture(0), CAMERA, STEP)
    result = pipeline.step(picture(1), CAMERA, 2 * STEP)
    linear, covariance = result.ego_motion.linear, result.ego_motion.covariance[:3, :3]
    added = MODEL_STD**2 * np.outer(linear, linear)
    assert np.linalg.eigvalsh(covariance - added).min() > -1e-9 * np.trace(covariance)
    along = linear / np.linalg.norm(linear)
    assert along @ covariance @ along >= (MODEL_STD * np.linalg.norm(linear)) ** 2


def flat_road(height: float) -> PerceptionOutput:
    """What a network would answer that sees nothing but a road, ``height`` below its level camera of 96×64 pixels."""
    below = (torch.arange(64.0) - 31.5) / 75.0
    depth = torch.where(below > 0, height / below.clamp(min=1e-3), torch.inf)[:, None].expand(64, 96)
    logits = torch.zeros(1, 11, 32, 48)
    logits[:, CAMVID_11.index("Road"), 16:] = 5.0
    logits[:, CAMVID_11.index("Sky"), :16] = 5.0
    return PerceptionOutput(logits, depth[None, None], None, None, None, None, None)


def test_the_cameras_height_gives_metres_without_odometry(bundle):
    pipeline = Pipeline(bundle, precision="float32", camera_height=1.5)
    asked = []

    def run(image, intrinsics, state, heads):
        asked.append(heads)
        return flat_road(height=0.5)

    pipeline.backend.run = run
    results = [pipeline.step(picture(i), CAMERA, (i + 1) * STEP, {"depth"}) for i in range(ENOUGH + 1)]
    assert [result.scale.source for result in results] == ["model"] * (ENOUGH - 1) + ["road_plane"] * 2
    assert results[-1].scale.factor == pytest.approx(3.0, rel=1e-3)
    assert np.nanmin(results[-1].depth) == pytest.approx(3 * np.nanmin(results[0].depth), rel=1e-3)
    assert {"depth", "semantic"} <= asked[0]
    pipeline.reset()
    assert pipeline.scale.current.source == "model"


def test_lengths_keep_the_scale_of_the_frame_before(bundle):
    """A camera drives 0.1 m along a road of which the network says the second time that all is twice as large."""
    pipeline = Pipeline(bundle, precision="float32", motion_method="omega")
    step = torch.eye(4)[None].clone()
    step[:, 2, 3] = 0.2
    answers = [flat_road(height=0.5), flat_road(height=1.0)._replace(previous_from_current=step)]
    pipeline.backend.run = lambda *arguments: answers.pop(0)
    first, second = (pipeline.step(picture(0), CAMERA, STEP + i, {"depth", "ego_motion"}) for i in range(2))
    np.testing.assert_allclose(second.depth, first.depth, rtol=5e-3)  # of the road, the row before the horizon
    assert second.ego_motion.previous_from_current[2, 3] == pytest.approx(0.1, rel=1e-3)


def test_depth_remembers_the_frame_before_while_it_is_wanted(bundle):
    """A standing camera's network says of a wall 10 m, then 9 m. Where nobody wanted the first depth, it is not remembered."""
    settings = StreamSettings(scale_memory=0.0)
    still = torch.eye(4)[None]
    for wanted, merged in (({"depth"}, True), ({"semantic"}, False)):
        pipeline = Pipeline(bundle, precision="float32", motion_method="omega", settings=settings)
        first, second = (flat_road(1.5)._replace(depth=torch.full((1, 1, 64, 96), distance)) for distance in (10.0, 9.0))
        answers = [first, second._replace(previous_from_current=still)]
        pipeline.backend.run = lambda *arguments, answers=answers: answers.pop(0)
        pipeline.step(picture(0), CAMERA, STEP, wanted)
        depth = pipeline.step(picture(0), CAMERA, STEP + 1, {"depth"}).depth
        assert (depth.min() > 9.3) == merged and (merged or depth == pytest.approx(9.0))


def test_a_road_that_is_nearer_than_usual_shows_the_scale(bundle):
    """The network says of a standing camera's third frame that the road is 10 % nearer, and of its other frames what it was. What
    both frames see is the same road: at once all is as before. A second later half of the departure from the mean remains."""
    pipeline = Pipeline(bundle, precision="float32", motion_method="omega", settings=StreamSettings(depth_memory=0.0, scale_memory=1.0, road_share=0.5))
    still = torch.eye(4)[None]
    answers = [flat_road(0.5), *(flat_road(height)._replace(previous_from_current=still) for height in (0.5, 0.45))]
    pipeline.backend.run = lambda *arguments: answers.pop(0)
    stamps = [STEP, 2 * STEP, 2 * STEP + 1_000_000_000]
    results = [pipeline.step(picture(0), CAMERA, stamp, {"depth", "ego_motion"}) for stamp in stamps]
    departure = -math.log(0.9) * 2 / 3
    weight = 0.5 * (1 - (departure / HEIGHT_CUT) ** 2) ** 2
    kept = math.exp(-1.0)
    expected = math.exp(-kept * math.log(0.9) + (1 - kept) * weight * departure)
    assert np.nanmin(results[2].depth) == pytest.approx(0.9 * expected * np.nanmin(results[1].depth), rel=1e-3)


def test_the_sky_is_infinitely_far_for_ego_motion(bundle):
    """A camera drives and turns below a sky that the network thinks 25 m away: what moves in it has only turned."""
    pipeline = Pipeline(bundle, precision="float32", motion_method="omega", settings=StreamSettings(scale_memory=0.0))
    step = pose_from_vector(torch.tensor([[0.002, 0.02, 0.0, 0.0, 0.0, 0.4]]))
    truth = flat_road(height=1.5)
    flow, _ = rigid_flow(truth.depth, torch.from_numpy(CAMERA.resize(96, 64).matrix).float()[None], step)
    wrong = torch.where(truth.depth.isinf(), 25.0, truth.depth)
    answers = [truth, truth._replace(depth=wrong, flow=flow, flow_levels=(flow,), previous_from_current=torch.eye(4)[None])]
    pipeline.backend.run = lambda *arguments: answers.pop(0)
    _, second = (pipeline.step(picture(0), CAMERA, STEP + i, {"ego_motion"}) for i in range(2))
    np.testing.assert_allclose(second.ego_motion.previous_from_current, step[0].numpy(), atol=1e-4)


@pytest.mark.parametrize(("share", "turn_found"), [(0.0, 0.01), (0.5, 0.02), (1.0, 0.03)])
def test_ego_motion_reads_the_flow_as_matched_and_as_corrected(share, turn_found, bundle):
    """Before a wall, matching says at a quarter of the size that the camera turned by 0.03, and the corrected flow by 0.01."""
    settings = StreamSettings(scale_memory=0.0, matched_share=share)
    pipeline = Pipeline(bundle, precision="float32", motion_method="omega", settings=settings)
    wall = flat_road(height=1.5)._replace(depth=torch.full((1, 1, 64, 96), 1e4))
    matrix = torch.from_numpy(CAMERA.resize(96, 64).matrix).float()[None]

    def flow(turn):
        return rigid_flow(wall.depth, matrix, pose_from_vector(torch.tensor([[0, turn, 0, 0, 0, 0]])))[0]

    matched = F.avg_pool2d(flow(0.03), 4)
    answers = [wall, wall._replace(flow=flow(0.01), flow_levels=(matched,), previous_from_current=torch.eye(4)[None])]
    pipeline.backend.run = lambda *arguments: answers.pop(0)
    _, second = (pipeline.step(picture(0), CAMERA, STEP + i, {"ego_motion"}) for i in range(2))
    rotation = torch.from_numpy(second.ego_motion.previous_from_current)[None]
    assert vector_from_pose(rotation)[0, 1].item() == pytest.approx(turn_found, rel=0.02)


def test_own_motion_comes_from_the_network_or_a_formula(bundle):
    masks = {}
    for method in MOTION_METHODS:
        pipeline = Pipeline(bundle, motion_method=method)
        pipeline.step(picture(0), CAMERA, STEP)
        result = pipeline.step(picture(1), CAMERA, 2 * STEP)
        assert 0 <= result.motion_probability.min() and result.motion_probability.max() <= 1
        masks[method] = result.motion_probability
    assert not np.array_equal(masks["learned"], masks["omega"])
    assert not np.array_equal(masks["normalized"], masks["omega"])


def test_a_distorted_camera_is_rectified(pipeline):
    distorted = PinholeCamera(WIDTH, HEIGHT, 150.0, 150.0, 95.5, 63.5, distortion=(-0.3, 0.1, 0.0, 0.0, 0.0))
    result = pipeline.step(picture(0), distorted, STEP)
    assert result.camera == distorted.rectified() and not result.camera.is_distorted
    assert np.abs(result.image.astype(int) - picture(0)).max() > 0


def test_warm_up_leaves_no_trace(pipeline):
    pipeline.warm_up(WIDTH, HEIGHT, CAMERA)
    assert np.isnan(pipeline.step(picture(0), CAMERA, 0).flow).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_backends_agree(bundle, precision):
    streams = [Pipeline(bundle, device="cpu", precision=precision, backend=name) for name in ("eager", "traced")]
    for seed in range(3):  # the second frame is traced, the third replayed
        eager, traced = (stream.step(picture(seed), CAMERA, (seed + 1) * STEP) for stream in streams)
        if seed == 0:
            continue
        for name in ("semantic", "confidence", "depth", "flow", "motion_probability", "motion_mask"):
            np.testing.assert_array_equal(getattr(traced, name), getattr(eager, name), err_msg=name)
        np.testing.assert_array_equal(traced.ego_motion.linear, eager.ego_motion.linear)


def test_half_precision_stays_close(bundle, pipeline):
    half = Pipeline(bundle, device="cpu", precision="bfloat16")
    results = []
    for each in (pipeline, half):
        each.reset()
        each.step(picture(0), CAMERA, STEP)
        results.append(each.step(picture(1), CAMERA, 2 * STEP))
    exact, rounded = results
    np.testing.assert_allclose(rounded.depth, exact.depth, rtol=0.05)
    assert np.abs(rounded.confidence - exact.confidence).max() < 0.05


@pytest.mark.parametrize(
    "device, capabilities, expected",
    [
        ("cuda:0", {}, "float16"),
        ("cpu", {"avx512_bf16": True}, "bfloat16"),
        ("cpu", {"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ("cpu", {"avx2": True, "avx512_bf16": False}, "float32"),
    ],
)
def test_automatic_precision_is_the_fastest_of_the_device(monkeypatch, device, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", device) == expected
    assert resolve_precision("float32", device) == "float32"


def test_bad_input_is_named(pipeline, bundle):
    with pytest.raises(ImageError, match="192×128 but its camera is 96×64"):
        pipeline.step(picture(0), CAMERA.resize(96, 64), STEP)
    with pytest.raises(ImageError, match="float64"):
        pipeline.step(picture(0) / 255.0, None, STEP)
    with pytest.raises(ConfigError, match="'edges'"):
        pipeline.step(picture(0), None, STEP, outputs={"edges"})
    with pytest.raises(ConfigError, match="device is 'gpu'"):
        Pipeline(bundle, device="gpu")
    with pytest.raises(ConfigError, match="precision is 'int3'"):
        Pipeline(bundle, precision="int3")
    with pytest.raises(ConfigError, match="backend is 'magic'"):
        Pipeline(bundle, backend="magic")
    with pytest.raises(ConfigError, match="camera_height is -1.0 m"):
        Pipeline(bundle, camera_height=-1.0)
    names = ("a", "b", "c", *CAMVID_11.names[:3], *CAMVID_11.names[6:])
    roadless = dataclasses.replace(CAMVID_11, names=names, categories={})
    with pytest.raises(ConfigError, match=r"camera_height is 1.5 m, but the model knows no road \(a, b, c, Sky.*expected 0"):
        Pipeline(Bundle(**{**vars(bundle), "labels": roadless}), camera_height=1.5)
    with pytest.raises(ConfigError, match="motion_method is 'guess'; expected one of learned"):
        Pipeline(bundle, motion_method="guess")
    with pytest.raises(BundleError, match="1 missing"):
        Pipeline(Bundle(**{**vars(bundle), "weights": dict(list(bundle.weights.items())[1:])}))
