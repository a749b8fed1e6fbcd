"""How well the borders of classes are drawn: the boundary F-score of Csurka et al. (BMVC 2013, "What is a good evaluation
measure for semantic segmentation?").

A boundary pixel of a class is one of its pixels with a neighbour above, below, left or right that belongs to another class.
Pixels whose truth is not known, in the prediction too, and the picture's frame make no boundary.
"""

from __future__ import annotations

import cv2
import numpy as np

from geoseg_ros.training.metrics.errors import MetricError

SHARE_OF_DIAGONAL = 0.0075
"""Csurka et al.'s tolerance, as a share of the image's diagonal."""


def boundary_pixels(labels: np.ndarray, ignore: int = 255) -> np.ndarray:
    """Bool H×W: boundary pixels of whichever class they have, in label maps H×W."""
    edge = np.zeros(labels.shape, dtype=bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[one] != labels[other]) & (labels[one] != ignore) & (labels[other] != ignore)
        edge[one] |= differ
        edge[other] |= differ
    return edge


class BoundaryMetric:
    """Collects per image and class F = 2PR / (P + R): P is the share of the predicted boundary that lies within ``tolerance``
    pixels (Euclidean) of the true one, R the reverse. An image where a class has a boundary in truth or prediction alone
    counts as 0 for it, one where it has none in either does not count."""

    def __init__(self, classes: int, tolerance: float, ignore: int = 255) -> None:
        if tolerance < 0:
            raise MetricError(f"tolerance is {tolerance}, expected 0 or more pixels")
        self.classes = classes
        self.tolerance = tolerance
        self.ignore = ignore
        self._sums = np.zeros(classes)
        self._images = np.zeros(classes, dtype=np.int64)
        self._in_truth = np.zeros(classes, dtype=bool)

    def update(self, prediction: np.ndarray, target: np.ndarray) -> None:
        """Add one label map: H×W integer ids each; target ``ignore`` is not judged. Raises MetricError for other sizes."""
        if prediction.shape != target.shape:
            raise MetricError(f"label prediction is {prediction.shape}, target {target.shape}; expected the same size")
        prediction = np.where(target == self.ignore, self.ignore, prediction)
        found, true = boundary_pixels(prediction, self.ignore), boundary_pixels(target, self.ignore)
        for label in range(self.classes):
            one, other = found & (prediction == label), true & (target == label)
            if one.any() or other.any():
                self._images[label] += 1
                self._sums[label] += self._f_score(one, other)
                self._in_truth[label] |= other.any()

    def _f_score(self, found: np.ndarray, true: np.ndarray) -> float:
        if not (found.any() and true.any()):
            return 0.0
        precision, recall = self._near(found, true), self._near(true, found)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def _near(self, pixels: np.ndarray, others: np.ndarray) -> float:
        """The share of ``pixels`` within the tolerance of one of ``others``."""
        distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return float((distance[pixels] <= self.tolerance + 1e-4).mean())

    @property
    def per_class(self) -> np.ndarray:
        """Mean F-score over images (C); NaN where the class has no boundary in the truth."""
        return np.where(self._in_truth, self._sums / np.maximum(self._images, 1), np.nan)

    @property
    def mean(self) -> float:
        """Mean over the classes that have a boundary in the truth; NaN where none has."""
        return float(np.mean(self.per_class[self._in_truth])) if self._in_truth.any() else float("nan")
