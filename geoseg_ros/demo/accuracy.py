"""Accuracy of recorded outputs against ground truth of the same stamps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from geoseg_ros.demo.recording import RecordedFrame
from geoseg_ros.labels import LabelSet


class Metrics(Protocol):
    """The modules of ``geoseg_ros.training.metrics``, handed in by the command: only it may import them."""

    depth: Any
    flow: Any
    motion: Any
    semantics: Any


@dataclass(frozen=True)
class AccuracyScores:
    """Scores over all judged frames, None without ground truth; a class's IoU is NaN where it is absent."""

    abs_rel: float | None = None
    abs_rel_metric: float | None = None
    delta_1: float | None = None
    mean_iou: float | None = None
    pixel_accuracy: float | None = None
    epe: float | None = None
    outliers: float | None = None
    moving_iou: float | None = None
    class_iou: Mapping[str, float] = field(default_factory=dict)


class Accuracy:
    """Judges frames one by one; depth per image (median-scaled, Eigen et al.), the others over all pixels."""

    def __init__(self, labels: LabelSet, metrics: Metrics):
        self._labels, self._metrics = labels, metrics
        self._depth: list[Any] = []
        self._depth_metric: list[Any] = []
        self._semantic = metrics.semantics.ConfusionMatrix(len(labels.names), labels.ignore)
        self._flow = metrics.flow.FlowMetric()
        self._motion = metrics.motion.MotionMetric()
        self._flow_frames = self._motion_frames = 0

    def add(self, frame: RecordedFrame) -> dict[str, float]:
        """Judge one frame; returns its own scores, those that its ground truth allows."""
        seen, truth, scores = frame.perception, frame.truth, {}
        if "depth" in truth and seen.depth is not None:
            scores |= self._add_depth(seen.depth, truth["depth"])
        if "semantic" in truth and seen.semantic is not None:
            one = self._metrics.semantics.ConfusionMatrix(len(self._labels.names), self._labels.ignore)
            one.update(seen.semantic, truth["semantic"])
            self._semantic.merge(one)
            scores["mIoU"] = one.mean_iou
        if (
            "flow" in truth
            and seen.flow is not None
            and frame.consecutive
            and np.isfinite(truth["flow"]).any()
        ):
            one = self._metrics.flow.FlowMetric()
            one.update(seen.flow, truth["flow"])
            self._flow.update(seen.flow, truth["flow"])
            self._flow_frames += 1
            scores["EPE"] = one.scores().epe
        if "motion" in truth and seen.motion_mask is not None:
            self._motion.update(seen.motion_mask, truth["motion"])
            self._motion_frames += 1
            scores["motion IoU"] = _moving_iou(seen.motion_mask, truth["motion"])
        return scores

    def scores(self) -> AccuracyScores:
        """The scores of all frames added so far."""
        values: dict[str, Any] = {}
        if self._depth:
            mean = self._metrics.depth.mean_depth_scores(self._depth)
            metric = self._metrics.depth.mean_depth_scores(self._depth_metric)
            values |= {"abs_rel": mean.abs_rel, "delta_1": mean.delta_1, "abs_rel_metric": metric.abs_rel}
        if self._semantic.counts.any():
            values |= {
                "mean_iou": self._semantic.mean_iou,
                "pixel_accuracy": self._semantic.pixel_accuracy,
                "class_iou": dict(zip(self._labels.names, self._semantic.iou.tolist(), strict=True)),
            }
        if self._flow_frames:
            flow = self._flow.scores()
            values |= {"epe": flow.epe, "outliers": flow.fl_all}
        if self._motion_frames:
            values["moving_iou"] = self._motion.scores().moving_iou
        return AccuracyScores(**values)

    def _add_depth(self, depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        scaled = self._metrics.depth.depth_scores(depth, truth, median_scaling=True)
        if scaled is None:
            return {}
        self._depth.append(scaled)
        self._depth_metric.append(self._metrics.depth.depth_scores(depth, truth, median_scaling=False))
        return {"AbsRel": scaled.abs_rel}


def _moving_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of one frame's moving pixels; NaN where nothing moves in truth."""
    moves = truth != 0
    if not moves.any():
        return math.nan
    return float(np.count_nonzero(moves & (mask != 0)) / np.count_nonzero(moves | (mask != 0)))
