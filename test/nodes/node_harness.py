"""Real nodes in processes of their own, and a node of the test beside them. Waits on states, not on time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter, SetParametersResult
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter as PythonParameter
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from geoseg_ros.messages import OUTPUTS, encode_image
from geoseg_ros.nodes.message_types import fill, message_class

DEADLINE = 60.0
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
FRAME_ID = "front_camera_optical"


class NodeProcess:
    """``python -m <module>`` in a process of its own; its output is kept in ``text``."""

    def __init__(self, module: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """``environment`` changes the test's own; an empty value removes a variable."""
        self._lines: list[str] = []
        environment = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={name: value for name, value in environment.items() if value},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What the process wrote so far."""
        return "".join(self._lines)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for_text(self, text: str) -> None:
        wait_until(
            lambda: text in self.text or not self.running, f"the process to write {text!r}", lambda: self.text
        )
        assert text in self.text, self.text

    def interrupt(self) -> int:
        """SIGINT, then the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit code of a process that ends by itself."""
        try:
            code = self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"the process did not end:\n{self.text}") from None
        self._reader.join()
        return code

    def end(self) -> None:
        """Leave no process behind."""
        if self.running:
            self._process.kill()
        self.wait()

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.append(line)


def wait_until(
    done: Callable[[], Any], what: str, explain: Callable[[], Any] = str, deadline: float = DEADLINE
) -> Any:
    """The first true value of ``done()``; fails with ``what`` and ``explain()`` after the deadline."""
    end = time.monotonic() + deadline
    while not (value := done()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline:g} s for {what}\n{explain()}")
        time.sleep(0.005)
    return value


class Probe:
    """A node of the test, spinning in a thread of its own."""

    def __init__(self) -> None:
        self.node: Node = rclpy.create_node("probe")
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()

    def subscribe(self, topic: str, kind: type, qos: QoSProfile = RELIABLE) -> Any:
        """Collect a topic's messages in ``received[topic]``; returns the subscription."""
        return self._do(self.node.create_subscription, kind, topic, self.received[topic].append, qos)

    def unsubscribe(self, *subscriptions: Any) -> None:
        for subscription in subscriptions:
            self._do(self.node.destroy_subscription, subscription)

    def publisher(self, topic: str, kind: type, qos: QoSProfile = RELIABLE) -> Any:
        return self._do(self.node.create_publisher, kind, topic, qos)

    def withdraw(self, publisher: Any) -> None:
        self._do(self.node.destroy_publisher, publisher)

    def call(self, kind: type, service: str, request: Any) -> Any:
        """The response of a service."""
        client = self._do(self.node.create_client, kind, service)
        try:
            wait_until(client.service_is_ready, f"service {service}")
            future = client.call_async(request)
            wait_until(future.done, f"an answer of {service}")
            return future.result()
        finally:
            self._do(self.node.destroy_client, client)

    def _do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call in the spinning thread: rclpy cannot add or remove while another thread waits on what there is."""
        task = self._executor.create_task(call, *arguments)
        wait_until(task.done, f"{call.__name__} in the probe's thread")
        return task.result()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return


class Geoseg:
    """The node under test, named ``<namespace>/geoseg``, as seen from outside."""

    def __init__(self, probe: Probe, namespace: str) -> None:
        self.probe = probe
        self.name = f"{namespace}/geoseg"
        self.namespace = namespace
        self._subscriptions: dict[str, Any] = {}
        self._diagnostics = probe.subscribe("/diagnostics", DiagnosticArray)

    def close(self) -> None:
        """Stop listening and forget what came."""
        self.probe.unsubscribe(self._diagnostics, *self._subscriptions.values())
        self.forget()

    def forget(self) -> None:
        """Forget the messages received so far."""
        for messages in self.probe.received.values():
            messages.clear()

    def subscribe(self, *topics: str) -> None:
        """Listen to outputs, to exactly these."""
        for topic in set(self._subscriptions) - set(topics):
            self.probe.unsubscribe(self._subscriptions.pop(topic))
        for topic in topics:
            if topic not in self._subscriptions:
                self._subscriptions[topic] = self.probe.subscribe(
                    f"{self.name}/{topic}", message_class(OUTPUTS[topic].type)
                )
        self.wait_for_value("subscribed outputs", " ".join(topic for topic in OUTPUTS if topic in topics))

    def output(self, topic: str, stamp: int, deadline: float = DEADLINE) -> Any:
        """The message on an output that carries this stamp."""
        received = self.probe.received[f"{self.name}/{topic}"]
        return wait_until(
            lambda: next((message for message in received if nanoseconds(message.header) == stamp), None),
            f"{topic} of stamp {stamp}",
            lambda: (self.values(), [nanoseconds(message.header) for message in received]),
            deadline,
        )

    def stamps(self, topic: str) -> list[int]:
        """The stamps received on an output."""
        return [nanoseconds(message.header) for message in self.probe.received[f"{self.name}/{topic}"]]

    def report(self) -> DiagnosticArray | None:
        """The latest diagnostics of the node."""
        name = f"{self.name.lstrip('/')}: perception"
        reports = reversed(self.probe.received["/diagnostics"])
        return next((message for message in reports if message.status[0].name == name), None)

    def status(self) -> DiagnosticStatus | None:
        """The latest diagnostic status of the node."""
        report = self.report()
        return None if report is None else report.status[0]

    def values(self) -> dict[str, str]:
        """The latest diagnostic values."""
        status = self.status()
        return {} if status is None else {item.key: item.value for item in status.values}

    def simulated_time(self) -> int:
        """The node's time in whole seconds, from its diagnostics."""
        return self.report().header.stamp.sec

    def count(self, key: str) -> int:
        """A count among the diagnostic values."""
        return int(self.values().get(key, 0))

    def wait_for_value(self, key: str, value: str) -> None:
        wait_until(
            lambda: self.values().get(key) == value, f"diagnostics to show {key} = {value}", self.values
        )

    def wait_for_camera(self, frame_id: str) -> None:
        wait_until(
            lambda: f"'{frame_id}'" in self.values()["cameras"], f"the camera of {frame_id}", self.values
        )

    def wait_for_count(self, key: str, at_least: int) -> None:
        wait_until(
            lambda: self.count(key) >= at_least, f"diagnostics to show {key} ≥ {at_least}", self.values
        )

    def settled_counts(self) -> dict[str, int]:
        """Counts once no image is under way: received = processed + dropped, in a report made after this call."""
        for _ in range(2):  # the first new report may have been on its way already
            latest = self.report()
            wait_until(lambda: self.report() is not latest, "the next diagnostics", self.values)

        def settled() -> bool:
            values = self.values()
            dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped: "))
            return int(values["images received"]) == int(values["images processed"]) + dropped

        wait_until(settled, "all images to be processed or dropped", self.values)
        return {key: int(value) for key, value in self.values().items() if value.isdecimal()}

    def transition(self, label: str) -> bool:
        """Ask for a lifecycle transition; whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = label
        return self.probe.call(ChangeState, f"{self.name}/change_state", request).success

    def state(self) -> str:
        return self.probe.call(GetState, f"{self.name}/get_state", GetState.Request()).current_state.label

    def set_parameter(self, name: str, value: Any) -> SetParametersResult:
        parameter: Parameter = PythonParameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        return self.probe.call(SetParameters, f"{self.name}/set_parameters", request).results[0]

    def parameter(self, name: str) -> Any:
        request = GetParameters.Request(names=[name])
        return parameter_value_to_python(
            self.probe.call(GetParameters, f"{self.name}/get_parameters", request).values[0]
        )


class Camera:
    """Publishes images and camera_info like a camera driver."""

    def __init__(
        self,
        probe: Probe,
        namespace: str,
        qos: QoSProfile = RELIABLE,
        compressed: bool = False,
        info_qos: QoSProfile | None = RELIABLE,
        topic: str = "",
    ) -> None:
        self._probe = probe
        topic = f"{namespace}/{topic or ('image/compressed' if compressed else 'image')}"
        self.images = probe.publisher(topic, CompressedImage if compressed else Image, qos)
        self.infos = None
        if info_qos is not None:
            self.infos = probe.publisher(f"{namespace}/camera_info", CameraInfo, info_qos)

    def wait_for_listener(self) -> None:
        """Until the node under test is subscribed to all of this with the reliability that is offered."""
        for publisher in (self.images, self.infos):
            if publisher is not None:
                wait_until(lambda: self._is_heard(publisher), f"a subscriber of {publisher.topic_name}")

    def listener_reliabilities(self, publisher: Any) -> list[ReliabilityPolicy]:
        """How those who subscribe to a publisher's topic do so."""
        endpoints = self._probe.node.get_subscriptions_info_by_topic(publisher.topic_name)
        return [endpoint.qos_profile.reliability for endpoint in endpoints]

    def _is_heard(self, publisher: Any) -> bool:
        joined = self.listener_reliabilities(publisher) == [publisher.qos_profile.reliability]
        return joined and publisher.get_subscription_count() == 1

    def close(self) -> None:
        for publisher in (self.images, self.infos):
            if publisher is not None:
                self._probe.withdraw(publisher)

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def image_message(picture: np.ndarray, stamp: int, encoding: str = "rgb8", frame_id: str = FRAME_ID) -> Image:
    """A raw image message."""
    return stamped(fill(Image(), encode_image(picture, encoding)), stamp, frame_id)


def compressed_message(data: bytes, stamp: int, kind: str) -> CompressedImage:
    return stamped(CompressedImage(format=kind, data=array("B", data)), stamp, FRAME_ID)


def camera_info_message(fields: dict[str, Any], stamp: int, frame_id: str = FRAME_ID) -> CameraInfo:
    return stamped(fill(CameraInfo(), fields), stamp, frame_id)


def stamped(message: Any, stamp: int, frame_id: str) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    message.header.frame_id = frame_id
    return message


def nanoseconds(header: Any) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def start_geoseg(
    namespace: str, model: Path, *parameters: str, module: str = "perception_node"
) -> NodeProcess:
    """Start a node of ours below ``namespace``."""
    arguments = [
        "--ros-args",
        "-r",
        f"__ns:={namespace}",
        "-p",
        f"model:={model}",
        "-p",
        "diagnostics_period:=0.1",
        "-p",
        "precision:=float32",  # whose results do not depend on how many threads share the work
    ]
    for parameter in parameters:
        arguments += ["-p", parameter]
    return NodeProcess(f"geoseg_ros.nodes.{module}", *arguments)
