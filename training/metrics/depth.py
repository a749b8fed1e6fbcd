"""Depth metrics of Eigen et al. 2014 on numpy depth maps in metres (z, not ray length)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from geoseg_ros.training.metrics.errors import MetricError, NothingToJudge

EIGEN_ROWS = (0.40810811, 0.99189189)
EIGEN_COLUMNS = (0.03594771, 0.96405229)


@dataclass(frozen=True)
class DepthScores:
    """Scores of one image, or their mean over images.

    abs_rel = mean |d − g|/g; sq_rel = mean (d − g)²/g (metres); rmse (metres); rmse_log; delta_k = share of
    pixels with max(d/g, g/d) < 1.25^k; scale = the factor that median scaling applied (1 when metric).
    """

    abs_rel: float
    sq_rel: float
    rmse: float
    rmse_log: float
    delta_1: float
    delta_2: float
    delta_3: float
    scale: float


def eigen_crop(height: int, width: int) -> np.ndarray:
    """Bool H×W, true inside the crop of Garg et al. that the Eigen protocol uses on KITTI."""
    inside = np.zeros((height, width), dtype=bool)
    rows = slice(int(EIGEN_ROWS[0] * height), int(EIGEN_ROWS[1] * height))
    columns = slice(int(EIGEN_COLUMNS[0] * width), int(EIGEN_COLUMNS[1] * width))
    inside[rows, columns] = True
    return inside


@dataclass(frozen=True)
class DepthPairs:
    """The judged pixels of one image: ``guess`` and ``truth`` (N metres each), and the scale that was applied."""

    guess: np.ndarray
    truth: np.ndarray
    scale: float

    @property
    def relative_error(self) -> np.ndarray:
        """|d − g|/g of each pixel."""
        return np.abs(self.guess - self.truth) / self.truth

    def scores(self) -> DepthScores:
        """The image's scores."""
        difference = self.guess - self.truth
        log_difference = np.log(self.guess / self.truth)
        ratio = np.maximum(self.guess / self.truth, self.truth / self.guess)
        return DepthScores(
            abs_rel=float(np.mean(self.relative_error)),
            sq_rel=float(np.mean(difference**2 / self.truth)),
            rmse=float(np.sqrt(np.mean(difference**2))),
            rmse_log=float(np.sqrt(np.mean(log_difference**2))),
            delta_1=float(np.mean(ratio < 1.25)),
            delta_2=float(np.mean(ratio < 1.25**2)),
            delta_3=float(np.mean(ratio < 1.25**3)),
            scale=self.scale,
        )


def depth_scores(
    prediction: np.ndarray,
    target: np.ndarray,
    median_scaling: bool,
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    crop: np.ndarray | None = None,
) -> DepthScores | None:
    """Scores of one image (see :func:`depth_pairs`), or None when it has no pixel to judge."""
    pairs = depth_pairs(prediction, target, median_scaling, min_depth, max_depth, crop)
    return None if pairs is None else pairs.scores()


def depth_pairs(
    prediction: np.ndarray,
    target: np.ndarray,
    median_scaling: bool,
    min_depth: float = 1e-3,
    max_depth: float = 80.0,
    crop: np.ndarray | None = None,
) -> DepthPairs | None:
    """What is judged of one image, or None when it has no pixel to judge.

    prediction, target: H×W metres. Judged are the pixels with min_depth < target < max_depth (neither sky,
    +inf, nor unknown, NaN or 0) inside ``crop`` (bool H×W). With ``median_scaling`` the prediction is
    multiplied by median(target)/median(prediction) over the judged pixels. It is then clamped to [min_depth,
    max_depth]; a prediction that is NaN or infinite counts as ``max_depth``: leaving out does not help.
    """
    if prediction.shape != target.shape:
        raise MetricError(
            f"depth prediction is {prediction.shape}, target {target.shape}; expected the same size"
        )
    with np.errstate(invalid="ignore"):
        judged = (target > min_depth) & (target < max_depth)
    if crop is not None:
        judged &= crop
    if not judged.any():
        return None
    truth = target[judged].astype(np.float64)
    guess = prediction[judged].astype(np.float64)
    finite = np.isfinite(guess)
    scale = 1.0
    if median_scaling and finite.any():
        scale = float(np.median(truth[finite]) / max(np.median(guess[finite]), 1e-9))
    guess = np.clip(np.where(finite, guess * scale, max_depth), min_depth, max_depth)
    return DepthPairs(guess, truth, scale)


def mean_depth_scores(scores: list[DepthScores]) -> DepthScores:
    """Mean of per-image scores, each image counting alike."""
    if not scores:
        raise NothingToJudge("no image had a depth pixel to judge")
    return DepthScores(
        **{f.name: float(np.mean([getattr(s, f.name) for s in scores])) for f in fields(DepthScores)}
    )
