"""Launch files, parameter file and RViz view, held against the real entry points, parameters and topics.

The files are read as XML and YAML, so this runs without `launch`; where it is installed, it parses them too.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from geoseg_ros.messages import OUTPUTS
from geoseg_ros.share import dds_environment, share_path

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.xml"))
NODE_NAME = "geoseg"
SHARE = "$(find-pkg-share geoseg_ros)/"
RVIZ_CLASSES = {
    "sensor_msgs/msg/Image": "rviz_default_plugins/Image",
    "sensor_msgs/msg/PointCloud2": "rviz_default_plugins/PointCloud2",
}


def _parse(file: Path) -> ElementTree.Element:
    return ElementTree.parse(file).getroot()


def _arguments(file: Path) -> dict[str, str | None]:
    """The launch arguments that a file declares, with their defaults."""
    return {arg.get("name"): arg.get("default") for arg in _parse(file).findall("arg")}


def _attributes(file: Path) -> list[str]:
    return [value for element in _parse(file).iter() for value in element.attrib.values()]


def _substitute(text: str, values: dict[str, str | None]) -> str:
    """``text`` with launch variables replaced."""
    return re.sub(r"\$\(var (\w+)\)", lambda match: values[match[1]], text)


def _nodes(executable: str) -> list[tuple[Path, ElementTree.Element]]:
    nodes = [(file, node) for file in LAUNCH_FILES for node in _parse(file).iter("node")]
    return [(file, node) for file, node in nodes if node.get("exec") == executable]


def _scripts() -> dict[str, str]:
    """Console scripts of setup.py: name -> module."""
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "NODES":
            return {name: f"geoseg_ros.nodes.{name}" for name in ast.literal_eval(node.value)}
    raise AssertionError("setup.py names no NODES")


def test_the_launch_files_are_there() -> None:
    assert [file.name for file in LAUNCH_FILES] == ["perception.launch.xml", "replay.launch.xml"]


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_executables_are_entry_points(file: Path) -> None:
    executables = [node.get("exec") for node in _parse(file).iter("node") if node.get("pkg") == "geoseg_ros"]
    assert executables
    assert set(executables) <= set(_scripts())


def test_entry_points_have_a_main() -> None:
    for module in _scripts().values():
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        assert "main" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, module


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_variables_are_declared(file: Path) -> None:
    declared = set(_arguments(file)) | {element.get("name") for element in _parse(file).iter("let")}
    used = {name for value in _attributes(file) for name in re.findall(r"\$\(var (\w+)\)", value)}
    assert used <= declared
    assert set(_arguments(file)) <= used, "an argument that nothing uses"


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_every_argument_is_described(file: Path) -> None:
    assert all(arg.get("description") for arg in _parse(file).findall("arg"))


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_files_of_the_package_exist(file: Path) -> None:
    names = [
        name for value in _attributes(file) for name in re.findall(rf"{re.escape(SHARE)}([\w./-]+)", value)
    ]
    assert names
    for name in names:
        assert share_path(name).is_file()


def test_perception_arguments() -> None:
    arguments = _arguments(ROOT / "launch" / "perception.launch.xml")
    assert {"image", "camera_info", "model", "device", "namespace", "params_file"} <= set(arguments)
    assert None not in arguments.values()


def test_includes_pass_arguments_that_exist() -> None:
    includes = [include for file in LAUNCH_FILES for include in _parse(file).iter("include")]
    assert includes
    for include in includes:
        included = share_path(include.get("file").removeprefix(SHARE))
        assert {arg.get("name") for arg in include.findall("arg")} <= set(_arguments(included))


def _input_names() -> set[str]:
    """The relative names that the perception node's sources resolve, before remapping."""
    names = set()
    for file in ("perception_node.py", "subscriptions.py"):
        for node in ast.walk(ast.parse((ROOT / "geoseg_ros" / "nodes" / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "resolve_topic_name":
                names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return names


def test_perception_node_remaps_its_inputs() -> None:
    inputs = _input_names() - {"image/compressed"}  # follows image
    for _, node in _nodes("perception_node"):
        assert node.get("name") == NODE_NAME
        assert {remap.get("from") for remap in node.findall("remap")} == inputs


def test_parameters_are_declared() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from geoseg_ros.nodes.parameters import PARAMETERS

    declarations = {declaration.name: declaration for declaration in PARAMETERS}
    for file, node in _nodes("perception_node"):
        named = [param for param in node.findall("param") if param.get("name")]
        assert named
        for param in named:
            default = declarations[param.get("name")].default
            assert _substitute(param.get("value"), _arguments(file)) == default
            assert param.get("type") == type(default).__name__


def test_parameter_file_holds_the_defaults() -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from geoseg_ros.nodes.parameters import PARAMETERS

    declarations = {declaration.name: declaration for declaration in PARAMETERS}
    content = yaml.safe_load((ROOT / "config" / "perception.param.yaml").read_text(encoding="utf-8"))
    parameters = content["/**"]["ros__parameters"]
    assert parameters
    for name, value in parameters.items():
        assert value == declarations[name].default
        assert type(value) is type(declarations[name].default)


@pytest.mark.parametrize("loop", [True, False])
def test_bag_player_understands_its_arguments(loop: bool) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from geoseg_ros.nodes.bag_player import build_parser

    condition = "if" if loop else "unless"
    ((file, node),) = [item for item in _nodes("bag_player") if item[1].get(condition) == "$(var loop)"]
    arguments = {**_arguments(file), "bag": "street"}
    options = build_parser().parse_args(_substitute(node.get("args"), arguments).split())
    assert (options.bag, options.rate, options.loop) == ("street", 1.0, loop)
    assert options.wait_for == [arguments["camera_info"]]


def test_rviz_shows_topics_that_the_node_publishes() -> None:
    view = yaml.safe_load((ROOT / "config" / "geoseg.rviz").read_text(encoding="utf-8"))
    displays = view["Visualization Manager"]["Displays"]
    shown = {}
    for display in displays:
        if "Topic" in display:
            topic = display["Topic"]["Value"].removeprefix(f"/{NODE_NAME}/")
            assert display["Class"] == RVIZ_CLASSES[OUTPUTS[topic].type]
            shown[topic] = display["Enabled"]
    assert shown == dict.fromkeys(
        ["depth/points", "semantic/color", "depth/color", "flow/color", "motion/mask"], True
    )
    assert [display["Enabled"] for display in displays if display["Name"] == "TF"] == [False]


def test_launch_sets_the_profile_that_nodes_set() -> None:
    (setting,) = _parse(ROOT / "launch" / "perception.launch.xml").iter("set_env")
    assert share_path(setting.get("value").removeprefix(SHARE)) == Path(*dds_environment({}).values())


@pytest.mark.parametrize("file", LAUNCH_FILES, ids=lambda file: file.name)
def test_launch_parses_them(file: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch is not installed")
    pytest.importorskip("launch_xml", reason="launch is not installed")
    from launch.frontend import Parser

    entity, parser = Parser.load(str(file))
    description = parser.parse_description(entity)
    declared = {argument.name for argument in description.get_launch_arguments()}
    assert declared >= set(_arguments(file))
