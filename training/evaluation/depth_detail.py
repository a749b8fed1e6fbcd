"""Depth against ground truth, image by image: all of Eigen's scores, error by distance, and pixels for a scatter plot."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.evaluation.suite import Score
from geoseg_ros.training.metrics.depth import DepthScores, depth_pairs, eigen_crop, mean_depth_scores

MIN_DEPTH = 1e-3
EDGES = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0)
"""Bounds in metres of the distances that errors are averaged over."""

SCATTER_PER_IMAGE = 40
SCATTER_POINTS = 1500


@dataclass(frozen=True)
class DepthProtocol:
    """Which pixels are judged: truth between 1 mm and ``max_depth`` metres, inside Eigen's crop if ``eigen``."""

    max_depth: float = 80.0
    eigen: bool = False

    def __post_init__(self) -> None:
        if not MIN_DEPTH < self.max_depth < np.inf:
            raise ConfigError(f"max_depth is {self.max_depth} m, expected more than {MIN_DEPTH}")

    def __str__(self) -> str:
        crop = "Eigen's crop" if self.eigen else "the whole image"
        return f"truth in {MIN_DEPTH:g}–{self.max_depth:g} m, {crop}, mean of per-image values"


class DepthDetail:
    """Collects images. Predictions are judged as they are (metric) and scaled to the truth's median per image."""

    def __init__(self, protocol: DepthProtocol) -> None:
        self._protocol = protocol
        self._rng = np.random.default_rng(0)
        self._scores: dict[bool, list[DepthScores]] = {False: [], True: []}
        bounds = [edge for edge in EDGES if edge < protocol.max_depth]
        self._edges = np.array([*bounds, protocol.max_depth])
        self._error_sums = {scaled: np.zeros(len(bounds)) for scaled in (False, True)}
        self._pixels = np.zeros(len(bounds))
        self._scatter: list[np.ndarray] = []

    @property
    def images(self) -> int:
        """Images that had a pixel to judge."""
        return len(self._scores[True])

    def add(self, prediction: np.ndarray, truth: np.ndarray) -> DepthScores | None:
        """Judge one image, H×W metres each (the prediction is brought to the truth's size); its median-scaled
        scores, or None when it has no pixel to judge."""
        if prediction.shape != truth.shape:
            prediction = cv2.resize(prediction, truth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        crop = eigen_crop(*truth.shape) if self._protocol.eigen else None
        for scaled in (False, True):
            pairs = depth_pairs(prediction, truth, scaled, MIN_DEPTH, self._protocol.max_depth, crop)
            if pairs is None:
                return None
            self._scores[scaled].append(pairs.scores())
            bins = np.digitize(pairs.truth, self._edges[1:-1])
            self._error_sums[scaled] += np.bincount(bins, pairs.relative_error, len(self._pixels))
            if scaled:
                self._pixels += np.bincount(bins, minlength=len(self._pixels))
            else:
                picked = self._rng.integers(len(pairs.truth), size=min(SCATTER_PER_IMAGE, len(pairs.truth)))
                self._scatter.append(np.stack([pairs.truth[picked], pairs.guess[picked]], axis=1))
        return self._scores[True][-1]

    def table(self) -> list[Score]:
        """Eigen's scores, median-scaled and metric. Raises NothingToJudge where no image had a pixel."""
        rows = []
        for scaled, name in ((True, "median-scaled"), (False, "metric")):
            mean = mean_depth_scores(self._scores[scaled])
            rows += [
                Score(f"depth AbsRel, {name}", mean.abs_rel),
                Score(f"depth SqRel, {name}", mean.sq_rel, "m"),
                Score(f"depth RMSE, {name}", mean.rmse, "m"),
                Score(f"depth RMSE log, {name}", mean.rmse_log),
                Score(f"depth δ < 1.25, {name}", mean.delta_1, higher=True),
                Score(f"depth δ < 1.25², {name}", mean.delta_2, higher=True),
                Score(f"depth δ < 1.25³, {name}", mean.delta_3, higher=True),
            ]
        scales = np.array([scores.scale for scores in self._scores[True]])
        median = float(np.median(scales))
        return [*rows, Score("depth scale factor, median", median, note=f"± {np.std(scales) / median:.0%} over images")]

    def error_by_distance(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Bounds (N + 1, metres); pixels (N); AbsRel median-scaled and metric (N each, NaN without a pixel)."""
        with np.errstate(invalid="ignore"):
            scaled, metric = (self._error_sums[key] / self._pixels for key in (True, False))
        return self._edges, self._pixels, scaled, metric

    def scatter(self) -> np.ndarray:
        """True and predicted (metric) depth of a random sample of pixels, at most SCATTER_POINTS × 2, metres."""
        points = np.concatenate(self._scatter) if self._scatter else np.empty((0, 2))
        if len(points) > SCATTER_POINTS:
            points = points[self._rng.choice(len(points), SCATTER_POINTS, replace=False)]
        return points
