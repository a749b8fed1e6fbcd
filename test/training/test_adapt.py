"""The shipped network learns from a robot's own drives: what reaches it, what it keeps, and what holds its depth."""

from __future__ import annotations

import math

import pytest
import torch

from geoseg_ros.backends.loading import load_network
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.config import load_recipe
from geoseg_ros.training.tasks import create_task
from geoseg_ros.training.tasks.teacher import Teacher
from triplet_examples import HEIGHT, WIDTH, perception_task, reached, save_teacher, triplet


@pytest.mark.parametrize(
    "loss, parts",
    [
        ({"scales": 1}, {"encoder", "decoder", "depth_head", "pose_head"}),
        ({"scales": 1, "poses": "given"}, {"encoder", "decoder", "depth_head"}),
        (
            {"scales": 1, "combine": "mean", "both_directions": True, "geometry": 0.5, "velocity": 0.1},
            {"encoder", "decoder", "depth_head", "pose_head"},
        ),
    ],
)
def test_the_shipped_network_can_be_adapted(loss, parts):
    trained = perception_task(loss)
    kept = {name: value.clone() for name, value in trained.network.semantic_head.state_dict().items()}
    total, _ = trained.step({"drive": triplet()}, 0)
    total.backward()
    assert reached(trained.network) == parts
    assert [n for n, p in trained.network.named_parameters() if p.requires_grad and p.grad is None] == []
    for name, value in trained.network.semantic_head.state_dict().items():
        torch.testing.assert_close(value, kept[name])
    bundle = trained.bundle({})
    assert bundle.architecture == "perception" and "semantic_head.predict.weight" in bundle.weights
    load_network(bundle)


def test_the_distance_driven_teaches_the_shipped_networks_depth():
    """Told that it drove farther than it thinks, the network must see everything farther away."""
    trained = perception_task({"scales": 1, "photometric": 0.0, "smoothness": 0.0, "velocity": 1.0})
    data = triplet()
    trained.network.train()
    thought = trained.model.predict(data, ("image",), ("previous", "next"), trained.autocast).poses
    for source, pose in thought.items():
        data[f"{source}_distance"] = pose[:, :3, 3].norm(dim=1).detach() * 2
    loss, _ = trained.step({"drive": data}, 0)
    loss.backward()
    assert trained.network.depth_head.predict.bias.grad.item() > 0  # of inverse depth: the step makes it smaller


@pytest.mark.parametrize(
    "loss, message",
    [
        ({}, "scales is 4, expected 1"),
        ({"scales": 1, "hide_intrinsics": True}, "hide_intrinsics needs loss.camera above 0"),
        ({"scales": 1, "camera": 1.0, "poses": "given"}, "camera needs loss.poses: learned"),
    ],
)
def test_the_shipped_network_refuses_what_it_cannot_do(loss, message):
    with pytest.raises(ConfigError, match=message):
        perception_task(loss)


def test_one_focal_length_is_learned_where_the_camera_is_unknown():
    trained = perception_task({"scales": 1, "camera": 1.0})
    trained.network.train()
    data = triplet() | {"intrinsics_known": torch.tensor([True, False])}
    prediction = trained._predict("drive", data)[0]
    torch.testing.assert_close(prediction.intrinsics[0], data["K"][0])
    fx = 0.9 * WIDTH
    torch.testing.assert_close(prediction.intrinsics[1], torch.tensor([[fx, 0, 31.5], [0, fx, 15.5], [0, 0, 1]]))
    loss, scalars = trained.step({"drive": data}, 0)
    loss.backward()
    assert scalars["drive/camera"] == prediction.camera and trained.camera.raw.grad.abs() > 0
    bundle = trained.bundle({})
    assert bundle.camera.fx == bundle.camera.fy == pytest.approx(fx) and bundle.provenance["learned_camera"]["rotation_about_y"] > 0
    load_network(bundle)
    with pytest.raises(ConfigError, match="unknown intrinsics need a learned camera"):
        perception_task({"scales": 1}).step({"drive": data}, 0)


def test_drift_from_the_teachers_depth_is_told_by_scale_and_shape(tmp_path, monkeypatch):
    """Twice as far everywhere is a drift of scale by ln² 2 and none of shape; a right half twice as far is a quarter of both."""
    teacher = save_teacher(tmp_path / "teacher.safetensors")
    loss = {"scales": 1, "teacher": teacher, "scale_drift": 2.0, "shape_drift": 3.0, "photometric": 0.0, "smoothness": 0.0}
    trained = perception_task(loss)
    data = triplet()
    trained.network.eval()
    found = trained._predict("drive", data)[1]["image"].depths[0].detach()
    seen = []

    def drift(factor):
        def depth(image, other, intrinsics):
            seen.append((image, other))
            return found * factor

        monkeypatch.setattr(trained.teacher, "depth", depth)
        total, scalars = trained.step({"drive": data}, 0)
        scale, shape = scalars["drive/scale_drift"].item(), scalars["drive/shape_drift"].item()
        torch.testing.assert_close(total.item(), 2 * scale + 3 * shape)
        return scale, shape

    squared = math.log(2) ** 2
    assert drift(torch.tensor(2.0)) == pytest.approx((squared, 0.0), abs=1e-5)
    right = torch.ones(WIDTH)
    right[WIDTH // 2 :] = 2.0
    assert drift(right) == pytest.approx((squared / 4, squared / 4), abs=1e-5)
    assert seen[0][0] is data["image_clean"] and seen[0][1] is data["previous_clean"]


def test_the_teachers_scale_holds_where_odometry_says_none(tmp_path, monkeypatch):
    """Of two examples the first knows how far it drove: only the second's depth, a third of the teacher's, has drifted."""
    teacher = save_teacher(tmp_path / "teacher.safetensors")
    trained = perception_task({"scales": 1, "teacher": teacher, "velocity": 0.1, "scale_drift": 1.0})
    data = triplet()
    trained.network.eval()
    found = trained._predict("drive", data)[1]["image"].depths[0].detach()
    monkeypatch.setattr(trained.teacher, "depth", lambda *_: 3 * found)
    for source in ("previous", "next"):
        del data[f"{source}_from_current"]
    drift = math.log(3) ** 2
    for distances, expected in ((None, drift), ([1.0, math.nan], drift / 2), ([1.0, 2.0], 0.0)):
        if distances is not None:
            data |= {f"{source}_distance": torch.tensor(distances) for source in ("previous", "next")}
        _, scalars = trained.step({"drive": data}, 0)
        assert scalars["drive/scale_drift"].item() == pytest.approx(expected, abs=1e-5)
        assert scalars["drive/shape_drift"].item() == pytest.approx(0, abs=1e-5)
        assert (scalars["drive/velocity"] > 0) == (distances is not None)


def test_an_adapted_model_runs_at_the_size_of_the_recipe_not_of_its_crops():
    recipe = load_recipe("adapt", [f"crop=[{WIDTH}, {HEIGHT}]", "loss={scales: 1}"])
    assert create_task("self_supervised", recipe).bundle({}).input_size == (640, 192)


def test_the_teacher_sees_depth_in_two_frames(tmp_path):
    teacher = Teacher(save_teacher(tmp_path / "teacher.safetensors"), "")
    data = triplet()
    depth = teacher.depth(data["image"], data["previous"], data["K"])
    state = teacher.network(data["previous"], heads=()).state
    torch.testing.assert_close(depth, teacher.network(data["image"], data["K"], state).depth)
