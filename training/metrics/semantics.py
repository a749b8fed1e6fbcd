"""Semantic segmentation: one confusion matrix over the whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoseg_ros.training.metrics.errors import MetricError


class ConfusionMatrix:
    """Counts (C, C + 1) of true and predicted class over all judged pixels; rows are the truth, the last column are
    predictions of none of the classes."""

    def __init__(self, classes: int, ignore: int = 255) -> None:
        self.classes = classes
        self.ignore = ignore
        self.counts = np.zeros((classes, classes + 1), dtype=np.int64)

    def update(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Add one label map: H×W integer ids each; target ``ignore`` is not judged, prediction ``ignore`` is none of the
        classes and wrong.

        Raises MetricError for other sizes or for another id outside 0..classes-1 at a judged pixel.
        """
        if prediction.shape != target.shape:
            raise MetricError(
                f"label prediction is {prediction.shape}, target {target.shape}; expected the same size"
            )
        judged = target != self.ignore
        truth, guess = target[judged].astype(np.int64), prediction[judged].astype(np.int64)
        guess[guess == self.ignore] = self.classes
        for name, ids, count in (("target", truth, self.classes), ("prediction", guess, self.classes + 1)):
            if ids.size and (ids.min() < 0 or ids.max() >= count):
                found = ids.max() if ids.max() >= count else ids.min()
                raise MetricError(f"{name} holds class {found}, expected 0..{self.classes - 1}")
        pairs = np.bincount(truth * (self.classes + 1) + guess, minlength=self.counts.size)
        self.counts += pairs.reshape(self.counts.shape)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix over the same classes."""
        if other.classes != self.classes:
            raise MetricError(f"cannot merge {other.classes} classes into {self.classes}")
        self.counts += other.counts

    def gathered(self, groups: Sequence[Sequence[int]]) -> ConfusionMatrix:
        """The matrix of coarser classes, each the union of the ids of one group: confusion inside a group is none.

        Raises MetricError unless every class is in exactly one group.
        """
        if sorted(i for group in groups for i in group) != list(range(self.classes)):
            raise MetricError(f"groups are {[list(group) for group in groups]}, expected each of {self.classes} classes once")
        member = np.zeros((len(groups), self.classes + 1), dtype=np.int64)
        for row, group in zip(member, groups):
            row[list(group)] = 1
        none = np.zeros((1, self.classes + 1), dtype=np.int64)
        none[0, -1] = 1
        result = ConfusionMatrix(len(groups), self.ignore)
        result.counts = member[:, :-1] @ self.counts @ np.vstack([member, none]).T
        return result

    @property
    def present(self) -> np.ndarray:
        """Bool C: the class occurs in the truth."""
        return self.counts.sum(1) > 0

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union per class (C); NaN where the class does not occur in the truth."""
        correct = np.diag(self.counts).astype(np.float64)
        union = self.counts[:, :-1].sum(0) + self.counts.sum(1) - correct
        return np.where(self.present, correct / np.maximum(union, 1), np.nan)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of a class's true pixels that were found (C); NaN where it does not occur in the truth."""
        pixels = self.counts.sum(1)
        return np.where(self.present, np.diag(self.counts) / np.maximum(pixels, 1), np.nan)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes that occur in the truth.

        Predicting an absent class still costs: its pixels are missing from the class that they belong to.
        """
        return float(np.mean(self.iou[self.present])) if self.present.any() else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """Mean class accuracy over the classes that occur in the truth."""
        return float(np.mean(self.accuracy[self.present])) if self.present.any() else float("nan")

    @property
    def frequency_weighted_iou(self) -> float:
        """IoU weighted by each class's share of the true pixels."""
        total = self.counts.sum()
        return float(np.nansum(self.iou * self.counts.sum(1)) / total) if total else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of the judged pixels that are right."""
        total = self.counts.sum()
        return float(np.trace(self.counts) / total) if total else float("nan")
