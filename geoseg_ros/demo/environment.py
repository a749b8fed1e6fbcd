"""The environment of child processes: an own ROS domain, this machine only, images through shared memory."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from pathlib import Path

from geoseg_ros.errors import ProcessError
from geoseg_ros.share import dds_environment

LARGEST_DOMAIN = 101
"""Higher domains have UDP ports that Linux hands out to others."""
_PORT_BASE, _DOMAIN_GAIN, _UNICAST_OFFSET = (
    7400,
    250,
    10,
)  # RTPS 2.5, 9.6.2.3: ports of a domain's first participant


def private_environment(
    log_folder: Path, domain: int | None = None, base: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """A copy of ``base`` in which ROS processes see only each other.

    :param domain: ROS domain id; by default one that nobody on this machine uses.
    :raises ProcessError: every domain is in use.
    """
    return {
        **base,
        **dds_environment(base),
        "ROS_DOMAIN_ID": str(free_domain() if domain is None else domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(log_folder),
        "PYTHONUNBUFFERED": "1",
    }


def free_domain() -> int:
    """A ROS domain id whose first participant's port nobody on this machine holds, drawn at random."""
    for domain in random.sample(range(1, LARGEST_DOMAIN + 1), LARGEST_DOMAIN):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", _PORT_BASE + _DOMAIN_GAIN * domain + _UNICAST_OFFSET))
            except OSError:
                continue
        return domain
    raise ProcessError(
        f"ROS domains 1 to {LARGEST_DOMAIN} are all in use on this machine, expected a free one"
    )
