"""The lifecycle node ``geoseg``: camera in; semantics, depth, flow, ego-motion and motion out.

The executor's thread receives images and leaves the newest in a slot; one other thread decodes it, infers
what is subscribed to, and publishes that. Run as ``perception_node`` or ``python -m
geoseg_ros.nodes.perception_node``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from geoseg_ros.allocator import keep_freed_memory
from geoseg_ros.bundle import load_bundle
from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import CameraError, GeosegError, ImageError
from geoseg_ros.messages import OUTPUTS, decode_compressed, decode_image, needed_outputs, output_messages
from geoseg_ros.nodes import process
from geoseg_ros.nodes.cameras import CameraCache
from geoseg_ros.nodes.diagnostics import (
    Diagnostics,
    Problems,
    Report,
    frame_values,
    loss_advice,
    memory_values,
    scale_values,
)
from geoseg_ros.nodes.inference import Inference
from geoseg_ros.nodes.parameters import Parameters
from geoseg_ros.nodes.publishers import LabelPublisher, OutputPublishers
from geoseg_ros.nodes.slot import SlotWorker
from geoseg_ros.nodes.statistics import BAD_INPUT, FAILED, NANOSECONDS, SKIPPED, UNWANTED, Statistics
from geoseg_ros.nodes.subscriptions import Source, TopicInput, image_sources
from geoseg_ros.perception import Perception
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.scale import UNKNOWN, odometry_speed

FORWARD_JUMP = Duration(seconds=5)
CAMERA_PATIENCE = 2.0  # s without a camera before the node complains
ODOMETRY_AGE = 0.5  # s between an odometry message and the image beyond which it says nothing about it
METRIC_OUTPUTS = frozenset({"depth", "motion", "ego_motion"})


@dataclass(frozen=True)
class Frame:
    """An image as it came: the message, its topic, and when it arrived (monotonic seconds)."""

    message: Image | CompressedImage
    topic: str
    arrived: float


class PerceptionNode(LifecycleNode):
    """One camera's perception. ``outputs`` is the default of the parameter of that name."""

    def __init__(self, outputs: Sequence[str] = tuple(OUTPUTS), **options: Any) -> None:
        super().__init__("geoseg", **options)
        self.parameters = Parameters(self, outputs)
        self.problems = Problems(self.get_logger())
        self.statistics = Statistics()
        self.cameras = CameraCache()
        self.inference: Inference | None = None
        self.outputs: OutputPublishers | None = None
        self.label_info: LabelPublisher | None = None
        self.worker: SlotWorker[Frame] | None = None
        self.image_input: TopicInput | None = None
        self.camera_info_input: TopicInput | None = None
        self.odometry_input: TopicInput | None = None
        self._odometry: Odometry | None = None
        self._lifecycle = "unconfigured"
        self._forget = threading.Event()
        self._last_stamp = 0
        self._camera_seen = 0.0
        self._scale = UNKNOWN
        self._jumps = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=FORWARD_JUMP, min_backward=Duration(nanoseconds=-1)),
            post_callback=lambda jump: self._time_jumped(),
        )
        self.diagnostics = Diagnostics(self, self._describe, lambda: self.parameters.diagnostics_period)

    def autostart(self) -> bool:
        """Configure and activate; False where that failed."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and advertise the outputs."""
        try:
            bundle = load_bundle(self.parameters.model_path)
            self.inference = Inference(
                bundle,
                self.parameters.device,
                self.parameters.precision,
                warn=lambda text: self.problems.warn("memory", text),
                camera_height=self.parameters.camera_height,
                threads=self.parameters.threads,
            )
        except (GeosegError, RuntimeError) as error:  # RuntimeError: what torch says of a device
            self.problems.error("configure", f"cannot configure with {self.parameters.model_path}: {error}")
            return TransitionCallbackReturn.FAILURE
        self.parameters.publish_labels(bundle.labels)
        self.labels = bundle.labels
        self.outputs = OutputPublishers(self, self.parameters.outputs, lambda: self.parameters.lazy)
        self.label_info = LabelPublisher(self, bundle.labels)
        self._lifecycle = "inactive"
        self.get_logger().info(f"configured {self.parameters.model_path} on {self.inference.device}")
        if lacking := needed_outputs(self.parameters.outputs) - self.inference.gives:
            self.get_logger().warning(f"the model gives no {', '.join(sorted(lacking))}: topics of that stay silent")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Listen to the camera and start inferring."""
        result = super().on_activate(state)
        self.statistics.start()
        self.cameras.clear()
        self._last_stamp = 0
        self._camera_seen = time.monotonic()
        self._forget.set()
        self.worker = SlotWorker(self._process, self._failed, name="inference")
        self.image_input = TopicInput(
            self,
            lambda: image_sources(self, self.parameters.image_transport),
            self._on_image,
            lambda: self.parameters.reliability,
        )
        camera_info = [Source(self.resolve_topic_name("camera_info"), CameraInfo)]
        self.camera_info_input = TopicInput(
            self, lambda: camera_info, self._on_camera_info, lambda: self.parameters.reliability, latched=True
        )
        odometry = [Source(self.resolve_topic_name("odom"), Odometry)]
        self.odometry_input = TopicInput(
            self, lambda: odometry, self._on_odometry, lambda: self.parameters.reliability
        )
        self._lifecycle = "active"
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and inferring; the model stays."""
        self._stop()
        self._lifecycle = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the model and withdraw the outputs."""
        self._release()
        self._lifecycle = "unconfigured"
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """End from any state."""
        self._stop()
        self._release()
        self._lifecycle = "finalized"
        return super().on_shutdown(state)

    def _stop(self) -> None:
        for topic_input in (self.image_input, self.camera_info_input, self.odometry_input):
            if topic_input is not None:
                topic_input.destroy()
        if self.worker is not None:
            self.worker.stop()
        self.image_input = self.camera_info_input = self.odometry_input = self.worker = None
        self._odometry = None

    def _release(self) -> None:
        for publisher in (self.outputs, self.label_info):
            if publisher is not None:
                publisher.destroy()
        self.outputs = self.label_info = self.inference = None

    # Executor's thread

    def _on_image(self, message: Image | CompressedImage, topic: str) -> None:
        stamp = _nanoseconds(message.header)
        if stamp < self._last_stamp:
            self._time_jumped()
        self._last_stamp = stamp
        self.statistics.received(stamp)
        if self.worker.submit(Frame(message, topic, time.monotonic())):
            self.statistics.dropped(SKIPPED)

    def _on_camera_info(self, message: CameraInfo, topic: str) -> None:
        self.statistics.camera_info_received(_nanoseconds(message.header))
        try:
            self.cameras.add(message, rectified=self.parameters.rectified)
        except CameraError as error:
            uncalibrated = (
                message.k[0] == 0.0
            )  # what a driver without a calibration sends; anything else is a fault
            report = self.problems.warn if uncalibrated else self.problems.error
            report(f"{topic} {message.header.frame_id}", f"{topic}: {error}; no metric output from it")

    def _on_odometry(self, message: Odometry, topic: str) -> None:
        self._odometry = message

    def _time_jumped(self) -> None:
        self.statistics.time_jumped()
        self._forget.set()

    # Inference thread

    def _process(self, frame: Frame) -> None:
        topics = self.outputs.wanted()
        if not topics:
            self.statistics.dropped(UNWANTED)
            self._forget.set()
            return
        begun = time.monotonic()
        try:
            image = _decode(frame.message)
        except ImageError as error:
            self.statistics.dropped(BAD_INPUT)
            self.problems.error(f"{frame.topic} {str(error).split()[0]}", f"{frame.topic}: {error}")
            return
        if self._forget.is_set():
            self._forget.clear()
            self.inference.run(lambda pipeline: pipeline.reset())
        header = frame.message.header
        camera = self._camera_of(frame, image.shape[1], image.shape[0], needed_outputs(topics))
        decoded = time.monotonic()
        perception = self.inference.run(
            lambda pipeline: self._step(pipeline, image, camera, header, needed_outputs(topics))
        )
        inferred = time.monotonic()
        messages = output_messages(perception, self.labels, topics, self.parameters.depth_encoding)
        self.outputs.publish(messages, header)
        self._scale = perception.scale
        now = time.monotonic()
        stamp_age = (self.get_clock().now().nanoseconds - perception.stamp) / NANOSECONDS
        stages = {"decode": decoded - begun, **perception.timings, "messages": now - inferred}
        self.statistics.published(inferred - decoded, now - frame.arrived, stamp_age, stages)

    def _step(
        self, pipeline: Pipeline, image: np.ndarray, camera: PinholeCamera | None, header: Any, outputs: frozenset[str]
    ) -> Perception:
        pipeline.motion_method = self.parameters.motion_method
        return pipeline.step(image, camera, _nanoseconds(header), outputs, self._speed_at(header))

    def _speed_at(self, header: Any) -> float | None:
        """m/s from the newest odometry, where it is of the image's time."""
        message = self._odometry
        if message is None:
            return None
        apart = abs(_nanoseconds(message.header) - _nanoseconds(header)) / NANOSECONDS
        return odometry_speed(message) if apart <= ODOMETRY_AGE else None

    def _camera_of(
        self, frame: Frame, width: int, height: int, outputs: frozenset[str]
    ) -> PinholeCamera | None:
        header = frame.message.header
        camera = self.cameras.find(header, width, height)
        now = time.monotonic()
        if camera is not None or not outputs & METRIC_OUTPUTS:
            self._camera_seen = now
        elif now - self._camera_seen > CAMERA_PATIENCE:
            self.problems.warn(
                "camera",
                f"{frame.topic}: image of frame '{header.frame_id}' {width}×{height} has no calibrated "
                f"camera, so no depth, motion or ego-motion; {self.resolve_topic_name('camera_info')} gave "
                f"{self.cameras.describe()}",
            )
        return camera

    def _failed(self, frame: Frame, error: Exception) -> None:
        self.statistics.dropped(FAILED)
        self.problems.error(
            "inference", f"{frame.topic}: inference failed with {type(error).__name__}: {error}"
        )

    # Diagnostics

    def _describe(self) -> Report:
        snapshot = self.statistics.snapshot()
        device = self.inference.device if self.inference else ""
        report = Report(hardware=device or "none")
        report.values = {
            "state": self._lifecycle,
            "device": device,
            "model": str(self.parameters.model_path),
            **scale_values(self._scale),
            "cameras": self.cameras.describe(),
            "subscribed outputs": " ".join(self.outputs.wanted()) if self.outputs else "",
            **frame_values(snapshot),
            **memory_values(device),
        }
        if self._lifecycle != "active":
            report.worsen(DiagnosticStatus.OK, self._lifecycle)
            return report
        if self.inference.degraded:
            report.worsen(DiagnosticStatus.WARN, self.inference.degraded)
        for topic_input in (self.image_input, self.camera_info_input, self.odometry_input):
            if topic_input.problem:
                report.worsen(DiagnosticStatus.ERROR, topic_input.problem)
        if not self.image_input.publishers:
            report.worsen(DiagnosticStatus.WARN, f"nobody publishes {self.image_input.topic}")
        if advice := loss_advice(snapshot, self.image_input.topic):
            report.worsen(DiagnosticStatus.WARN, advice)
        if problem := self.problems.recent():
            report.worsen(*problem)
        return report


def _decode(message: Image | CompressedImage) -> Any:
    return decode_compressed(message) if isinstance(message, CompressedImage) else decode_image(message)


def _nanoseconds(header: Any) -> int:
    return header.stamp.sec * NANOSECONDS + header.stamp.nanosec


def main(args: Sequence[str] | None = None, outputs: Sequence[str] = tuple(OUTPUTS)) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit code."""

    def body(stop: threading.Event) -> int:
        keep_freed_memory()
        node = PerceptionNode(outputs)
        try:
            if node.parameters.autostart and not node.autostart():
                return process.EXIT_ERROR
            process.spin(node, stop)
            return 0
        finally:
            node.trigger_shutdown()
            node.destroy_node()

    return process.run("perception_node", body, args)


if __name__ == "__main__":
    sys.exit(main())
