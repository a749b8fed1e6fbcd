"""From a perception to message fields. Values, encodings, and what a frame has no data for."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import ConfigError
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.messages import OUTPUTS, label_info, needed_outputs, output_messages
from geoseg_ros.perception import ALL_OUTPUTS, EgoMotion, Perception

HEIGHT, WIDTH = 6, 8
CAMERA = PinholeCamera(WIDTH, HEIGHT, 10.0, 11.0, 3.5, 2.5, frame_id="camera")


@pytest.fixture
def perception() -> Perception:
    """One frame with every output; depth is unknown in the first row and infinite in the second."""
    random = np.random.default_rng(0)
    depth = random.uniform(1.0, 60.0, (HEIGHT, WIDTH)).astype(np.float32)
    depth[0], depth[1] = np.nan, np.inf
    ego_motion = EgoMotion(
        np.eye(4),
        0.1,
        np.array([1.0, 2.0, 3.0]),
        np.array([4.0, 5.0, 6.0]),
        np.arange(36.0).reshape(6, 6),
        "odometry",
    )
    return Perception(
        stamp=1,
        image=random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        camera=CAMERA,
        semantic=random.integers(0, 11, (HEIGHT, WIDTH), np.uint8),
        confidence=random.random((HEIGHT, WIDTH), np.float32),
        depth=depth,
        flow=random.normal(0.0, 3.0, (HEIGHT, WIDTH, 2)).astype(np.float32),
        motion_probability=random.random((HEIGHT, WIDTH), np.float32),
        motion_mask=random.integers(0, 2, (HEIGHT, WIDTH), np.uint8) * np.uint8(255),
        ego_motion=ego_motion,
    )


def values(fields: dict, dtype: type, *channels: int) -> np.ndarray:
    return fields["data"].view(dtype).reshape(HEIGHT, WIDTH, *channels)


def test_images_carry_the_arrays(perception: Perception) -> None:
    messages = output_messages(perception, CAMVID_11, OUTPUTS)
    assert list(messages) == list(OUTPUTS)
    np.testing.assert_array_equal(values(messages["semantic/image"], np.uint8), perception.semantic)
    np.testing.assert_array_equal(values(messages["semantic/confidence"], np.float32), perception.confidence)
    np.testing.assert_array_equal(values(messages["depth/image"], np.float32), perception.depth)
    np.testing.assert_array_equal(values(messages["flow/image"], np.float32, 2), perception.flow)
    np.testing.assert_array_equal(values(messages["motion/mask"], np.uint8), perception.motion_mask)
    np.testing.assert_array_equal(
        values(messages["motion/probability"], np.float32), perception.motion_probability
    )
    for topic in ("semantic/color", "depth/color", "flow/color"):
        assert messages[topic]["encoding"] == "rgb8" and values(messages[topic], np.uint8, 3).any()


def test_more_classes_than_a_byte_holds_are_sixteen_bits(perception: Perception) -> None:
    perception.semantic = perception.semantic.astype(np.uint16) + 300
    fields = output_messages(perception, CAMVID_11, ["semantic/image"])["semantic/image"]
    assert fields["encoding"] == "mono16"
    np.testing.assert_array_equal(values(fields, np.uint16), perception.semantic)


def test_depth_in_millimetres_is_zero_where_unknown_or_too_far(perception: Perception) -> None:
    perception.depth[2, :4] = (0.0004, 65.5354, 65.5361, -1.0)
    fields = output_messages(perception, CAMVID_11, ["depth/image"], depth_encoding="16UC1")["depth/image"]
    millimetres = values(fields, np.uint16)
    assert not millimetres[:2].any()
    assert millimetres[2, :4].tolist() == [0, 65535, 0, 0]
    np.testing.assert_allclose(millimetres[3:] / 1000.0, perception.depth[3:], atol=0.00051)


def test_points_are_organised_and_lie_on_the_rays_of_their_pixels(perception: Perception) -> None:
    cloud = output_messages(perception, CAMVID_11, ["depth/points"])["depth/points"]
    assert (cloud["height"], cloud["width"], cloud["is_dense"]) == (HEIGHT, WIDTH, False)
    assert (
        cloud["row_step"] == WIDTH * cloud["point_step"] and len(cloud["data"]) == HEIGHT * cloud["row_step"]
    )
    layout = np.dtype(
        {
            "names": [field["name"] for field in cloud["fields"]],
            "formats": [{7: "<f4", 6: "<u4"}[field["datatype"]] for field in cloud["fields"]],
            "offsets": [field["offset"] for field in cloud["fields"]],
            "itemsize": cloud["point_step"],
        }
    )
    points = cloud["data"].view(layout).reshape(HEIGHT, WIDTH)
    xyz = np.stack([points["x"], points["y"], points["z"]], axis=-1)
    assert np.isnan(xyz[:2]).all()
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rays = CAMERA.unproject(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(xyz[2:], (rays * perception.depth[..., None])[2:], rtol=1e-6)
    red, green, blue = np.moveaxis(perception.image.astype(np.uint32), -1, 0)
    np.testing.assert_array_equal(points["rgb"].view(np.uint32), red << 16 | green << 8 | blue)
    np.testing.assert_array_equal(points["label"], perception.semantic)


def test_ego_motion_is_a_twist_with_row_major_covariance(perception: Perception) -> None:
    fields = output_messages(perception, CAMVID_11, ["ego_motion"])["ego_motion"]["twist"]
    assert fields["twist"] == {
        "linear": {"x": 1.0, "y": 2.0, "z": 3.0},
        "angular": {"x": 4.0, "y": 5.0, "z": 6.0},
    }
    assert fields["covariance"].tolist() == list(range(36))


def test_camera_info_describes_the_depth_image(perception: Perception) -> None:
    fields = output_messages(perception, CAMVID_11, ["depth/camera_info"])["depth/camera_info"]
    assert (fields["width"], fields["height"]) == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(fields["k"], CAMERA.matrix.reshape(-1))


def test_a_frame_without_camera_or_previous_frame_has_fewer_messages(perception: Perception) -> None:
    unknown = {"camera", "depth", "motion_mask", "motion_probability", "ego_motion"}
    uncalibrated = dataclasses.replace(perception, **dict.fromkeys(unknown))
    assert set(output_messages(uncalibrated, CAMVID_11, OUTPUTS)) == {
        "semantic/image", "semantic/confidence", "semantic/color", "flow/image", "flow/color"
    }  # fmt: skip
    nothing = Perception(stamp=1, image=perception.image)
    assert output_messages(nothing, CAMVID_11, OUTPUTS) == {}


def test_only_what_is_asked_for_is_made(perception: Perception) -> None:
    assert list(output_messages(perception, CAMVID_11, ["flow/color", "depth/image"])) == [
        "flow/color",
        "depth/image",
    ]
    assert output_messages(perception, CAMVID_11, []) == {}


def test_an_unknown_depth_encoding_is_named(perception: Perception) -> None:
    with pytest.raises(ConfigError, match="depth_encoding is '8UC1', expected one of 32FC1, 16UC1"):
        output_messages(perception, CAMVID_11, ["depth/image"], depth_encoding="8UC1")


def test_topics_name_the_outputs_that_they_need() -> None:
    assert needed_outputs([]) == frozenset()
    assert needed_outputs(["semantic/color"]) == {"semantic"}
    assert needed_outputs(["depth/points", "motion/mask"]) == {"depth", "semantic", "motion"}
    assert needed_outputs(OUTPUTS) == ALL_OUTPUTS


def test_label_info_numbers_the_classes_as_the_image_does() -> None:
    fields = label_info(CAMVID_11)
    assert [entry["class_id"] for entry in fields["class_map"]] == list(range(11))
    assert fields["class_map"][CAMVID_11.index("Car")]["class_name"] == "Car"
