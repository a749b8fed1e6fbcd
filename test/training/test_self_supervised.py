"""The self-supervised task: which losses each recipe gives, which parts they reach, and what they are worth on known scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geoseg_ros.backends.loading import load_network
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks.perception import PerceptionOutput
from geoseg_ros.networks.posenet import CameraHead
from geoseg_ros.training.config import RECIPES, CropStage, Recipe, load_recipe
from geoseg_ros.training.losses.photometric import l1_error, photometric_error
from geoseg_ros.training.tasks import create_task
from geoseg_ros.training.tasks.learned_camera import FocalLength, describe_learned_camera, focal_tolerance
from geoseg_ros.training.tasks.reprojection import Frame, Rule, full_size_depths, reprojection
from geoseg_ros.training.tasks.teacher import SKY_MARGIN, Teacher
from triplet_examples import HEIGHT, WIDTH, images, intrinsics, perception_task, pose, reached, save_teacher, triplet

WIDTHS = [4, 4, 4, 4, 4]
DEPTH_PARTS, POSE_PARTS = {"encoder", "decoder"}, {"pose_network"}
PHOTOMETRIC = {"photometric", "smoothness"}

HEADS = DEPTH_PARTS | {"depth_head"}
SHIPPED = PHOTOMETRIC | {"sky"}

SYSTEMS = {
    "plain_l1": (SHIPPED, HEADS | {"pose_head"}),
    "monodepth2": (SHIPPED, HEADS | {"pose_head"}),
    "monodepth2_posenet": (PHOTOMETRIC, DEPTH_PARTS | POSE_PARTS),
    "sc_sfmlearner": (SHIPPED | {"geometry"}, HEADS | {"pose_head"}),
    "learned_intrinsics": (SHIPPED | {"camera", "fx", "fy"}, HEADS | {"pose_head", "learned_camera"}),
    "learned_intrinsics_posenet": (PHOTOMETRIC | {"fx", "fy"}, DEPTH_PARTS | POSE_PARTS),
    "velocity_scale": (SHIPPED | {"velocity"}, HEADS | {"pose_head"}),
    "known_pose": (SHIPPED, HEADS),
    "semantic_exclusion": (SHIPPED, HEADS | {"pose_head"}),
    "segdepth": (PHOTOMETRIC | {"boundary"}, DEPTH_PARTS | POSE_PARTS | {"mask_network"}),
    "adapt": (SHIPPED | {"velocity", "scale_drift", "shape_drift"}, HEADS | {"pose_head"}),
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return save_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def task(loss=None, network=None):
    torch.manual_seed(0)
    settings = {"name": "monodepth", "decoder_widths": WIDTHS, **(network or {})}
    data = {"drive": {"kind": "any"}}
    recipe = Recipe(
        task="self_supervised", steps=1, crop=(WIDTH, HEIGHT), data=data, loss=loss or {}, network=settings
    )
    return create_task("self_supervised", recipe)


def terms(scalars):
    return {name.split("/")[1] for name in scalars}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_recipe_gives_its_losses_and_reaches_its_parts(name, teacher):
    changes = [f"crop=[{WIDTH}, {HEIGHT}]", "optimizer.lr=1e-3"]
    recipe = load_recipe(name, changes)
    if recipe.network["name"] == "monodepth":
        changes.append(f"network.decoder_widths={WIDTHS}")
        recipe = load_recipe(name, changes)
    if recipe.loss.get("teacher"):
        assert recipe.loss["teacher"] == "default"
        recipe = load_recipe(name, [*changes, f"loss.teacher={teacher}"])
    torch.manual_seed(0)
    trained = create_task("self_supervised", recipe)
    loss, scalars = trained.step({"drive": triplet()}, 0)
    expected_terms, expected_parts = SYSTEMS[name]
    assert terms(scalars) == expected_terms
    assert all(torch.isfinite(value) for value in scalars.values())
    loss.backward()
    assert reached(trained.network) == expected_parts
    # Parallel training waits for the gradient of every parameter that learns.
    assert [n for n, p in trained.network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_every_self_supervised_recipe_is_tested():
    recipes = {path.stem for path in RECIPES.glob("*.yaml") if load_recipe(path.stem).task == "self_supervised"}
    assert recipes == set(SYSTEMS)
    for name in SYSTEMS:
        source = load_recipe(name).data["kitti00"]
        assert source["frames"] == [0, 800] and source["frames_per_sample"] == 3


def test_the_total_is_the_weighted_sum_of_the_terms():
    loss = {"velocity": 0.5, "velocity_ramp": 4, "smoothness": 0.01, "photometric": 2.0}
    trained = task(loss)
    trained.network.eval()  # the same normalisation in both steps
    for step, ramp in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
        total, scalars = trained.step({"drive": triplet()}, step)
        expected = 2 * scalars["drive/photometric"] + 0.01 * scalars["drive/smoothness"]
        torch.testing.assert_close(total, expected + 0.5 * ramp * scalars["drive/velocity"])


def test_pairs_teach_as_well_as_triplets_and_single_frames_do_not():
    trained = task()
    loss, _ = trained.step({"drive": triplet(("image", "previous"))}, 0)
    assert torch.isfinite(loss)
    with pytest.raises(ConfigError, match="data.drive: examples have one frame"):
        trained.step({"drive": triplet(("image",))}, 0)


@pytest.mark.parametrize("name", ["monodepth", "perception"])
def test_reduced_precision_and_memory_format_change_little(name):
    """As the trainer runs it: networks in bf16 and channels-last, losses in float32."""
    results = []
    for reduced in (False, True):
        trained = task() if name == "monodepth" else perception_task({"scales": 1})
        trained.network.eval()
        data = triplet()
        if reduced:
            trained.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
            data = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in data.items()}
        loss, scalars = trained.step({"drive": data}, 0)
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in trained.network.parameters() if p.grad is not None)
        results.append(scalars["drive/photometric"])
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0)


@pytest.mark.parametrize("combine", ["minimum", "mean"])
def test_standing_still_the_loss_is_the_difference_of_the_images(combine):
    data = triplet() | {"previous_from_current": pose(), "next_from_current": pose()}
    rule = {"poses": "given", "automask": False, "scales": 1, "combine": combine}
    _, scalars = task({**rule, "error": "ssim_l1"}).step({"drive": data}, 0)
    errors = torch.stack([photometric_error(data[s], data["image"]) for s in ("previous", "next")])
    expected = errors.amin(0).mean() if combine == "minimum" else errors.mean()
    torch.testing.assert_close(scalars["drive/photometric"], expected, rtol=1e-4, atol=0)
    _, scalars = task({**rule, "error": "l1"}).step({"drive": data}, 0)
    errors = torch.stack([l1_error(data[s], data["image"]) for s in ("previous", "next")])
    expected = errors.amin(0).mean() if combine == "minimum" else errors.mean()
    torch.testing.assert_close(scalars["drive/photometric"], expected, rtol=1e-4, atol=0)
    _, scalars = task({**rule, "error": "l1", "automask": True}).step({"drive": data}, 0)
    assert scalars["drive/photometric"] < 1e-3, "what standing still explains as well is masked out"


def plane(shift=2, depth=5.0):
    """A wall at ``depth`` that moves by ``shift`` pixels from the target to the source; (target, source, pose)."""
    source = images(1, 7)
    target = torch.roll(source, -shift, dims=3)
    depths = [torch.full((1, 1, HEIGHT, WIDTH), depth)]
    return Frame(target, depths), Frame(source, depths), pose(x=shift * depth / 40.0, count=1)


def test_the_true_pose_and_depth_explain_the_image():
    target, source, truth = plane()
    inside = Rule(error="l1", combine="mean", only_inside=True, automask=False)
    photometric, geometry = reprojection(target, [source], [truth], intrinsics(1), inside)
    assert photometric.item() == pytest.approx(0, abs=1e-5) and geometry.item() == pytest.approx(0, abs=1e-6)
    wrong, _ = reprojection(target, [source], [pose(x=0.1, count=1)], intrinsics(1), inside)
    assert wrong > 0.1
    everywhere, _ = reprojection(target, [source], [truth], intrinsics(1), inside._replace(only_inside=False))
    assert everywhere > photometric, "what leaves the source repeats its border"


def test_the_best_source_counts_and_unknown_poses_do_not():
    target, source, truth = plane()
    other = Frame(images(1, 8), source.depths)
    rule = Rule(error="l1", only_inside=True, automask=False)
    best, _ = reprojection(target, [other, source], [pose(count=1), truth], intrinsics(1), rule)
    mean, _ = reprojection(target, [other, source], [pose(count=1), truth], intrinsics(1), rule._replace(combine="mean"))
    assert best < 0.02 < 0.1 < mean
    unknown = torch.full((1, 4, 4), math.nan)
    alone, _ = reprojection(target, [source], [truth], intrinsics(1), rule)
    beside_unknown, _ = reprojection(target, [other, source], [unknown, truth], intrinsics(1), rule)
    torch.testing.assert_close(alone, beside_unknown)
    nothing, _ = reprojection(target, [source], [unknown], intrinsics(1), rule)
    assert nothing.item() == 0


def test_inconsistent_depth_costs_and_counts_little():
    target, source, truth = plane()
    source = source._replace(depths=[source.depths[0] / 3])  # |5 − 5/3| / (5 + 5/3) = 1/2
    target = target._replace(image=images(1, 9))
    rule = Rule(error="l1", combine="mean", only_inside=True, automask=False)
    plain, geometry = reprojection(target, [source], [truth], intrinsics(1), rule)
    weighted, _ = reprojection(target, [source], [truth], intrinsics(1), rule._replace(consistency_mask=True))
    assert geometry.item() == pytest.approx(0.5, rel=1e-5)
    torch.testing.assert_close(weighted, plain / 2)


@pytest.mark.parametrize("combine", ["minimum", "mean"])
def test_what_may_move_is_left_out_in_either_frame(combine):
    """The left half of the target is wrong and excluded; then the same pixels where the source shows them."""
    target, source, truth = plane()
    rule = Rule(error="l1", combine=combine, only_inside=True, automask=False)
    spoilt = target.image.clone()
    spoilt[..., :30] = 1 - spoilt[..., :30]
    excluded = torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.bool)
    excluded[..., :30] = True
    in_source = torch.zeros_like(excluded)
    in_source[..., :32] = True  # two pixels further right
    assert reprojection(target._replace(image=spoilt), [source], [truth], intrinsics(1), rule)[0] > 0.05
    for frames in (
        (target._replace(image=spoilt, excluded=excluded), source),
        (target._replace(image=spoilt), source._replace(excluded=in_source)),
    ):
        assert reprojection(frames[0], [frames[1]], [truth], intrinsics(1), rule)[0].item() == pytest.approx(0, abs=1e-5)


def test_every_scale_is_compared_at_full_size():
    inverse = [torch.full((1, 1, HEIGHT // s, WIDTH // s), 0.25) for s in (1, 2, 4, 8)]
    depths = full_size_depths(inverse, HEIGHT, WIDTH)
    assert all(d.shape == (1, 1, HEIGHT, WIDTH) for d in depths)
    torch.testing.assert_close(torch.cat(depths), torch.full((4, 1, HEIGHT, WIDTH), 4.0))


def test_velocity_reads_odometry_and_poses_without_it():
    trained = task({"velocity": 1.0}, {"initial_depth": 8.0})
    trained.network.eval()
    data = triplet()
    _, by_pose = trained.step({"drive": data}, 0)
    _, by_odometry = trained.step(
        {"drive": data | {"previous_distance": torch.full((2,), 0.5), "next_distance": torch.full((2,), 0.5)}}, 0
    )
    torch.testing.assert_close(by_pose["drive/velocity"], by_odometry["drive/velocity"])
    del data["next_from_current"]
    with pytest.raises(ConfigError, match="data.drive: examples have no next_distance"):
        trained.step({"drive": data}, 0)


def test_training_and_running_mean_the_same_pose_and_depth():
    trained = task({"scales": 1})
    trained.network.eval()
    data = triplet()
    with torch.no_grad():
        prediction, frames, poses = trained._predict("drive", data)
        running = trained.network(data["image"], data["K"], (data["previous"],))
        reversed_time = trained.network(data["next"], data["K"], (data["image"],)).previous_from_current
    torch.testing.assert_close(poses["previous"], running.previous_from_current)
    torch.testing.assert_close(poses["next"] @ reversed_time, torch.eye(4).expand(2, 4, 4))
    torch.testing.assert_close(frames["image"].depths[0], running.depth)
    torch.testing.assert_close(prediction.inverse_depth["image"][0], 1 / running.depth)


def test_given_poses_are_used_and_missing_ones_named():
    trained = task({"poses": "given"})
    assert not any(p.requires_grad for p in trained.network.pose_network.parameters())
    data = triplet()
    del data["previous_from_current"]
    with pytest.raises(ConfigError, match="no previous_from_current"):
        trained.step({"drive": data}, 0)


def test_the_camera_is_predicted_where_it_is_unknown():
    trained = task(network={"learns_intrinsics": True})
    data = triplet() | {"intrinsics_known": torch.tensor([True, False])}
    used = trained._predict("drive", data)[0].intrinsics
    torch.testing.assert_close(used[0], data["K"][0])
    assert used[1, 0, 0].item() == pytest.approx(0.9 * WIDTH)
    hidden = task({"hide_intrinsics": True}, {"learns_intrinsics": True})._predict("drive", data)[0].intrinsics
    torch.testing.assert_close(hidden[0], hidden[1])
    with pytest.raises(ConfigError, match="unknown intrinsics need network.learns_intrinsics"):
        task().step({"drive": data}, 0)


def test_the_learned_camera_goes_into_the_model_file():
    trained = task({"hide_intrinsics": True}, {"learns_intrinsics": True})
    trained.step({"drive": triplet()}, 0)
    bundle = trained.bundle({"steps": 1})
    assert (bundle.camera.width, bundle.camera.height) == (WIDTH, HEIGHT)
    assert bundle.camera.fx == pytest.approx(0.9 * WIDTH, rel=0.01)
    described = bundle.provenance["learned_camera"]
    assert described["fx"] == bundle.camera.fx and described["rotation_about_y"] > 0
    assert described["verdict"].startswith("weak: too little rotation to see fx")


def test_focal_tolerance_and_its_verdict():
    """KITTI at 416 pixels: a turn of 3° per frame shows the focal length within some 13 pixels, 0.1° does not."""
    assert focal_tolerance(240.0, 416, math.radians(3)) == pytest.approx(2 * 240**2 / (416**2 * 0.05236), rel=1e-4)
    assert focal_tolerance(240.0, 416, 0.0) == math.inf
    head = CameraHead(4)
    assert describe_learned_camera(head, (416, 128))["tolerance"] == {"fx": None, "fy": None}
    head.mean.copy_(torch.tensor([0.58, 0.58, 0.5, 0.5]))
    head.turn.copy_(torch.tensor([0.0, 0.06]))
    assert describe_learned_camera(head, (416, 128))["verdict"] == "weak: too little rotation to see fy"
    found = FocalLength()
    found.turn.copy_(torch.tensor([0.0, 0.1]))
    assert describe_learned_camera(found, (416, 128))["verdict"] == "seen by rotation", "square pixels: one turn shows both"
    head.turn.fill_(0.5)
    assert describe_learned_camera(head, (416, 128))["verdict"] == "seen by rotation"


@pytest.mark.parametrize("exclude", ["dynamic", "moving"])
def test_the_teacher_excludes_pixels_and_learns_nothing(exclude, teacher, monkeypatch):
    trained = task({"teacher": teacher, "exclude": exclude, "automask": False})
    assert not any("teacher" in name for name, _ in trained.network.named_parameters())
    _, some = trained.step({"drive": triplet()}, 0)
    everything = torch.ones(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    monkeypatch.setattr(trained.teacher, exclude, lambda *_: everything)
    _, nothing = trained.step({"drive": triplet()}, 0)
    assert some["drive/photometric"] > nothing["drive/photometric"] == 0


def test_the_sky_is_drawn_away(teacher, monkeypatch):
    monkeypatch.setattr("geoseg_ros.training.losses.depth.WALL_SHARE", 10.0)  # untrained, all is equally near
    trained = task({"teacher": teacher, "sky": 1.0, "photometric": 0.0, "smoothness": 0.0})
    sky = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    sky[:, :, : HEIGHT // 4] = True
    monkeypatch.setattr(trained.teacher, "sky", lambda *_: sky)
    optimizer = torch.optim.Adam(trained.network.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss, scalars = trained.step({"drive": triplet()}, 0)
        torch.testing.assert_close(loss, scalars["drive/sky"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_teacher_tells_classes_and_keeps_a_margin_in_the_sky(tmp_path):
    """The left of the picture is sky, the right is car: SKY_MARGIN pixels before the car nothing is sure."""
    teacher = Teacher(save_teacher(tmp_path / "teacher.safetensors"), "")
    ids = torch.full((2, HEIGHT // 2, WIDTH // 2), CAMVID_11.index("Sky"))
    ids[..., WIDTH // 4 :] = CAMVID_11.index("Car")
    logits = torch.nn.functional.one_hot(ids, len(CAMVID_11.names)).permute(0, 3, 1, 2).float()
    teacher.network.forward = lambda *_, **__: PerceptionOutput(logits, None, None, None, None, None, None)
    data, column = triplet(), torch.arange(WIDTH).expand(2, 1, HEIGHT, WIDTH)
    assert torch.equal(teacher.dynamic(data["image"], data["K"]), column >= WIDTH // 2)
    assert torch.equal(teacher.sky(data["image"], data["K"]), column < WIDTH // 2 - SKY_MARGIN)


def test_the_boundary_loss_reaches_the_depth_network(teacher, monkeypatch):
    trained = task({"teacher": teacher, "boundary": 1.0, "photometric": 0.0, "smoothness": 0.0})
    mask = torch.zeros(2, 1, HEIGHT, WIDTH, dtype=torch.bool)
    mask[..., :8], mask[..., 12:20] = True, True
    monkeypatch.setattr(trained.teacher, "dynamic", lambda *_: mask)
    loss, scalars = trained.step({"drive": triplet()}, 0)
    torch.testing.assert_close(loss, scalars["drive/boundary"])
    loss.backward()
    assert reached(trained.network) == DEPTH_PARTS | {"mask_network"}
    assert not any(name.startswith("mask_network") for name in trained.bundle({}).weights)


def test_pictures_and_bundle_of_every_network(teacher):
    trained = task({"teacher": teacher, "boundary": 5e-4})
    trained.network.eval()
    pictures = trained.pictures({"drive": triplet()})
    assert pictures["drive"].shape == (3 * HEIGHT, WIDTH, 3) and pictures["drive"].dtype == np.uint8
    bundle = trained.bundle({"steps": 3})
    assert bundle.architecture == "monodepth" and bundle.provenance == {"steps": 3, "metric": False}
    load_network(bundle)
    assert task({"poses": "given"}).bundle({}).provenance["metric"]
    assert task({"velocity": 0.1}).bundle({}).provenance["metric"]
    assert task({"scale_drift": 0.1, "teacher": teacher}).bundle({}).provenance["metric"]


@pytest.mark.parametrize(
    "loss, network, message",
    [
        ({"scales": 5}, {}, "scales is 5"),
        ({"hide_intrinsics": True}, {}, "needs network.learns_intrinsics"),
        ({"poses": "given"}, {"learns_intrinsics": True}, "learns_intrinsics needs loss.poses: learned"),
        ({"poses": "given", "velocity": 0.1}, {}, "expected velocity 0"),
        ({"consistency_mask": True}, {}, "combine: mean"),
        ({"exclude": "dynamic"}, {}, "need a teacher"),
        ({"boundary": 0.1}, {}, "need a teacher"),
        ({"sky": 0.1}, {}, "need a teacher"),
        ({"scale_drift": 1.0}, {}, "need a teacher"),
        ({"shape_drift": 1.0}, {}, "need a teacher"),
        ({"velocity_ramp": -1}, {}, "velocity_ramp is -1"),
        ({"eror": "l1"}, {}, "did you mean 'error'"),
        ({"teacher": "nowhere.safetensors"}, {}, "'nowhere.safetensors' is missing"),
    ],
)
def test_settings_that_do_not_fit_are_named(loss, network, message):
    with pytest.raises(ConfigError, match=message):
        task(loss, network)


def test_sizes_that_the_encoder_cannot_halve_are_named():
    data = {"drive": {"kind": "any"}}
    stages = (CropStage(0.5, (100, 32)),)
    for recipe in (Recipe("self_supervised", 1, (100, 32), data), Recipe("self_supervised", 4, (96, 32), data, crop_stages=stages)):
        with pytest.raises(ConfigError, match=r"crop is \[100, 32\], expected multiples of 32"):
            create_task("self_supervised", recipe)
