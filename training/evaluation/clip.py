"""The semantics of a clip, frame by frame: do successive predictions agree?"""

from __future__ import annotations

import numpy as np

from geoseg_ros.errors import ConfigError
from geoseg_ros.training.evaluation.flow import dis_flow
from geoseg_ros.training.evaluation.suite import Score
from geoseg_ros.training.metrics.consistency import ConsistencyMetric


class ClipJudge:
    """Temporal consistency of successive frames; the flow between them is that of OpenCV's DIS (medium), both ways."""

    def __init__(self, classes: int) -> None:
        self._metric = ConsistencyMetric(classes)
        self._former: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, image: np.ndarray, found: np.ndarray, name: str) -> None:
        """The next frame H×W×3 uint8 RGB with its class ids H×W; ConfigError names it where its size is another than before."""
        former, self._former = self._former, (image, found)
        if former is None:
            return
        if former[0].shape != image.shape:
            sizes = f"{image.shape[1::-1]}, the frame before {former[0].shape[1::-1]} (width, height)"
            raise ConfigError(f"{name} is {sizes}, expected one size in a clip")
        flows = dis_flow(image, former[0]), dis_flow(former[0], image)
        self._metric.update(former[1], found, *flows)

    def scores(self) -> list[Score]:
        """One score; none of a single frame."""
        if not np.isfinite(self._metric.mean_iou):
            return []
        note = f"{self._metric.pairs} pairs, {100 * self._metric.judged:.0f} % of pixels"
        return [Score("temporal consistency", self._metric.mean_iou, higher=True, note=note)]
