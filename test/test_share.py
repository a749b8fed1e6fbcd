"""share.py: where installed files are found, and when the DDS profile is set."""

from __future__ import annotations

from pathlib import Path

import pytest

from geoseg_ros import share
from geoseg_ros.errors import ConfigError
from geoseg_ros.share import dds_environment, share_path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prefix; the module lies outside any checkout, and the environment has nothing of the package."""
    site_packages = tmp_path / "prefix" / "lib" / "python3" / "site-packages" / "geoseg_ros"
    monkeypatch.setattr(share, "__file__", str(site_packages / "share.py"))
    monkeypatch.setattr(share.sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.setattr(share.site, "getuserbase", lambda: str(tmp_path / "user"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    return tmp_path / "prefix"


def _install(prefix: Path, name: str) -> Path:
    file = prefix / "share" / "geoseg_ros" / name
    file.parent.mkdir(parents=True)
    file.write_text("content", encoding="utf-8")
    return file


def test_in_a_checkout(repository: Path) -> None:
    assert share_path("config/fastdds.xml") == repository / "config" / "fastdds.xml"


def test_in_a_python_environment(installed: Path, tmp_path: Path) -> None:
    file = _install(tmp_path / "environment", "config/a.yaml")
    assert share_path("config/a.yaml") == file


def test_in_an_ament_prefix(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _install(installed, "launch/a.launch.xml")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{installed}")
    assert share_path("launch/a.launch.xml") == file


def test_nowhere_names_the_file_and_the_places(installed: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config/a\.yaml") as error:
        share_path("config/a.yaml")
    assert str(tmp_path / "environment" / "share" / "geoseg_ros") in str(error.value)


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, "FASTDDS_DEFAULT_PROFILES_FILE"),
        ({"ROS_DISTRO": "kilted"}, "FASTDDS_DEFAULT_PROFILES_FILE"),
        ({"ROS_DISTRO": "jazzy"}, "FASTRTPS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_profile_is_set_where_the_user_set_nothing(
    repository: Path, environment: dict[str, str], variable: str
) -> None:
    assert dds_environment(environment) == {variable: str(repository / "config" / "fastdds.xml")}


@pytest.mark.parametrize(
    "name", ["FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS"]
)
def test_profile_is_left_to_the_user(name: str) -> None:
    assert dds_environment({name: "mine"}) == {}
