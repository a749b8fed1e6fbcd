"""What a suite gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.errors import GeosegError
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.report import Section
from geoseg_ros.training.data import files

Item = TypeVar("Item")
Track = Callable[[Iterable[Any], int, str], Iterator[Any]]
NANOSECONDS = 1_000_000_000


class SuiteSkipped(GeosegError):
    """A suite cannot run here; the message says why."""


@dataclass(frozen=True)
class Score:
    """One number of the table.

    ``bar`` is the value asked for, where one is; ``higher`` says that more is better. ``unit`` is printed
    after the value.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    higher: bool = False
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met (NaN never does); None without a bar."""
        if self.bar is None:
            return None
        return self.value >= self.bar if self.higher else self.value <= self.bar


@dataclass(frozen=True)
class SuiteResult:
    """The scores of one suite.

    ``frames``: how many were judged. ``per_class``: class name → IoU (NaN: not in the truth). ``protocol``:
    how it was done. ``notes``: what could not be judged or had to be assumed, and why. ``sections``: what a report shows beside
    the scores. ``confusion``: pixels by true class (rows) and found class, the last column none of them.
    """

    frames: int
    scores: list[Score]
    per_class: dict[str, float] = field(default_factory=dict)
    protocol: str = ""
    notes: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    confusion: np.ndarray | None = None


@dataclass(frozen=True)
class Bench:
    """What a suite runs on: pipeline, data folder, at most ``limit`` frames, a progress bar around a loop."""

    pipeline: Pipeline
    data: Path
    limit: int | None
    track: Track

    def limited(self, items: list[Item]) -> list[Item]:
        """The first ``limit`` items."""
        return items[: self.limit]

    def given(self, output: np.ndarray | None, name: str) -> np.ndarray:
        """``output``; SuiteSkipped when the model does not give it."""
        if output is None:
            raise SuiteSkipped(f"the model gives no {name}")
        return output

    def require_labels(self, names: tuple[str, ...]) -> None:
        """SuiteSkipped unless the model predicts exactly these classes, in this order."""
        found = self.pipeline.labels.names
        if found != names:
            raise SuiteSkipped(f"the model predicts {', '.join(found)}; expected {', '.join(names)}")


def folder_camera(path: Path, size: tuple[int, int]) -> PinholeCamera:
    """The rectified camera of an intrinsics JSON file for images of ``size`` (width, height)."""
    matrix = files.read_intrinsics(path, None, size)
    return PinholeCamera(*size, fx=matrix[0, 0], fy=matrix[1, 1], cx=matrix[0, 2], cy=matrix[1, 2])
