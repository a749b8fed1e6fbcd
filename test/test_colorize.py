"""Pictures of the outputs: the colours that they promise."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg_ros.colorize import (
    colorize_confidence,
    colorize_depth,
    colorize_flow,
    colorize_motion,
    colorize_semantic,
    mosaic,
)
from geoseg_ros.labels import CAMVID_11, CITYSCAPES_19
from geoseg_ros.perception import EgoMotion, Perception

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)


def test_classes_have_their_palette_colour():
    ids = np.array([[0, 3, 8, 255]], np.uint8)
    road, car = CAMVID_11.palette[3], CAMVID_11.palette[8]
    assert colorize_semantic(ids, CAMVID_11).tolist() == [
        [list(CAMVID_11.palette[0]), list(road), list(car), [0, 0, 0]]
    ]


def test_classes_lie_over_the_image_by_alpha():
    image = np.full((1, 1, 3), 100, np.uint8)
    color = colorize_semantic(np.array([[3]], np.uint8), CAMVID_11, image, alpha=0.25)[0, 0]
    assert color.tolist() == [round(0.75 * 100 + 0.25 * channel) for channel in CAMVID_11.palette[3]]


def test_ids_beyond_the_palette_are_black_and_do_not_fail():
    assert not colorize_semantic(np.array([[300]], np.uint16), CAMVID_11).any()


def turbo(index: int) -> list[int]:
    return cv2.applyColorMap(np.array([[index]], np.uint8), cv2.COLORMAP_TURBO)[0, 0, ::-1].tolist()


def test_depth_is_turbo_of_inverse_depth():
    depth = np.array([[2.0, 1.0, 4.0, 8.0, np.inf, np.nan, 0.0, -3.0]], np.float32)
    colors = colorize_depth(depth, near=2.0)[0].tolist()
    assert colors[:5] == [turbo(255), turbo(255), turbo(127), turbo(63), turbo(0)]
    assert colors[5:] == [[0, 0, 0]] * 3


def test_depth_of_unknown_scale_looks_the_same_at_every_scale():
    depth = np.random.default_rng(0).uniform(1.0, 50.0, (40, 60)).astype(np.float32)
    difference = colorize_depth(depth).astype(int) - colorize_depth(depth * 1024)
    assert not difference.any()


@pytest.mark.parametrize(
    ("vector", "dominant"),
    [((1, 0), "red"), ((0, 1), "yellow"), ((-1, 0), "cyan"), ((0, -1), "violet")],
)
def test_the_flow_wheel_points_where_middlebury_does(vector, dominant):
    red, green, blue = colorize_flow(np.array([[vector]], np.float32), largest=1.0)[0, 0].astype(int)
    assert {
        "red": red > 240 and green < 20 and blue < 20,
        "yellow": red > 200 and green > 150 and blue < 30,
        "cyan": red < 30 and green > 120 and blue > 240,
        "violet": red > 50 and green < 30 and blue > 200,
    }[dominant]


def test_flow_pales_towards_zero_and_darkens_beyond_the_largest():
    flow = np.array([[(0, 0), (5, 0), (10, 0), (30, 0), (np.nan, 0)]], np.float32)
    zero, half, full, beyond, unknown = colorize_flow(flow, largest=10.0)[0].astype(int)
    assert zero.tolist() == [255, 255, 255] and unknown.tolist() == [0, 0, 0]
    assert half[0] == 255 and 120 <= half[1] <= 135
    assert full.tolist() == [255, 0, 0] and beyond.tolist() == [191, 0, 0]


def test_motion_is_red_over_a_grey_image():
    image = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
    motion = np.zeros((4, 4), np.float32)
    motion[0, 0], motion[0, 1] = 1.0, np.nan
    picture = colorize_motion(motion, image).astype(int)
    assert picture[0, 0, 0] > picture[0, 0, 1] + 100
    assert (picture[1:, :, 0] == picture[1:, :, 1]).all() and (picture[1:, :, 1] == picture[1:, :, 2]).all()
    assert picture[0, 1, 0] == picture[0, 1, 1]
    mask = np.where(motion == 1.0, 255, 0).astype(np.uint8)
    assert (colorize_motion(mask, image) == picture).all()


def test_confidence_is_grey():
    assert colorize_confidence(np.array([[0.0, 0.5, 1.0, np.nan]], np.float32))[0, :, 0].tolist() == [
        0,
        127,
        255,
        0,
    ]


@settings(max_examples=25)
@given(arrays(np.float32, (5, 7), elements=FLOATS), arrays(np.float32, (5, 7, 2), elements=FLOATS))
@pytest.mark.filterwarnings("error")
def test_any_values_make_a_picture_without_warnings(depth, flow):
    for picture in (
        colorize_depth(depth),
        colorize_flow(flow),
        colorize_motion(depth),
        colorize_confidence(depth),
    ):
        assert picture.shape == (5, 7, 3) and picture.dtype == np.uint8


def perception(height: int, width: int, full: bool) -> Perception:
    result = Perception(stamp=1_500_000_000, image=np.full((height, width, 3), 200, np.uint8))
    if full:
        result.semantic = np.full((height, width), 3, np.uint8)
        result.depth = np.full((height, width), 4.0, np.float32)
        result.flow = np.full((height, width, 2), (1.0, 0.0), np.float32)
        result.motion_probability = np.ones((height, width), np.float32)
        result.motion_mask = np.zeros((height, width), np.uint8)
        result.motion_mask[-20:-10, 30:40] = 255
        result.confidence = np.full((height, width), 0.5, np.float32)
        result.ego_motion = EgoMotion(np.eye(4), 0.1, np.zeros(3), np.zeros(3), np.eye(6), "model")
    return result


@pytest.mark.parametrize(
    ("height", "width", "columns"), [(192, 640, 2), (375, 1242, 2), (480, 640, 3), (48, 64, 3)]
)
def test_a_mosaic_has_one_size_for_all_frames_of_a_camera(height, width, columns):
    sizes = {mosaic(perception(height, width, full), CAMVID_11).shape for full in (False, True)}
    assert len(sizes) == 1
    picture_height, picture_width, _ = sizes.pop()
    assert picture_width == columns * 640 and picture_height % 2 == 0


def test_a_mosaic_shows_each_output_in_its_tile():
    picture = mosaic(perception(192, 640, True), CAMVID_11).astype(int)
    image, semantic = picture[100, 300], picture[100, 940]
    depth, flow = picture[292, 300], picture[292, 940]
    motion, confidence = picture[484, 300], picture[484, 940]
    assert image.tolist() == [200, 200, 200]
    assert np.abs(semantic - (100 + np.array(CAMVID_11.palette[3]) / 2)).max() <= 1
    assert depth.tolist() == turbo(255)
    assert flow[0] == 255 and flow[1] < 10
    assert motion[0] > motion[1] + 100
    assert confidence.tolist() == [127, 127, 127]
    outline, inside = picture[384 + 172, 35], picture[384 + 175, 35]
    assert outline.tolist() == [255, 230, 0] and inside.tolist() == motion.tolist()
    legend = picture[576:].reshape(-1, 3)
    assert all((legend == color).all(1).any() for color in CAMVID_11.palette)


def test_a_long_legend_wraps():
    shapes = [mosaic(perception(192, 640, False), labels).shape for labels in (CAMVID_11, CITYSCAPES_19)]
    assert shapes[1][0] > shapes[0][0] and shapes[0][1] == shapes[1][1]
