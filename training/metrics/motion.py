"""Motion segmentation: two classes, still (0) and moving (1).

The published protocol (Tosi et al. 2020) computes accuracies and IoUs per image and averages the images. In
an image without a moving pixel the means run over the one class that it has. The pooled IoU of the moving
class, one confusion matrix over all images, cannot be lifted by empty images and is the stricter number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.semantics import ConfusionMatrix

MOVING = 1


@dataclass(frozen=True)
class MotionScores:
    """Means over images; the moving class's IoU and recall over all pixels together (NaN: nothing moves)."""

    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    frequency_weighted_iou: float
    moving_iou: float
    moving_recall: float
    images: int


class MotionMetric:
    """Collects motion masks image by image."""

    def __init__(self) -> None:
        self.pooled = ConfusionMatrix(2)
        self._per_image: list[tuple[float, float, float, float]] = []

    def update(self, prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Add one image: H×W each, non-zero is moving; ``valid`` (bool H×W) are the pixels to judge."""
        truth = (target != 0).astype(np.uint8)
        if valid is not None:
            truth = np.where(valid, truth, np.uint8(self.pooled.ignore))
        image = ConfusionMatrix(2)
        image.update((prediction != 0).astype(np.uint8), truth)
        if image.counts.sum() == 0:
            return
        self.pooled.merge(image)
        self._per_image.append(
            (image.pixel_accuracy, image.mean_accuracy, image.mean_iou, image.frequency_weighted_iou)
        )

    def scores(self) -> MotionScores:
        """The scores of what was collected; raises NothingToJudge when that is nothing."""
        if not self._per_image:
            raise NothingToJudge("no image had a motion pixel to judge")
        return MotionScores(
            *(float(value) for value in np.mean(self._per_image, axis=0)),
            moving_iou=float(self.pooled.iou[MOVING]),
            moving_recall=float(self.pooled.accuracy[MOVING]),
            images=len(self._per_image),
        )
