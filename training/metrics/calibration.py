"""Whether confidence means what it says: of the pixels with confidence 0.8, 80 % should be right."""

from __future__ import annotations

import numpy as np

from geoseg_ros.training.metrics.errors import MetricError

BINS = 15


class CalibrationMetric:
    """Expected calibration error with bins of equal width over (0, 1] (Guo et al., ICML 2017), all pixels together and the
    confidence as the model gives it: no temperature is fitted."""

    def __init__(self, bins: int = BINS) -> None:
        self.pixels = np.zeros(bins, dtype=np.int64)
        self._confidence = np.zeros(bins)
        self._right = np.zeros(bins, dtype=np.int64)

    def update(self, confidence: np.ndarray, right: np.ndarray) -> None:
        """Add judged pixels: the probability of the predicted class, 0…1, and whether it is right (bool), of equal shape.

        Raises MetricError for other shapes, or a confidence outside 0…1.
        """
        if confidence.shape != right.shape:
            raise MetricError(f"confidence is {confidence.shape}, right {right.shape}; expected the same shape")
        values = confidence.astype(np.float64).ravel()
        wrong = ~((values >= 0) & (values <= 1 + 1e-4))
        if wrong.any():
            raise MetricError(f"confidence holds {values[wrong][0]}, expected 0 … 1")
        bins = len(self.pixels)
        place = (np.ceil(values * bins).astype(np.int64) - 1).clip(0, bins - 1)
        self.pixels += np.bincount(place, minlength=bins)
        self._confidence += np.bincount(place, values, minlength=bins)
        self._right += np.bincount(place[right.ravel()], minlength=bins)

    @property
    def error(self) -> float:
        """Σ_b n_b/N · |accuracy_b − confidence_b|; NaN without a pixel."""
        total = self.pixels.sum()
        return float(np.abs(self._right - self._confidence).sum() / total) if total else float("nan")

    def reliability(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean confidence and accuracy of each bin that has pixels."""
        some = self.pixels > 0
        return self._confidence[some] / self.pixels[some], self._right[some] / self.pixels[some]
