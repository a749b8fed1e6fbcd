"""The evaluation of suites or of a labelled folder as a page: scores beside their bars, and what the suites have to show."""

from __future__ import annotations

import math
from collections.abc import Mapping

from geoseg_ros.report import Facts, Report, Section, Table
from geoseg_ros.training.evaluation.report import number, target
from geoseg_ros.training.evaluation.suite import SuiteResult

VERDICTS = {True: "met", False: "missed", None: ""}


def build_page(results: Mapping[str, SuiteResult], skipped: Mapping[str, str], about: Mapping[str, str]) -> Report:
    """The page of suite results by name; ``skipped``: why others did not run; ``about``: model, machine, command, date."""
    sections = [section for name, result in results.items() for section in (_scores(name, result), *result.sections)]
    return Report(
        title="geoseg evaluate",
        subtitle=f"{about['model']} on {', '.join(results)}",
        cards=(),
        sections=[*sections, Section("Circumstances", [Facts("Run", list(about.items()))])],
        notices=[f"{name} skipped: {reason}" for name, reason in skipped.items()],
    )


def _scores(name: str, result: SuiteResult) -> Section:
    rows = [
        (score.name, number(score.value, ""), score.unit, target(score), VERDICTS[score.passed], score.note)
        for score in result.scores
    ]
    tables = [Table("Scores", ("score", "value", "unit", "bar", "", "note"), rows), *class_tables(result)]
    return Section(f"{name}, {result.frames} frames", tables, result.protocol, columns=len(tables))


def class_tables(result: SuiteResult) -> list[Table]:
    """IoU of the classes that occur, where the result has any that its sections do not show."""
    if result.sections:
        return []
    known = [(label, f"{iou:.3f}") for label, iou in result.per_class.items() if math.isfinite(iou)]
    return [Table("IoU of the classes that occur", ("class", "IoU"), known)] if known else []
