"""Label files: ids, own ignored ids, pictures in a palette's colours, and errors that name file and value."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11, LabelSet
from geoseg_ros.training.data.label_files import (
    checked_ids,
    labelled_images,
    read_label_ids,
    read_labelled,
    warn_of_absent_classes,
)

YARD = LabelSet("yard", ("ground", "wall", "person"), ((10, 20, 30), (200, 0, 0), (0, 0, 255)), ("person",), ignore=9)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array if array.ndim == 2 else array[..., [2, 1, 0, *range(3, array.shape[2])]])
    return path


def test_ids_are_classes_or_ignored(tmp_path):
    path = write(tmp_path / "a.png", np.array([[0, 1, 2], [9, 255, 7]], np.uint8))
    np.testing.assert_array_equal(read_label_ids(path, YARD, void=[7, 1]), [[0, 255, 2], [255, 255, 255]])
    with pytest.raises(ConfigError, match=r"a.png holds the ids \[7\], expected 0 … 2 of yard, 9 or 255, or ids listed under"):
        read_label_ids(path, YARD)


@pytest.mark.parametrize("alpha", [False, True])
def test_a_colour_picture_is_read_by_the_palette(tmp_path, alpha):
    colours = np.array([[(10, 20, 30), (200, 0, 0)], [(0, 0, 255), (0, 0, 0)]], np.uint8)
    if alpha:
        colours = np.dstack([colours, np.full((2, 2), 128, np.uint8)])
    np.testing.assert_array_equal(read_label_ids(write(tmp_path / "a.png", colours), YARD), [[0, 1], [2, 255]])


def test_every_colour_of_a_built_in_palette_comes_back(tmp_path):
    ids = np.arange(11, dtype=np.uint8)[None]
    path = write(tmp_path / "a.png", CAMVID_11.palette_array[ids])
    np.testing.assert_array_equal(read_label_ids(path, CAMVID_11), ids)


def test_black_is_a_class_where_the_palette_has_it(tmp_path):
    labels = LabelSet("two", ("void", "wall"), ((0, 0, 0), (9, 9, 9)), ())
    path = write(tmp_path / "a.png", np.array([[(0, 0, 0), (9, 9, 9)]], np.uint8))
    np.testing.assert_array_equal(read_label_ids(path, labels), [[0, 1]])


def test_a_strange_colour_is_named_with_its_place(tmp_path):
    colours = np.zeros((2, 3, 3), np.uint8)
    colours[1, 2] = (10, 20, 31)
    message = r"a.png is a colour picture and holds \(10, 20, 31\) at row 1, column 2, which the palette of yard has not"
    with pytest.raises(ConfigError, match=message):
        read_label_ids(write(tmp_path / "a.png", colours), YARD)


def test_a_palette_that_repeats_a_colour_cannot_be_read_back(tmp_path):
    labels = LabelSet("two", ("a", "b"), ((1, 1, 1), (1, 1, 1)), ())
    with pytest.raises(ConfigError, match="the palette of two repeats one, expected ids"):
        read_label_ids(write(tmp_path / "a.png", np.ones((1, 1, 3), np.uint8)), labels)


def test_sixteen_bits_and_missing_files_are_refused(tmp_path, capfd):
    with pytest.raises(ConfigError, match=r"a.png is uint16 \(1, 1\), expected 8-bit ids"):
        read_label_ids(write(tmp_path / "a.png", np.ones((1, 1), np.uint16)), YARD)
    with pytest.raises(ConfigError, match="b.png is missing"):
        read_label_ids(tmp_path / "b.png", YARD)
    assert capfd.readouterr().err == "", "one sentence, none of OpenCV's"
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="b.png cannot be decoded"):
        read_label_ids(tmp_path / "b.png", YARD)


def test_an_image_and_its_labels_have_one_size(tmp_path):
    write(tmp_path / "images/a.png", np.zeros((2, 4, 3), np.uint8))
    write(tmp_path / "labels/a.png", np.zeros((4, 2), np.uint8))
    ((image, label),) = labelled_images(tmp_path)
    with pytest.raises(ConfigError, match=r"labels/a.png is 2×4, expected 4×2 as its image .*images/a.png"):
        read_labelled(image, label, YARD)


def test_classes_that_never_occur_are_said(capsys):
    maps = [np.array([[0, 255]], np.uint8), np.array([[2]], np.uint8)]
    warn_of_absent_classes("yard/train", maps, YARD)
    assert capsys.readouterr().err == "warning: yard/train never shows wall of yard\n"
    warn_of_absent_classes("yard/train", [*maps, np.array([[1]], np.uint8)], YARD)
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match="yard/train has no pixel of a class of yard, expected some of ground, wall, person"):
        warn_of_absent_classes("yard/train", [np.full((2, 2), 255, np.uint8)], YARD)


def test_impossible_void_ids_are_refused():
    with pytest.raises(ConfigError, match="void is 300, expected ids from 0 to 255"):
        checked_ids(np.zeros((1, 1), np.uint8), "a.png", YARD, void=[7, 300])


def test_ids_without_a_file_are_named_by_what_they_are():
    with pytest.raises(ConfigError, match=r"bag x: its labels holds the ids \[3\]"):
        checked_ids(np.array([[3]], np.uint8), "bag x: its labels", YARD)
