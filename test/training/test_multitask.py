"""The multitask rivals: their terms and weights, which parts each reaches, what goes into the model file, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.training.config import RECIPES, Recipe, load_recipe
from geoseg_ros.training.losses.colourisation import colourisation_loss, grey
from geoseg_ros.training.tasks import create_task
from geoseg_ros.training.tasks.multitask import COLOUR, DEPTH, MASKING

WIDTH, HEIGHT = 64, 32
NETWORK = {"name": "linknet", "encoder": "lite"}
RIVALS = {
    "bisenet_camvid_klingner": ({"photometric", "smoothness"}, {DEPTH}),
    "bisenet_camvid_novosel": ({"photometric", "smoothness", "colour"}, {DEPTH, COLOUR}),
    "bisenet_camvid_chen_multitask": ({"photometric", "smoothness"}, {DEPTH}),
}


def task(loss=None, steps=4, network=None):
    torch.manual_seed(0)
    data = {"camvid": {"kind": "any"}, "drive": {"kind": "any"}}
    recipe = Recipe("multitask", steps, (WIDTH, HEIGHT), data, loss=loss or {}, network=network or NETWORK)
    return create_task("multitask", recipe)


def images(seed, count=2):
    return torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))


def batch():
    labels = torch.randint(0, 11, (2, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(9))
    drive = {name: images(seed) for seed, name in enumerate(("image", "previous", "next"))}
    drive |= {f"{name}_clean": image for name, image in drive.items()}
    drive["K"] = torch.tensor([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]]).repeat(2, 1, 1)
    return {"camvid": {"image": images(5), "semantic": labels}, "drive": drive}


def encoder_gradient(trained, total):
    trained.network.zero_grad()
    total.backward()
    return trained.network.encoder.stem[0].conv.weight.grad.clone()


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_gives_its_losses_and_all_that_learns_is_reached(name):
    changes = [f"crop=[{WIDTH}, {HEIGHT}]", f"network={NETWORK}", "loss.auxiliary=0"]
    recipe = load_recipe(name, changes)
    torch.manual_seed(0)
    trained = create_task(recipe.task, recipe)
    total, scalars = trained.step(batch(), recipe.steps - 1)
    drive, branches = RIVALS[name]
    camvid = {"semantic", *({"shared_class"} if "chen" in name else ())}
    assert scalars.keys() == {*(f"camvid/{term}" for term in camvid), *(f"drive/{term}" for term in drive)}
    assert torch.isfinite(total)
    total.backward()
    # Parallel training waits for the gradient of every parameter that learns.
    assert [n for n, p in trained.network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert branches <= dict(trained.network.named_children()).keys()
    assert recipe.data["kitti00"]["frames"] == [0, 800] and recipe.data["camvid"]["path"] == "camvid/train"


def test_every_multitask_recipe_is_tested():
    assert {path.stem for path in RECIPES.glob("*.yaml") if "task: multitask" in path.read_text()} == set(RIVALS)


def test_the_total_is_the_weighted_sum_of_the_terms():
    trained = task({"depth": 3.0, "smoothness": 0.01, "colour": 0.2, "shared_class": 0.7, "scales": 2})
    total, scalars = trained.step(batch(), 0)
    expected = scalars["camvid/semantic"] + 0.7 * scalars["camvid/shared_class"] + 0.2 * scalars["drive/colour"]
    expected = expected + 3.0 * (scalars["drive/photometric"] + 0.01 * scalars["drive/smoothness"])
    torch.testing.assert_close(total.detach(), expected)


def test_the_segmenter_learns_what_it_would_alone_from_the_shared_pass():
    """Evaluation mode, where images of one pass do not meet in the normalisation."""
    trained = task()
    trained.network.eval()
    alone = create_task(
        "segmentation", Recipe("segmentation", 4, (WIDTH, HEIGHT), {"camvid": {"kind": "any"}}, network=NETWORK)
    )
    alone.network.load_state_dict(trained.bundle({}).weights)
    alone.network.eval()
    data = batch()
    expected, _ = alone.step({"camvid": data["camvid"]}, 0)
    _, scalars = trained.step(data, 0)
    torch.testing.assert_close(scalars["camvid/semantic"], expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_encoder_gets_shares_of_both_gradients():
    data, gradients = batch(), {}
    for share in (None, 0.9):
        trained = task({"encoder_share": share})
        trained.network.eval()
        terms = trained._terms(data, 0)
        gradients[share] = [encoder_gradient(trained, terms["camvid"]["semantic"])]
        head = trained.network.head.weight.grad
        terms = trained._terms(data, 0)
        gradients[share] += [encoder_gradient(trained, terms["drive"]["photometric"]), head]
    (semantic, depth, head), (scaled_semantic, scaled_depth, same_head) = gradients[None], gradients[0.9]
    torch.testing.assert_close(scaled_semantic, 0.1 * semantic, rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(scaled_depth, 0.9 * depth, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(same_head, head)


def test_the_regulariser_teaches_disparity_and_not_the_segmenter():
    trained = task({"shared_class": 1.0})
    trained.network.train()
    trained._terms(batch(), 0)["camvid"]["shared_class"].backward()
    assert trained.network.head.weight.grad is None
    assert trained.network.get_submodule(DEPTH).decoder.predict[0].weight.grad.abs().sum() > 0
    assert trained.network.encoder.stem[0].conv.weight.grad.abs().sum() > 0


def test_colour_is_told_from_the_clean_grey_image():
    trained = task({"colour": 1.0})
    trained.network.eval()
    data = batch()
    data["drive"]["image"] = images(77)  # jittered: for depth alone
    _, scalars = trained.step(data, 0)
    clean = data["drive"]["image_clean"]
    (found,) = trained.network.get_submodule(COLOUR)(trained.network.encoder(grey(clean)), 1)
    torch.testing.assert_close(scalars["drive/colour"], colourisation_loss(found, clean).detach(), rtol=1e-4, atol=1e-6)


def test_dynamic_classes_leave_the_photometric_loss_at_the_end_of_the_run():
    trained, data = task({"mask_from": 0.5}), batch()
    with torch.no_grad():
        trained.network.head.weight.zero_()
        trained.network.head.bias.zero_()
        trained.network.head.bias[CAMVID_11.index("Car")] = 9.0  # cars everywhere
    mode = trained.network.training
    before, begun = (trained.step(data, step)[1]["drive/photometric"] for step in (1, 2))
    assert before > 0 and begun == 0
    assert trained.network.training == mode
    with torch.no_grad():
        trained.network.head.bias[CAMVID_11.index("Sky")] = 99.0
    assert trained.step(data, 2)[1]["drive/photometric"] > 0
    assert MASKING not in dict(task().network.named_children())


def test_the_model_file_holds_the_segmenter_alone_and_pictures_show_both():
    trained = task({"colour": 1.0, "mask_from": 0.5})
    bundle = trained.bundle({"recipe": "x"})
    assert bundle.weights.keys() == create_network("linknet", {"encoder": "lite"}).state_dict().keys()
    trained.network.eval()
    pictures = trained.pictures(batch())
    assert pictures["camvid"].shape == (3 * HEIGHT, WIDTH, 3)
    assert pictures["drive"].shape == (2 * HEIGHT, WIDTH, 3) and pictures["drive"].dtype == np.uint8


def test_both_kinds_of_sources_are_asked_for():
    data = batch()
    for kept, sentence in (("camvid", "camvid are all labelled"), ("drive", "drive are not labelled")):
        with pytest.raises(ConfigError, match=sentence):
            task().step({kept: data[kept]}, 0)
    data["drive"] = {key: value for key, value in data["drive"].items() if key.split("_")[0] not in ("previous", "next")}
    with pytest.raises(ConfigError, match="data.drive: examples have one frame and no labels"):
        task().step(data, 0)


@pytest.mark.parametrize(
    ("loss", "network", "sentence"),
    [
        ({"depth": 0.0}, None, "depth is 0.0, expected more than 0"),
        ({"colour": -1.0}, None, "colour is -1.0, expected 0 or more"),
        ({"encoder_share": 1.0}, None, "encoder_share is 1.0, expected between 0 and 1"),
        ({"mask_from": 1.0}, None, "mask_from is 1.0, expected a share of the run"),
        ({"scales": 5}, None, "scales is 5, expected 1 … 4"),
        ({}, {"name": "pspnet", "encoder": "lite"}, "output_stride is 8, expected 32"),
    ],
)
def test_settings_that_mean_nothing_are_named(loss, network, sentence):
    with pytest.raises(ConfigError, match=sentence):
        task(loss, network=network)
