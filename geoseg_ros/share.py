"""Where the installed launch files and configuration lie, and the DDS profile that processes run under."""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from geoseg_ros.errors import ConfigError

PACKAGE = "geoseg_ros"
DDS_PROFILE = "config/fastdds.xml"
# Fast DDS 3 (Kilted and later) reads the first name, Fast DDS 2 (Jazzy, Humble) the second.
DDS_PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
DDS_USER_VARIABLES = (*DDS_PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")


def share_path(name: str) -> Path:
    """The path of a file of the package's share folder, such as ``config/fastdds.xml``.

    Looks in the checkout that this module is imported from, in the Python environment (``pip install``), and in
    the prefixes of ``AMENT_PREFIX_PATH`` (``colcon build``); the first one that has the file wins.

    Raises:
        ConfigError: no place has the file.
    """
    roots = list(_share_roots())
    for root in roots:
        if (root / name).is_file():
            return root / name
    places = ", ".join(str(root) for root in roots)
    raise ConfigError(f"the file {name} of {PACKAGE} is in none of {places}: install the package again")


def dds_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that make Fast DDS carry large images between processes; none where the user set one.

    To be set before a process makes its first ROS node; see ``config/fastdds.xml``.
    """
    if any(environment.get(name) for name in DDS_USER_VARIABLES):
        return {}
    profile = str(share_path(DDS_PROFILE))
    return {name: profile for name in DDS_PROFILE_VARIABLES}


def _share_roots() -> Iterator[Path]:
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "package.xml").is_file():
        yield checkout
    prefixes = [sys.prefix, site.getuserbase(), *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for prefix in prefixes:
        if prefix:
            yield Path(prefix) / "share" / PACKAGE
