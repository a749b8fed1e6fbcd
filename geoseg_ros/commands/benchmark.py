"""``geoseg benchmark``: times of the pipeline's stages, and of the node over DDS beside them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from geoseg_ros.benchmark import NodeTimes, PipelineTimes, Times

HELP = "Time the pipeline stage by stage, and the node over DDS with all outputs subscribed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", metavar="FILE", help="model file (default: the one that comes with the package)"
    )
    parser.add_argument(
        "--size", type=_size, default=(640, 192), metavar="WxH", help="image size (default 640x192)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--precision", default="auto", help="auto, float32, float16 or bfloat16")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each part takes (default 5)")
    parser.add_argument(
        "--node",
        action=argparse.BooleanOptionalAction,
        help="time the node, too (default: where ROS is installed)",
    )
    parser.add_argument(
        "--rate", type=float, default=10.0, help="images per second sent to the node (default 10)"
    )
    parser.add_argument(
        "--json", metavar="FILE", help="write the numbers, machine, date and command to this file, too"
    )
    parser.add_argument("--domain", type=int, help="ROS domain id (default: one that nobody uses)")


def run(args: argparse.Namespace) -> int:
    """Measure and print; returns 0."""
    from importlib.util import find_spec

    from rich.console import Console

    from geoseg_ros.benchmark import time_node, time_pipeline
    from geoseg_ros.bundle import default_bundle_path
    from geoseg_ros.demo.processes import terminate_as_exit
    from geoseg_ros.errors import ConfigError
    from geoseg_ros.pipeline import Pipeline

    for name in ("seconds", "rate"):
        if not 0.0 < getattr(args, name) < 1e6:
            raise ConfigError(f"--{name} is {getattr(args, name)}, expected a positive number")
    has_ros = find_spec("rclpy") is not None
    if args.node and not has_ros:
        raise ConfigError("--node needs rclpy, which is not installed here; see the README on installing ROS")
    console = Console()
    model = Path(args.model or default_bundle_path())
    with console.status("timing the pipeline"):
        pipeline = Pipeline(model, device=args.device, precision=args.precision)
        bare = time_pipeline(pipeline, *args.size, args.seconds)
        device = pipeline.device
        del pipeline
    node = None
    if args.node or (args.node is None and has_ros):
        with terminate_as_exit(), console.status("timing the node") as status:
            node = time_node(
                model,
                device,
                *args.size,
                args.seconds,
                args.rate,
                args.precision,
                args.domain,
                on_state=lambda text: status.update(f"timing the node: {text}"),
            )
    _print(console, args, device, bare, node)
    if args.json:
        _write_json(Path(args.json), _results(args, model, device, bare, node))
    return 0


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not match or min(map(int, match.groups())) < 32:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no size, expected WIDTHxHEIGHT of at least 32 pixels each"
        )
    return int(match[1]), int(match[2])


def _print(
    console: Console, args: argparse.Namespace, device: str, bare: PipelineTimes, node: NodeTimes | None
) -> None:
    width, height = args.size
    console.print(
        f"[bold]Pipeline.step[/], {width}×{height}, all outputs, {device}, {args.precision}", highlight=False
    )
    rows = [*bare.stages.items(), ("step", bare.total)]
    console.print(_table("stage", rows))
    console.print(f"{bare.rate:.1f} frames/s over {bare.frames} frames\n", highlight=False)
    if node is None:
        return
    console.print(
        f"[bold]Node over DDS[/], all outputs subscribed, images at {node.input_rate:.1f} Hz", highlight=False
    )
    console.print(
        _table(
            "from … to",
            [
                ("Pipeline.step inside the node", node.inference),
                ("image received → outputs published", node.inside),
                ("age: image sent → last output received", node.age),
            ],
        )
    )
    drops = ", ".join(f"{count} {cause}" for cause, count in node.drops.items() if count) or "none"
    waiting = "" if node.keeps_up else " (with the wait for the frame before: the node does not keep up)"
    for line in (
        f"{node.output_rate:.1f} Hz of outputs, {node.answered} of {node.published} images answered, "
        f"dropped: {drops}",
        f"overhead over the bare step {node.overhead(bare.total) * 1e3:.1f} ms{waiting}; "
        f"age p99 is {node.age.p99 / node.inference.p50:.2f} × the inference inside the node",
    ):
        console.print(line, highlight=False)


def _table(head: str, rows: Sequence[tuple[str, Times]]) -> Any:
    """Times in milliseconds; the last row is the sum of what matters."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(head)
    table.add_column("p50 ms", justify="right")
    table.add_column("p99 ms", justify="right")
    for index, (name, times) in enumerate(rows):
        style = "bold" if index == len(rows) - 1 else ""
        table.add_row(name, f"{times.p50 * 1e3:.2f}", f"{times.p99 * 1e3:.2f}", style=style)
    return table


def _results(
    args: argparse.Namespace, model: Path, device: str, bare: PipelineTimes, node: NodeTimes | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from geoseg_ros.machine import command_line, describe_machine, now

    return {
        "command": command_line(),
        "date": now(),
        "machine": describe_machine(),
        "model": str(model),
        "size": list(args.size),
        "device": device,
        "precision": args.precision,
        "unit": "seconds",
        "pipeline": asdict(bare),
        "node": None if node is None else {**asdict(node), "overhead": node.overhead(bare.total)},
    }


def _write_json(path: Path, results: dict[str, Any]) -> None:
    """Write beside the target, then rename; NaN becomes null."""
    import json
    import os

    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(json.dumps(_without_nan(results), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)


def _without_nan(value: Any) -> Any:
    import math

    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
