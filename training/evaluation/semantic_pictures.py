"""Semantics in a report: what was found, where it is wrong, how sure the model was, and whether that meant anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros import colorize
from geoseg_ros.labels import LabelSet
from geoseg_ros.report import FrameView, Legend, LineChart, Panel, Section, Series, Table
from geoseg_ros.training.metrics.boundary import BoundaryMetric
from geoseg_ros.training.metrics.calibration import CalibrationMetric
from geoseg_ros.training.metrics.semantics import ConfusionMatrix


@dataclass(frozen=True)
class ShownLabels:
    """An image kept for the report: ids found and true ids H×W of one label set, ``confidence`` H×W 0…1 where it is known."""

    name: str
    image: np.ndarray
    found: np.ndarray
    truth: np.ndarray
    confidence: np.ndarray | None


def pictures_section(title: str, labels: LabelSet, shown: Sequence[ShownLabels]) -> Section:
    """Pictures of some images, and the colours of the classes."""
    colours = Legend("Classes", list(zip(labels.names, labels.palette, strict=True)))
    return Section(f"{title}: images", [colours, *(_view(one, labels) for one in shown)])


def class_table(labels: LabelSet, matrix: ConfusionMatrix, boundary: BoundaryMetric) -> Table:
    """IoU, recall and boundary F-score of the classes that occur."""
    columns = (matrix.iou, matrix.accuracy, boundary.per_class)
    rows = [
        (name, *("–" if np.isnan(values[i]) else f"{values[i]:.3f}" for values in columns))
        for i, name in enumerate(labels.names)
        if matrix.present[i]
    ]
    return Table("By class", ("class", "IoU", "recall", "boundary F-score"), rows)


def confusion_table(labels: LabelSet, matrix: ConfusionMatrix) -> Table:
    """What the pixels of each true class were taken for, in percent."""
    strays = matrix.counts[:, -1].any()
    names = [*labels.names, *(["none"] if strays else [])]
    rows = [
        (labels.names[i], *(f"{share:.1f}" for share in 100 * counts[: len(names)] / counts.sum()))
        for i, counts in enumerate(matrix.counts)
        if matrix.present[i]
    ]
    return Table("Confusion: true class by row, found class by column, %", ("", *names), rows)


def _view(shown: ShownLabels, labels: LabelSet) -> FrameView:
    judged = shown.truth != labels.ignore
    share = float((shown.found[judged] == shown.truth[judged]).mean()) if judged.any() else float("nan")
    panels = [
        Panel("image", shown.image),
        Panel("semantics", colorize.colorize_semantic(shown.found, labels, shown.image)),
        mistakes_panel(shown.found, shown.truth, labels.ignore),
    ]
    if shown.confidence is not None:
        panels.append(Panel("confidence", colorize.colorize_confidence(shown.confidence), "black none, white certain"))
    reference = [Panel("true semantics", colorize.colorize_semantic(shown.truth, labels, shown.image))]
    return FrameView(shown.name, [("pixels right", f"{share:.3f}")], panels, reference)


def mistakes_panel(found: np.ndarray, truth: np.ndarray, ignore: int) -> Panel:
    """Where ids found H×W differ from the true ones."""
    wrong = np.where(truth == ignore, np.nan, (found != truth).astype(np.float32))
    return Panel("error of semantics", colorize.colorize_error(wrong, 1.0), "white right, red wrong, black not judged")


def reliability_chart(calibration: CalibrationMetric) -> LineChart:
    """Accuracy over confidence, beside the diagonal of a model whose confidence means what it says."""
    confidence, accuracy = calibration.reliability()
    return LineChart(
        "Calibration of the confidence",
        "confidence",
        "share of pixels that are right",
        [Series("model", confidence, accuracy), Series("calibrated", [0.0, 1.0], [0.0, 1.0])],
        note=f"Expected calibration error {calibration.error:.3f}, {len(calibration.pixels)} bins.",
    )
