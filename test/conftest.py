"""What all tests share: a ROS domain of their own, local discovery, writable logs, the folder of real data.

The ROS variables are set before any test imports rclpy; processes that tests start inherit them.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from geoseg_ros.share import dds_environment

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
DOMAINS = 100

# A shared machine may stall any example: the time of one says nothing.
settings.register_profile("geoseg_ros", deadline=None)
settings.load_profile("geoseg_ros")

# A shell starts background jobs with SIGINT ignored, and children inherit that: tests of Ctrl-C need it heard.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % DOMAINS))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("ROS_LOG_DIR", tempfile.mkdtemp(prefix="geoseg_ros_log_"))
os.environ.update(dds_environment())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of nodes come last: they leave threads in this process, which others may fork."""
    items.sort(key=lambda item: "nodes" in item.path.parts)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout under test."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the checkout; tests that need it are skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real data at {SHARED_DATA}")
    return SHARED_DATA
