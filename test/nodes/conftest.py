"""ROS of the test process, a small model with random weights, and one running node that most tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from node_harness import Geoseg, NodeProcess, Probe

os.environ["OMP_NUM_THREADS"] = "1"
INPUT_SIZE = (96, 64)


def save_small_model(path: Path, seed: int, first_class: str = "Sky") -> Path:
    """A model of random weights with a small input, so that inference takes a few milliseconds."""
    import dataclasses

    import torch

    from geoseg_ros.bundle import Bundle, save_bundle
    from geoseg_ros.labels import CAMVID_11
    from geoseg_ros.networks import create_network

    torch.manual_seed(seed)
    config = {"encoder": "lite", "classes": len(CAMVID_11.names)}
    labels = dataclasses.replace(CAMVID_11, names=(first_class, *CAMVID_11.names[1:]), categories={})
    weights = create_network("perception", config).state_dict()
    save_bundle(Bundle("perception", config, labels, INPUT_SIZE, weights=weights), path, dtype=torch.float32)
    return path


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model file."""
    return save_small_model(tmp_path_factory.mktemp("model") / "small.safetensors", seed=0)


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another one, whose first class has another name."""
    return save_small_model(
        tmp_path_factory.mktemp("model") / "other.safetensors", seed=1, first_class="Heaven"
    )


@pytest.fixture(scope="session")
def probe() -> Iterator[Probe]:
    """The test's own node."""
    rclpy = pytest.importorskip("rclpy")
    from node_harness import Probe

    rclpy.init()
    probe = Probe()
    yield probe
    probe.close()
    rclpy.try_shutdown()


@pytest.fixture(scope="session")
def shared_process(probe: Probe, model: Path) -> Iterator[NodeProcess]:
    """One ``perception_node`` below /shared, for tests that leave it active and as configured."""
    from node_harness import start_geoseg

    process = start_geoseg("/shared", model)
    yield process
    process.end()


@pytest.fixture
def geoseg(probe: Probe, shared_process: NodeProcess) -> Iterator[Geoseg]:
    """The shared node, active and subscribed to nothing at first; its camera topics are unpublished."""
    from node_harness import Geoseg

    node = Geoseg(probe, "/shared")
    node.wait_for_value("state", "active")
    yield node
    node.subscribe()
    node.close()
