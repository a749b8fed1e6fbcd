"""The demonstration's numbers as a report, and as the table that the command prints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geoseg_ros.bundle import Bundle, parameter_count
from geoseg_ros.demo.measurement import Measurement
from geoseg_ros.demo.review import Review, path_series
from geoseg_ros.report import Card, Facts, Legend, LineChart, PathChart, Report, Section, Series, Table

_SCORE_CHARTS = {"AbsRel": "", "mIoU": "", "EPE": "px", "motion IoU": ""}
_DASH = "–"


@dataclass(frozen=True)
class Circumstances:
    """Under what a run took place, for the report."""

    source: str
    model: str
    bundle: Bundle
    device: str
    command: str
    date: str
    machine: Mapping[str, str]
    parameters: Mapping[str, str]


def headline(measured: Measurement, seen: Review) -> list[Card]:
    """The numbers that matter most; those of accuracy where the recording has ground truth."""
    scores = seen.scores
    dropped = measured.published - measured.answered
    cards = [
        Card(
            "Output rate",
            number(measured.output_rate, 1),
            "Hz",
            f"camera {number(measured.input_rate, 1)} Hz",
        ),
        Card("Age p50", milliseconds(measured.age_p50), "ms", "image published → last output received"),
        Card("Age p99", milliseconds(measured.age_p99), "ms", f"over {len(measured.frame_ages)} frames"),
        Card(
            "Images answered",
            f"{measured.answered}",
            f"of {measured.published}",
            f"{dropped} without an answer",
        ),
    ]
    if scores.abs_rel is not None:
        note = f"median-scaled; {number(scores.abs_rel_metric, 3)} in metres"
        cards.append(Card("Depth AbsRel", number(scores.abs_rel, 3), "", note))
    if scores.mean_iou is not None:
        cards.append(
            Card(
                "Semantics mIoU",
                number(scores.mean_iou, 3),
                "",
                f"pixel accuracy {number(scores.pixel_accuracy, 3)}",
            )
        )
    if scores.epe is not None:
        cards.append(
            Card("Flow EPE", number(scores.epe, 2), "px", f"{100 * scores.outliers:.1f} % outliers (Fl)")
        )
    if scores.moving_iou is not None:
        cards.append(
            Card("Motion IoU", number(scores.moving_iou, 3), "", "moving class, all pixels together")
        )
    return cards


def build_report(measured: Measurement, seen: Review, about: Circumstances, video: str) -> Report:
    """The whole page."""
    sections = [
        Section(
            "Frames",
            seen.views,
            "What went in and what came out over DDS, at evenly spread moments. Brightness and "
            "colour scales are those of the output topics; a reference row shows the ground truth where the "
            "recording has it."
            if any(view.reference for view in seen.views)
            else "What went in and what came out over DDS, at evenly spread moments.",
        ),
        Section("Classes", [_legend(about.bundle, seen)]),
        Section(
            "Timing",
            _timing(measured),
            "Ages and rates are taken by the middleware: from the moment the player "
            "published an image to the moment the recorder received the outputs with that image's stamp.",
            columns=2,
        ),
    ]
    charts = _score_charts(measured, seen)
    if charts:
        sections.append(
            Section(
                "Accuracy over time",
                charts,
                "Against the ground truth in the recording. Flow is judged "
                "where the image before was answered, too, so that both span the same time.",
                columns=2,
            )
        )
    sections += [
        Section("Path", [_path(seen)]),
        Section("Topics and losses", _tables(measured), columns=2),
        Section("Circumstances", _facts(measured, about), columns=2),
    ]
    return Report(
        title="geoseg demo",
        subtitle=_subtitle(measured, about),
        cards=headline(measured, seen),
        sections=sections,
        footer=f"Made by geoseg_ros {about.machine.get('geoseg_ros', '')} on {about.date}.",
        video=video if seen.frames else "",
        video_note="All outputs of every answered frame, at the camera's rate.",
        poster=seen.poster,
        notices=_notices(measured),
    )


def number(value: float | None, digits: int) -> str:
    """A number with fixed digits, a dash where it is unknown."""
    return _DASH if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def milliseconds(seconds: float) -> str:
    """Seconds as milliseconds: whole ones from ten on."""
    return number(seconds * 1e3, 0 if seconds * 1e3 >= 10 else 1)


def _subtitle(measured: Measurement, about: Circumstances) -> str:
    return (
        f"{measured.published} images of {about.source} went through the perception node as ROS 2 topics; "
        "what it published was recorded, timed and drawn here. "
        "Player, node and recorder ran as separate processes."
    )


def _notices(measured: Measurement) -> Sequence[str]:
    parts = [f"{count} {cause}" for cause, count in measured.drops.items() if count]
    if not parts:
        return ()
    share = 100.0 * measured.answered / max(measured.published, 1)
    return (
        f"{share:.0f} % of the images were answered. The node counts: {', '.join(parts)}. "
        "Where a frame takes longer than the camera's period, the newest image wins and others are skipped, "
        "which keeps ages low.",
    )


def _legend(bundle: Bundle, seen: Review) -> Legend:
    ious = seen.scores.class_iou
    items = [
        (name + (f" · IoU {ious[name]:.2f}" if math.isfinite(ious.get(name, math.nan)) else ""), color)
        for name, color in zip(bundle.labels.names, bundle.labels.palette, strict=True)
    ]
    moving = ", ".join(bundle.labels.dynamic)
    return Legend(
        f"{bundle.labels.name}: {len(items)} classes",
        items,
        f"Can move by themselves: {moving}." if moving else "",
    )


def _timing(measured: Measurement) -> list[LineChart]:
    levels = [
        (f"{label} {milliseconds(value)} ms", value * 1e3)
        for label, value in (("p50", measured.age_p50), ("p99", measured.age_p99))
        if math.isfinite(value)
    ]
    return [
        LineChart(
            "Rate",
            "seconds since the first image",
            "Hz",
            [Series("outputs", *measured.output_rates), Series("camera", *measured.input_rates)],
            note="In windows of one second.",
        ),
        LineChart(
            "Age of a frame's last output",
            "seconds since the first image",
            "ms",
            [Series("age", measured.frame_times, measured.frame_ages * 1e3, dots=True)],
            levels,
        ),
    ]


def _score_charts(measured: Measurement, seen: Review) -> list[LineChart]:
    charts = []
    for name, unit in _SCORE_CHARTS.items():
        if name in seen.frame_scores:
            stamps, values = seen.frame_scores[name]
            seconds = (stamps - seen.path.stamps[0]) * 1e-9
            known = values[np.isfinite(values)]
            levels = [(f"mean {known.mean():.2f}", float(known.mean()))] if known.size else []
            charts.append(LineChart(name, "seconds by stamp", unit, [Series(name, seconds, values)], levels))
    return charts


def _path(seen: Review) -> PathChart:
    length = float(np.linalg.norm(np.diff(seen.path.positions, axis=0), axis=1).sum()) if seen.frames else 0.0
    if not np.isfinite(seen.path.positions).any():
        note = "The node published no ego-motion; it needs a calibrated camera."
    elif seen.path_is_metric:
        note = f"Ego-motion adds up to {length:.1f} m."
    elif len(seen.true_path.stamps) > 1:
        note = "The model's scale is unknown: the path is drawn at the size that fits the true one best."
    else:
        note = "The model's scale is unknown: the path has a shape, but no size."
    has_scale = seen.path_is_metric or len(seen.true_path.stamps) > 1
    series = path_series(seen.path, seen.path_is_metric, seen.true_path)
    return PathChart(
        "Path from above, by adding up ego-motion; it starts to the right",
        series,
        "m" if has_scale else "",
        note,
        width=1160,
        height=380,
    )


def _tables(measured: Measurement) -> list[Table]:
    rows = [
        (
            one.topic,
            str(one.messages),
            number(one.rate, 1),
            number(one.bandwidth, 2),
            milliseconds(one.age_p50),
            milliseconds(one.age_p99),
        )
        for one in measured.topics
    ]
    answered = measured.answered
    drops = [("answered", str(answered)), *((cause, str(count)) for cause, count in measured.drops.items())]
    rest = measured.published - answered - sum(measured.drops.values())
    drops.append(("lost on the way or after the end", str(max(rest, 0))))
    diagnostics = [
        (key, value) for key, value in measured.diagnostics.items() if not key.startswith("dropped: ")
    ]
    tables = [
        Table("Topics", ("topic", "messages", "Hz", "MB/s", "age p50 ms", "age p99 ms"), rows),
        Table(
            "Where the images went",
            ("cause", "images"),
            drops,
            f"{measured.published} images were published; causes as counted by the node.",
        ),
    ]
    if diagnostics:
        tables.append(Table("What the node last said of itself", ("key", "value"), diagnostics))
    return tables


def _facts(measured: Measurement, about: Circumstances) -> list[Facts]:
    bundle = about.bundle
    camera = bundle.camera
    model = [
        ("file", about.model),
        ("architecture", bundle.architecture),
        ("parameters", f"{parameter_count(bundle) / 1e6:.2f} million"),
        ("input", f"{bundle.input_size[0]}×{bundle.input_size[1]}"),
        ("labels", bundle.labels.name),
        ("training camera", f"{camera.width}×{camera.height}, f {camera.fx:.0f} px" if camera else "not one"),
        *((f"provenance: {key}", _short(value)) for key, value in bundle.provenance.items()),
        *((f"score: {key}", _short(value)) for key, value in bundle.scores.items()),
        ("licence", bundle.licence or "not given"),
    ]
    return [
        Facts("Model", model),
        Facts("Machine", list(about.machine.items())),
        Facts(
            "Run",
            [
                ("source", about.source),
                ("device", about.device),
                ("date", about.date),
                *((key, value) for key, value in about.parameters.items()),
            ],
        ),
        Facts("Command", [("command", about.command)], code=True),
    ]


def _short(value: object) -> str:
    text = (
        ", ".join(f"{key} {item}" for key, item in value.items())
        if isinstance(value, Mapping)
        else str(value)
    )
    return text if len(text) <= 200 else text[:199] + "…"
