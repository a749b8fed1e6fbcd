"""The node's parts: slot, statistics, camera cache, memory fallback, parameters, message filling."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("rclpy")

from geometry_msgs.msg import TwistWithCovarianceStamped
from sensor_msgs.msg import Image, PointCloud2

from geoseg_ros.bundle import load_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import UncalibratedCameraError
from geoseg_ros.nodes.cameras import CameraCache
from geoseg_ros.nodes.inference import Inference, OutOfMemory
from geoseg_ros.nodes.message_types import fill, message_class
from geoseg_ros.nodes.parameters import PARAMETERS, parameter_table
from geoseg_ros.nodes.slot import SlotWorker
from geoseg_ros.nodes.statistics import LossEstimator, Rate
from geoseg_ros.pipeline import Pipeline

SECOND = 1_000_000_000


class Gate:
    """A worker's work that waits until it is let go."""

    def __init__(self) -> None:
        self.done: list[object] = []
        self.failed: list[object] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.worker = SlotWorker(
            self._process, lambda item, error: self.failed.append((item, str(error))), "test"
        )

    def _process(self, item: object) -> None:
        self.begun.release()
        assert self.go.acquire(timeout=10.0)
        if item == "bad":
            raise ValueError("no good")
        self.done.append(item)


def test_the_newest_item_wins_and_older_ones_are_told_to_be_skipped() -> None:
    gate = Gate()
    assert gate.worker.submit(0) is False
    assert gate.begun.acquire(timeout=10.0)
    assert [gate.worker.submit(item) for item in (1, 2, 3)] == [False, True, True]
    gate.go.release()
    assert gate.begun.acquire(timeout=10.0)
    gate.go.release()
    gate.worker.stop()
    assert gate.done == [0, 3]


def test_what_the_work_raises_is_reported_and_the_next_item_is_processed() -> None:
    gate = Gate()
    for item in ("bad", "good"):
        gate.worker.submit(item)
        assert gate.begun.acquire(timeout=10.0)
        gate.go.release()
    gate.worker.stop()
    assert gate.failed == [("bad", "no good")]
    assert gate.done == ["good"]


def test_stopping_drops_what_waits() -> None:
    gate = Gate()
    gate.worker.submit("in work")
    assert gate.begun.acquire(timeout=10.0)
    gate.worker.submit("waits")
    stopper = threading.Thread(target=gate.worker.stop)
    stopper.start()
    gate.go.release()
    stopper.join(timeout=10.0)
    assert gate.done in (["in work"], ["in work", "waits"]) and not stopper.is_alive()


def test_a_rate_falls_when_nothing_comes_any_more() -> None:
    rate = Rate()
    for tick in range(21):
        rate.tick(tick * 0.1)
    assert rate.value(2.0) == pytest.approx(10.0)
    assert rate.value(4.0) == pytest.approx(0.5)
    assert rate.value(100.0) == 0.0


@given(
    received=st.lists(st.booleans(), min_size=30, max_size=120),
    jitter=st.floats(0.0, 0.05),
    period=st.integers(SECOND // 120, SECOND // 5),
    seed=st.integers(0, 99),
)
def test_lost_images_are_counted_by_their_camera_info(
    received: list[bool], jitter: float, period: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    stamps = [
        int(index * period + random.uniform(-jitter, jitter) * period / 2) for index in range(len(received))
    ]
    estimator = LossEstimator()
    for stamp, arrives in zip(stamps, received):
        estimator.camera_info(stamp)
        if arrives:
            estimator.image(stamp)
    kept = [index for index, arrives in enumerate(received) if arrives]
    gaps = [b - a for a, b in zip(kept, kept[1:])]
    if len(kept) < 3 or any(gap * period * (1 + jitter) >= 2 * SECOND for gap in gaps):
        return
    assert estimator.estimate() == (sum(gaps) - len(gaps), sum(gaps))


def test_a_steady_camera_and_one_that_pauses_lose_nothing() -> None:
    estimator = LossEstimator()
    for index in range(50):
        estimator.image(index * SECOND // 30 + (10 * SECOND if index > 25 else 0))
    assert estimator.estimate()[0] == 0
    assert LossEstimator().estimate() == (0, 0)


def camera_info(camera: PinholeCamera, stamp: int, frame_id: str) -> SimpleNamespace:
    header = SimpleNamespace(frame_id=frame_id, stamp=SimpleNamespace(sec=stamp, nanosec=0))
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    return SimpleNamespace(**camera.to_camera_info(), header=header, roi=roi, binning_x=0, binning_y=0)


def test_the_camera_of_the_exact_stamp_is_preferred_to_the_latest() -> None:
    cache = CameraCache()
    zooming = [PinholeCamera(64, 48, 50.0 + stamp, 50.0, 32.0, 24.0) for stamp in range(3)]
    for stamp, camera in enumerate(zooming):
        cache.add(camera_info(camera, stamp, "front"), rectified=False)
    cache.add(camera_info(PinholeCamera(64, 48, 99.0, 99.0, 32.0, 24.0), 1, "rear"), rectified=False)
    found = {stamp: cache.find(camera_info(zooming[0], stamp, "front").header, 64, 48) for stamp in (0, 2, 7)}
    assert {stamp: camera.fx for stamp, camera in found.items()} == {0: 50.0, 2: 52.0, 7: 52.0}
    assert cache.find(camera_info(zooming[0], 1, "rear").header, 64, 48).fx == 99.0
    assert cache.find(camera_info(zooming[0], 0, "front").header, 32, 24) is None
    assert cache.find(camera_info(zooming[0], 0, "left").header, 64, 48) is None
    assert cache.describe() == "'front' 64×48, 'rear' 64×48"


def test_an_uncalibrated_camera_info_is_refused_and_the_known_camera_kept() -> None:
    cache = CameraCache()
    camera = PinholeCamera(64, 48, 50.0, 50.0, 32.0, 24.0)
    cache.add(camera_info(camera, 0, "front"), rectified=False)
    uncalibrated = camera_info(camera, 1, "front")
    uncalibrated.k = np.zeros(9)
    with pytest.raises(UncalibratedCameraError):
        cache.add(uncalibrated, rectified=False)
    assert cache.find(uncalibrated.header, 64, 48).fx == 50.0


def test_out_of_memory_goes_on_with_half_the_input_then_the_cpu(model: Path) -> None:
    """A device whose memory holds nothing: the request is answered in the end, on the CPU, and said so."""
    asked: list[tuple[str, int | None]] = []
    warnings: list[str] = []

    class SmallDevice:
        def __init__(
            self, bundle, device: str, precision: str, input_area: int | None, camera_height: float
        ) -> None:
            asked.append((device, input_area))
            assert camera_height == 1.2
            self.device = device
            self._pipeline = Pipeline(bundle, device="cpu", precision=precision, input_area=input_area)

        def warm_up(self, *arguments) -> None:
            self._pipeline.warm_up(*arguments)

        def step(self, *arguments):
            if self.device == "cuda":
                raise OutOfMemory("CUDA out of memory. Tried to allocate 2.00 MiB.")
            return self._pipeline.step(*arguments)

    bundle = load_bundle(model)
    inference = Inference(bundle, "cuda", "float32", warnings.append, create=SmallDevice, camera_height=1.2, threads=1)
    assert torch.get_num_threads() == 1
    assert asked == [("cuda", None)] and not inference.degraded
    image = np.zeros((64, 96, 3), np.uint8)
    perception = inference.run(lambda pipeline: pipeline.step(image, None, 1, {"semantic"}))
    assert perception.semantic.shape == (64, 96)
    assert asked == [("cuda", None), ("cuda", 96 * 64 // 2), ("cpu", None)]
    assert inference.device == "cpu"
    assert warnings == [
        "out of memory with cuda, went on with half the input area (CUDA out of memory)",
        "out of memory with half the input area, went on with the CPU (CUDA out of memory)",
    ]
    assert inference.degraded == warnings[-1]


def test_the_last_way_raises_what_it_cannot_do(model: Path) -> None:
    inference = Inference(load_bundle(model), "cpu", "float32", print)

    def fail(pipeline) -> None:
        raise OutOfMemory("CUDA out of memory.")

    with pytest.raises(OutOfMemory):
        inference.run(fail)


def test_a_message_is_filled_again_in_its_own_memory() -> None:
    fields = {"height": 2, "width": 3, "encoding": "mono8", "step": 3, "data": np.arange(6, dtype=np.uint8)}
    message = fill(Image(), fields)
    data = message.data
    assert isinstance(data, array) and data.tobytes() == bytes(range(6))
    fill(message, {**fields, "data": np.arange(6, 12, dtype=np.uint8)})
    assert message.data is data and data.tobytes() == bytes(range(6, 12))
    fill(message, {**fields, "data": np.zeros(8, np.uint8)})
    assert message.data.tobytes() == bytes(8)


def test_nested_fields_are_filled() -> None:
    twist = fill(
        TwistWithCovarianceStamped(),
        {"twist": {"twist": {"linear": {"x": 1.0, "y": 2.0, "z": 3.0}}, "covariance": np.arange(36.0)}},
    )
    assert twist.twist.twist.linear.y == 2.0 and twist.twist.covariance[35] == 35.0
    cloud = fill(PointCloud2(), {"fields": [{"name": "x", "offset": 4, "datatype": 7, "count": 1}]})
    assert (cloud.fields[0].name, cloud.fields[0].offset) == ("x", 4)


def test_message_classes_are_found_by_name() -> None:
    assert message_class("sensor_msgs/msg/Image") is Image
    assert message_class("no_such_msgs/msg/Image") is None
    assert message_class("sensor_msgs/msg/NoSuchMessage") is None


def test_every_parameter_is_described_and_stands_in_the_table() -> None:
    table = parameter_table()
    for declaration in PARAMETERS:
        assert declaration.description.endswith(".")
        assert f"| `{declaration.name}` |" in table
        if declaration.choices and not isinstance(declaration.default, tuple):
            assert declaration.default in declaration.choices
        if declaration.bounds:
            assert declaration.bounds[0] <= declaration.default <= declaration.bounds[1]
    assert len(table.splitlines()) == len(PARAMETERS) + 2
    assert len({row.count("|") for row in table.splitlines()}) == 1
