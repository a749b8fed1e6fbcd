"""Small charts as SVG text. Colours come from the page's style sheet and follow its light or dark theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 38


@dataclass(frozen=True)
class Series:
    """A named sequence of points; NaN in ``y`` breaks the line. ``dots`` draws points without a line."""

    name: str
    x: Sequence[float] | np.ndarray
    y: Sequence[float] | np.ndarray
    dots: bool = False


@dataclass(frozen=True)
class LineChart:
    """Values over a common x axis; ``levels`` are horizontal lines with a label."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    levels: Sequence[tuple[str, float]] = ()
    note: str = ""


@dataclass(frozen=True)
class PathChart:
    """Paths on a plane with equal axes (metres), seen from above; the first point of each is marked."""

    title: str
    paths: Sequence[Series]
    unit: str = "m"
    note: str = ""
    width: int = _WIDTH
    height: int = 320


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) inside [low, high]."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((factor * power for factor in (1, 2, 5, 10)), key=lambda value: abs(value - rough))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def line_chart_svg(chart: LineChart) -> str:
    """The chart as an ``<svg>`` element; an empty frame with a remark when no value is finite."""
    values = _finite([series.y for series in chart.series] + [[level for _, level in chart.levels]])
    places = _finite([series.x for series in chart.series])
    if not len(values) or not len(places):
        return _svg(_WIDTH, _HEIGHT, chart.title, [_text(_WIDTH / 2, _HEIGHT / 2, "no values", "middle")])
    x_low, x_high = _range(places)
    y_low, y_high = min(0.0, values.min()), max(0.0, values.max()) * 1.08
    if y_high <= y_low:
        y_high = y_low + 1.0
    to_x = _scale(x_low, x_high, _LEFT, _WIDTH - _RIGHT)
    to_y = _scale(y_low, y_high, _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for value in ticks(y_low, y_high, 4):
        parts.append(_line(_LEFT, to_y(value), _WIDTH - _RIGHT, to_y(value), "grid"))
        parts.append(_text(_LEFT - 7, to_y(value) + 4, f"{value:g}", "end"))
    for value in ticks(x_low, x_high, 6):
        parts.append(_text(to_x(value), _HEIGHT - _BOTTOM + 17, f"{value:g}", "middle"))
    parts.append(_line(_LEFT, to_y(y_low), _WIDTH - _RIGHT, to_y(y_low), "axis"))
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 5, chart.x_label, "middle", "label"))
    parts.append(_text(13, (_TOP + _HEIGHT - _BOTTOM) / 2, chart.y_label, "middle", "label", turn=True))
    for label, level in chart.levels:
        parts.append(_line(_LEFT, to_y(level), _WIDTH - _RIGHT, to_y(level), "level"))
        parts.append(_text(_WIDTH - _RIGHT - 3, to_y(level) - 4, label, "end", "leveltext"))
    for index, series in enumerate(chart.series):
        parts.extend(_curve(series, to_x, to_y, index))
    return _svg(_WIDTH, _HEIGHT, chart.title, parts)


def path_chart_svg(chart: PathChart) -> str:
    """The chart as an ``<svg>`` element with a scale bar; x to the right, y up."""
    points = [np.column_stack([path.x, path.y]).astype(float) for path in chart.paths]
    every = np.concatenate(points) if points else np.empty((0, 2))
    every = every[np.isfinite(every).all(axis=1)]
    if not len(every):
        return _svg(
            chart.width,
            chart.height,
            chart.title,
            [_text(chart.width / 2, chart.height / 2, "no path", "middle")],
        )
    low, high = every.min(axis=0), every.max(axis=0)
    margin = 26
    extent = max((high - low).max(), 1e-3)
    scale = min(
        (chart.width - 2 * margin) / max(high[0] - low[0], extent * 0.02),
        (chart.height - 2 * margin) / max(high[1] - low[1], extent * 0.02),
    )
    centre = (low + high) / 2

    def to_x(value: float) -> float:
        return chart.width / 2 + (value - centre[0]) * scale

    def to_y(value: float) -> float:
        return chart.height / 2 - (value - centre[1]) * scale

    parts = []
    for index, path in enumerate(chart.paths):
        parts.extend(_curve(path, to_x, to_y, index))
    start = points[0][np.isfinite(points[0]).all(axis=1)][:1]
    parts.extend(f'<circle class="start" cx="{to_x(x):.1f}" cy="{to_y(y):.1f}" r="4"/>' for x, y in start)
    bar = _scale_bar(chart.width / 4 / scale)
    left, bottom = 14, chart.height - 12
    parts.append(f'<path class="bar" d="M{left} {bottom - 5}v5h{bar * scale:.1f}v-5"/>')
    parts.append(_text(left + bar * scale / 2, bottom - 7, f"{bar:g} {chart.unit}", "middle"))
    return _svg(chart.width, chart.height, chart.title, parts)


def _scale_bar(longest: float) -> float:
    """The longest of 1, 2, 5 × 10ⁿ that fits."""
    power = 10.0 ** math.floor(math.log10(longest))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= longest * (1 + 1e-9))


def _curve(series: Series, to_x, to_y, index: int) -> list[str]:
    colour = f"s{index % 4 + 1}"
    places = [
        (to_x(float(x)), to_y(float(y))) if math.isfinite(x) and math.isfinite(y) else None
        for x, y in zip(series.x, series.y, strict=True)
    ]
    if series.dots:
        return [
            f'<circle class="dot {colour}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="2.4"/>'
            for place in places
            if place
        ]
    text, pen_down = [], False
    for place in places:
        if place:
            text.append(f"{'L' if pen_down else 'M'}{place[0]:.1f} {place[1]:.1f}")
        pen_down = place is not None
    return [f'<path class="curve {colour}" d="{"".join(text)}"/>']


def _finite(sequences: Sequence[Sequence[float] | np.ndarray]) -> np.ndarray:
    values = np.concatenate([np.asarray(sequence, float).ravel() for sequence in sequences] or [np.empty(0)])
    return values[np.isfinite(values)]


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _scale(low: float, high: float, start: float, end: float):
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, style: str = "tick", turn: bool = False) -> str:
    rotation = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{style}" {place}{rotation}>{escape(text)}</text>'


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
