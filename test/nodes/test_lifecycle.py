"""From start to end: transitions, parameters, another model in the same process, a clean end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from node_harness import Camera, Geoseg, NodeProcess, Probe, image_message, start_geoseg, wait_until
from rosgraph_msgs.msg import Clock

PICTURE = np.random.default_rng(0).integers(0, 256, (80, 128, 3), np.uint8)
NAMESPACE = "/managed"


@pytest.fixture(scope="module")
def process(probe: Probe, model: Path) -> Iterator[NodeProcess]:
    """A segmentation node that waits to be configured."""
    process = start_geoseg(NAMESPACE, model, "autostart:=false", module="segmentation_node")
    yield process
    process.end()


@pytest.fixture
def managed(probe: Probe, process: NodeProcess) -> Iterator[Geoseg]:
    node = Geoseg(probe, NAMESPACE)
    wait_until(node.status, "the node's diagnostics", lambda: process.text)
    yield node
    node.close()


def advertised(probe: Probe, node: Geoseg) -> set[str]:
    """The node's outputs that are published, without its name."""
    names = (name for name, _ in probe.node.get_topic_names_and_types())
    private = {name.removeprefix(node.name + "/") for name in names if name.startswith(node.name + "/")}
    return private - {"transition_event"}


def test_the_whole_life_with_another_model_in_the_same_process(
    probe: Probe, managed: Geoseg, process: NodeProcess, other_model: Path
) -> None:
    assert managed.state() == "unconfigured"
    assert managed.values()["state"] == "unconfigured"
    assert managed.parameter("labels") == ""

    assert managed.transition("configure")
    assert managed.state() == "inactive"
    assert json.loads(managed.parameter("labels"))["names"][0] == "Sky"
    semantic = {"semantic/image", "semantic/confidence", "semantic/color"}
    wait_until(lambda: semantic <= advertised(probe, managed), "the semantic topics")
    assert advertised(probe, managed) - {"semantic/label_info"} == semantic

    stamps = itertools.count(1_000_000_000, 100_000_000)
    with Camera(probe, NAMESPACE, info_qos=None) as camera:
        assert managed.transition("activate")
        managed.subscribe("semantic/image")
        camera.wait_for_listener()
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        with_first_model = managed.output("semantic/image", stamp)

        assert managed.set_parameter("model", str(other_model)).successful
        assert managed.set_parameter("precision", "bfloat16").successful
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        assert managed.output("semantic/image", stamp).data == with_first_model.data

        assert managed.transition("deactivate")
        wait_until(lambda: camera.images.get_subscription_count() == 0, "the node to stop listening")
        assert managed.transition("cleanup")
        wait_until(
            lambda: not advertised(probe, managed) - semantic, "no topics beyond what the test subscribes to"
        )
        assert managed.transition("configure") and managed.transition("activate")
        assert json.loads(managed.parameter("labels"))["names"][0] == "Heaven"
        assert managed.values()["model"] == str(other_model)
        camera.wait_for_listener()
        managed.wait_for_value("subscribed outputs", "semantic/image")
        stamp = next(stamps)
        camera.images.publish(image_message(PICTURE, stamp))
        assert managed.output("semantic/image", stamp).data != with_first_model.data
    assert managed.state() == "active"


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("depth_encoding", "32FC3", "depth_encoding is '32FC3', expected one of 32FC1, 16UC1"),
        ("device", "tpu", "device is 'tpu', expected auto, cpu, cuda or cuda:N"),
        ("device", "cuda:99", "device is 'cuda:99', but this machine has"),
        ("model", "/nowhere.safetensors", "model file /nowhere.safetensors does not exist"),
        ("outputs", ["semantic/image", "colour"], "outputs is 'colour', expected one of semantic/image"),
        ("diagnostics_period", 0.0, "diagnostics_period"),
        ("camera_height", -1.0, "camera_height"),
        ("threads", -1, "threads"),
        ("diagnostics_period", "often", "type"),
        ("reliability", "perhaps", "reliability is 'perhaps', expected one of auto, reliable, best_effort"),
        ("labels", "{}", "read-only"),
        ("autostart", True, "read-only"),
    ],
)
def test_a_bad_value_is_rejected_with_a_sentence_and_changes_nothing(
    managed: Geoseg, name: str, value: object, sentence: str
) -> None:
    before = managed.parameter(name)
    result = managed.set_parameter(name, value)
    assert not result.successful
    assert sentence in result.reason
    assert managed.parameter(name) == before


def test_a_clock_that_jumps_back_is_a_time_jump(probe: Probe, managed: Geoseg) -> None:
    clock = probe.publisher("/clock", Clock)
    assert managed.set_parameter("use_sim_time", True).successful
    try:
        wait_until(lambda: clock.get_subscription_count() > 0, "the node to follow /clock")
        time = Clock()
        time.clock.sec = 1000
        clock.publish(time)
        wait_until(lambda: managed.simulated_time() == 1000, "simulated time")
        jumps = managed.count("time jumps")
        time.clock.sec = 900
        clock.publish(time)
        managed.wait_for_count("time jumps", jumps + 1)
    finally:
        assert managed.set_parameter("use_sim_time", False).successful
        probe.withdraw(clock)


def test_an_image_topic_of_a_wrong_type_is_named(probe: Probe, managed: Geoseg) -> None:
    wrong = probe.publisher(f"{NAMESPACE}/image", Clock)
    try:
        sentence = f"{NAMESPACE}/image has type rosgraph_msgs/msg/Clock, expected sensor_msgs/msg/Image"
        wait_until(
            lambda: sentence in managed.status().message, "the wrong type in diagnostics", managed.status
        )
    finally:
        probe.withdraw(wrong)


def test_sigint_ends_it_cleanly(managed: Geoseg, process: NodeProcess) -> None:
    assert process.interrupt() == 0
    assert "Traceback" not in process.text


def test_a_bad_value_at_start_ends_with_one_sentence(model: Path) -> None:
    sentences = {
        "model:=/nowhere.safetensors": "model file /nowhere.safetensors does not exist",
        "diagnostics_period:=-1.0": "diagnostics_period",
    }
    processes = {start_geoseg("/refused", model, parameter): text for parameter, text in sentences.items()}
    try:
        for process, sentence in processes.items():
            assert process.wait() == 2
            assert sentence in process.text
            assert "Traceback" not in process.text
    finally:
        for process in processes:
            process.end()
