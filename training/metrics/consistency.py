"""Whether semantics of successive frames agree (temporal consistency; Varghese et al., CVPR workshops 2020)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from geoseg_ros.training.losses.flow import forward_backward_visibility
from geoseg_ros.training.metrics.errors import MetricError
from geoseg_ros.training.metrics.semantics import ConfusionMatrix


class ConsistencyMetric:
    """Mean IoU of each frame's class ids with those of the frame before, brought here by the optical flow.

    The warped ids (nearest value) take the place of the truth in one confusion matrix over all pairs; the mean is over the
    classes that occur in them. Pixels whose flow leaves the frame before are not judged, nor those that are hidden in one of
    the frames: where the flows there and back do not cancel (UnFlow's rule, see
    :func:`~geoseg_ros.training.losses.flow.forward_backward_visibility`). It says nothing of right and wrong: a model that sees
    one class everywhere has 1.
    """

    def __init__(self, classes: int, ignore: int = 255) -> None:
        self.matrix = ConfusionMatrix(classes, ignore)
        self.pairs = 0
        self._pixels = 0

    def update(
        self, former: np.ndarray, current: np.ndarray, flow_to_former: np.ndarray, flow_from_former: np.ndarray
    ) -> None:
        """Add a pair: ids H×W uint8 of both frames, and the flow H×W×2 float32 on the grid of each that points to the other.

        Raises MetricError where the sizes differ.
        """
        shapes = {each.shape[:2] for each in (former, current, flow_to_former, flow_from_former)}
        if len(shapes) != 1:
            raise MetricError(f"ids and flow of a pair of frames are {sorted(shapes)}, expected one size")
        visible = forward_backward_visibility(_batch(flow_to_former), _batch(flow_from_former))[0, 0].numpy()
        height, width = current.shape
        places = flow_to_former + np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
        warped = cv2.remap(former, places.astype(np.float32), None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        self.matrix.update(current, np.where(visible, warped, self.matrix.ignore))
        self.pairs += 1
        self._pixels += current.size

    @property
    def mean_iou(self) -> float:
        """0…1; NaN without a judged pixel."""
        return self.matrix.mean_iou

    @property
    def judged(self) -> float:
        """Share of all pixels that were judged; NaN without a pair."""
        return float(self.matrix.counts.sum() / self._pixels) if self._pixels else float("nan")


def _batch(flow: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(flow, np.float32)).permute(2, 0, 1)[None]
