"""One pass over a recorded run: pictures for the report, the video, accuracy by frame, the path driven."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros import colorize
from geoseg_ros.demo.accuracy import Accuracy, AccuracyScores
from geoseg_ros.demo.recording import RecordedFrame, Recording, camera_path
from geoseg_ros.labels import LabelSet
from geoseg_ros.perception import EgoMotion, Perception
from geoseg_ros.report import FrameView, Panel, PathChart, Series
from geoseg_ros.video import VideoWriter


@dataclass(frozen=True)
class Path2D:
    """A path from above: stamps (N, ns) and positions (N×2: forward, left)."""

    stamps: np.ndarray
    positions: np.ndarray


@dataclass(frozen=True)
class Review:
    """What the recorded frames show.

    ``poster`` is a frame from the middle with all outputs; ``frame_scores`` maps a score to (stamps in ns,
    values).
    """

    frames: int
    poster: np.ndarray | None
    views: list[FrameView]
    scores: AccuracyScores
    frame_scores: dict[str, tuple[np.ndarray, np.ndarray]]
    path: Path2D
    path_is_metric: bool
    true_path: Path2D


@dataclass(frozen=True)
class _Kept:
    """What stays in memory of a frame that the report may show."""

    frame: RecordedFrame
    scores: dict[str, float]


def review(
    recording: Recording,
    labels: LabelSet,
    accuracy: Accuracy,
    video: Path,
    fps: float,
    shown: int,
    ages: Mapping[int, float],
    advance: Callable[[], None],
) -> Review:
    """Look at every frame once; ``shown`` of them, evenly spread, become views.

    ``ages`` (seconds by stamp) stand beside the pictures. ``advance`` is called per frame.
    """
    kept: list[_Kept] = []
    motions: list[Perception] = []
    by_score: dict[str, list[tuple[int, float]]] = {}
    stride, count = 1, 0
    with VideoWriter(video, fps) as writer:
        for frame in recording.frames():
            scores = accuracy.add(frame)
            for name, value in scores.items():
                by_score.setdefault(name, []).append((frame.perception.stamp, value))
            writer.write(colorize.mosaic(frame.perception, labels))
            motions.append(
                Perception(frame.perception.stamp, _NO_IMAGE, ego_motion=frame.perception.ego_motion)
            )
            if count % stride == 0:
                kept.append(_Kept(frame, scores))
                if len(kept) > 2 * shown:
                    kept, stride = kept[::2], stride * 2
            count += 1
            advance()
    stamps, positions, metric = camera_path(motions)
    path, truth = Path2D(stamps, positions), Path2D(*recording.true_path())
    chosen = [kept[index] for index in _spread(len(kept), shown)]
    return Review(
        frames=count,
        poster=colorize.mosaic(chosen[len(chosen) // 2].frame.perception, labels) if chosen else None,
        views=[_view(one, labels, path, truth, metric, ages) for one in chosen],
        scores=accuracy.scores(),
        frame_scores={
            name: tuple(map(np.array, zip(*values, strict=True))) for name, values in by_score.items()
        },
        path=path,
        path_is_metric=metric,
        true_path=truth,
    )


def path_series(path: Path2D, metric: bool, truth: Path2D, until: int | None = None) -> list[Series]:
    """The paths for a chart, up to the stamp ``until``; one of unknown scale is drawn at the truth's size."""
    scale, name = 1.0, "ego-motion"
    if not metric and len(truth.stamps) > 1 and len(path.stamps) > 1:
        scale, name = _fitting_scale(path, truth), "ego-motion, scaled to the truth"
    series = [Series(name, *(path.positions[_until(path, until)] * scale).T)]
    if len(truth.stamps) > 1:
        series.append(Series("truth", *truth.positions[_until(truth, until)].T))
    return series


_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


def _until(path: Path2D, stamp: int | None) -> np.ndarray:
    return np.ones(len(path.stamps), bool) if stamp is None else path.stamps <= stamp


def _fitting_scale(path: Path2D, truth: Path2D) -> float:
    """The factor that brings the path closest to the truth at the path's stamps (least squares)."""
    expected = np.column_stack(
        [np.interp(path.stamps, truth.stamps, truth.positions[:, axis]) for axis in (0, 1)]
    )
    expected -= expected[0]
    energy = float((path.positions**2).sum())
    return abs(float((path.positions * expected).sum())) / energy if energy > 0 else 1.0


def _spread(count: int, shown: int) -> list[int]:
    """``shown`` of ``count`` indices, evenly spread, without the very first (it has no previous frame)."""
    first = 1 if count > 1 else 0
    return (
        sorted(set(np.linspace(first, count - 1, min(shown, count)).round().astype(int).tolist()))
        if count
        else []
    )


def _view(
    one: _Kept, labels: LabelSet, path: Path2D, truth: Path2D, metric: bool, ages: Mapping[int, float]
) -> FrameView:
    seen, given = one.frame.perception, one.frame.truth
    height, width = seen.image.shape[:2]
    chart = PathChart(
        "path so far",
        path_series(path, metric, truth, seen.stamp),
        "m" if metric or len(truth.stamps) else "",
        width=560,
        height=round(560 * height / width),
    )
    largest = _largest_flow(given.get("flow"), seen.flow)
    panels = [Panel("image", seen.image)]
    if seen.semantic is not None:
        panels.append(
            Panel(
                "semantics", colorize.colorize_semantic(seen.semantic, labels, seen.image), "over the image"
            )
        )
    if seen.depth is not None:
        panels.append(Panel("depth", colorize.colorize_depth(seen.depth), _depth_note(seen.depth)))
    if seen.flow is not None:
        panels.append(
            Panel("optical flow", colorize.colorize_flow(seen.flow, largest), _flow_note(seen.flow))
        )
    if seen.motion_probability is not None or seen.motion_mask is not None:
        panels.append(Panel("own motion", _motion_picture(seen), "red: probability; white outline: mask"))
    panels.append(Panel("ego-motion", chart, _motion_note(seen.ego_motion)))
    reference = []
    if "semantic" in given:
        reference.append(
            Panel("true semantics", colorize.colorize_semantic(given["semantic"], labels, seen.image))
        )
    if "depth" in given:
        reference.append(Panel("true depth", colorize.colorize_depth(given["depth"])))
    if "flow" in given:
        reference.append(Panel("true flow", colorize.colorize_flow(given["flow"], largest)))
    if "motion" in given:
        reference.append(Panel("true motion", colorize.colorize_motion(given["motion"], seen.image)))
    facts = [("stamp", f"{seen.stamp // 10**9}.{seen.stamp // 10**6 % 1000:03d} s")]
    if seen.stamp in ages:
        facts.append(("age", f"{ages[seen.stamp] * 1e3:.0f} ms"))
    facts += [(name, f"{value:.3f}") for name, value in one.scores.items() if np.isfinite(value)]
    return FrameView(f"Frame {one.frame.index}", facts, panels, reference)


def _motion_picture(seen: Perception) -> np.ndarray:
    motion = seen.motion_probability if seen.motion_probability is not None else seen.motion_mask
    picture = colorize.colorize_motion(motion, seen.image)
    if seen.motion_mask is not None:
        outlines, _ = cv2.findContours(seen.motion_mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)
    return picture


def _largest_flow(*flows: np.ndarray | None) -> float | None:
    """The length that is drawn as full colour: the 99 % quantile of the first flow that has finite values."""
    for flow in flows:
        if flow is not None and np.isfinite(flow).any():
            return max(1.0, float(np.nanquantile(np.hypot(flow[..., 0], flow[..., 1]), 0.99)))
    return None


def _depth_note(depth: np.ndarray) -> str:
    known = depth[np.isfinite(depth)]
    return f"median {np.median(known):.1f} m; red near, violet far" if known.size else "unknown everywhere"


def _flow_note(flow: np.ndarray) -> str:
    length = np.hypot(flow[..., 0], flow[..., 1])
    return f"median {np.nanmedian(length):.1f} px" if np.isfinite(length).any() else "no previous frame"


def _motion_note(ego: EgoMotion | None) -> str:
    if ego is None:
        return "none yet"
    speed = f"{np.linalg.norm(ego.linear):.1f} {'m/s' if ego.scale_source == 'metric' else 'units/s'}"
    return f"{speed}, turning {np.degrees(np.linalg.norm(ego.angular)):.1f} °/s; path from above"
