"""Semantics: CamVid's validation clip, folders of labelled images, and every score of semantics that there is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from geoseg_ros.labels import CAMVID_11, LabelSet, categories_of, union_map
from geoseg_ros.perception import Perception
from geoseg_ros.report import Section
from geoseg_ros.training.data.label_files import labelled_images, read_labelled
from geoseg_ros.training.data.source import IGNORE
from geoseg_ros.training.evaluation.clip import ClipJudge
from geoseg_ros.training.evaluation.even_sample import EvenSample
from geoseg_ros.training.evaluation.semantic_pictures import (
    ShownLabels,
    class_table,
    confusion_table,
    pictures_section,
    reliability_chart,
)
from geoseg_ros.training.evaluation.suite import NANOSECONDS, Bench, Score, SuiteResult
from geoseg_ros.training.metrics.boundary import SHARE_OF_DIAGONAL, BoundaryMetric
from geoseg_ros.training.metrics.calibration import CalibrationMetric
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.semantics import ConfusionMatrix

CAMVID_VOID = 11
CAMVID_FPS = 15
CAMVID_BAR = 0.45
SHOWN = 6
"""Images of a data set that a report shows."""


class SemanticJudge:
    """Judges class ids of the label set ``model`` by true ids of ``data`` (default: the same set).

    Between two sets a prediction is right where the truth is one of the classes that it may be (:func:`labels.union_map`);
    else it counts as the first of these, or as none. The tolerance of the boundary F-score is Csurka et al.'s share of the
    first image's diagonal. ConfigError where the relation of the sets is not known.
    """

    def __init__(self, model: LabelSet, data: LabelSet | None = None) -> None:
        self.labels = model if data is None else data
        self.matrix = ConfusionMatrix(len(self.labels.names), self.labels.ignore)
        self.calibration = CalibrationMetric()
        self.boundary: BoundaryMetric | None = None
        self._members = None if self.labels.names == model.names else union_map(model, self.labels)

    def update(self, found: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray) -> np.ndarray:
        """Judge one image: ids H×W uint8 of the model's set, their probability H×W or None, true ids H×W uint8; returns the ids
        found in the set of the truth."""
        if self._members is not None:
            found = _translated(found, truth, self._members, self.labels.ignore)
        self.matrix.update(found, truth)
        if self.boundary is None:
            tolerance = SHARE_OF_DIAGONAL * float(np.hypot(*truth.shape))
            self.boundary = BoundaryMetric(len(self.labels.names), tolerance, self.labels.ignore)
        self.boundary.update(found, truth)
        if confidence is not None:
            judged = truth != self.labels.ignore
            self.calibration.update(confidence[judged], found[judged] == truth[judged])
        return found

    def scores(self, prefix: str = "", bar: float | None = None) -> list[Score]:
        """mIoU (with ``bar``), that of the categories where the label set has some, pixel accuracy, boundary F-score, and the
        calibration error where confidence was given; NothingToJudge where no pixel was."""
        matrix = self.matrix
        if not matrix.present.any():
            raise NothingToJudge("no image had a semantic pixel to judge")
        classes = f"{matrix.present.sum()} classes"
        scores = [Score(f"{prefix}mIoU", matrix.mean_iou, bar=bar, higher=True, note=classes)]
        categories = categories_of(self.labels)
        if categories:
            gathered = matrix.gathered([[self.labels.index(name) for name in names] for names in categories.values()])
            note = f"{gathered.present.sum()} categories"
            scores.append(Score(f"{prefix}mIoU of categories", gathered.mean_iou, higher=True, note=note))
        scores.append(Score(f"{prefix}pixel accuracy", matrix.pixel_accuracy, higher=True))
        if np.isfinite(self.boundary.mean):
            note = f"within {self.boundary.tolerance:.1f} px"
            scores.append(Score(f"{prefix}boundary F-score", self.boundary.mean, higher=True, note=note))
        if self.calibration.pixels.any():
            note = f"{len(self.calibration.pixels)} bins"
            scores.append(Score(f"{prefix}calibration error", self.calibration.error, note=note))
        return scores

    def per_class(self) -> dict[str, float]:
        """IoU by class name; NaN where the class is not in the truth."""
        return dict(zip(self.labels.names, map(float, self.matrix.iou), strict=True))


    def sections(self, title: str, shown: Sequence[ShownLabels] = ()) -> list[Section]:
        """What a report shows of it: tables by class, the calibration, and pictures of some images; nothing where nothing was
        judged."""
        if self.boundary is None:
            return []
        charts = [reliability_chart(self.calibration)] if self.calibration.pixels.any() else []
        by_class = class_table(self.labels, self.matrix, self.boundary)
        sections = [
            Section(f"{title}: semantics", [by_class, *charts], columns=2),
            Section(f"{title}: confusion of classes", [confusion_table(self.labels, self.matrix)]),
        ]
        return sections + ([pictures_section(title, self.labels, shown)] if shown else [])


def _translated(found: np.ndarray, truth: np.ndarray, members: np.ndarray, ignore: int) -> np.ndarray:
    """Ids of one set as those of another: the true one where it is a member (bool [found, true]), else the first member, else
    ignore."""
    first = np.where(members.any(1), members.argmax(1), ignore).astype(np.uint8)
    known = truth != ignore
    right = members[found, np.where(known, truth, 0)] & known
    return np.where(right, truth, first[found])


def camvid(bench: Bench) -> SuiteResult:
    """CamVid val: 101 labelled frames at 480×360, one confusion matrix over all labelled pixels.

    No camera is given, so semantics alone run. mIoU is the mean over the classes that occur in the truth. The
    clip lies in a hole of one training drive, which flatters every model. Temporal consistency: mIoU of each prediction with
    the one before, warped by OpenCV's DIS flow, where both frames show the pixel.
    """
    bench.require_labels(CAMVID_11.names)
    pairs = bench.limited(labelled_images(bench.data / "camvid" / "val"))
    return _judge_images(bench, pairs, CAMVID_11, [CAMVID_VOID], "camvid", CAMVID_BAR, clip=True)


def labelled_folder(bench: Bench, labels: LabelSet, void: Collection[int] = (), clip: bool = False) -> SuiteResult:
    """The folder ``bench.data`` of images/ with labels/ (ids or colours of ``labels``), each image by itself, without a camera.

    ``clip``: the images are successive frames in the order of their names; their temporal consistency is judged as well.
    ConfigError names a file that cannot be judged, or says that the relation of the label sets is not known.
    """
    pairs = bench.limited(labelled_images(bench.data))
    result = _judge_images(bench, pairs, labels, void, bench.data.name, None, clip)
    protocol = f"{bench.data}: labels of {labels.name}, one confusion matrix over all labelled pixels."
    if labels.names != bench.pipeline.labels.names:
        theirs = bench.pipeline.labels.name
        protocol += f" The model's classes are those of {theirs}; one is right where it may be the true one."
    if clip:
        protocol += " Temporal consistency: mIoU of each prediction with the one before, warped by OpenCV's DIS flow."
    return replace(result, protocol=protocol)


def _judge_images(
    bench: Bench,
    pairs: Sequence[tuple[Path, Path]],
    labels: LabelSet,
    void: Collection[int],
    name: str,
    bar: float | None,
    clip: bool,
) -> SuiteResult:
    frames = ClipJudge(len(bench.pipeline.labels.names)) if clip else None
    judge, shown = SemanticJudge(bench.pipeline.labels, replace(labels, ignore=IGNORE)), EvenSample[ShownLabels](SHOWN)
    bench.pipeline.reset()
    for i, (path, label_path) in enumerate(bench.track(pairs, len(pairs), name)):
        image, truth = read_labelled(path, label_path, labels, void)
        result: Perception = bench.pipeline.step(
            image, None, (i + 1) * NANOSECONDS // CAMVID_FPS, outputs={"semantic", "confidence"}
        )
        semantic = bench.given(result.semantic, "semantics")
        if frames is not None:
            frames.update(image, semantic, path.name)
        found = judge.update(semantic, result.confidence, truth)
        shown.add(ShownLabels(path.name, image, found, truth, result.confidence))
    return SuiteResult(
        frames=len(pairs),
        scores=judge.scores(bar=bar) + (frames.scores() if frames is not None else []),
        per_class=judge.per_class(),
        sections=judge.sections(name, shown.items()),
        confusion=judge.matrix.counts,
    )
