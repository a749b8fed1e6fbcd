"""Synthetic streets and rooms that no training has seen: every output against exact truth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np

from geoseg_ros.labels import CAMVID_11
from geoseg_ros.training.data.synthetic import (
    RoomConfig,
    StreetConfig,
    SyntheticFrame,
    random_config,
    random_room_config,
)
from geoseg_ros.training.evaluation.depth import ROAD_MAX_DEPTH, depth_table
from geoseg_ros.training.evaluation.egomotion import ego_motion_table
from geoseg_ros.training.evaluation.flow import dis_flow, flow_table, flow_to_previous
from geoseg_ros.training.evaluation.semantics import SemanticJudge
from geoseg_ros.training.evaluation.suite import Bench, Score, SuiteResult
from geoseg_ros.training.evaluation.world_cache import cache_folder, world_frames
from geoseg_ros.training.metrics.depth import depth_scores
from geoseg_ros.training.metrics.egomotion import EgoMotionMetric, steps_of
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.flow import FlowMetric
from geoseg_ros.training.metrics.motion import MotionMetric

FIRST_SEED = 900_000
"""Training draws its seeds below this one."""

FIRST_TRAINING_SEED = 2000
"""Of the streets that the shipped model learned from (training/recipes/README.md)."""

STREETS = 24
STREETS_OF_CAMERAS = 12
ROOMS = 24
FRAMES = 8
BARS = {"abs_rel": 0.15, "mean_iou": 0.60, "share_of_dis": 0.5, "moving_iou": 0.60}


def default_config(seed: int) -> StreetConfig:
    """The camera of ``geoseg simulate``: 640×192, focal length 370 px, 10 Hz."""
    return StreetConfig(duration=FRAMES / StreetConfig().fps)


def varied_config(seed: int) -> StreetConfig:
    """A camera and mounting drawn by seed."""
    return random_config(seed, frames=FRAMES)


def room_config(seed: int) -> RoomConfig:
    """A camera drawn by seed, 448×336."""
    return random_room_config(seed, frames=FRAMES)


def synthetic(bench: Bench) -> SuiteResult:
    """24 streets (seeds from 900000) of 8 successive frames, 640×192, the camera of ``geoseg simulate``.

    All frames count for depth (0.001–80 m, sky not judged, mean of per-image scores) and semantics (one
    confusion matrix, mean IoU over the classes that occur in the truth, boundaries, calibration). Frames with a
    predecessor count for flow (all pixels with known truth, occluded ones too, pooled; OpenCV DIS medium runs on
    the same pairs in grey), motion (IoU of the moving class over all pixels together, and the per-image mean IoU)
    and ego-motion (5-frame snippets within a street). What a model does not give is not judged.
    """
    return _judge(bench, "synthetic", STREETS, default_config, BARS)


def training_streets(bench: Bench) -> SuiteResult:
    """As ``synthetic`` on the first 24 streets that the shipped model learned from, for choices that unseen ones must not make."""
    return _judge(bench, "training_streets", STREETS, default_config, {}, first_seed=FIRST_TRAINING_SEED)


def synthetic_cameras(bench: Bench) -> SuiteResult:
    """As ``synthetic`` on 12 streets, with focal length, mounting, and frame rate drawn by seed; no bars."""
    return _judge(bench, "synthetic_cameras", STREETS_OF_CAMERAS, varied_config, {})


def synthetic_rooms(bench: Bench) -> SuiteResult:
    """As ``synthetic`` on 24 rooms (448×336, camera, its place and motion drawn by seed), without semantics, of which rooms
    have none; no bars. Snippets of less than half a metre, most of them, are left out of ego-motion."""
    return _judge(bench, "synthetic_rooms", ROOMS, room_config, {}, semantics=False)


def _judge(
    bench: Bench,
    name: str,
    sequences: int,
    config_of: Callable[[int], StreetConfig | RoomConfig],
    bars: dict[str, float],
    semantics: bool = True,
    first_seed: int = FIRST_SEED,
) -> SuiteResult:
    if semantics:
        bench.require_labels(CAMVID_11.names)
    total = sequences * FRAMES if bench.limit is None else min(bench.limit, sequences * FRAMES)
    judge = _Judge(bench, semantics)
    for seed, frame in bench.track(_sequence_frames(total, config_of, first_seed), total, name):
        judge.update(seed, frame, config_of(seed))
    return judge.result(name, bars)


def _sequence_frames(
    total: int, config_of: Callable[[int], StreetConfig | RoomConfig], first_seed: int
) -> Iterator[tuple[int, SyntheticFrame]]:
    """``total`` frames, FRAMES from each seed; the last sequence may give fewer."""
    folder = cache_folder()
    for sequence in range(math.ceil(total / FRAMES)):
        seed = first_seed + sequence
        frames = world_frames(seed, config_of(seed), FRAMES, folder)
        for frame in frames[: total - sequence * FRAMES]:
            yield seed, frame


class _Judge:
    """Feeds frames to the pipeline and collects every metric."""

    def __init__(self, bench: Bench, semantics: bool) -> None:
        self.pipeline = bench.pipeline
        self.judges_semantics = semantics
        self.scaled, self.metric = [], []
        self.semantics = SemanticJudge(bench.pipeline.labels, CAMVID_11)
        self.flow, self.dis, self.motion = FlowMetric(), FlowMetric(), MotionMetric()
        self.ego_motion = EgoMotionMetric()
        self.frames = 0
        self.judged: set[str] = set()
        self._seed: int | None = None
        self._previous: SyntheticFrame | None = None
        self._steps: list[np.ndarray] = []
        self._poses: list[np.ndarray] = []

    def update(self, seed: int, frame: SyntheticFrame, config: StreetConfig | RoomConfig) -> None:
        """Judge the next frame of a sequence; another seed starts another stream."""
        if seed != self._seed:
            self._finish_sequence()
            self.pipeline.reset()
            self._seed, self._previous = seed, None
        result = self.pipeline.step(frame.image, config.camera, frame.stamp)
        self.frames += 1
        if result.depth is not None:
            self.judged.add("depth")
            for collected, median_scaling in ((self.scaled, True), (self.metric, False)):
                scores = depth_scores(result.depth, frame.depth, median_scaling, max_depth=ROAD_MAX_DEPTH)
                if scores is not None:
                    collected.append(scores)
        if result.semantic is not None and self.judges_semantics:
            self.judged.add("semantic")
            self.semantics.update(result.semantic, result.confidence, frame.semantic)
        self._poses.append(frame.world_from_camera)
        if self._previous is not None:
            if result.flow is not None:
                self.judged.add("flow")
                self.flow.update(flow_to_previous(result.flow), frame.flow_to_previous)
                self.dis.update(dis_flow(frame.image, self._previous.image), frame.flow_to_previous)
            if result.motion_mask is not None:
                self.judged.add("motion")
                self.motion.update(result.motion_mask, frame.motion_mask)
            motion = result.ego_motion
            if motion is not None:
                self.judged.add("ego_motion")
            self._steps.append(np.eye(4) if motion is None else np.asarray(motion.previous_from_current))
        self._previous = frame

    def _finish_sequence(self) -> None:
        """Judge the ego-motion of the sequence that ends."""
        if self._poses:
            self.ego_motion.update(self._steps, steps_of(np.array(self._poses)))
        self._steps, self._poses = [], []

    def result(self, name: str, bars: dict[str, float]) -> SuiteResult:
        """All scores; ``name`` heads what a report shows of the semantics."""
        self._finish_sequence()
        scores = depth_table(self.scaled, self.metric, bars.get("abs_rel")) if "depth" in self.judged else []
        classes, confusion = {}, None
        if "semantic" in self.judged:
            scores += self.semantics.scores("semantic ", bars.get("mean_iou"))
            classes, confusion = self.semantics.per_class(), self.semantics.matrix.counts
        if "flow" in self.judged:
            scores += flow_table(self.flow, self.dis, bars.get("share_of_dis"))
        if "motion" in self.judged:
            motion = self.motion.scores()
            scores += [
                Score("motion IoU, moving class", motion.moving_iou, bar=bars.get("moving_iou"), higher=True),
                Score("motion mean IoU, per image", motion.mean_iou, higher=True),
                Score("motion accuracy, per image", motion.pixel_accuracy, higher=True),
            ]
        if "ego_motion" in self.judged:
            with suppress(NothingToJudge):  # a camera that hardly moved
                scores += ego_motion_table(self.ego_motion.scores())
        sections = self.semantics.sections(name)
        return SuiteResult(self.frames, scores, classes, sections=sections, confusion=confusion)
