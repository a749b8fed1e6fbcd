"""The results as tables for people and as JSON for the record."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from geoseg_ros import __version__
from geoseg_ros.errors import ConfigError
from geoseg_ros.training.evaluation.suite import Score, SuiteResult

VERDICTS = {True: "[green]pass[/]", False: "[red]fail[/]", None: ""}


def print_results(console: Console, title: str, results: Mapping[str, SuiteResult]) -> None:
    """One table of all suites' scores, then one of per-class IoU for the suites that have it."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("score", no_wrap=True)
    for heading in ("value", "bar"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("note")
    for name, result in results.items():
        table.add_row(f"[bold]{name}[/], {result.frames} frames")
        for score in result.scores:
            value, verdict = _number(score.value, score.unit), VERDICTS[score.passed]
            table.add_row(f"  {score.name}", value, _bar(score), verdict, score.note)
        table.add_section()
    console.print(table)
    with_classes = {name: result.per_class for name, result in results.items() if result.per_class}
    if with_classes:
        console.print(_class_table(with_classes))


def bars_met(results: Mapping[str, SuiteResult]) -> bool:
    """Whether no bar is missed."""
    return all(score.passed is not False for result in results.values() for score in result.scores)


def record(
    results: Mapping[str, SuiteResult],
    skipped: Mapping[str, str],
    model: Path,
    provenance: Mapping[str, Any],
    command: Sequence[str],
) -> dict[str, Any]:
    """Everything that one must know to believe and repeat the numbers, as JSON types (NaN becomes null)."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": list(command),
        "version": __version__,
        "git_commit": git_commit(),
        "machine": machine(),
        "model": str(model),
        "model_provenance": dict(provenance),
        "suites": {
            name: {
                "frames": result.frames,
                "protocol": result.protocol,
                "scores": [_score_record(score) for score in result.scores],
                "per_class_iou": {label: _finite(value) for label, value in result.per_class.items()},
            }
            for name, result in results.items()
        },
        "skipped": dict(skipped),
    }


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write beside ``path``, then rename; ConfigError where the folder cannot be written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2, ensure_ascii=False, allow_nan=False)
            file.write("\n")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        raise ConfigError(f"the report {path} cannot be written: {error.strerror}") from error


def git_commit() -> str:
    """The source tree's commit, '-dirty' when tracked files differ from it; 'unknown' outside a checkout."""
    command = [
        "git",
        "-C",
        str(Path(__file__).resolve().parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, GPU, and the versions that matter."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _class_table(per_class: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title="IoU per class", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("class")
    for suite in per_class:
        table.add_column(suite, justify="right")
    for label in dict.fromkeys(label for classes in per_class.values() for label in classes):
        values = (classes.get(label, math.nan) for classes in per_class.values())
        table.add_row(label, *("–" if math.isnan(value) else f"{value:.3f}" for value in values))
    return table


def _score_record(score: Score) -> dict[str, Any]:
    return {
        "name": score.name,
        "value": _finite(score.value),
        "unit": score.unit,
        "bar": _finite(score.bar),
        "better": "higher" if score.higher else "lower",
        "passed": score.passed,
        "note": score.note,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _bar(score: Score) -> str:
    return "" if score.bar is None else f"{'≥' if score.higher else '≤'} {_number(score.bar, score.unit)}"


def _number(value: float, unit: str) -> str:
    digits = 1 if unit == "%" else 3
    return f"{value:.{digits}f} {unit}".rstrip()
