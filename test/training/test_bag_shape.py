"""The crop that a training on bags takes: the shape of their images."""

from __future__ import annotations

import math

import pytest
from drive_bags import write_drive
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.cli import main
from geoseg_ros.training.data.bag_shape import crop_of_shape, image_size

SHIPPED = (416, 128)


@pytest.mark.parametrize(
    ("shape", "crop"),
    [
        ((640, 480), (256, 192)),
        ((1280, 720), (288, 160)),
        ((1242, 375), (416, 128)),
        ((1936, 1216), (288, 192)),
        ((480, 640), (192, 256)),
    ],
)
def test_crops_of_usual_cameras(shape, crop):
    assert crop_of_shape(shape, SHIPPED) == crop


@given(st.integers(64, 4000), st.integers(64, 4000), st.integers(1, 30), st.integers(1, 30))
def test_any_crop_is_made_of_strides_and_near_in_shape_and_size(width, height, columns, rows):
    crop = crop_of_shape((width, height), (32 * columns, 32 * rows))
    assert crop[0] % 32 == crop[1] % 32 == 0 and min(crop) >= 32
    exact = math.sqrt(32 * 32 * columns * rows * width / height)
    if min(exact, exact * height / width) >= 64:  # below, strides are too coarse to follow
        assert abs(math.log(crop[0] / crop[1] * height / width)) < math.log(1.3)
        assert abs(math.log(crop[0] * crop[1] / (32 * 32 * columns * rows))) < math.log(1.6)


def test_the_size_is_that_of_the_first_picture(tmp_path):
    write_drive(tmp_path / "drive_a", size=(72, 40))
    write_drive(tmp_path / "drive_b")
    assert image_size(str(tmp_path / "drive_*"), "") == (72, 40)


def test_training_on_a_bag_takes_its_shape_unless_told(tmp_path, monkeypatch, capsys):
    from geoseg_ros.training import dry_run

    asked = []
    monkeypatch.setattr(dry_run, "dry_run", lambda recipe: asked.append(recipe.crop) or "checked")
    bag = str(write_drive(tmp_path / "drive"))
    assert main(["train", "monodepth2", "--bag", bag, "--dry-run"]) == 0
    assert "crop=[384,288] for images of 64×48" in capsys.readouterr().err
    assert main(["train", "monodepth2", "crop=[64,32]", "--bag", bag, "--dry-run"]) == 0
    assert asked == [(384, 288), (64, 32)]
    assert main(["train", "monodepth2", "--bag", str(tmp_path / "nowhere"), "--dry-run"]) != 0
    assert "nowhere" in capsys.readouterr().err
