"""Small bags with known ground truth, and answers with known errors."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from told_pipeline import Told, plain

from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.egomotion import exponential
from geoseg_ros.image_messages import encode_image
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data.odometry import BODY_FROM_OPTICAL
from geoseg_ros.training.evaluation.bag import judge_bag
from geoseg_ros.training.evaluation.depth_detail import DepthProtocol

START, PERIOD = 1_700_000_000_000_000_000, 100_000_000
WIDTH, HEIGHT = 32, 24
CAMERA = PinholeCamera(WIDTH, HEIGHT, 30.0, 30.0, 15.5, 11.5, frame_id="camera_optical_frame")
STEP = exponential(np.array([0.05, 0.0, 1.0, 0.0, 0.03, 0.0]))
"""previous_from_current of every step: forward and turning right."""

IMAGE, ODOMETRY = "sensor_msgs/msg/Image", "nav_msgs/msg/Odometry"


def truth(index: int) -> dict[str, np.ndarray]:
    depth = np.full((HEIGHT, WIDTH), 4.0 + index, np.float32)
    depth[:, WIDTH // 2 :] = 50.0
    depth[:4] = np.inf
    semantic = np.full((HEIGHT, WIDTH), CAMVID_11.index("Road"), np.uint8)
    semantic[:4] = CAMVID_11.index("Sky")
    semantic[4] = 255
    motion = np.zeros((HEIGHT, WIDTH), np.uint8)
    motion[10:14, :8] = 255
    flow = np.full((HEIGHT, WIDTH, 2), np.nan if index == 0 else 2.0, np.float32)
    return {"depth": depth, "semantic": semantic, "motion": motion, "flow": flow}


def world_from_camera(index: int) -> np.ndarray:
    start = exponential(np.array([3.0, -2.0, 1.0, 0.2, 1.1, -0.3]))
    return start @ np.linalg.matrix_power(STEP, index)


def odometry(index: int, pose: np.ndarray, child: str) -> dict:
    if child != "camera_optical_frame":
        pose = pose.copy()
        pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL.T
    vector = cv2.Rodrigues(pose[:3, :3])[0].ravel()
    angle = np.linalg.norm(vector)
    quaternion = np.append(np.sin(angle / 2) * vector / angle, np.cos(angle / 2))
    return {
        "header": {"stamp": START + index * PERIOD, "frame_id": "odom"},
        "child_frame_id": child,
        "pose": {
            "pose": {
                "position": dict(zip("xyz", map(float, pose[:3, 3]))),
                "orientation": dict(zip("xyzw", map(float, quaternion))),
            }
        },
    }


def write_bag(path: Path, frames: int = 9, child: str = "camera_link", gt: bool = True) -> Path:
    topics = {"depth": "depth/image", "semantic": "semantic/image", "flow": "flow/image", "motion": "motion/mask"}
    encodings = {"depth": "32FC1", "semantic": "mono8", "flow": "32FC2", "motion": "mono8"}
    with BagWriter(path) as bag:
        for index in range(frames):
            stamp = START + index * PERIOD
            header = {"stamp": stamp, "frame_id": CAMERA.frame_id}
            bag.write("/camera/camera_info", "sensor_msgs/msg/CameraInfo", {"header": header, **CAMERA.to_camera_info()}, stamp)
            picture = np.full((HEIGHT, WIDTH, 3), 20 * index, np.uint8)
            bag.write("/camera/image_raw", IMAGE, {"header": header, **encode_image(picture, "rgb8")}, stamp)
            if gt:
                for name, array in truth(index).items():
                    fields = {"header": header, **encode_image(array, encodings[name])}
                    bag.write(f"/camera/gt/{topics[name]}", IMAGE, fields, stamp)
                bag.write("/camera/gt/odom", ODOMETRY, odometry(index, world_from_camera(index), child), stamp)
    return path


def answer(index: int, depth_scale: float = 1.25, length: float = 0.5) -> dict:
    """Depth too great by a constant factor, steps too short by one, half of the mover, 3 px of flow error."""
    right = truth(index)
    found = right["motion"].copy()
    found[:, :4] = 0
    step = STEP.copy()
    step[:3, 3] *= length
    semantic = np.where(right["semantic"] == 255, 0, right["semantic"])
    moved = {} if index == 0 else {"ego_motion": SimpleNamespace(previous_from_current=step), "motion_mask": found}
    depth = np.where(np.isfinite(right["depth"]), right["depth"], 9.0) * depth_scale
    return {"depth": depth.astype(np.float32), "semantic": semantic, "flow": right["flow"] + np.float32([3, 0]), **moved}


def judge(path: Path, answers: list[dict], **options):
    return judge_bag(Told(answers), path, DepthProtocol(), plain, **options)


def values(review) -> dict[str, float]:
    return {score.name: score.value for score in review.result.scores}


def replace(path: Path, topic: str, out: Path, fields: dict, msgtype: str = IMAGE) -> Path:
    """A copy of a bag in which every message on ``topic`` is another one."""
    with BagReader(path) as bag, BagWriter(out) as copy:
        for name, stamp, kind, data in bag.raw_messages():
            if name == topic:
                copy.write(name, msgtype, {"header": {"stamp": stamp, "frame_id": CAMERA.frame_id}, **fields}, stamp)
            else:
                copy.write_raw(name, kind, data, stamp)
    return out
