"""The pinhole camera against OpenCV, hand-computed values and round trips."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import CameraError, UncalibratedCameraError

COEFFICIENTS = {
    "plumb_bob": (-0.28, 0.09, 0.001, -0.0007, -0.012),
    "rational_polynomial": (0.6, -0.05, 0.0009, -0.0012, 0.01, 0.9, 0.02, 0.003),
    "equidistant": (-0.013, 0.009, -0.006, 0.0012),
}
MODELS = sorted(COEFFICIENTS)


def camera_of(model: str) -> PinholeCamera:
    return PinholeCamera(640, 480, 500.0, 510.0, 322.5, 237.0, COEFFICIENTS[model], model, "camera_optical")


def opencv_project(camera: PinholeCamera, points: np.ndarray) -> np.ndarray:
    coefficients = np.array(camera.distortion)
    if camera.model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(
            points[:, None], np.zeros(3), np.zeros(3), camera.matrix, coefficients
        )
    else:
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, coefficients)
    return pixels[:, 0]


def message(camera: PinholeCamera, **changes) -> SimpleNamespace:
    fields = camera.to_camera_info()
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    fields |= {
        "header": SimpleNamespace(frame_id=camera.frame_id),
        "binning_x": 0,
        "binning_y": 0,
        "roi": roi,
    }
    return SimpleNamespace(**(fields | changes))


@st.composite
def cameras(draw, models=tuple(MODELS)) -> PinholeCamera:
    """Cameras whose distortion is moderate: the image is covered by the lens's field of view."""
    model = draw(st.sampled_from(models))
    width, height = draw(st.integers(64, 2000)), draw(st.integers(48, 1500))
    focal = draw(st.floats(0.7, 2.0)) * max(width, height)
    scale = draw(st.floats(0.0, 1.0))
    distortion = tuple(scale * value for value in COEFFICIENTS[model])
    centre = draw(st.floats(0.4, 0.6)) * width, draw(st.floats(0.4, 0.6)) * height
    return PinholeCamera(width, height, focal, focal * draw(st.floats(0.9, 1.1)), *centre, distortion, model)


@pytest.mark.parametrize("model", MODELS)
def test_project_equals_opencv(model):
    points = np.random.default_rng(0).uniform([-0.8, -0.6, 1.0], [0.8, 0.6, 1.0], (500, 3))
    points *= np.random.default_rng(1).uniform(0.3, 60.0, (500, 1))
    camera = camera_of(model)
    np.testing.assert_allclose(camera.project(points), opencv_project(camera, points), atol=1e-8)


def test_project_without_distortion_is_the_pinhole_equation():
    camera = PinholeCamera(100, 80, 50, 40, 49.5, 39.5)
    np.testing.assert_allclose(camera.project(np.array([[2.0, -1.0, 4.0]])), [[74.5, 29.5]])
    np.testing.assert_allclose(camera.unproject(np.array([[74.5, 29.5]])), [[0.5, -0.25, 1.0]])


def test_points_behind_the_camera_are_nan():
    pixels = camera_of("equidistant").project(np.array([[0.0, 0.0, -1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], [322.5, 237.0])


@settings(max_examples=60)
@given(cameras(), st.integers(0, 2**32 - 1))
def test_project_inverts_unproject(camera, seed):
    pixels = np.random.default_rng(seed).uniform((0, 0), (camera.width - 1, camera.height - 1), (64, 2))
    rays = camera.unproject(pixels)
    np.testing.assert_array_equal(rays[:, 2], 1.0)
    np.testing.assert_allclose(camera.project(rays * 7.5), pixels, atol=1e-6)


def test_unproject_is_nan_where_no_ray_arrives():
    barrel = PinholeCamera(640, 480, 500, 500, 320, 240, (-0.3, 0.0, 0.0, 0.0))
    largest = np.sqrt(1 / 0.9) * (1 - 0.3 / 0.9)  # the greatest value of r (1 - 0.3 r²)
    rays = barrel.unproject(
        np.array([[320 + 500 * largest * 1.01, 240.0], [320 + 500 * largest * 0.99, 240.0]])
    )
    assert np.isnan(rays[0]).all()
    assert np.isfinite(rays[1]).all()
    fisheye = PinholeCamera(640, 480, 200, 200, 320, 240, (0.0,) * 4, "equidistant")
    rays = fisheye.unproject(
        np.array([[320 + 200 * np.pi / 2 * 1.001, 240.0], [320 + 200 * np.pi / 4, 240.0]])
    )
    assert np.isnan(rays[0]).all()
    np.testing.assert_allclose(rays[1], [1.0, 0.0, 1.0])


def test_resize_keeps_pixel_areas():
    resized = PinholeCamera(640, 480, 500, 510, 319.5, 100.0).resize(320, 120)
    assert resized == PinholeCamera(320, 120, 250, 127.5, 159.5, 24.625)


def test_bin_drops_the_remainder():
    assert PinholeCamera(101, 50, 60, 60, 50.0, 24.5).bin(2, 5) == PinholeCamera(50, 10, 30, 12, 24.75, 4.5)


@settings(max_examples=40)
@given(cameras(), st.integers(1, 4), st.integers(1, 4), st.integers(8, 999), st.integers(8, 999))
def test_resize_composes(camera, bx, by, width, height):
    once, twice = camera.resize(width, height), camera.resize(77, 1234).resize(width, height)
    np.testing.assert_allclose(once.matrix, twice.matrix, rtol=1e-12, atol=1e-9)
    cropped = camera.crop(0, 0, camera.width // bx * bx, camera.height // by * by)
    binned, resized = camera.bin(bx, by), cropped.resize(cropped.width // bx, cropped.height // by)
    assert (binned.width, binned.height) == (resized.width, resized.height)
    np.testing.assert_allclose(binned.matrix, resized.matrix, rtol=1e-12, atol=1e-9)


@settings(max_examples=40)
@given(cameras(), st.integers(0, 10), st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
def test_crops_compose_and_shift_pixels(camera, x, y, u, v):
    width, height = camera.width - x - u - 5, camera.height - y - v - 5
    cropped = camera.crop(x, y, camera.width - x, camera.height - y).crop(u, v, width, height)
    assert (cropped.width, cropped.height) == (width, height)
    points = np.array([[0.1, 0.2, 1.0], [-0.05, 0.1, 0.6]])
    np.testing.assert_allclose(cropped.project(points), camera.project(points) - (x + u, y + v), atol=1e-9)


@settings(max_examples=40)
@given(cameras())
def test_hflip_mirrors_the_image_and_is_its_own_inverse(camera):
    points = np.array([[0.1, 0.2, 1.0], [-0.25, 0.1, 0.9], [0.0, 0.0, 2.0]])
    pixels, mirrored = camera.project(points), camera.hflip().project(points * (-1, 1, 1))
    np.testing.assert_allclose(
        mirrored, np.stack([camera.width - 1 - pixels[:, 0], pixels[:, 1]], 1), atol=1e-9
    )
    twice = camera.hflip().hflip()
    assert replace(twice, cx=camera.cx) == camera
    assert twice.cx == pytest.approx(camera.cx, abs=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_rectification_undoes_the_distortion(model):
    """A picture of stripes, drawn through the lens, comes out straight."""
    camera = replace(camera_of(model), width=320, height=240, fx=260, fy=260, cx=160, cy=120)
    grid = np.stack(np.meshgrid(np.arange(320), np.arange(240)), -1).reshape(-1, 2)
    ideal = camera.rectified().project(camera.unproject(grid))

    def stripes(pixels: np.ndarray) -> np.ndarray:
        return np.nan_to_num(127 + 100 * np.sin(pixels[:, 0] / 9)).astype(np.uint8).reshape(240, 320)

    map1, map2 = camera.rectification_maps()
    rectified = cv2.remap(stripes(ideal), map1, map2, cv2.INTER_LINEAR)[40:-40, 50:-50]
    assert np.abs(rectified.astype(int) - stripes(grid.astype(float))[40:-40, 50:-50]).max() <= 3
    assert camera.is_distorted and not camera.rectified().is_distorted
    assert camera.rectification_maps()[0] is map1
    assert replace(camera, frame_id="other").rectification_maps()[0] is map1


def test_is_distorted():
    assert not PinholeCamera(10, 10, 5, 5, 5, 5, (0.0,) * 5).is_distorted
    assert PinholeCamera(10, 10, 5, 5, 5, 5, (0.0,) * 4, "equidistant").is_distorted


@settings(max_examples=60)
@given(cameras(), st.integers(0, 9), st.integers(0, 9), st.integers(0, 4), st.integers(0, 4))
def test_camera_info_with_roi_and_binning(camera, x, y, bx, by):
    camera = replace(camera, frame_id="front")
    width, height = camera.width - x - 3, camera.height - y - 4
    roi = SimpleNamespace(x_offset=x, y_offset=y, width=width, height=height)
    read = PinholeCamera.from_camera_info(message(camera, roi=roi, binning_x=bx, binning_y=by))
    assert read == camera.crop(x, y, width, height).bin(max(bx, 1), max(by, 1))
    assert PinholeCamera.from_camera_info(message(read)) == read


@given(cameras())
@settings(max_examples=40)
def test_dictionary_round_trip_through_json(camera):
    assert PinholeCamera.from_dict(json.loads(json.dumps(camera.to_dict()))) == camera


def test_camera_info_fields():
    fields = camera_of("plumb_bob").to_camera_info()
    np.testing.assert_array_equal(fields["k"], [500, 0, 322.5, 0, 510, 237, 0, 0, 1])
    np.testing.assert_array_equal(fields["p"], [500, 0, 322.5, 0, 0, 510, 237, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(fields["r"], np.eye(3).reshape(-1))
    assert (fields["width"], fields["height"], fields["distortion_model"]) == (640, 480, "plumb_bob")
    assert {fields[name].dtype for name in "dkrp"} == {np.dtype(np.float64)}


def test_camera_info_without_distortion_model():
    plain = PinholeCamera(64, 48, 50, 50, 32, 24)
    assert PinholeCamera.from_camera_info(message(plain, distortion_model="", d=[])) == plain
    with pytest.raises(CameraError, match="distortion model is ''"):
        PinholeCamera.from_camera_info(message(plain, distortion_model="", d=[0.1, 0, 0, 0, 0]))


def test_camera_info_drops_trailing_zero_coefficients():
    camera = camera_of("rational_polynomial")
    read = PinholeCamera.from_camera_info(message(camera, d=[*camera.distortion, 0, 0, 0, 0, 0, 0]))
    assert read == camera
    with pytest.raises(CameraError, match="9 coefficients, expected 8"):
        PinholeCamera.from_camera_info(message(camera, d=[*camera.distortion, 0.5]))


def test_rectified_image_uses_p():
    camera = camera_of("plumb_bob")
    projection = [400, 0, 300, 0, 0, 410, 200, 0, 0, 0, 1, 0]
    read = PinholeCamera.from_camera_info(message(camera, p=projection), rectified=True)
    assert read == PinholeCamera(640, 480, 400, 410, 300, 200, frame_id="camera_optical")


@pytest.mark.parametrize("position, value", [(0, 0.0), (4, 0.0), (0, np.nan), (2, np.inf)])
def test_uncalibrated_camera_info(position, value):
    matrix = camera_of("plumb_bob").matrix.reshape(-1)
    matrix[position] = value
    with pytest.raises(UncalibratedCameraError, match="not calibrated"):
        PinholeCamera.from_camera_info(message(camera_of("plumb_bob"), k=matrix))


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"width": 0}, "camera width is 0"),
        ({"height": 10**6}, "camera height is 1000000"),
        ({"width": 3.5}, "camera width is 3.5"),
        ({"fx": -1.0}, "camera fx is -1"),
        ({"cx": float("nan")}, "camera cx is nan"),
        ({"cy": "5"}, "camera cy is '5'"),
        ({"model": "thin_lens"}, "distortion model is 'thin_lens'"),
        ({"distortion": (1.0, 2.0)}, "2 coefficients, expected 0 or 4 or 5"),
        ({"distortion": (1.0, 2.0, float("inf"), 0.0)}, "coefficient is inf"),
        ({"frame_id": 3}, "frame_id is 3"),
    ],
)
def test_impossible_cameras(changes, sentence):
    with pytest.raises(CameraError, match=sentence):
        PinholeCamera(**{"width": 64, "height": 48, "fx": 50, "fy": 50, "cx": 32, "cy": 24, **changes})


@pytest.mark.parametrize(
    "data", [None, [], {}, {"width": 3}, {**camera_of("plumb_bob").to_dict(), "gain": 1}]
)
def test_wrong_dictionaries(data):
    with pytest.raises(CameraError):
        PinholeCamera.from_dict(data)


def test_region_outside_the_image():
    with pytest.raises(CameraError, match=r"640x480 at \(1, 0\) leaves the image"):
        camera_of("plumb_bob").crop(1, 0, 640, 480)
    with pytest.raises(CameraError, match="camera width is 0"):
        PinholeCamera(3, 3, 1, 1, 1, 1).bin(4, 1)


@pytest.mark.parametrize("library", ["rclpy", "rosbags"])
def test_camera_info_of_both_libraries(library):
    """The fields fill a real message, and the real message yields the camera again."""
    camera = camera_of("rational_polynomial")
    fields = camera.to_camera_info()
    if library == "rclpy":
        messages = pytest.importorskip("sensor_msgs.msg")
        fields["d"] = fields["d"].tolist()
        info = messages.CameraInfo(**fields)
        info.header.frame_id = camera.frame_id
    else:
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_HUMBLE)
        types = store.types
        stamp = types["builtin_interfaces/msg/Time"](0, 0)
        info = types["sensor_msgs/msg/CameraInfo"](
            header=types["std_msgs/msg/Header"](stamp, camera.frame_id),
            binning_x=0,
            binning_y=0,
            roi=types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
            **fields,
        )
        info = store.deserialize_cdr(store.serialize_cdr(info, info.__msgtype__), info.__msgtype__)
    assert PinholeCamera.from_camera_info(info) == camera
