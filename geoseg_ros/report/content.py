"""What a report can hold. Values only: how they look is decided in :mod:`geoseg_ros.report.page`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from geoseg_ros.report.charts import LineChart, PathChart


@dataclass(frozen=True)
class Card:
    """One headline number."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture, H×W×3 uint8 RGB, or a chart in its place."""

    title: str
    content: np.ndarray | PathChart
    note: str = ""


@dataclass(frozen=True)
class FrameView:
    """All pictures of one frame; ``reference`` panels (ground truth) stand in a row of their own below."""

    title: str
    facts: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    reference: Sequence[Panel] = ()


@dataclass(frozen=True)
class Table:
    """Rows of text; columns whose cells are numbers are aligned right."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values; a value that must be kept verbatim (a command) is ``code``."""

    title: str
    items: Sequence[tuple[str, str]]
    code: bool = False


@dataclass(frozen=True)
class Legend:
    """Names with their colours (0–255)."""

    title: str
    items: Sequence[tuple[str, tuple[int, int, int]]]
    note: str = ""


Block = FrameView | Table | Facts | Legend | LineChart | PathChart


@dataclass(frozen=True)
class Section:
    """A titled part of the page; ``columns`` > 1 sets blocks side by side where the window is wide enough."""

    title: str
    blocks: Sequence[Block]
    intro: str = ""
    columns: int = 1


@dataclass(frozen=True)
class Report:
    """A page: title, one sentence, headline numbers, sections.

    ``video`` is a file beside the page, ``poster`` (H×W×3 uint8 RGB) what is seen before it plays.
    """

    title: str
    subtitle: str
    cards: Sequence[Card]
    sections: Sequence[Section]
    footer: str = ""
    video: str = ""
    video_note: str = ""
    poster: np.ndarray | None = None
    notices: Sequence[str] = field(default_factory=tuple)
