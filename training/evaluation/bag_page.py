"""The evaluation of bags as a page: scores, error maps, predicted against true depth, error by distance, paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from geoseg_ros import colorize
from geoseg_ros.labels import LabelSet
from geoseg_ros.report import Card, Facts, FrameView, LineChart, Panel, PathChart, Report, Section, Series, Table
from geoseg_ros.training.evaluation.bag import BagReview, Shown
from geoseg_ros.training.evaluation.report import number
from geoseg_ros.training.evaluation.semantic_pictures import mistakes_panel
from geoseg_ros.training.evaluation.suite_page import class_tables
from geoseg_ros.training.evaluation.trajectory import Drive
from geoseg_ros.training.metrics.depth import DepthScores

LARGEST_ERROR = 0.5
"""Relative depth error that is drawn in full colour."""

HEADLINES = (
    "depth AbsRel, median-scaled",
    "depth AbsRel, metric",
    "depth δ < 1.25, median-scaled",
    "translation error, aligned",
    "rotation error",
    "ATE, aligned",
    "semantic mIoU",
)


def build_page(reviews: Sequence[BagReview], labels: LabelSet, about: Mapping[str, str]) -> Report:
    """The page of one or several bags; ``about``: model, machine, command, date."""
    sections = [section for review in reviews for section in _bag_sections(review, labels)]
    return Report(
        title="geoseg evaluate",
        subtitle=f"{about['model']} on {', '.join(review.path.name for review in reviews)}",
        cards=_cards(reviews[0]) if len(reviews) == 1 else (),
        sections=[*sections, Section("Circumstances", [Facts("Run", list(about.items()))])],
        notices=[f"{review.path.name}: {note}" for review in reviews for note in review.result.notes],
    )


def _cards(review: BagReview) -> list[Card]:
    scores = {score.name: score for score in review.result.scores}
    cards = []
    for name in HEADLINES:
        if name in scores:
            value, _, unit = number(scores[name].value, scores[name].unit).partition(" ")
            cards.append(Card(name, value, unit, scores[name].note))
    return cards


def _bag_sections(review: BagReview, labels: LabelSet) -> list[Section]:
    name = review.path.name
    rows = [(score.name, number(score.value, ""), score.unit, score.note) for score in review.result.scores]
    tables = [Table("Scores", ("score", "value", "unit", "note"), rows)]
    tables += class_tables(review.result)
    sections = [Section(f"{name}: scores", tables, review.result.protocol, columns=len(tables))]
    if review.depth.images:
        sections.append(Section(f"{name}: depth", _depth_charts(review), columns=2))
    if review.drives:
        longest = max(review.drives, key=lambda drive: len(drive.steps))
        sections.append(Section(f"{name}: path", [_path(longest)]))
    sections += review.result.sections
    views = [_view(frame, labels) for frame in review.shown]
    return [*sections, Section(f"{name}: frames", views)]


def _depth_charts(review: BagReview) -> list[LineChart]:
    scatter = review.depth.scatter()
    edges, pixels, scaled, metric = review.depth.error_by_distance()
    centres = (edges[:-1] + edges[1:]) / 2
    farthest = float(edges[-1])
    share = ", ".join(
        f"{near:g}–{far:g} m {count:.0%}" for near, far, count in zip(edges, edges[1:], pixels / pixels.sum(), strict=False)
    )
    return [
        LineChart(
            "Predicted against true depth",
            "true depth, m",
            "predicted, m",
            [
                Series("pixels", scatter[:, 0], scatter[:, 1], dots=True),
                Series("equal", [0.0, farthest], [0.0, farthest]),
            ],
            note=f"{len(scatter)} pixels drawn at random, predictions as they are (metric).",
        ),
        LineChart(
            "Error by distance",
            "true depth, m",
            "AbsRel",
            [Series("median-scaled", centres, scaled), Series("metric", centres, metric)],
            note=f"Over all pixels of each range: {share}.",
        ),
    ]


def _path(drive: Drive) -> PathChart:
    predicted, true, scale = drive.paths()
    length = float(np.linalg.norm(np.diff(true, axis=0), axis=1).sum())
    return PathChart(
        "Path from above, by adding up ego-motion; it starts to the right",
        [
            Series(f"predicted, × {scale:.3f}", *(predicted * scale).T),
            Series("truth", *true.T),
            Series("predicted", *predicted.T),
        ],
        note=f"{len(true)} images, {length:.1f} m; the factor fits the whole path by least squares.",
        width=1160,
        height=380,
    )


def _view(frame: Shown, labels: LabelSet) -> FrameView:
    seen, truth = frame.perception, frame.truth
    panels, reference = [Panel("image", seen.image)], []
    if seen.depth is not None:
        panels.append(Panel("depth", colorize.colorize_depth(seen.depth), "red near, violet far"))
        if frame.scores is not None and seen.depth.shape == truth["depth"].shape:
            panels.append(_error_panel(seen.depth, truth["depth"], frame.scores))
    if seen.semantic is not None:
        panels.append(Panel("semantics", colorize.colorize_semantic(seen.semantic, labels, seen.image)))
        if "semantic" in truth:
            panels.append(mistakes_panel(seen.semantic, truth["semantic"], labels.ignore))
    if seen.confidence is not None:
        panels.append(Panel("confidence", colorize.colorize_confidence(seen.confidence), "black none, white certain"))
    if "depth" in truth:
        reference.append(Panel("true depth", colorize.colorize_depth(truth["depth"])))
    if "semantic" in truth:
        reference.append(Panel("true semantics", colorize.colorize_semantic(truth["semantic"], labels, seen.image)))
    facts = [("stamp", f"{seen.stamp // 10**9}.{seen.stamp // 10**6 % 1000:03d} s")]
    if frame.scores is not None:
        facts += [("AbsRel", f"{frame.scores.abs_rel:.3f}"), ("scale", f"{frame.scores.scale:.3f}")]
    return FrameView(f"Frame {frame.index}", facts, panels, reference)


def _error_panel(depth: np.ndarray, truth: np.ndarray, scores: DepthScores) -> Panel:
    with np.errstate(invalid="ignore", divide="ignore"):
        known = (truth > 0) & (truth < np.inf)
        error = np.where(known, depth * scores.scale / truth - 1, np.nan)
    note = f"median-scaled; blue too near, red too far, full at {LARGEST_ERROR:.0%}; black not known"
    return Panel("error of depth", colorize.colorize_error(error, LARGEST_ERROR), note)
