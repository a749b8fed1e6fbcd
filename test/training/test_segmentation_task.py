"""The segmentation task: what each source teaches, with which weight, and the depth that guides it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
import yaml
from tiny_segmenter import say_class

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.depth_guidance import DepthGuide
from geoseg_ros.training.losses.geometry_guidance import holistic_guidance, per_class_guidance
from geoseg_ros.training.losses.jaccard import semantic_jaccard_loss
from geoseg_ros.training.losses.segmentation import cross_entropy, ohem_cross_entropy
from geoseg_ros.training.tasks import create_task
from geoseg_ros.training.tasks import guidance as guidance_module
from geoseg_ros.training.tasks.guidance import GuidanceConfig
from geoseg_ros.training.trainer import Trainer

SIZE = (64, 32)
CERTAIN = 30.0


def task(loss=None, crop=SIZE, network=None, **data):
    torch.manual_seed(0)
    sources = {name: {"kind": "any", **settings} for name, settings in (data or {"camvid": {}}).items()}
    network = {"name": "tiny", **(network or {})}
    return create_task("segmentation", Recipe("segmentation", 1, crop, sources, loss=loss or {}, network=network))


def still(classes=11, seed=0, **others):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (2, SIZE[1], SIZE[0]), generator=generator)
    labels[:, :4] = 255
    return {"image": torch.rand(2, 3, SIZE[1], SIZE[0], generator=generator), "semantic": labels, **others}


def depth(seed=1):
    return torch.rand(2, 1, SIZE[1], SIZE[0], generator=torch.Generator().manual_seed(seed)) + 0.5


def test_the_loss_is_the_weighted_sum_of_its_terms():
    trained = task({"auxiliary": 0.4, "jaccard": 0.3, "guidance": {"model": "default", "weight": 2.0}})
    data = still(guidance=depth())
    loss, scalars = trained.step({"camvid": data}, 0)
    main, (extra,) = trained.network(data["image"])
    expected = {
        "semantic": cross_entropy(main, data["semantic"]),
        "auxiliary": cross_entropy(extra, data["semantic"]),
        "jaccard": semantic_jaccard_loss(main, data["semantic"]),
        "guidance": holistic_guidance(main.softmax(1), data["guidance"]),
    }
    assert scalars.keys() == {f"camvid/{term}" for term in expected}
    for term, value in expected.items():
        torch.testing.assert_close(scalars[f"camvid/{term}"], value.detach())
    weights = {"semantic": 1.0, "auxiliary": 0.4, "jaccard": 0.3, "guidance": 2.0}
    torch.testing.assert_close(loss, sum(weights[term] * value for term, value in expected.items()))


def test_criterion_form_and_class_weights_are_those_of_the_recipe():
    weights = [1.0 + 0.1 * i for i in range(11)]
    loss = {"criterion": "ohem", "ohem_threshold": 0.2, "class_weights": weights, "auxiliary": 0.0}
    trained = task({**loss, "guidance": {"model": "default", "form": "per_class"}})
    data = still(guidance=depth())
    _, scalars = trained.step({"camvid": data}, 0)
    logits = trained.network(data["image"]).logits
    expected = ohem_cross_entropy(logits, data["semantic"], 0.2, class_weights=torch.tensor(weights))
    torch.testing.assert_close(scalars["camvid/semantic"], expected.detach())
    torch.testing.assert_close(
        scalars["camvid/guidance"], per_class_guidance(logits.softmax(1), data["guidance"]).detach()
    )
    assert "camvid/auxiliary" not in scalars


@pytest.mark.parametrize(
    ("start", "ramp", "weights"),
    [(0, 0, [3, 3, 3, 3]), (2, 0, [0, 0, 3, 3]), (0, 3, [1, 2, 3, 3]), (1, 2, [0, 1.5, 3, 3])],
)
def test_guidance_starts_and_grows(start, ramp, weights):
    config = GuidanceConfig("default", weight=3.0, start=start, ramp=ramp)
    assert [config.weight_at(step) for step in range(4)] == weights


def test_sources_of_other_label_sets_teach_unions_in_the_same_pass():
    trained = task({"jaccard": 1.0}, camvid={"labels": "camvid_11"}, idd={"labels": "idd_7"})
    say_class(trained.network, CAMVID_11.index("Tree"), CERTAIN)
    batch = {"camvid": still(), "idd": still(7)}
    batch["idd"]["semantic"] = torch.full_like(batch["idd"]["semantic"], 5)  # far: building or tree
    batch["camvid"]["semantic"] = torch.full_like(batch["camvid"]["semantic"], CAMVID_11.index("Road"))
    passes = []
    trained.network.register_forward_hook(lambda module, args, output: passes.append(len(args[0])))
    _, scalars = trained.step(batch, 0)
    assert passes == [4]
    assert scalars["idd/semantic"].item() == pytest.approx(0.0, abs=1e-6)
    assert scalars["camvid/semantic"].item() == pytest.approx(CERTAIN, abs=1e-3)
    assert "camvid/jaccard" in scalars and "idd/jaccard" not in scalars


def test_an_own_label_set_says_how_it_relates(tmp_path):
    own = {"name": "yard", "names": ["ground", "thing"], "palette": [[1, 1, 1], [2, 2, 2]]}
    own["relations"] = {"camvid_11": {"ground": ["Road", "Pavement"]}}
    path = tmp_path / "yard.yaml"
    path.write_text(yaml.safe_dump(own))
    trained = task(yard={"labels": str(path)})
    say_class(trained.network, CAMVID_11.index("Road"), CERTAIN)
    data = still(2)
    _, scalars = trained.step({"yard": data}, 0)  # a thing is no class of CamVid: such pixels teach nothing
    assert scalars["yard/semantic"].item() == pytest.approx(0.0, abs=1e-6)
    data["semantic"][:] = 0
    say_class(trained.network, CAMVID_11.index("Sky"), CERTAIN)
    _, scalars = trained.step({"yard": data}, 0)
    assert scalars["yard/semantic"].item() == pytest.approx(CERTAIN - math.log(2), abs=1e-3)


def test_guidance_reaches_the_network_and_stays_out_of_depth():
    trained = task({"guidance": {"model": "default", "weight": 5.0}, "auxiliary": 0.0})
    guided = depth().requires_grad_()
    data = still(guidance=guided)
    data["semantic"][:] = 255  # no label: all gradient is guidance
    loss, _ = trained.step({"camvid": data}, 0)
    loss.backward()
    assert trained.network.main.weight.grad.abs().sum() > 0 and guided.grad is None


@pytest.mark.parametrize(
    ("loss", "sentence"),
    [
        ({"class_weights": [1.0]}, "class_weights has 1 entries, expected one for each of the 11 classes"),
        ({"class_weights": [1.0] * 10 + [0.0]}, "expected numbers above 0"),
        ({"class_weights": [1.0] * 11, "median_frequency": True}, "expected one of the two"),
        ({"guidance": {"model": "x", "form": "both"}}, "guidance: form is 'both'"),
        ({"guidance": {"model": "x", "weight": -1}}, "guidance: weight is -1.0, expected 0 or more"),
        ({"guidance": {}}, "guidance: the key 'model' is missing"),
        ({"ohem_threshold": 1.5}, "ohem_threshold is 1.5"),
        ({"labels": "camvid"}, "label set is 'camvid'"),
    ],
)
def test_wrong_losses_are_named(loss, sentence):
    with pytest.raises(ConfigError, match=sentence):
        task(loss)


def test_crop_and_unlabelled_sources_are_refused():
    with pytest.raises(ConfigError, match=r"crop is \[60, 32\], expected multiples of 32"):
        task(crop=(60, 32))
    for size, sentence in (([480], "input_size has 1 entries, expected 2"), ([16, 480], r"input_size is \[16, 480\]")):
        with pytest.raises(ConfigError, match=sentence):
            task(network={"input_size": size})
    with pytest.raises(ConfigError, match="data.drive: examples have no semantic labels"):
        task(drive={}).step({"drive": {"image": torch.rand(1, 3, 32, 64)}}, 0)


def write_folder(folder, label_maps, seed=0):
    rng = np.random.default_rng(seed)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for i, ids in enumerate(label_maps):
        cv2.imwrite(str(folder / f"images/{i}.png"), rng.integers(0, 256, (*ids.shape, 3), np.uint8))
        cv2.imwrite(str(folder / f"labels/{i}.png"), ids)


def recipe(folder, **changes):
    source = {"kind": "labelled_folder", "path": str(folder), "labels": "camvid_11", "batch": 2}
    loss = {"median_frequency": True, "guidance": {"model": "default", "cache": str(folder / "cache")}}
    data = {"yard": {**source, **changes.pop("source", {})}}
    return Recipe("segmentation", 2, SIZE, data, loss=loss, network={"name": "tiny"}, accelerator="cpu", **changes)


class Ramp(DepthGuide):
    """Depth that grows from left to right, in place of a model's."""

    def _digest_of_model(self):
        return "ramp"

    def _depth(self, image, matrix):
        return np.broadcast_to(np.linspace(1, 3, image.shape[1], dtype=np.float16), image.shape[:2])


def test_a_run_weighs_classes_by_the_labels_and_is_guided(tmp_path, monkeypatch):
    monkeypatch.setattr(guidance_module, "DepthGuide", Ramp)
    first, second = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8)
    first[:8], second[:16] = 3, 255  # class 3: a quarter of one image; class 0: 24 of 32 rows and all 16
    write_folder(tmp_path / "yard", [first, second])
    trainer = Trainer(recipe(tmp_path / "yard"))
    frequency = {0: (24 + 16) / 48, 3: 8 / 32}
    median = sum(frequency.values()) / 2
    expected = [median / frequency[i] if i in frequency else 1.0 for i in range(11)]
    np.testing.assert_allclose(trainer.task.class_weights, expected, rtol=1e-6)
    examples = trainer.sources["yard"].batch(np.random.default_rng(0))
    batch = trainer.prepare({"yard": {key: torch.from_numpy(value) for key, value in examples.items()}})
    guidance = batch["yard"]["guidance"]
    assert guidance.shape == (2, 1, 32, 64) and guidance[guidance.isfinite()].min() >= 1
    values = trainer.step(batch)
    assert values["yard/guidance"] > 0 and trainer.state.step == 1
    bundle = trainer.task.bundle({"recipe": "x"})
    assert (bundle.architecture, bundle.input_size, bundle.labels) == ("tiny", SIZE, CAMVID_11)
    np.testing.assert_allclose(bundle.provenance["class_weights"], expected, rtol=1e-6)
    pictures = trainer.pictures(batch)
    assert pictures["yard"].shape == (3 * 32, 64, 3)


def test_median_frequency_needs_labels_of_the_models_set(tmp_path):
    write_folder(tmp_path / "yard", [np.zeros((32, 64), np.uint8)])
    with pytest.raises(ConfigError, match="median_frequency needs a source with labels of camvid_11"):
        Trainer(recipe(tmp_path / "yard", source={"labels": "idd_7"}))
