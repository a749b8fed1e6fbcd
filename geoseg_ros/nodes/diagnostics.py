"""What the node says on ``/diagnostics``: state, rates, ages, drops by cause, device, memory, losses."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.node import Node

from geoseg_ros.nodes.statistics import Snapshot
from geoseg_ros.scale import Scale
from geoseg_ros.share import dds_environment

LOG_PERIOD = 5.0  # s, between two log lines about the same thing
FORGET_PERIOD = 60.0  # s, after which nobody asks how many more there were
RECENT = 10.0  # s, for which a problem stays in diagnostics
LOSS_WORTH_A_WARNING = 0.2
MEBIBYTE = 1 << 20


class Problems:
    """Errors and warnings, logged at most every :data:`LOG_PERIOD` seconds by key, the latest kept."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._logged: dict[str, tuple[float, int]] = {}  # when, and how many were held back since
        self._latest: tuple[float, bytes, str] | None = None

    def error(self, key: str, text: str) -> None:
        """Something that went wrong; ``key`` says what is the same thing."""
        if note := self._note(key, DiagnosticStatus.ERROR, text):
            self._logger.error(note)

    def warn(self, key: str, text: str) -> None:
        """Something that is less than it should be."""
        if note := self._note(key, DiagnosticStatus.WARN, text):
            self._logger.warning(note)

    def recent(self) -> tuple[bytes, str] | None:
        """Level and text of the latest problem, None where it is longer ago than :data:`RECENT` seconds."""
        with self._lock:
            if self._latest is None or time.monotonic() - self._latest[0] > RECENT:
                return None
            return self._latest[1:]

    def _note(self, key: str, level: bytes, text: str) -> str:
        """The line to log, empty where one about the same was logged a moment ago."""
        now = time.monotonic()
        with self._lock:
            self._latest = (now, level, text)
            logged, repeated = self._logged.get(key, (-LOG_PERIOD, 0))
            if now - logged < LOG_PERIOD:
                self._logged[key] = (logged, repeated + 1)
                return ""
            self._logged = {
                other: entry for other, entry in self._logged.items() if now - entry[0] < FORGET_PERIOD
            }
            self._logged[key] = (now, 0)
        return f"{text} ({repeated} more like this since the last message)" if repeated else text


@dataclass
class Report:
    """One status to publish."""

    hardware: str
    level: bytes = DiagnosticStatus.OK
    message: str = ""
    values: dict[str, str] = field(default_factory=dict)

    def worsen(self, level: bytes, message: str) -> None:
        """Add a finding; the worst level counts and its message comes first."""
        worse = level > self.level
        parts = [message, self.message] if worse else [self.message, message]
        self.message = "; ".join(part for part in parts if part)
        self.level = max(level, self.level)


class Diagnostics:
    """Publishes ``describe()`` periodically, in wall time."""

    def __init__(self, node: Node, describe: Callable[[], Report], period: Callable[[], float]) -> None:
        self._node = node
        self._describe = describe
        self._period = period
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(
            period(), self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def _publish(self) -> None:
        self._timer.timer_period_ns = int(self._period() * 1e9)
        report = self._describe()
        status = DiagnosticStatus(
            level=report.level,
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: perception",
            message=report.message or "running",
            hardware_id=report.hardware,
            values=[KeyValue(key=key, value=value) for key, value in report.values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)


def frame_values(snapshot: Snapshot) -> dict[str, str]:
    """The statistics as diagnostic values; their keys carry the units."""
    values = {
        "images received": str(snapshot.received),
        "images processed": str(snapshot.published),
        **{f"dropped: {cause}": str(count) for cause, count in snapshot.drops.items()},
        "lost before the node": f"{snapshot.lost} of {snapshot.sent}",
        "time jumps": str(snapshot.time_jumps),
        "input rate [Hz]": f"{snapshot.input_rate:.2f}",
        "output rate [Hz]": f"{snapshot.output_rate:.2f}",
    }
    quantiles = {"inference": snapshot.inference, "age": snapshot.age, "age since stamp": snapshot.stamp_age}
    for name, (median, late) in quantiles.items():
        values[f"{name} p50 [ms]"] = f"{median * 1e3:.1f}"
        values[f"{name} p99 [ms]"] = f"{late * 1e3:.1f}"
    values.update(
        {f"stage {stage} [ms]": f"{seconds * 1e3:.1f}" for stage, seconds in snapshot.stages.items()}
    )
    return values


def memory_values(device: str) -> dict[str, str]:
    """Memory of this process, and what torch has allocated on the GPU."""
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * resource.getpagesize()
    values = {"memory [MiB]": f"{resident / MEBIBYTE:.0f}"}
    if device.startswith("cuda"):
        values["device memory [MiB]"] = f"{torch.cuda.memory_allocated(device) / MEBIBYTE:.0f}"
    return values


def scale_values(scale: Scale) -> dict[str, str]:
    """What the metres of depth and ego-motion rest on, and the probability that they are right within 10 %."""
    return {"scale source": scale.source, "scale confidence": f"{scale.confidence:.2f}"}


def loss_advice(snapshot: Snapshot, topic: str) -> str:
    """What to do about images that were sent but not received; empty where too few are missing."""
    if snapshot.lost <= LOSS_WORTH_A_WARNING * snapshot.sent:
        return ""
    profile = dds_environment({"ROS_DISTRO": os.environ.get("ROS_DISTRO", "")})
    settings = " ".join(f"{name}={path}" for name, path in profile.items())
    return (
        f"{snapshot.lost} of {snapshot.sent} images on {topic} were lost before this node: start the "
        f"camera's process with {settings} (Fast DDS), or lower its rate or resolution"
    )
