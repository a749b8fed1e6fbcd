"""The results as tables for people and as JSON for the record."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from geoseg_ros.errors import ConfigError
from geoseg_ros.machine import command_line, describe_machine, git_commit, now
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
        table.add_row(f"[bold]{escape(name)}[/], {result.frames} frames")
        for score in result.scores:
            value, verdict = number(score.value, score.unit), VERDICTS[score.passed]
            table.add_row(f"  {score.name}", value, target(score), verdict, score.note)
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
) -> dict[str, Any]:
    """Everything that one must know to believe and repeat the numbers, as JSON types (NaN becomes null)."""
    return {
        "date": now(),
        "command": command_line(),
        "git_commit": git_commit(),
        "machine": describe_machine(),
        "model": str(model),
        "model_provenance": dict(provenance),
        "suites": {
            name: {
                "frames": result.frames,
                "protocol": result.protocol,
                "notes": result.notes,
                "scores": [_score_record(score) for score in result.scores],
                "per_class_iou": {label: _finite(value) for label, value in result.per_class.items()},
                "confusion": None if result.confusion is None else result.confusion.tolist(),
            }
            for name, result in results.items()
        },
        "skipped": dict(skipped),
    }


def summary(results: Mapping[str, SuiteResult]) -> dict[str, Any]:
    """The scores for a model file's header: when, and suite → score → value."""
    values = {
        name: {score.name: _finite(score.value) for score in result.scores} for name, result in results.items()
    }
    return {"date": now(), "git_commit": git_commit(), **values}


def number(value: float, unit: str) -> str:
    """A value as it is printed, with its unit."""
    digits = 1 if unit == "%" else 3
    return f"{value:.{digits}f} {unit}".rstrip()


def target(score: Score) -> str:
    """The bar of a score as it is printed; empty without one."""
    return "" if score.bar is None else f"{'≥' if score.higher else '≤'} {number(score.bar, score.unit)}"


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
