"""A model on recordings with ground truth: depth, semantics, flow, own motion and ego-motion of one bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from geoseg_ros.bags import BagReader
from geoseg_ros.errors import BagError, GeosegError, ImageError
from geoseg_ros.frames import Frame
from geoseg_ros.frames.bag import BagFrames
from geoseg_ros.ground_truth import TRUTH, TRUTH_ODOMETRY
from geoseg_ros.perception import Perception
from geoseg_ros.pipeline import Pipeline
from geoseg_ros.training.data.label_files import rectified_ids
from geoseg_ros.training.evaluation.depth_detail import DepthDetail, DepthProtocol
from geoseg_ros.training.evaluation.egomotion import ego_motion_table
from geoseg_ros.training.evaluation.even_sample import EvenSample
from geoseg_ros.training.evaluation.semantics import SemanticJudge
from geoseg_ros.training.evaluation.suite import Score, SuiteResult, Track
from geoseg_ros.training.evaluation.trajectory import Drive, Odometry, drives, read_odometry
from geoseg_ros.training.evaluation.truth import TruthImages
from geoseg_ros.training.metrics.depth import DepthScores
from geoseg_ros.training.metrics.egomotion import EgoMotionMetric
from geoseg_ros.training.metrics.errors import NothingToJudge
from geoseg_ros.training.metrics.flow import FlowMetric
from geoseg_ros.training.metrics.motion import MotionMetric

SHOWN = 6
"""Frames of a bag that a report shows."""

PROBLEMS = 5
"""Unusable images that are named; of further ones only the number is told."""


@dataclass(frozen=True)
class Shown:
    """A frame kept for the report, with its ground truth by name and its median-scaled depth scores."""

    index: int
    perception: Perception
    truth: dict[str, np.ndarray]
    scores: DepthScores | None


@dataclass(frozen=True)
class BagReview:
    """What one bag showed."""

    path: Path
    result: SuiteResult
    depth: DepthDetail
    drives: list[Drive]
    shown: list[Shown]


def judge_bag(
    pipeline: Pipeline,
    path: Path,
    protocol: DepthProtocol,
    track: Track,
    image_topic: str | None = None,
    limit: int | None = None,
    label_topic: str | None = None,
) -> BagReview:
    """Run the model over a bag's camera, without the bag's odometry, and judge what the bag has ground truth for.

    Ground truth are the topics of ``geoseg simulate`` (:mod:`geoseg_ros.ground_truth`), equal in stamp to the
    images; poses are interpolated, and brought from the odometry's body to the camera by ``/tf_static``. ``label_topic`` names
    the topic of class ids where that is another one. BagError where the bag has none, or where nothing could be judged.
    """
    with BagFrames(path, image_topic) as source, BagReader(path) as bag:
        truth, odometry = TruthImages(bag, pipeline.labels, label_topic), read_odometry(bag)
        if not truth.topics and odometry is None:
            found = ", ".join(sorted(bag.topics))
            expected = ", ".join([*TRUTH.values(), TRUTH_ODOMETRY])
            problem = "; ".join(truth.notes) or f"expected topics that end in {expected}; found {found}"
            raise BagError(f"{path} has no ground truth, {problem}")
        judge = _Judge(pipeline, protocol, {*truth.topics, *(["ego_motion"] if odometry else [])}, truth.notes)
        frames = islice(source.frames(judge.miss), limit)
        total = min(filter(None, (source.count, limit)), default=0)
        pipeline.reset()
        for index, frame in enumerate(track(frames, total, path.name)):
            judge.add(index, frame, truth.take(frame, judge.leave_out))
    protocol_text = f"{path.name}, camera {source.topic}: depth: {protocol}."
    if odometry is not None:
        judge.judge_drive(odometry)
        protocol_text += f" Ego-motion: 5-frame snippets against {odometry.topic}, {odometry.whose(judge.frame_id)}."
    return judge.review(path, protocol_text)


@dataclass
class _Judge:
    """Feeds frames to the pipeline and collects every metric that there is ground truth for."""

    pipeline: Pipeline
    protocol: DepthProtocol
    judged: set[str]
    notes: list[str]
    frame_id: str = ""
    stamps: list[int] = field(default_factory=list)
    drives: list[Drive] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.depth = DepthDetail(self.protocol)
        self.semantics = SemanticJudge(self.pipeline.labels)
        self.flow, self.motion, self.ego_motion = FlowMetric(), MotionMetric(), EgoMotionMetric()
        self._steps: list[np.ndarray] = []
        self._shown = EvenSample[Shown](SHOWN)
        self._uncalibrated = self._moved = self._left_out = 0
        self._missed = False

    def add(self, index: int, frame: Frame, truth: dict[str, np.ndarray]) -> None:
        """Judge the next frame; one whose stamp does not rise is left out."""
        if self.stamps and frame.stamp <= self.stamps[-1]:
            self.miss(ImageError(f"frame {index}: stamp {frame.stamp} ns is not after {self.stamps[-1]} ns; left out"))
            return
        result = self.pipeline.step(frame.image, frame.camera, frame.stamp)
        self._uncalibrated += frame.camera is None
        if self.stamps:
            motion = result.ego_motion
            self._moved += motion is not None
            self._steps.append(np.eye(4) if motion is None else np.asarray(motion.previous_from_current))
        else:
            self.frame_id = frame.frame_id
        self.stamps.append(frame.stamp)
        scores = None
        if "depth" in truth and result.depth is not None:
            scores = self.depth.add(result.depth, truth["depth"])
        if "semantic" in truth and frame.camera is not None:
            truth["semantic"] = rectified_ids(truth["semantic"], frame.camera, self.semantics.labels.ignore)
        if "semantic" in truth and result.semantic is not None:
            self.semantics.update(result.semantic, result.confidence, truth["semantic"])
        if "flow" in truth and result.flow is not None and self._steps and not self._missed:
            self.flow.update(result.flow, truth["flow"])
        if "motion" in truth and result.motion_mask is not None:
            self.motion.update(result.motion_mask, truth["motion"])
        self._shown.add(Shown(index, result, truth, scores))
        self._missed = False

    def miss(self, problem: GeosegError) -> None:
        """Note an unusable calibration, or image: the true flow of the next one, which begins there, is not the model's."""
        self._missed = self._missed or isinstance(problem, ImageError)
        self.leave_out(problem)

    def leave_out(self, problem: object) -> None:
        """Note why something cannot be used."""
        self._left_out += 1
        if self._left_out <= PROBLEMS:
            self.notes.append(str(problem))

    def judge_drive(self, odometry: Odometry) -> None:
        """Judge the steps between the images against their true ones."""
        poses = odometry.camera_poses(np.array(self.stamps, np.int64), self.frame_id)
        self.drives = drives(self._steps, poses)
        for drive in self.drives:
            self.ego_motion.update(drive.steps, drive.true_steps)
        if unknown := int((~np.isfinite(poses).all((1, 2))).sum()):
            self.notes.append(
                f"{unknown} of {len(poses)} images have no pose: {odometry.topic} begins late, ends early or pauses"
            )
        if assumption := odometry.assumption(self.frame_id):
            self.notes.append(f"ego_motion: {assumption}")

    def review(self, path: Path, protocol: str) -> BagReview:
        """All scores; BagError where there is none."""
        if self._uncalibrated:
            self.notes.append(f"{self._uncalibrated} images have no calibrated camera: no depth, motion, ego-motion")
        parts = {
            "depth": self.depth.table,
            "semantic": lambda: self.semantics.scores("semantic "),
            "flow": self._flow_table,
            "motion": self._motion_table,
            "ego_motion": self._ego_motion_table,
        }
        if self._left_out > PROBLEMS:
            self.notes.append(f"{self._left_out - PROBLEMS} more such problems are not listed")
        scores: list[Score] = []
        for name, table in parts.items():
            if name in self.judged:
                try:
                    scores += table()
                except NothingToJudge as reason:
                    self.notes.append(f"{name} is not judged: {reason}")
        if not scores:
            raise BagError(f"{path}: nothing could be judged: {'; '.join(self.notes)}")
        labelled = self.semantics.matrix.present.any()
        result = SuiteResult(
            frames=len(self.stamps),
            scores=scores,
            per_class=self.semantics.per_class() if labelled else {},
            protocol=protocol,
            notes=self.notes,
            sections=self.semantics.sections(path.name),
            confusion=self.semantics.matrix.counts if labelled else None,
        )
        return BagReview(path, result, self.depth, self.drives, self._shown.items())

    def _ego_motion_table(self) -> list[Score]:
        if self._steps and not self._moved:
            raise NothingToJudge("no image had ego-motion")
        return ego_motion_table(self.ego_motion.scores())

    def _flow_table(self) -> list[Score]:
        scores = self.flow.scores()
        return [Score("flow EPE", scores.epe, "px"), Score("flow Fl-all", 100 * scores.fl_all, "%")]

    def _motion_table(self) -> list[Score]:
        scores = self.motion.scores()
        return [
            Score("motion IoU, moving class", scores.moving_iou, higher=True),
            Score("motion mean IoU, per image", scores.mean_iou, higher=True),
        ]
