"""The dependency rule of the architecture, held against the imports of every source file.

Arrows go down only: networks, geometry, labels and the model file know nothing of ROS, bags or training;
rclpy lives in nodes/ alone; training/ may import everything but nodes/; nothing imports training/ but the
commands, inside functions.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "geoseg_ros"
TRAINING = f"{PACKAGE}.training"
NODES = f"{PACKAGE}.nodes"
COMMANDS = f"{PACKAGE}.commands"

# The rooms at the bottom, and all that they may import of this package.
BOTTOM_NAMES = ("networks", "camera", "distortion", "projection", "labels", "bundle", "errors", "__version__")
BOTTOM = tuple(f"{PACKAGE}.{name}" for name in BOTTOM_NAMES)
ROS_ROOTS = {
    "ament_index_python",
    "builtin_interfaces",
    "cv_bridge",
    "launch",
    "launch_ros",
    "launch_xml",
    "message_filters",
    "rcl_interfaces",
    "rclpy",
    "rpyutils",
    "sensor_msgs_py",
}
# Import name -> distribution, where they differ.
DISTRIBUTIONS = {
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "lightning_fabric": "lightning-fabric",
    "yaml": "pyyaml",
}
STANDARD_LIBRARY = {*sys.stdlib_module_names, "compression"}  # compression came with Python 3.14


class Import(NamedTuple):
    """One imported name: by which file and module, inside a function, for type checkers only."""

    file: Path
    line: int
    importer: str
    imported: str
    lazy: bool
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.imported}"


def _module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "training":
        parts = (PACKAGE, *parts)
    return ".".join(part for part in parts if part != "__init__")


def _source_files() -> Iterator[Path]:
    for folder in (PACKAGE, "training"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if (ROOT / PACKAGE / "training") not in file.parents:
                yield file


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _imported_names(node: ast.Import | ast.ImportFrom, module: str, is_package: bool) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        parents = parts[: len(parts) - node.level + (1 if is_package else 0)]
        base = ".".join([*parents, *([node.module] if node.module else [])])
    yield from (f"{base}.{alias.name}" for alias in node.names)


def _imports_of(file: Path) -> Iterator[Import]:
    module = _module_name(file)

    def visit(node: ast.AST, lazy: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                for name in _imported_names(child, module, file.name == "__init__.py"):
                    yield Import(file, child.lineno, module, name, lazy, typing_only)
            elif isinstance(child, ast.If) and _is_type_checking(child.test):
                yield from visit(child, lazy, True)
            else:
                is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from visit(child, lazy or is_function, typing_only)

    yield from visit(ast.parse(file.read_text(encoding="utf-8")), False, False)


def _inside(name: str, *rooms: str) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def _is_ros(name: str) -> bool:
    root = name.split(".")[0]
    return root in ROS_ROOTS or root.endswith("_msgs")


def _none(violations: list[Import]) -> None:
    assert not violations, "\n".join(map(str, violations))


@pytest.fixture(scope="module")
def imports() -> list[Import]:
    found = [item for file in _source_files() for item in _imports_of(file)]
    assert len({item.file for item in found}) > 10
    return found


def test_bottom_rooms_import_only_each_other(imports: list[Import]) -> None:
    _none(
        [
            item
            for item in imports
            if _inside(item.importer, *BOTTOM)
            and _inside(item.imported, PACKAGE)
            and not _inside(item.imported, *BOTTOM)
        ]
    )


def test_ros_is_imported_in_nodes_only(imports: list[Import]) -> None:
    _none([item for item in imports if _is_ros(item.imported) and not _inside(item.importer, NODES)])


def test_nodes_are_imported_by_nodes_only(imports: list[Import]) -> None:
    _none([item for item in imports if _inside(item.imported, NODES) and not _inside(item.importer, NODES)])


def test_training_is_imported_by_commands_lazily_only(imports: list[Import]) -> None:
    _none(
        [
            item
            for item in imports
            if _inside(item.imported, TRAINING)
            and not _inside(item.importer, TRAINING)
            and not (_inside(item.importer, COMMANDS) and item.lazy)
        ]
    )


def test_training_is_imported_by_its_full_name(imports: list[Import]) -> None:
    _none([item for item in imports if _inside(item.imported, "training", "test", "benchmarks")])


def test_commands_are_imported_by_the_command_line_only(imports: list[Import]) -> None:
    _none(
        [
            item
            for item in imports
            if _inside(item.imported, COMMANDS) and not _inside(item.importer, COMMANDS, f"{PACKAGE}.cli")
        ]
    )


def test_no_import_cycles(imports: list[Import]) -> None:
    modules = {_module_name(file) for file in _source_files()}
    arrows: dict[str, set[str]] = {module: set() for module in modules}
    for item in imports:
        if not item.typing_only and not item.lazy:
            target = item.imported if item.imported in modules else item.imported.rpartition(".")[0]
            # A package's own modules may import names of it: its __init__ is then loaded already.
            if target in modules and not item.importer.startswith(f"{target}."):
                arrows[item.importer].add(target)

    def find_cycle(module: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if module in path:
            return (*path[path.index(module) :], module)
        if module in done:
            return None
        for target in sorted(arrows[module] - {module}):
            cycle = find_cycle(target, (*path, module))
            if cycle:
                return cycle
        done.add(module)
        return None

    done: set[str] = set()
    cycles = [cycle for module in sorted(modules) if (cycle := find_cycle(module, ()))]
    assert not cycles, " -> ".join(cycles[0])


def _declared(names: tuple[str, ...]) -> set[str]:
    """The distributions that setup.py requires, for the runtime ("") and for each of these extras."""
    tables = {}
    for node in ast.parse((ROOT / "setup.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("RUNTIME", "EXTRAS"):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    tables["EXTRAS"][""] = tables["RUNTIME"]
    requirements = [requirement for name in names for requirement in tables["EXTRAS"][name]]
    return {re.match(r"[A-Za-z0-9._-]+", requirement).group().lower() for requirement in requirements}


def _third_party(imports: list[Import]) -> Iterator[tuple[Import, str]]:
    for item in imports:
        root = item.imported.split(".")[0]
        if root not in STANDARD_LIBRARY and root != PACKAGE and not _is_ros(root) and not item.typing_only:
            yield item, DISTRIBUTIONS.get(root, root)


def test_every_third_party_import_is_declared(imports: list[Import]) -> None:
    declared = _declared(("", "onnx", "sim", "train"))
    _none([item for item, distribution in _third_party(imports) if distribution not in declared])


def test_every_third_party_import_of_the_tests_is_declared() -> None:
    files = sorted((ROOT / "test").rglob("*.py"))
    imports = [item for file in files for item in _imports_of(file)]
    declared = _declared(("", "onnx", "sim", "train", "test")) | {file.stem for file in files}
    _none([item for item, distribution in _third_party(imports) if distribution not in declared])


def test_runtime_imports_need_no_extra(imports: list[Import]) -> None:
    declared = _declared(("",))
    _none(
        [
            item
            for item, distribution in _third_party(imports)
            if distribution not in declared
            and not item.lazy
            and not _inside(item.importer, TRAINING, f"{PACKAGE}.backends")
        ]
    )
