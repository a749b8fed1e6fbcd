"""Ego-motion on real drives with metric poses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from geoseg_ros.camera import PinholeCamera
from geoseg_ros.training.data import files
from geoseg_ros.training.evaluation.suite import NANOSECONDS, Bench, Score, SuiteResult, SuiteSkipped, folder_camera
from geoseg_ros.training.metrics.egomotion import SNIPPET_FRAMES, EgoMotionMetric, EgoMotionScores, steps_of

KITTI_FPS = 10
KITTI00_HELD_OUT = slice(800, 1018)
TRANSLATION_BAR = 10.0


def kitti00(bench: Bench) -> SuiteResult:
    """KITTI odometry 00, colour, 416×128, frames 800–1017 (training uses 0–799 only).

    The frames stream through the pipeline, with all its outputs as on a robot; its steps previous_from_current
    are judged over all overlapping 5-frame snippets (``metrics.egomotion``). Translation is the distance of a
    snippet's last position over the path length, with one scale per snippet fitted by least squares; beside it
    the same without the fit ('metric') and the stricter step-wise figure. A frame without ego-motion counts as
    standing still.
    """
    frames, scores = kitti00_scores(bench, KITTI00_HELD_OUT)
    return SuiteResult(frames=frames, scores=ego_motion_table(scores, TRANSLATION_BAR))


def kitti00_scores(bench: Bench, part: slice) -> tuple[int, EgoMotionScores]:
    """How many frames of that part of KITTI 00 were driven, and the scores of their steps."""
    folder = bench.data / "kitti00_color"
    images = [files.read_image(path) for path in bench.limited(files.image_paths(folder / "images")[part])]
    camera = folder_camera(folder / "intrinsics.json", files.check_one_size(images, str(folder)))
    return len(images), _scores(bench, images, camera, files.read_poses(folder / "poses.txt")[part], "kitti00")


def kitti07(bench: Bench) -> SuiteResult:
    """KITTI odometry 07, grey, 640×192, frames 0–159 of an H.264 clip; protocol as kitti00, no bar."""
    folder = bench.data / "video_kitti"
    images = bench.limited(files.read_clip(folder / "kitti07_gray_000-159.mp4"))
    size = files.check_one_size(images, "kitti07_gray_000-159.mp4")
    camera = folder_camera(folder / "kitti07_gray_000-159.json", size)
    scores = _scores(bench, images, camera, true_poses("kitti07", bench.data), "kitti07")
    return SuiteResult(frames=len(images), scores=ego_motion_table(scores))


def true_poses(drive: Literal["kitti00", "kitti07"], data: Path) -> np.ndarray:
    """World from camera, N×4×4, of the frames that the suite of that name judges."""
    if drive == "kitti00":
        return files.read_poses(data / "kitti00_color/poses.txt")[KITTI00_HELD_OUT]
    return files.read_poses(data / "video_kitti/kitti07_gray_000-159_poses.txt")


def straight_on(poses: np.ndarray) -> EgoMotionScores:
    """What one scores who says, of a drive N×4×4, that it goes straight on at an unchanging speed."""
    true = steps_of(poses)
    step = np.eye(4)
    step[2, 3] = 1.0
    metric = EgoMotionMetric()
    metric.update([step] * len(true), true)
    return metric.scores()


def ego_motion_table(scores: EgoMotionScores, bar: float | None = None) -> list[Score]:
    """The rows that every ego-motion suite prints; the bar is on the scale-aligned translation error."""
    snippets = f"{scores.snippets} snippets of {SNIPPET_FRAMES} frames"
    if scores.skipped:
        snippets += f", {scores.skipped} standing ones left out"
    return [
        Score("translation error, aligned", scores.translation, "%", bar=bar, note=snippets),
        Score("translation error, metric", scores.translation_metric, "%", note=f"scale {scores.scale:.3f}"),
        Score("translation scale, median", scores.scale, note="what aligns it; 1 is metric"),
        Score("translation error by step, aligned", scores.step_translation, "%"),
        Score("rotation error", scores.rotation, "°/m"),
        Score("ATE, aligned", scores.ate, "m"),
    ]


def predicted_steps(
    bench: Bench, images: Sequence[np.ndarray], camera: PinholeCamera, name: str
) -> list[np.ndarray]:
    """The pipeline's steps previous_from_current between successive images; identity where it gives none, SuiteSkipped
    where it never does."""
    bench.pipeline.reset()
    steps, known = [], False
    for i, image in enumerate(bench.track(images, len(images), name)):
        stamp = (i + 1) * NANOSECONDS // KITTI_FPS
        motion = bench.pipeline.step(image, camera, stamp).ego_motion
        known = known or motion is not None
        if i > 0:
            steps.append(np.eye(4) if motion is None else np.asarray(motion.previous_from_current))
    if not known:
        raise SuiteSkipped("the model gives no ego-motion")
    return steps


def _scores(
    bench: Bench, images: Sequence[np.ndarray], camera: PinholeCamera, poses: np.ndarray, name: str
) -> EgoMotionScores:
    metric = EgoMotionMetric()
    metric.update(predicted_steps(bench, images, camera, name), steps_of(poses[: len(images)]))
    return metric.scores()
