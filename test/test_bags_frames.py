"""The camera of a bag: which topics it is, its frames, calibration and odometry, and what bad messages do."""

from __future__ import annotations

import numpy as np
import pytest
from camera_bags import (
    CAMERA,
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    PERIOD,
    START,
    camera_info_fields,
    header,
    image_fields,
    picture,
    png_fields,
    write_camera_bag,
)

from geoseg_ros.bags import STORAGES, BagReader, BagWriter, TopicInfo
from geoseg_ros.bags.topics import find_camera, find_odometry
from geoseg_ros.errors import BagError, CameraError, GeosegError, ImageError
from geoseg_ros.frames import open_frames
from geoseg_ros.frames.bag import BagFrames

ODOMETRY = "nav_msgs/msg/Odometry"


def topics(*names: str) -> dict[str, TopicInfo]:
    """Topics whose types follow from their names."""

    def kind(name: str) -> str:
        if "camera_info" in name:
            return CAMERA_INFO
        if "odom" in name:
            return ODOMETRY
        return COMPRESSED if "compressed" in name else IMAGE

    return {name: TopicInfo(kind(name), 5) for name in names}


@pytest.mark.parametrize(
    ("names", "image", "camera_info"),
    [
        (["/camera/image_raw", "/camera/camera_info"], "/camera/image_raw", "/camera/camera_info"),
        (["/cam/image/compressed", "/cam/camera_info"], "/cam/image/compressed", "/cam/camera_info"),
        (["/cam/image/compressed", "/cam/image"], "/cam/image", None),
        (["/a/image", "/b/image", "/b/camera_info"], "/b/image", "/b/camera_info"),
        (["/left/image", "/camera_info"], "/left/image", "/camera_info"),
        (["/image", "/camera_info", "/gt/depth/image"], "/image", "/camera_info"),
        (
            ["/cam/image_mono", "/cam/image_rect_color", "/cam/camera_info"],
            "/cam/image_rect_color",
            "/cam/camera_info",
        ),
        (
            ["/camera/aligned_depth_to_color/image_raw", "/camera/color/image_raw"],
            "/camera/color/image_raw",
            None,
        ),
        (["/c/image/compressedDepth", "/c/image_raw"], "/c/image_raw", None),
        (["/geoseg/semantic/color", "/gt/flow/image", "/depth/image"], None, None),
        ([], None, None),
    ],
)
def test_the_camera_of_a_bag_is_found(names, image, camera_info):
    assert find_camera(topics(*names)) == (image, camera_info)
    assert find_camera(topics(*reversed(names))) == (image, camera_info)


def test_ground_truth_is_no_odometry():
    assert find_odometry(topics("/gt/odom", "/wheel/odom")) == "/wheel/odom"
    assert find_odometry(topics("/gt/odom")) is None


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("compressed", [False, True])
def test_frames_have_the_pictures_stamps_and_camera_of_the_bag(tmp_path, storage, compressed):
    folder = write_camera_bag(tmp_path / "bag", storage=storage, compressed=compressed)
    with BagFrames(folder) as source:
        frames = list(source.frames())
        assert source.count == len(frames) == 6
        assert source.fps == pytest.approx(10.0, rel=1e-6)
        assert source.topic == "/camera/image_raw" + ("/compressed" if compressed else "")
    for index, frame in enumerate(frames):
        assert np.array_equal(frame.image, picture(index))
        assert frame.stamp == START + index * PERIOD and frame.frame_id == "camera_optical_frame"
        assert frame.camera.to_dict() == {
            **CAMERA.to_dict(),
            "distortion": [0.0] * len(frame.camera.distortion),
        }
        assert frame.odometry is None


def test_calibration_that_comes_late_holds_from_the_first_frame(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for index in range(3):
            bag.write("/camera/image_raw", IMAGE, image_fields(index), START + index)
        bag.write("/camera/camera_info", CAMERA_INFO, camera_info_fields(2), START + 9)
    with BagFrames(tmp_path / "bag") as source:
        assert [frame.camera.fx for frame in source.frames()] == [60.0] * 3


def test_a_bag_without_calibration_has_frames_without_camera(tmp_path):
    with BagFrames(write_camera_bag(tmp_path / "bag", calibrated=False)) as source:
        assert [frame.camera for frame in source.frames()] == [None] * 6


def test_frames_carry_the_newest_odometry_before_them(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        for index in range(3):
            bag.write("/camera/image_raw", IMAGE, image_fields(index), START + 10 * index)
            twist = {"twist": {"linear": {"x": float(index)}}}
            bag.write("/odom", ODOMETRY, {"header": header(index), "twist": twist}, START + 10 * index + 5)
    with BagFrames(tmp_path / "bag") as source:
        frames = list(source.frames())
    assert frames[0].odometry is None
    assert [frame.odometry.twist.twist.linear.x for frame in frames[1:]] == [0.0, 1.0]


def bag_with_bad_messages(path):
    short = {**image_fields(1), "data": np.zeros(10, np.uint8)}
    strange = {**image_fields(2), "encoding": "cmyk"}
    with BagWriter(path) as bag:
        bag.write("/camera/camera_info", CAMERA_INFO, camera_info_fields(0), START)
        for index, fields in enumerate([image_fields(0), short, strange, image_fields(3)]):
            bag.write("/camera/image_raw", IMAGE, fields, START + 1 + index)
        bag.write("/camera/camera_info", CAMERA_INFO, {**camera_info_fields(4), "k": np.zeros(9)}, START + 5)
        bag.write("/camera/image_raw", IMAGE, image_fields(4), START + 6)
        bag.write("/camera/camera_info", CAMERA_INFO, camera_info_fields(5, CAMERA.resize(32, 24)), START + 7)
        bag.write("/camera/image_raw", IMAGE, image_fields(5), START + 8)
    return path


def test_bad_messages_are_reported_and_the_good_ones_come_through(tmp_path):
    problems: list[GeosegError] = []
    with BagFrames(bag_with_bad_messages(tmp_path / "bag")) as source:
        frames = list(source.frames(problems.append))
    assert [(frame.stamp - START) // PERIOD for frame in frames] == [0, 3, 4, 5]
    assert [frame.camera is None for frame in frames] == [False, False, True, True]
    assert [type(problem) for problem in problems[:2]] == [ImageError, ImageError]
    assert all(isinstance(problem, CameraError) for problem in problems[2:]) and len(problems) == 4
    for problem, words in zip(
        problems, ("data has 10 bytes", "cmyk", "not calibrated", "32x24, the image is 64x48"), strict=True
    ):
        assert words in str(problem) and "/camera/" in str(problem)


def test_without_a_listener_the_first_bad_message_is_raised(tmp_path):
    with (
        BagFrames(bag_with_bad_messages(tmp_path / "bag")) as source,
        pytest.raises(ImageError, match="10 bytes"),
    ):
        list(source.frames())


def test_a_calibration_file_replaces_the_bags(tmp_path):
    (tmp_path / "camera.json").write_text(
        '{"fx": 99, "fy": 98, "cx": 31, "cy": 23, "width": 64, "height": 48}'
    )
    with BagFrames(write_camera_bag(tmp_path / "bag"), intrinsics=tmp_path / "camera.json") as source:
        assert {frame.camera.fx for frame in source.frames()} == {99.0}


@pytest.mark.parametrize(
    ("image", "camera_info", "sentence"),
    [
        ("/nothing", None, "no topic /nothing, found /camera/camera_info .*/camera/image_raw"),
        ("/camera/camera_info", None, "holds sensor_msgs/msg/CameraInfo, expected sensor_msgs/msg/Image or"),
        (None, "/camera/image_raw", "holds sensor_msgs/msg/Image, expected sensor_msgs/msg/CameraInfo"),
    ],
)
def test_a_wrong_topic_is_named(tmp_path, image, camera_info, sentence):
    with pytest.raises(BagError, match=sentence):
        BagFrames(write_camera_bag(tmp_path / "bag"), image, camera_info)


def test_the_raw_name_finds_the_compressed_topic(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/a/image/compressed", COMPRESSED, png_fields(0), START)
    with BagFrames(tmp_path / "bag", "/a/image") as source:
        assert source.topic == "/a/image/compressed" and len(list(source.frames())) == 1


def test_a_bag_without_a_camera_lists_what_it_has(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write("/chatter", "std_msgs/msg/String", {}, START)
    with pytest.raises(BagError, match=r"no camera image topic, found /chatter \(std_msgs/msg/String\)"):
        BagFrames(tmp_path / "bag")


def test_frames_before_the_damage_come_first(tmp_path):
    file = write_camera_bag(tmp_path / "bag", frames=240) / "bag.mcap"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.7)])
    frames = []
    with BagFrames(file) as source, pytest.raises(BagError, match="is damaged"):
        for frame in source.frames():
            frames.append(frame)
    assert 100 <= len(frames) < 240
    assert all(np.array_equal(frame.image, picture(index)) for index, frame in enumerate(frames))


REAL = {
    "kitti_raw0926_color_15frames_rawimage_sqlite3": (
        "/camera/image_raw",
        15,
        (192, 640, 3),
        371.80686634460545,
    ),
    "kitti_raw0926_color_mcap": ("/camera/image_raw/compressed", 91, (375, 1242, 3), 721.5377),
}


@pytest.mark.parametrize("name", REAL)
def test_real_bags_are_read(shared_data, name):
    topic, count, shape, fx = REAL[name]
    with open_frames(shared_data / "rosbag2" / name) as source:
        assert (source.topic, source.count) == (topic, count)
        frames = list(source.frames())
    assert len(frames) == count
    assert {frame.image.shape for frame in frames} == {shape}
    assert {frame.camera.fx for frame in frames} == {fx} and not frames[0].camera.is_distorted
    assert frames[0].stamp == 1_700_000_000_000_000_000
    steps = np.diff([frame.stamp for frame in frames]) / 1e9
    assert np.allclose(steps, 1 / 9.65, atol=1e-4)
    sky, road = frames[0].image[:20].mean(), frames[0].image[-20:].mean()
    assert 20 < road < 235 and 20 < sky < 255


def test_both_real_bags_show_the_same_drive(shared_data):
    """The raw bag's frames are the compressed one's at 640×192 but for resampling and JPEG."""
    import cv2

    with (
        open_frames(shared_data / "rosbag2" / "kitti_raw0926_color_15frames_rawimage_sqlite3") as raw,
        open_frames(shared_data / "rosbag2" / "kitti_raw0926_color_mcap") as compressed,
    ):
        pairs = zip(raw.frames(), compressed.frames(), strict=False)
        for first, second in pairs:
            resized = cv2.resize(second.image, (640, 192), interpolation=cv2.INTER_AREA)
            assert np.abs(first.image.astype(int) - resized).mean() < 6


def test_a_reader_tells_its_camera(tmp_path):
    with BagReader(write_camera_bag(tmp_path / "bag")) as bag:
        assert bag.camera_topics() == ("/camera/image_raw", "/camera/camera_info")
