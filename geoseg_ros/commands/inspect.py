"""``geoseg inspect FILE``: what a model file is, was trained on, and scores."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HELP = "Show what a model file holds: architecture, labels, input, camera, provenance, scores, licence."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", type=Path, help="model file (.safetensors); the installed default model without it"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the model file's description; BundleError where it is not a sound model file."""
    from geoseg_ros.bundle import default_bundle_path, load_bundle

    path = args.file or default_bundle_path()
    bundle = load_bundle(path)
    if args.json:
        print(json.dumps(describe(bundle, path), indent=2))
    else:
        print_tables(bundle, path)
    return 0


def describe(bundle: Any, path: Path) -> dict[str, Any]:
    """A bundle as plain JSON types, without its weights."""
    from geoseg_ros.bundle import parameter_count

    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "architecture": bundle.architecture,
        "config": bundle.config,
        "parameters": parameter_count(bundle),
        "tensors": len(bundle.weights),
        "labels": bundle.labels.to_dict(),
        "input_size": list(bundle.input_size),
        "camera": bundle.camera.to_dict() if bundle.camera else None,
        "provenance": bundle.provenance,
        "scores": bundle.scores,
        "licence": bundle.licence,
    }


def print_tables(bundle: Any, path: Path) -> None:
    """The description as a table, and the classes with their colours as another."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    facts = describe(bundle, path)
    table = Table(title=Text(printable(path.name)), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows(facts, bundle):
        table.add_row(Text(printable(name)), Text(printable(value)))
    console = Console()
    console.print(table)

    labels = bundle.labels
    classes = Table(title=Text(f"Classes of {printable(labels.name)}"), title_justify="left")
    for heading in ("id", "colour", "name", "moves by itself"):
        classes.add_column(heading, justify="right" if heading == "id" else "left")
    for number, (name, (red, green, blue)) in enumerate(zip(labels.names, labels.palette, strict=True)):
        colour = Text.assemble(("   ", f"on rgb({red},{green},{blue})"), f" {red:3d} {green:3d} {blue:3d}")
        classes.add_row(str(number), colour, Text(printable(name)), "yes" if name in labels.dynamic else "")
    console.print(classes)


def rows(facts: dict[str, Any], bundle: Any) -> Iterator[tuple[str, str]]:
    """Name and value of each line of the table; nested entries become dotted names."""
    width, height = bundle.input_size
    yield "architecture", bundle.architecture
    yield from flatten(bundle.config, "config")
    yield "parameters", f"{facts['parameters']:,} in {facts['tensors']} tensors"
    yield "file size", f"{facts['bytes'] / 1e6:.2f} MB"
    yield "input size", f"{width} x {height} pixels"
    yield "camera", describe_camera(bundle.camera)
    yield from flatten(bundle.provenance, "provenance")
    yield from flatten(bundle.scores, "scores")
    yield "licence", bundle.licence or "not stated"


def describe_camera(camera: Any) -> str:
    """One line on the training camera."""
    if camera is None:
        return "not stated"
    text = f"{camera.width} x {camera.height}, fx {camera.fx:.2f}, fy {camera.fy:.2f}, cx {camera.cx:.2f}, "
    text += f"cy {camera.cy:.2f} pixels"
    return f"{text}, {camera.model} {list(camera.distortion)}" if camera.is_distorted else text


def flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Leaves of nested mappings as (dotted name, text)."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from flatten(child, f"{name}.{key}")
    elif isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
        yield name, ", ".join(map(str, value)) or "none"
    elif isinstance(value, str):
        yield name, value
    else:
        yield name, f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def printable(text: str) -> str:
    """Text of a stranger's file without control characters, which a terminal would obey."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )
