"""README.md, held against the code: topics, parameters, commands, files.

Run as a script, this writes the parameter table.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg_ros.cli import COMMANDS, build_parser
from geoseg_ros.messages import OUTPUTS
from geoseg_ros.training.config import load_recipe, with_bags

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PARAMETERS_BEGIN, PARAMETERS_END = "<!-- parameters -->\n", "<!-- /parameters -->"


def _section(text: str, title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]


def _geoseg_commands(text: str) -> Iterator[list[str]]:
    """The arguments of every geoseg command in shell blocks."""
    blocks = re.findall(r"^ *```bash\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    for line in "".join(blocks).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        names = [i for i, word in enumerate(words) if Path(word).name in ("geoseg", "geoseg_ros.cli")]
        if names:
            yield words[names[0] + 1 :]


def _with_parameter_table(text: str) -> str:
    from geoseg_ros.nodes.parameters import parameter_table

    before, rest = text.split(PARAMETERS_BEGIN)
    after = rest.split(PARAMETERS_END)[1]
    return f"{before}{PARAMETERS_BEGIN}{parameter_table()}{PARAMETERS_END}{after}"


@pytest.fixture(scope="module")
def readme() -> str:
    return README.read_text(encoding="utf-8")


def test_parameter_table_is_generated(readme: str) -> None:
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    assert _with_parameter_table(readme) == readme, "run .venv/bin/python test/test_readme.py"


def test_topic_table_has_every_output_with_its_type(readme: str) -> None:
    table = dict(re.findall(r"^\| `~/([\w/]+)` \| ([^|]*?) \|", _section(readme, "Topics"), re.MULTILINE))
    assert set(table) == {*OUTPUTS, "semantic/label_info"}
    for topic, output in OUTPUTS.items():
        assert output.type.split("/")[-1] in table[topic], topic


def test_command_table_has_every_command(readme: str) -> None:
    assert re.findall(r"^\| `geoseg (\w+)` \|", readme, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("name", ["README.md", "training/recipes/README.md"])
def test_commands_are_understood_and_their_recipes_exist(name: str) -> None:
    commands = list(_geoseg_commands((ROOT / name).read_text(encoding="utf-8")))
    assert len(commands) >= 8
    for words in commands:
        args = build_parser().parse_args(words)
        if args.command == "train":
            recipe = load_recipe(args.recipe, args.overrides)
            if args.bag:
                bags = with_bags(recipe, args.bag).data["bags"]
                assert bags["batch"] > 0 and bags["three_frames"], words


def test_launch_arguments_are_named(readme: str) -> None:
    arguments = re.findall(
        r'<arg name="(\w+)"', (ROOT / "launch/perception.launch.xml").read_text(encoding="utf-8")
    )
    section = _section(readme, "On a ROS machine")
    assert [name for name in arguments if f"`{name}`" not in section] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_to_files(name: str) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / name).read_text(encoding="utf-8"))
    assert [target for target in targets if not (ROOT / target).exists()] == []


if __name__ == "__main__":
    README.write_text(_with_parameter_table(README.read_text(encoding="utf-8")), encoding="utf-8")
