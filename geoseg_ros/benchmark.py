"""How long one frame takes: the pipeline stage by stage, and the node over DDS beside it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geoseg_ros.arrivals import read_arrivals
from geoseg_ros.bags import BagReader, BagWriter
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.demo import session
from geoseg_ros.demo.measurement import diagnostic_values, measure

if TYPE_CHECKING:
    from geoseg_ros.pipeline import Pipeline

WARM_UP_FRAMES = 3
SCENE_SEED = 7
DISTINCT_FRAMES = 16
KEEPS_UP_SHARE = 0.95
_CAMERA, _IMAGE = "/camera/camera_info", "/camera/image_raw"
_START_NS = 1_000_000_000


@dataclass(frozen=True)
class Times:
    """Median and 99 % quantile of a duration, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class PipelineTimes:
    """``frames`` calls of ``Pipeline.step`` with all outputs: in total, by stage, and frames per second."""

    frames: int
    total: Times
    stages: Mapping[str, Times]
    rate: float


@dataclass(frozen=True)
class NodeTimes:
    """The node while images came at ``input_rate`` and all outputs were subscribed to.

    age: from the publication of an image to the reception of its last output. inference: ``Pipeline.step``
    inside the node. inside: from the arrival of an image to the last publication, as the node measures it.
    """

    published: int
    answered: int
    input_rate: float
    output_rate: float
    age: Times
    inference: Times
    inside: Times
    drops: Mapping[str, int]

    @property
    def keeps_up(self) -> bool:
        """Whether nearly every image was answered; otherwise ages hold the wait for the frame before."""
        return self.answered >= KEEPS_UP_SHARE * self.published

    def overhead(self, step: Times) -> float:
        """Median age beyond the median of the bare ``Pipeline.step``, seconds."""
        return self.age.p50 - step.p50


def scene(width: int, height: int, index: int) -> np.ndarray:
    """Frame ``index`` of a camera that pans over a random texture: H×W×3 uint8 RGB."""
    rng = np.random.default_rng(SCENE_SEED)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + DISTINCT_FRAMES + 2, 3), dtype=np.uint8)
    wide = np.repeat(np.repeat(coarse, 8, axis=0), 8, axis=1)
    shift = 4 * (index % DISTINCT_FRAMES)
    return np.ascontiguousarray(wide[:height, shift : shift + width])


def scene_camera(width: int, height: int) -> PinholeCamera:
    """A camera with a horizontal field of view of about 82°."""
    focal = 0.58 * width
    return PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, frame_id="camera")


def time_pipeline(pipeline: Pipeline, width: int, height: int, seconds: float) -> PipelineTimes:
    """Step through frames for about ``seconds``, at least one frame, after a warm-up."""
    camera = scene_camera(width, height)
    frames = [scene(width, height, index) for index in range(DISTINCT_FRAMES)]
    pipeline.reset()
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    index, end = 0, math.inf
    while not totals or time.perf_counter() < end:
        if index == WARM_UP_FRAMES:
            end = time.perf_counter() + seconds
        began = time.perf_counter()
        perception = pipeline.step(frames[index % DISTINCT_FRAMES], camera, _START_NS + index * 100_000_000)
        total = time.perf_counter() - began
        if index >= WARM_UP_FRAMES:
            totals.append(total)
            for stage, duration in perception.timings.items():
                stages.setdefault(stage, []).append(duration)
        index += 1
    times = {stage: _times(durations) for stage, durations in stages.items()}
    return PipelineTimes(len(totals), _times(totals), times, len(totals) / sum(totals))


def time_node(
    model: Path,
    device: str,
    width: int,
    height: int,
    seconds: float,
    rate: float,
    precision: str = "auto",
    domain: int | None = None,
    on_state: Callable[[str], None] = lambda text: None,
) -> NodeTimes:
    """Play images at ``rate`` Hz for ``seconds`` to the node, all of whose outputs are subscribed to."""
    with tempfile.TemporaryDirectory(prefix="geoseg_benchmark_") as folder:
        root = Path(folder)
        on_state("writing images")
        count = max(2, round(seconds * rate))
        _write_images(root / "images", width, height, count, rate)
        run = session.Run(
            source=root / "images",
            topics=session.CameraTopics(_IMAGE, _CAMERA),
            bag=root / "diagnostics",
            arrivals=root / "arrivals.csv",
            logs=root / "log",
            stored=(),
            parameters={"model": str(model.resolve()), "device": device, "precision": precision},
            domain=domain,
        )
        session.record(run, on_state, lambda counts: None)
        with BagReader(run.bag) as bag:
            messages = [message for *_, message in bag.messages([session.DIAGNOSTICS])]
        said = diagnostic_values(messages, session.NODE.strip("/"))
        measured = measure(read_arrivals(run.arrivals), _IMAGE, session.NODE, said, count)
    return NodeTimes(
        measured.published,
        measured.answered,
        measured.input_rate,
        measured.output_rate,
        Times(measured.age_p50, measured.age_p99),
        _said(said, "inference"),
        _said(said, "age"),
        measured.drops,
    )


def _write_images(path: Path, width: int, height: int, count: int, rate: float) -> None:
    info = scene_camera(width, height).to_camera_info()
    frames = [scene(width, height, index) for index in range(min(count, DISTINCT_FRAMES))]
    with BagWriter(path, compress=False) as bag:
        for index in range(count):
            stamp = _START_NS + round(index * 1e9 / rate)
            header = {"stamp": stamp, "frame_id": "camera"}
            image = {
                "header": header,
                "height": height,
                "width": width,
                "encoding": "rgb8",
                "step": 3 * width,
                "data": frames[index % len(frames)].reshape(-1),
            }
            bag.write(_CAMERA, "sensor_msgs/msg/CameraInfo", {"header": header, **info}, stamp)
            bag.write(_IMAGE, "sensor_msgs/msg/Image", image, stamp)


def _times(durations: list[float]) -> Times:
    median, late = np.quantile(np.array(durations), (0.5, 0.99))
    return Times(float(median), float(late))


def _said(diagnostics: Mapping[str, str], name: str) -> Times:
    """A duration from the node's diagnostics; NaN where it is not there."""
    return Times(*(float(diagnostics.get(f"{name} {share} [ms]", "nan")) * 1e-3 for share in ("p50", "p99")))
