"""Bags with label images as a source of labelled stills: which images, how their labels are read, and clear errors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drive_bags import CAMERA, CAMERA_INFO, IMAGE, PERIOD, SHADE, START, header, picture

from geoseg_ros.bags import BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BagError, ConfigError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.training.config import Recipe
from geoseg_ros.training.data.augmentation import no_augmentation
from geoseg_ros.training.data.depth_guidance import DepthGuide
from geoseg_ros.training.data.loader import create_sources

TOPIC = "/camera/gt/semantic/image"
DISTORTED = PinholeCamera(64, 48, 60.0, 60.0, 31.5, 23.5, (0.4, 0.0, 0.0, 0.0, 0.0), frame_id=CAMERA.frame_id)


def ids(number, width=64, height=48):
    """Class ``number`` on the left, ``number`` + 1 on the right."""
    return np.repeat(np.array([number, number + 1], np.uint8), width // 2)[None].repeat(height, 0)


def write_labelled(path, labels, topic=TOPIC, camera=CAMERA, encoding="mono8", label_first=False):
    """A bag of six images; ``labels``: frame number to ids."""
    with BagWriter(path) as bag:
        for i in range(6):
            stamp = START + i * PERIOD
            messages = [("/camera/image_raw", encode_image(picture(i, 4 * i), "rgb8"))]
            if i in labels:
                stored = "rgb8" if labels[i].ndim == 3 else "mono8" if labels[i].dtype == np.uint8 else "16UC1"
                named = {"encoding": encoding} if stored == "mono8" else {}
                messages.append((topic, {**encode_image(labels[i], stored), **named}))
            bag.write("/camera/camera_info", CAMERA_INFO, {"header": header(stamp), **camera.to_camera_info()}, stamp)
            for name, fields in reversed(messages) if label_first else messages:
                bag.write(name, IMAGE, {"header": header(stamp), **fields}, stamp)
    return path


@pytest.fixture
def open_source(tmp_path):
    def open_(crop=(64, 48), **settings):
        settings = {"kind": "bag", "path": "drive", "batch": 12, "cache": str(tmp_path / "cache"), **settings}
        settings = {"labels": "camvid_11", **settings}
        recipe = Recipe("toy", 1, crop, {"bag": settings}, augment=no_augmentation(), data_root=str(tmp_path))
        return create_sources(recipe)["bag"]

    return open_


def draw(source, count=12):
    """Raw samples; ``number`` is the frame that a sample's picture shows."""
    rng = np.random.default_rng(0)
    samples = [source.raw_sample(rng) for _ in range(count)]
    return [sample | {"number": round(sample["image"][1, 1, 0] / SHADE)} for sample in samples]


@pytest.mark.parametrize("encoding, label_first", [("mono8", False), ("8UC1", True)])
def test_labelled_images_become_stills(tmp_path, open_source, encoding, label_first):
    write_labelled(tmp_path / "drive", {1: ids(1), 4: ids(4)}, encoding=encoding, label_first=label_first)
    source = open_source()
    assert len(source) == 2
    samples = draw(source)
    assert {sample["number"] for sample in samples} == {1, 4}
    for sample in samples:
        assert set(sample) == {"image", "semantic", "K", "intrinsics_known", "number"}
        np.testing.assert_array_equal(sample["semantic"], ids(sample["number"]))
    np.testing.assert_allclose(samples[0]["K"], CAMERA.matrix)
    assert [m[0].tolist() for m in source.label_maps()] == [ids(1)[0].tolist(), ids(4)[0].tolist()]


def test_simulated_and_named_topics_and_void_ids(tmp_path, open_source, capsys):
    write_labelled(tmp_path / "drive", {0: ids(9), 1: ids(10)}, topic="/labels")
    message = r"drive: the label image at 1700000000.100 s holds the ids \[11\], expected 0 … 10 of camvid_11"
    with pytest.raises(ConfigError, match=message):
        open_source(label_topic="/labels")
    source = open_source(label_topic="/labels", void=[11])
    assert "never shows Sky, Building, " in capsys.readouterr().err
    for sample in draw(source):
        stored = ids(9 + sample["number"])
        np.testing.assert_array_equal(sample["semantic"], np.where(stored == 11, 255, stored))
    message = "drive has no labels, expected a topic that ends in gt/semantic/image; found /camera/camera_info, .*, /labels"
    with pytest.raises(BagError, match=message):
        open_source()
    with pytest.raises(BagError, match=r"has no topic /nowhere, found .*, /labels \(sensor_msgs/msg/Image\)"):
        open_source(label_topic="/nowhere")
    message = f"topic /camera/camera_info holds {CAMERA_INFO}, expected {IMAGE}"
    with pytest.raises(BagError, match=message):
        open_source(label_topic="/camera/camera_info")


def test_labels_are_rectified_and_resized_with_their_images(tmp_path, open_source):
    number = np.tile(np.arange(11, dtype=np.uint8).repeat(6)[:64], (48, 1))
    number[:4] = 200
    write_labelled(tmp_path / "drive", {2: number}, camera=DISTORTED)
    (sample,) = draw(open_source(crop=(32, 24), size=[32, 24], void=[200]), 1)
    maps = DISTORTED.rectification_maps()
    expected = cv2.remap(number, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=255)
    expected = cv2.resize(expected, (32, 24), interpolation=cv2.INTER_NEAREST_EXACT)
    np.testing.assert_array_equal(sample["semantic"], np.where(expected == 200, 255, expected))
    assert not np.array_equal(expected, cv2.resize(number, (32, 24), interpolation=cv2.INTER_NEAREST_EXACT))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({1: ids(1, 32, 24)}, f"topic {TOPIC} holds mono8 of 32×24, expected mono8 or 8UC1 of the image's 64×48"),
        ({1: np.ones((48, 64), np.uint16)}, "holds 16UC1 of 64×48, expected mono8"),
        ({1: np.zeros((48, 64, 3), np.uint8)}, "holds rgb8 of 64×48, expected mono8"),
    ],
)
def test_labels_that_do_not_fit_are_named(tmp_path, open_source, labels, message):
    write_labelled(tmp_path / "drive", labels)
    with pytest.raises(BagError, match=message):
        open_source()


def test_settings_of_labels_need_a_label_set(tmp_path, open_source):
    write_labelled(tmp_path / "drive", {1: ids(1)})
    for changes in ({"label_topic": TOPIC}, {"void": [1]}):
        with pytest.raises(ConfigError, match="label_topic or void is given without labels"):
            open_source(labels=None, **changes)
    assert "previous" in draw(open_source(labels=None))[0], "without labels it is a source of pairs"


def test_labels_of_other_stamps_are_none(tmp_path, open_source):
    with BagWriter(tmp_path / "drive") as bag:
        for i in range(3):
            stamp = START + i * PERIOD
            bag.write("/camera/image_raw", IMAGE, {"header": header(stamp), **encode_image(picture(i, i), "rgb8")}, stamp)
            bag.write(TOPIC, IMAGE, {"header": header(stamp + 5), **encode_image(ids(1), "mono8")}, stamp)
    with pytest.raises(BagError, match="drive: no image has labels of equal stamp on gt/semantic/image, expected some"):
        open_source()


def test_labelled_bags_take_guidance(tmp_path, open_source):
    class Shade(DepthGuide):
        def _depth(self, image, matrix):
            assert matrix[0, 0] == 60.0
            return image[..., 0].astype(np.float16) + np.float16(1)

    write_labelled(tmp_path / "drive", {1: ids(1), 4: ids(4)})
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    source = open_source()
    assert source.add_guidance(Shade(model, tmp_path / "depth"), "bag")
    for sample in draw(source):
        np.testing.assert_array_equal(sample["guidance"], sample["image"][..., 0].astype(np.float32) + 1)
    assert not open_source(labels=None).add_guidance(Shade(model, tmp_path / "depth"), "bag")
