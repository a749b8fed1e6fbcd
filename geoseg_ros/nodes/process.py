"""The life of a node's process: DDS profile, rclpy, spinning, and a clean end on SIGINT and SIGTERM."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from geoseg_ros.errors import GeosegError
from geoseg_ros.share import dds_environment

EXIT_ERROR = 2
_POLL_PERIOD = 0.1  # s, until a signal is noticed at the latest


@contextmanager
def ros(args: Sequence[str] | None) -> Iterator[threading.Event]:
    """rclpy under the package's DDS profile (or the user's); yields an event that SIGINT and SIGTERM set."""
    os.environ.update(dds_environment())
    os.environ.update(_log_environment())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: stop.set())
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        yield stop
    finally:
        rclpy.try_shutdown()


def _log_environment() -> dict[str, str]:
    """A temporary folder for ROS logs where rclpy could not write the usual one; else nothing."""
    if os.environ.get("ROS_LOG_DIR"):
        return {}
    folder = Path(os.environ.get("ROS_HOME") or Path("~/.ros").expanduser()) / "log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return {}
    except OSError as error:
        temporary = tempfile.mkdtemp(prefix="ros_log_")
        print(f"ROS logs go to {temporary}: {folder} cannot be written ({error.strerror})", file=sys.stderr)
        return {"ROS_LOG_DIR": temporary}


def spin(node: Node, stop: threading.Event) -> None:
    """Execute the node's callbacks, one at a time, until ``stop`` is set."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=_POLL_PERIOD)
    executor.remove_node(node)


def run(name: str, body: Callable[[threading.Event], int], args: Sequence[str] | None = None) -> int:
    """The exit code of ``body(stop)`` under :func:`ros`; errors raised on purpose end as one sentence."""
    try:
        with ros(args) as stop:
            return body(stop)
    except (GeosegError, ParameterException) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_ERROR
