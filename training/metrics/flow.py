"""Optical flow: end-point error and KITTI's share of outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geoseg_ros.training.metrics.errors import MetricError, NothingToJudge

OUTLIER_PIXELS = 3.0
OUTLIER_SHARE = 0.05


@dataclass(frozen=True)
class FlowScores:
    """End-point error ``epe`` (px) and share of outliers ``fl_all`` (0..1).

    Over the judged pixels of all images together; the per_image pair is the mean of each image's own value.
    """

    epe: float
    fl_all: float
    epe_per_image: float
    fl_all_per_image: float
    pixels: int
    images: int


class FlowMetric:
    """Collects flow fields image by image. An outlier errs by > 3 px and by > 5 % of the true length."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, int, int]] = []

    def update(self, prediction: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> None:
        """Add one image: H×W×2 pixels each; judged where the target is finite and ``valid`` (H×W) true.

        A prediction that is not finite counts as zero flow.
        """
        if prediction.shape != target.shape:
            raise MetricError(
                f"flow prediction is {prediction.shape}, target {target.shape}; expected the same size"
            )
        judged = np.isfinite(target).all(-1)
        if valid is not None:
            judged &= valid
        if not judged.any():
            return
        truth = target[judged].astype(np.float64)
        guess = prediction[judged].astype(np.float64)
        guess[~np.isfinite(guess).all(-1)] = 0.0
        error = np.linalg.norm(guess - truth, axis=-1)
        outlier = (error > OUTLIER_PIXELS) & (error > OUTLIER_SHARE * np.linalg.norm(truth, axis=-1))
        self._rows.append((float(error.sum()), int(outlier.sum()), error.size))

    def scores(self) -> FlowScores:
        """The scores of what was collected; raises NothingToJudge when that is nothing."""
        if not self._rows:
            raise NothingToJudge("no image had a flow pixel to judge")
        errors, outliers, pixels = (
            np.array(column, dtype=np.float64) for column in zip(*self._rows, strict=True)
        )
        return FlowScores(
            epe=float(errors.sum() / pixels.sum()),
            fl_all=float(outliers.sum() / pixels.sum()),
            epe_per_image=float(np.mean(errors / pixels)),
            fl_all_per_image=float(np.mean(outliers / pixels)),
            pixels=int(pixels.sum()),
            images=len(self._rows),
        )
