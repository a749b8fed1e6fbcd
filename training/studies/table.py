"""A study's result as Markdown and as JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geoseg_ros.machine import command_line, describe_machine, git_commit, now
from geoseg_ros.training.evaluation.report import write_json
from geoseg_ros.training.studies.runs import Scores


@dataclass(frozen=True)
class Column:
    """One number of a suite: the table's heading, where it comes from, and its decimal places."""

    heading: str
    suite: str
    score: str
    digits: int = 3

    def of(self, scores: Scores) -> float:
        """The value; NaN where the suite could not run or gave none."""
        value = scores.get(self.suite, {}).get(self.score)
        return math.nan if value is None else value


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation (n − 1) over runs that differ in their seed."""

    mean: float
    std: float

    @classmethod
    def over(cls, values: Sequence[float]) -> Spread:
        """Of at least one value; the deviation of a single one is NaN."""
        return cls(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)


def markdown(columns: Sequence[Column], rows: Mapping[str, Sequence[float | Spread]], title: str) -> str:
    """A table with one line per row, its name first; unknown values are a dash."""
    lines = [
        f"| {title} | " + " | ".join(column.heading for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, values in rows.items():
        cells = [_cell(value, column.digits) for value, column in zip(values, columns, strict=True)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | Spread, digits: int) -> str:
    if isinstance(value, Spread):
        mean = _cell(value.mean, digits)
        return mean if math.isnan(value.std) else f"{mean} ± {value.std:.{digits}f}"
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def save(folder: Path, text: str, content: Mapping[str, Any]) -> None:
    """Write ``text`` to table.md and ``content`` to table.json, with what one must know to repeat the study."""
    about = {"date": now(), "command": command_line(), "git_commit": git_commit(), "machine": describe_machine()}
    write_json({**about, **content}, folder / "table.json")
    temporary = folder / ".table.md.partial"
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, folder / "table.md")
