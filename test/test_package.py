"""The package as pip and colcon install it: complete, importable, and a node starts from where it is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

import geoseg_ros

PACKAGED = (
    "LICENSE",
    "README.md",
    "config",
    "geoseg_ros",
    "launch",
    "package.xml",
    "resource",
    "setup.cfg",
    "setup.py",
    "training",
)
SHARED_FOLDERS = ("config", "launch")
NODES = ("bag_player", "depth_node", "motion_node", "perception_node", "segmentation_node")
NODE_START_S = 120.0
NODE_STOP_S = 30.0


@pytest.fixture(scope="module")
def workspace(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colcon workspace with a copy of what the package is made from: no build touches the checkout."""
    workspace = tmp_path_factory.mktemp("workspace")
    source = workspace / "src" / "geoseg_ros"
    source.mkdir(parents=True)
    for name in PACKAGED:
        if (repository / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(repository / name, source / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(repository / name, source / name)
    return workspace


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def _files_of_the_package(repository: Path) -> set[str]:
    """Modules, models and recipes of the checkout, by the names that they have when installed."""
    package = [
        *(repository / "geoseg_ros").rglob("*.py"),
        *(repository / "geoseg_ros/models").glob("*.safetensors"),
    ]
    training = [*(repository / "training").rglob("*.py"), *(repository / "training/recipes").glob("*.yaml")]
    names = {str(file.relative_to(repository)) for file in package}
    return names | {f"geoseg_ros/{file.relative_to(repository)}" for file in training}


@pytest.fixture(scope="module")
def wheel(workspace: Path) -> zipfile.ZipFile:
    """The wheel that pip builds."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    _run(
        [*command, "--wheel-dir", str(workspace / "wheel"), str(workspace / "src" / "geoseg_ros")], workspace
    )
    (file,) = (workspace / "wheel").glob("geoseg_ros-*.whl")
    return zipfile.ZipFile(file)


def test_wheel_has_every_module_model_and_recipe(repository: Path, wheel: zipfile.ZipFile) -> None:
    expected = _files_of_the_package(repository)
    assert len(expected) > 50
    assert expected - set(wheel.namelist()) == set()


def test_wheel_has_the_share_folder(repository: Path, wheel: zipfile.ZipFile) -> None:
    data = f"geoseg_ros-{geoseg_ros.__version__}.data/data/share"
    expected = {f"{data}/geoseg_ros/package.xml", f"{data}/ament_index/resource_index/packages/geoseg_ros"}
    for folder in SHARED_FOLDERS:
        expected |= {f"{data}/geoseg_ros/{folder}/{file.name}" for file in (repository / folder).iterdir()}
    assert {name for name in wheel.namelist() if name.startswith(data)} == expected


def test_wheel_claims_no_other_top_level_name(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {"geoseg_ros"}


def test_wheel_imports_the_linked_training_package(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    check = "import geoseg_ros.training as t; print(t.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "geoseg_ros" / "training" / "__init__.py")


def test_versions_agree(repository: Path) -> None:
    manifest = ElementTree.parse(repository / "package.xml").getroot()
    assert manifest.get("format") == "3"
    assert manifest.findtext("version") == geoseg_ros.__version__
    assert f"## {geoseg_ros.__version__}" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")


def test_manifest_names_the_license(repository: Path) -> None:
    license_ = ElementTree.parse(repository / "package.xml").getroot().find("license")
    assert license_.text == "Apache-2.0"
    text = (repository / license_.get("file")).read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text


@pytest.fixture(scope="module", params=["copied", "symlinked"])
def install(request: pytest.FixtureRequest, workspace: Path) -> Path:
    """What colcon installs, without and with --symlink-install."""
    pytest.importorskip("colcon_ros", reason="colcon is not installed")
    base = workspace / request.param
    command = [sys.executable, "-m", "colcon", f"--log-base={base / 'log'}", "build"]
    command += [f"--build-base={base / 'build'}", f"--install-base={base / 'install'}"]
    _run(command + (["--symlink-install"] if request.param == "symlinked" else []), workspace)
    return base / "install"


def _sourced(install: Path, command: str) -> list[str]:
    return ["bash", "-c", f'. "{install}/setup.sh" && exec {command}']


def test_colcon_installs_scripts_and_share(repository: Path, install: Path) -> None:
    prefix = install / "geoseg_ros"
    assert {file.name for file in (prefix / "lib" / "geoseg_ros").iterdir()} == {"geoseg", *NODES}
    assert (prefix / "share/ament_index/resource_index/packages/geoseg_ros").is_file()
    for folder in SHARED_FOLDERS:
        installed = {file.name for file in (prefix / "share" / "geoseg_ros" / folder).iterdir()}
        assert installed == {file.name for file in (repository / folder).iterdir()}


def test_colcon_install_finds_itself(install: Path, tmp_path: Path) -> None:
    check = (
        "import geoseg_ros.training as t; from geoseg_ros.share import share_path; "
        "print(t.__file__); print(share_path('config/fastdds.xml'))"
    )
    done = subprocess.run(
        _sourced(install, f'"{sys.executable}" -c "{check}"'),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    module, profile = (Path(line) for line in done.stdout.split())
    workspace = install.parent.parent
    assert workspace in module.parents
    assert workspace in profile.parents
    assert profile.is_file()


@pytest.fixture
def installed_node(install: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """perception_node, started from the install folder with the model that comes with the package."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    script = install / "geoseg_ros" / "lib" / "geoseg_ros" / "perception_node"
    with open(tmp_path / "output.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            _sourced(install, f'"{script}" --ros-args -r __node:=installed'),
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_installed_node_starts_and_stops(installed_node: subprocess.Popen[str], tmp_path: Path) -> None:
    import rclpy

    def output() -> str:
        return (tmp_path / "output.txt").read_text(encoding="utf-8")

    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        observer = rclpy.create_node("observer", context=context)
        deadline = time.monotonic() + NODE_START_S
        while not observer.count_publishers("/installed/semantic/image"):
            assert installed_node.poll() is None, f"the node ended:\n{output()}"
            assert time.monotonic() < deadline, f"no output topic after {NODE_START_S} s:\n{output()}"
            time.sleep(0.1)
    finally:
        rclpy.shutdown(context=context)
    installed_node.send_signal(signal.SIGINT)
    assert installed_node.wait(timeout=NODE_STOP_S) == 0, output()
