"""The ground truth of ``geoseg evaluate --bag``: which topics it comes from, and what is refused or left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from told_pipeline import Told, plain
from truth_bags import CAMERA, HEIGHT, IMAGE, ODOMETRY, START, WIDTH, answer, judge, replace, values, write_bag

from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import BagError
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import CAMVID_11, CITYSCAPES_19, LabelSet
from geoseg_ros.messages import label_info
from geoseg_ros.training.evaluation.bag import PROBLEMS, judge_bag
from geoseg_ros.training.evaluation.depth_detail import DepthProtocol


def test_a_bag_without_ground_truth_is_refused(tmp_path):
    with pytest.raises(BagError, match="has no ground truth, expected topics that end in gt/semantic/image.*found /camera/camera_info"):
        judge(write_bag(tmp_path / "bag", 2, gt=False), [])


def test_classes_of_another_label_set_are_not_judged(tmp_path):
    path = write_bag(tmp_path / "bag", 2)
    for name, labels in (("same", CAMVID_11), ("other", CITYSCAPES_19)):
        with BagReader(path) as bag, BagWriter(tmp_path / name) as copy:
            fields = {"header": {"stamp": START, "frame_id": "c"}, **label_info(labels)}
            copy.write("/camera/gt/semantic/label_info", "vision_msgs/msg/LabelInfo", fields, START)
            for topic, stamp, msgtype, data in bag.raw_messages():
                copy.write_raw(topic, msgtype, data, stamp)
    assert "semantic mIoU" in values(judge(tmp_path / "same", [answer(0), answer(1)]))
    review = judge(tmp_path / "other", [answer(0), answer(1)])
    assert "semantic mIoU" not in values(review) and "depth AbsRel, metric" in values(review)
    assert review.result.notes[0].startswith("semantic is not judged: the bag's classes are road, sidewalk")


@pytest.mark.parametrize(
    ("topic", "array", "encoding", "sentence"),
    [
        ("depth/image", np.zeros((4, 4, 2), np.float32), "32FC2", "encoding is '32FC2', expected 32FC1 or 16UC1"),
        ("semantic/image", np.zeros((12, 16), np.uint8), "mono8", "0.000 s: size is 16×12, expected 32×24 as the image"),
        (
            "semantic/image", np.full((HEIGHT, WIDTH), 18, np.uint8), "mono8",
            "class is 18, expected 0 to 10 or 255 of the model's labels camvid_11",
        ),  # fmt: skip
        ("flow/image", np.zeros((12, 16, 2), np.float32), "32FC2", "size is 16×12, expected 32×24 as the image"),
    ],
)
def test_ground_truth_of_the_wrong_kind_is_named_and_left_out(tmp_path, topic, array, encoding, sentence):
    topic = f"/camera/gt/{topic}"
    path = replace(write_bag(tmp_path / "bag", 8), topic, tmp_path / "wrong", encode_image(array, encoding))
    review = judge(path, [answer(index) for index in range(8)])
    assert review.result.notes[0].startswith(topic) and sentence in review.result.notes[0]
    assert f"{8 - PROBLEMS} more such problems are not listed" in review.result.notes
    name = topic.split("/")[3]
    assert not any(score.startswith(name) for score in values(review))
    assert any(note.startswith(f"{name} is not judged: no image had a") for note in review.result.notes)


def test_topics_of_another_type_are_refused(tmp_path):
    path = write_bag(tmp_path / "bag", 2)
    string = "std_msgs/msg/Header"
    for topic, expected in (("/camera/gt/depth/image", IMAGE), ("/camera/gt/odom", ODOMETRY)):
        wrong = tmp_path / topic.replace("/", "_")
        with BagReader(path) as bag, BagWriter(wrong) as copy:
            for name, stamp, kind, data in bag.raw_messages():
                if name == topic:
                    copy.write(name, string, {"stamp": stamp, "frame_id": ""}, stamp)
                else:
                    copy.write_raw(name, kind, data, stamp)
        with pytest.raises(BagError, match=f"topic {topic} holds {string}, expected {expected}"):
            judge(wrong, [])
    with pytest.raises(BagError, match="has no topic /gone, found /camera/camera_info"):
        judge(path, [], image_topic="/gone")


def test_255_is_no_class_beside_a_label_sets_own_ignored_id(tmp_path):
    told = Told([answer(index) for index in range(3)])
    told.labels = LabelSet.from_dict(CAMVID_11.to_dict() | {"ignore": 200})
    review = judge_bag(told, write_bag(tmp_path / "bag", 3), DepthProtocol(), plain)
    assert values(review)["semantic pixel accuracy"] == 1.0
    assert not any("class is" in note for note in review.result.notes)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_labels_may_lie_on_another_topic_and_are_rectified_with_the_image(tmp_path, encoding):
    camera = PinholeCamera(WIDTH, HEIGHT, 20.0, 20.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2, (0.5, 0, 0, 0, 0), frame_id=CAMERA.frame_id)
    labels = np.tile(np.arange(WIDTH) % 11, (HEIGHT, 1)).astype(np.uint8)
    with BagWriter(tmp_path / "bag") as bag:
        header = {"stamp": START, "frame_id": CAMERA.frame_id}
        bag.write("/camera/camera_info", "sensor_msgs/msg/CameraInfo", {"header": header, **camera.to_camera_info()}, START)
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        bag.write("/camera/image_raw", IMAGE, {"header": header, **encode_image(picture, "rgb8")}, START)
        bag.write("/labels", IMAGE, {"header": header, **encode_image(labels, "mono8"), "encoding": encoding}, START)
    maps = camera.rectification_maps()
    seen = cv2.remap(labels, *maps, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    assert not np.array_equal(seen, labels)
    review = judge(tmp_path / "bag", [{"semantic": seen}], label_topic="/labels")
    assert values(review)["semantic pixel accuracy"] == 1.0
    with pytest.raises(BagError, match="has no topic /nowhere, found /camera/camera_info .*, /labels"):
        judge(tmp_path / "bag", [{}], label_topic="/nowhere")
    wrong = replace(tmp_path / "bag", "/labels", tmp_path / "wrong", encode_image(labels + np.uint8(7), "mono8"))
    with pytest.raises(BagError, match="/labels at 1700000000.000 s: class is 11, expected 0 to 10 or 255 of the model's labels"):
        judge(wrong, [{"semantic": seen}], label_topic="/labels")
