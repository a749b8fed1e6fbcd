"""Small made-up data of the suites of ``geoseg evaluate``, and an untrained model to judge on them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch

from geoseg_ros.bundle import Bundle
from geoseg_ros.labels import CAMVID_11
from geoseg_ros.networks import create_network


@cache
def untrained_bundle() -> Bundle:
    torch.manual_seed(0)
    network = create_network("perception", {"encoder": "lite"})
    return Bundle("perception", {"encoder": "lite"}, CAMVID_11, (64, 64), weights=network.state_dict())


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def noise(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def camvid_folder(root: Path, frames: int) -> None:
    rng = np.random.default_rng(0)
    for i in range(frames):
        write(root / "camvid/val/images" / f"f_{i:03d}.png", noise(i))
        labels = rng.integers(0, 12, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        write(root / "camvid/val/labels" / f"f_{i:03d}.png", labels)
