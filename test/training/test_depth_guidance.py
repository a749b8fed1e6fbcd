"""Depth of a frozen model: computed once, anew when model or images change, and moved with the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from geoseg_ros.bundle import Bundle, save_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.augmentation import AugmentConfig, augment, crop_and_scale, flip, no_augmentation
from geoseg_ros.training.data.depth_guidance import DepthGuide
from geoseg_ros.training.data.loader import create_sources

K = np.array([[60.0, 0, 31.5], [0, 60, 15.5], [0, 0, 1]])
SIZE = (64, 32)


class CountingGuide(DepthGuide):
    """Depth is the red channel plus 1; ``seen`` counts the images."""

    seen = 0

    def _depth(self, image, matrix):
        self.seen += 1
        return image[..., 0].astype(np.float16) + np.float16(1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


def pictures(count=2, size=SIZE):
    return [np.full((size[1], size[0], 3), 10 * i, np.uint8) for i in range(count)]


def test_depth_is_computed_once_and_mapped(tmp_path, model):
    guide = CountingGuide(model, tmp_path / "cache")
    images = [*pictures(), np.full((8, 4, 3), 99, np.uint8)]  # sizes may differ
    for _ in range(2):
        depths = guide.depths("yard", "/data/yard", "state", images, [K] * 3)
        assert [d.shape for d in depths] == [(32, 64), (32, 64), (8, 4)]
        assert [float(d[0, 0]) for d in depths] == [1, 11, 100] and all((d == d[0, 0]).all() for d in depths)
        assert not depths[0].flags.writeable
    assert guide.seen == 3
    again = CountingGuide(model, tmp_path / "cache")
    again.depths("yard", "/data/yard", "state", images, [K] * 3)
    assert again.seen == 0


def test_another_model_or_state_replaces_the_file(tmp_path, model):
    cache = tmp_path / "cache"

    def compute(state="state", place="/data/yard"):
        guide = CountingGuide(model, cache)
        guide.depths("yard", place, state, pictures(), [K] * 2)
        return guide.seen

    assert compute() == 2
    assert compute("touched") == 2 and len(list(cache.glob("*.npy"))) == 1
    model.write_bytes(b"other weights")
    assert compute("touched") == 2 and len(list(cache.glob("*.npy"))) == 1
    assert compute(place="/data/field") == 2 and len(list(cache.glob("*.npy"))) == 2
    assert compute("touched") == 0


def test_a_torn_file_is_made_anew_and_an_interrupted_one_leaves_nothing(tmp_path, model):
    cache = tmp_path / "cache"
    CountingGuide(model, cache).depths("yard", "p", "s", pictures(), [K] * 2)
    (file,) = cache.glob("*.npy")
    file.write_bytes(file.read_bytes()[:500])
    guide = CountingGuide(model, cache)
    assert guide.depths("yard", "p", "s", pictures(), [K] * 2)[1][0, 0] == 11 and guide.seen == 2

    class Interrupted(CountingGuide):
        def _depth(self, image, matrix):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted(model, cache).depths("yard", "p", "other", pictures(), [K] * 2)
    assert not list(cache.glob("*.npy")) and not list(cache.glob(".*.partial"))


@pytest.mark.parametrize("architecture", ["monodepth", "perception"])
def test_depth_is_what_the_pipeline_gives_for_the_image_alone(tmp_path, architecture):
    torch.manual_seed(0)
    weights = create_network(architecture).state_dict()
    path = tmp_path / "model.safetensors"
    save_bundle(Bundle(architecture, {}, CAMVID_11, SIZE, weights=weights), path)
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    other = 255 - image
    depths = DepthGuide(path, tmp_path / "cache", "cpu").depths("a", "p", "s", [other, image], [K, K])
    pipeline = Pipeline(path, "cpu", precision="float32", backend="eager")
    expected = pipeline.step(image, PinholeCamera(64, 32, 60, 60, 31.5, 15.5), 0, {"depth"}).depth
    np.testing.assert_allclose(depths[1].astype(np.float32), expected, rtol=1e-3)


def test_a_model_without_depth_is_refused(tmp_path, monkeypatch, model):
    class Blind:
        bundle = Bundle("bisenet", {}, CAMVID_11, SIZE)

        def reset(self):
            pass

        def step(self, image, camera, stamp, outputs):
            return type("Nothing", (), {"depth": None})

    monkeypatch.setattr(DepthGuide, "_loaded", lambda self: Blind())
    with pytest.raises(ConfigError, match=r"guidance: the model .*model.safetensors \('bisenet'\) gives no depth"):
        DepthGuide(model, tmp_path / "cache").depths("yard", "p", "s", pictures(), [K] * 2)
    with pytest.raises(ConfigError, match="guidance: the model .*nowhere cannot be read"):
        DepthGuide(tmp_path / "nowhere", tmp_path / "cache").depths("yard", "p", "s", pictures(), [K] * 2)


def test_guidance_is_cropped_scaled_and_flipped_with_its_image():
    ramp = np.tile(np.arange(64, dtype=np.float32), (32, 1))
    sample = {"image": np.repeat(ramp[..., None].astype(np.uint8), 3, 2), "guidance": ramp}
    cropped = crop_and_scale(sample, (10, 4, 32, 16), (64, 32))
    # Pixel centres are integers: column c of the result shows (c + 0.5) / 2 − 0.5 of the part.
    np.testing.assert_allclose(cropped["guidance"][8, 1:-1], 10 + (np.arange(1, 63) + 0.5) / 2 - 0.5, atol=1e-4)
    np.testing.assert_array_equal(flip(sample)["guidance"], ramp[:, ::-1])
    beyond = crop_and_scale(sample, (-8, 0, 64, 32), (64, 32))["guidance"]
    assert np.isnan(beyond[:, :8]).all() and np.array_equal(beyond[:, 8:], ramp[:, :56])
    example = augment(sample | {"depth": ramp}, (32, 32), AugmentConfig(scale=(1.0, 2.0)), np.random.default_rng(0))
    assert example["guidance"].shape == (1, 32, 32) and example["guidance"].dtype == np.float32
    np.testing.assert_allclose(example["guidance"], example["depth"], atol=0.5)  # depth takes the nearest value


def test_labelled_folders_take_guidance_and_notice_changed_images(tmp_path, model, capsys):
    for name in ("images", "labels"):
        (tmp_path / "yard" / name).mkdir(parents=True)
    for i, image in enumerate(pictures(3)):
        cv2.imwrite(str(tmp_path / f"yard/images/{i}.png"), image)
        cv2.imwrite(str(tmp_path / f"yard/labels/{i}.png"), np.full((32, 64), i, np.uint8))
    settings = {"kind": "labelled_folder", "path": str(tmp_path / "yard"), "labels": "camvid_11", "batch": 8}

    def guided():
        guide = CountingGuide(model, tmp_path / "cache")
        recipe = Recipe("toy", 1, SIZE, {"yard": settings}, augment=no_augmentation())
        source = create_sources(recipe)["yard"]
        assert "guidance" not in source.batch(np.random.default_rng(0))
        assert source.add_guidance(guide, "yard")
        return guide.seen, source.batch(np.random.default_rng(0))

    seen, batch = guided()
    assert seen == 3
    classes = batch["semantic"][:, 0, 0].astype(int)
    assert set(classes) == {0, 1, 2}
    np.testing.assert_array_equal(batch["guidance"][:, 0, 0, 0], 10 * classes + 1)
    assert guided()[0] == 0
    cv2.imwrite(str(tmp_path / "yard/images/0.png"), np.full((32, 64, 3), 77, np.uint8))
    assert guided()[0] == 3
    assert "camvid_11" in capsys.readouterr().err


def test_the_progress_is_told(tmp_path, model, capsys):
    CountingGuide(model, tmp_path / "cache").depths("yard", "p", "s", pictures(), [K] * 2)
    assert f"depth cache {tmp_path / 'cache'}: 2 images of yard by model.safetensors, 0.00819 MB" in capsys.readouterr().err
