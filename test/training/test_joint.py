"""The joint task: which losses each kind of data gives, and which parts of the network they reach."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg_ros.training.config import Recipe
from geoseg_ros.training.tasks import create_task

WIDTH, HEIGHT = 64, 32
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


def task(freeze=(), **data):
    sources = {name: {"kind": "any", **settings} for name, settings in data.items()}
    torch.manual_seed(0)
    return create_task("joint", Recipe(task="joint", steps=1, crop=(WIDTH, HEIGHT), data=sources, freeze=freeze))


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
    joint = task(("flow_head", "pose_head", "motion_head"), street={}, drive={})
    loss, scalars = joint.step({"street": street(), "drive": drive()}, 1)
    assert terms(scalars, "street") == {"semantic", "depth", "depth_shape", "depth_gradient"}
    assert terms(scalars, "drive") == {"photometric", "smoothness"}
    loss.backward()
    assert reached(joint.network) == {"encoder", "decoder", "semantic_head", "depth_head"}


def test_a_clip_without_poses_learns_from_its_own():
    joint = task(clip={})
    clip = drive()
    del clip["previous_from_current"]
    loss, scalars = joint.step({"clip": clip}, 1)
    assert terms(scalars, "clip") == {"photometric", "smoothness", "unsupervised_flow"}
    loss.backward()
    assert {"depth_head", "pose_head", "flow_head", "encoder"} <= reached(joint.network)


def test_a_coarser_label_is_right_with_any_class_that_it_stands_for():
    """IDD's far objects are buildings or trees: certainty in either costs nothing."""
    joint = task(idd={"labels": "idd_7"})
    target = torch.full((1, 4, 4), 5)
    for name, expected in (("Building", 0.0), ("Tree", 0.0), ("Road", 20.0)):
        logits = torch.zeros(1, 11, 2, 2)
        logits[:, joint.labels.index(name)] = 20.0
        loss = joint._semantic("idd", logits, target, 0)["semantic"]
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
