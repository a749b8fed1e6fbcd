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
PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# Fast DDS 2, of the older ROS distributions, reads another name, which makes Fast DDS 3 warn.
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
OLD_DISTRIBUTIONS = ("humble", "iron", "jazzy")
DDS_USER_VARIABLES = (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")


def share_path(name: str) -> Path:
    """The path of a file of the package's share folder, such as ``config/fastdds.xml``.

    Looks in the checkout that this module is imported from, in the Python environment (``pip install``), and
    in the prefixes of ``AMENT_PREFIX_PATH`` (``colcon build``); the first one that has the file wins.

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
    is_old = environment.get("ROS_DISTRO") in OLD_DISTRIBUTIONS
    return {OLD_PROFILE_VARIABLE if is_old else PROFILE_VARIABLE: str(share_path(DDS_PROFILE))}


def _share_roots() -> Iterator[Path]:
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "package.xml").is_file():
        yield checkout
    prefixes = [sys.prefix, site.getuserbase(), *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    for prefix in prefixes:
        if prefix:
            yield Path(prefix) / "share" / PACKAGE
