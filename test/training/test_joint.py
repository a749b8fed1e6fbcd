"""The joint task: which losses each kind of data gives, and which parts of the network they reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import Recipe, load_recipe
from geoseg_ros.training.losses.geometry_guidance import per_class_guidance
from geoseg_ros.training.tasks import create_task

WIDTH, HEIGHT = 64, 32
STILLS = ("encoder", "decoder", "semantic_head", "depth_head")
MOTION = ("flow_head", "pose_head", "motion_head", "parallax_head")
GENERATOR = torch.Generator().manual_seed(0)


def images(*names):
    return {name: torch.rand(2, 3, HEIGHT, WIDTH, generator=GENERATOR) for name in names}


def still(classes=11):
    labels = torch.randint(0, classes, (2, HEIGHT, WIDTH), generator=GENERATOR)
    return images("image") | {"semantic": labels, "K": intrinsics()}


def intrinsics():
    return torch.tensor([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]).repeat(2, 1, 1)


def pose():
    matrix = torch.eye(4).repeat(2, 1, 1)
    matrix[:, 2, 3] = 0.5
    return matrix


def street():
    return still() | images("previous") | {
        "depth": torch.full((2, 1, HEIGHT, WIDTH), 8.0),
        "flow": torch.zeros(2, 2, HEIGHT, WIDTH),
        "motion": torch.zeros(2, 1, HEIGHT, WIDTH),
        "previous_from_current": pose(),
    }


def drive():
    return images("image", "previous", "image_clean", "previous_clean") | {"K": intrinsics(), "previous_from_current": pose()}


def task(freeze=(), loss=None, network=None, crop=(WIDTH, HEIGHT), **data):
    sources = {name: {"kind": "any", **settings} for name, settings in data.items()}
    torch.manual_seed(0)
    recipe = Recipe(
        task="joint", steps=1, crop=crop, data=sources, freeze=freeze, loss=loss or {}, network=network or {}
    )
    return create_task("joint", recipe)


def terms(scalars, source):
    return {name.split("/")[1] for name in scalars if name.startswith(f"{source}/")}


def reached(network):
    return {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_every_source_teaches_what_it_knows():
    joint = task(street={}, drive={}, camvid={}, idd={"labels": "idd_7"})
    batch = {"street": street(), "drive": drive(), "camvid": still(), "idd": still(7)}
    loss, scalars = joint.step(batch, 1)
    depth = {"depth", "depth_shape", "depth_gradient"}
    assert terms(scalars, "street") == {"semantic", "flow", "matching", "motion", "parallax", "pose"} | depth
    assert terms(scalars, "drive") == {"photometric", "smoothness", "unsupervised_flow", "pose"}
    assert terms(scalars, "camvid") == terms(scalars, "idd") == {"semantic"}
    weighted = sum(getattr(joint.loss, name.split("/")[1]) * value for name, value in scalars.items())
    torch.testing.assert_close(loss, weighted)
    loss.backward()
    assert reached(joint.network) == {name for name, _ in joint.network.named_children()}


def test_frozen_motion_leaves_single_images_and_known_poses():
    joint = task(MOTION, street={}, drive={})
    loss, scalars = joint.step({"street": street(), "drive": drive()}, 1)
    assert terms(scalars, "street") == {"semantic", "depth", "depth_shape", "depth_gradient"}
    assert terms(scalars, "drive") == {"photometric", "smoothness"}
    loss.backward()
    assert reached(joint.network) == set(STILLS)


def test_parallax_alone_learns_from_pairs():
    joint = task((*STILLS, *MOTION[:3]), street={})
    for name in (*STILLS, *MOTION[:3]):
        getattr(joint.network, name).requires_grad_(False)
    loss, scalars = joint.step({"street": street()}, 1)
    assert terms(scalars, "street") == {"flow", "matching", "motion", "parallax", "pose"}
    loss.backward()
    assert reached(joint.network) == {"parallax_head"}


def test_a_recipe_that_freezes_everything_is_refused():
    with pytest.raises(ConfigError, match="freeze is encoder, .*, parallax_head: nothing is left to learn"):
        task((*STILLS, *MOTION), street={})


def test_depth_of_a_frozen_model_guides_the_stills_that_have_it():
    guidance = {"model": "default", "form": "per_class", "weight": 3.0, "start": 2}
    joint = task(loss={"guidance": guidance}, camvid={}, idd={"labels": "idd_7"})
    depth = 1 + torch.rand(2, 1, HEIGHT, WIDTH, generator=GENERATOR)
    batch = {"camvid": still() | {"guidance": depth}, "idd": still(7)}
    before, early = joint.step(batch, 1)
    torch.testing.assert_close(before, early["camvid/semantic"] + early["idd/semantic"])
    batch["camvid"]["semantic"] = torch.full_like(batch["camvid"]["semantic"], 255)
    batch.pop("idd")
    loss, scalars = joint.step(batch, 3)
    assert terms(scalars, "camvid") == {"semantic", "guidance"}
    logits = joint.network(batch["camvid"]["image"], intrinsics(), heads=("semantic",)).logits
    expected = per_class_guidance(logits.softmax(1), depth[..., 1::2, 1::2])  # an odd step reads the lower-right pixels
    torch.testing.assert_close(scalars["camvid/guidance"], expected.detach())
    torch.testing.assert_close(loss, 3 * expected)


def test_a_clip_without_poses_learns_from_its_own():
    joint = task(clip={})
    clip = drive()
    del clip["previous_from_current"]
    loss, scalars = joint.step({"clip": clip}, 1)
    assert terms(scalars, "clip") == {"photometric", "smoothness", "unsupervised_flow"}
    loss.backward()
    assert {"depth_head", "pose_head", "flow_head", "encoder"} <= reached(joint.network)


def test_unknown_poses_are_left_to_the_prediction():
    """An example's losses are those that it has alone: with its pose, or without one."""
    joint = task(drive={})
    joint.network.eval()
    both = drive()
    both["previous_from_current"][1] = torch.nan
    given, predicted = ({key: value[i : i + 1] for key, value in both.items()} for i in range(2))
    del predicted["previous_from_current"]
    loss, mixed = joint.step({"drive": both}, 1)
    alone = [joint.step({"drive": data}, 1)[1] for data in (given, predicted)]
    for term in ("photometric", "smoothness", "unsupervised_flow"):
        expected = sum(scalars[f"drive/{term}"] for scalars in alone) / 2
        torch.testing.assert_close(mixed[f"drive/{term}"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(mixed["drive/pose"], alone[0]["drive/pose"], rtol=1e-4, atol=1e-6)
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in joint.network.parameters())


def test_without_a_predicted_pose_unknown_ones_teach_nothing():
    joint = task(MOTION, drive={})
    data, poses = drive(), pose()
    poses[1] = torch.nan
    depth = torch.full((2, 1, HEIGHT // 2, WIDTH // 2), 5.0) + torch.rand(2, 1, HEIGHT // 2, WIDTH // 2, generator=GENERATOR)
    depth.requires_grad_()
    losses = joint._reprojection(data, depth, poses)
    first = joint._reprojection({key: value[:1] for key, value in data.items()}, depth[:1], poses[:1])
    for term in ("photometric", "smoothness"):
        torch.testing.assert_close(losses[term], first[term])
    sum(losses.values()).backward()
    assert depth.grad[0].abs().sum() > 0 and (depth.grad[1] == 0).all()
    assumed = data | {"intrinsics_known": torch.tensor([True, False])}
    for term, value in joint._reprojection(assumed, depth, pose()).items():
        torch.testing.assert_close(value, first[term])
    depth.grad = None
    nothing = joint._reprojection(data, depth, torch.full_like(poses, torch.nan))
    assert [value.item() for value in nothing.values()] == [0.0, 0.0]
    sum(nothing.values()).backward()
    assert (depth.grad == 0).all()


def test_a_coarser_label_is_right_with_any_class_that_it_stands_for():
    """IDD's far objects are buildings or trees: certainty in either costs nothing."""
    joint = task(idd={"labels": "idd_7"})
    target = torch.full((1, 4, 4), 5)
    for name, expected in (("Building", 0.0), ("Tree", 0.0), ("Road", 20.0)):
        logits = torch.zeros(1, 11, 2, 2)
        logits[:, joint.labels.index(name)] = 20.0
        loss = joint._semantic("idd", logits, {"semantic": target}, 0)["semantic"]
        assert loss.item() == pytest.approx(expected, abs=1.0)


def test_pictures_show_every_source():
    joint = task(street={}, camvid={})
    joint.network.eval()
    pictures = joint.pictures({"street": street(), "camvid": still()})
    assert pictures["street"].shape == (4 * HEIGHT, WIDTH, 3) and pictures["camvid"].shape == (3 * HEIGHT, WIDTH, 3)
    assert all(picture.dtype == np.uint8 for picture in pictures.values())


def test_the_bundle_runs_the_network_that_was_trained():
    joint = task(camvid={})
    bundle = joint.bundle({"recipe": "x"})
    assert bundle.architecture == "perception" and bundle.labels is joint.labels
    assert bundle.provenance == {"recipe": "x", "metric": True}
    assert bundle.weights.keys() == joint.network.state_dict().keys()


def test_the_size_at_run_time_is_the_recipes_or_the_crop():
    assert task(camvid={}).bundle({}).input_size == (WIDTH, HEIGHT)
    asked = task(camvid={}, network={"encoder": "lite", "input_size": [640, 192]})
    assert asked.bundle({}).input_size == (640, 192) and "input_size" not in asked.bundle({}).config
    assert load_recipe("perception_lite_settle").network["input_size"] == [640, 192]
    with pytest.raises(ConfigError, match=r"crop is \[64, 40\], expected multiples of 32"):
        task(camvid={}, crop=(WIDTH, 40))
