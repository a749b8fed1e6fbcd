"""A report as one HTML file: pictures embedded as JPEG, charts as SVG, no script, nothing loaded."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Sequence
from functools import singledispatch
from html import escape
from pathlib import Path

import cv2
import numpy as np

from geoseg_ros.errors import ImageError
from geoseg_ros.report.charts import LineChart, PathChart, Series, line_chart_svg, path_chart_svg
from geoseg_ros.report.content import Card, Facts, FrameView, Legend, Panel, Report, Section, Table
from geoseg_ros.report.style import STYLE

JPEG_QUALITY = 88
_NUMBER = re.compile(r"^[-−+]?[\d.,]+( ?(%|s|ms|Hz|m|m/s|px|MB|MB/s|kB))?$|^[–—-]$|^nan$")


def write_report(report: Report, path: str | Path) -> None:
    """Write the page beside ``path``, then rename, so that a reader never sees half of it."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    partial.write_text(render_report(report), encoding="utf-8")
    os.replace(partial, path)


def render_report(report: Report) -> str:
    """The whole page as text."""
    notices = "".join(f'<p class="notice">{escape(notice)}</p>' for notice in report.notices)
    cards = f'<div class="cards">{"".join(map(_card, report.cards))}</div>' if report.cards else ""
    sections = "".join(map(_section, report.sections))
    footer = f"<footer>{escape(report.footer)}</footer>" if report.footer else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(report.title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f"<header><h1>{escape(report.title)}</h1><p>{escape(report.subtitle)}</p></header>"
        f"{notices}{cards}{_video(report)}{sections}{footer}</main></body></html>\n"
    )


def _card(card: Card) -> str:
    unit = f'<span class="unit">{escape(card.unit)}</span>' if card.unit else ""
    note = f'<div class="more">{escape(card.note)}</div>' if card.note else ""
    return (
        f'<div class="card"><div class="name">{escape(card.label)}</div>'
        f'<div class="value">{escape(card.value)}{unit}</div>{note}</div>'
    )


def _video(report: Report) -> str:
    if not report.video:
        return ""
    poster = "" if report.poster is None else f' poster="{_data_uri(report.poster)}"'
    return (
        f'<section><h2>Video</h2><p class="intro">{escape(report.video_note)}</p>'
        f'<video controls muted loop preload="metadata" src="{escape(report.video)}"{poster}></video>'
        "</section>"
    )


def _section(section: Section) -> str:
    intro = f'<p class="intro">{escape(section.intro)}</p>' if section.intro else ""
    columns = f" c{min(section.columns, 3)}" if section.columns > 1 else ""
    blocks = "".join(_block(block) for block in section.blocks)
    heading = f"<h2>{escape(section.title)}</h2>{intro}"
    return f'<section>{heading}<div class="grid{columns}">{blocks}</div></section>\n'


@singledispatch
def _block(block: object) -> str:
    raise TypeError(
        f"a report section holds a {type(block).__name__}, expected a block of geoseg_ros.report.content"
    )


@_block.register
def _(frame: FrameView) -> str:
    facts = "".join(f"<span>{escape(name)} <b>{escape(value)}</b></span>" for name, value in frame.facts)
    reference = (
        f'<div class="panels ref">{"".join(map(_panel, frame.reference))}</div>' if frame.reference else ""
    )
    return (
        f'<article class="block frame"><div class="head"><h3>{escape(frame.title)}</h3>{facts}</div>'
        f'<div class="panels">{"".join(map(_panel, frame.panels))}</div>{reference}</article>'
    )


@_block.register
def _(table: Table) -> str:
    numeric = [all(_NUMBER.match(row[index]) for row in table.rows) for index in range(len(table.columns))]

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=n' if is_number else ''}>{escape(cell)}</{tag}>"
            for cell, is_number in zip(row, numeric, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    return (
        f'<div class="block"><h3>{escape(table.title)}</h3><div class="scroll"><table>'
        f"<tr>{cells('th', table.columns)}</tr>{body}</table></div>{_note(table.note)}</div>"
    )


@_block.register
def _(facts: Facts) -> str:
    opening, closing = ("<code>", "</code>") if facts.code else ("", "")
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{opening}{escape(value)}{closing}</td></tr>"
        for name, value in facts.items
    )
    return f'<div class="block"><h3>{escape(facts.title)}</h3><table class="facts">{rows}</table></div>'


@_block.register
def _(legend: Legend) -> str:
    items = "".join(
        f'<span><i style="background:rgb({red},{green},{blue})"></i>{escape(name)}</span>'
        for name, (red, green, blue) in legend.items
    )
    heading = f"<h3>{escape(legend.title)}</h3>"
    return f'<div class="block">{heading}<div class="legend">{items}</div>{_note(legend.note)}</div>'


@_block.register
def _(chart: LineChart) -> str:
    return _chart(chart.title, chart.series, line_chart_svg(chart), chart.note)


@_block.register
def _(chart: PathChart) -> str:
    return _chart(chart.title, chart.paths, path_chart_svg(chart), chart.note)


def _chart(title: str, series: Sequence[Series], svg: str, note: str) -> str:
    keys = "".join(
        f'<span><i class="k{index % 4 + 1}"></i>{escape(one.name)}</span>' for index, one in enumerate(series)
    )
    keys = f'<span class="keys">{keys}</span>' if len(series) > 1 else ""
    return f'<div class="block"><h3>{escape(title)}{keys}</h3>{svg}{_note(note)}</div>'


def _panel(panel: Panel) -> str:
    note = f" {escape(panel.note)}" if panel.note else ""
    caption = f"<figcaption><b>{escape(panel.title)}</b>{note}</figcaption>"
    if isinstance(panel.content, PathChart):
        return f'<figure class="path">{path_chart_svg(panel.content)}{caption}</figure>'
    return (
        f'<figure><img alt="{escape(panel.title)}" src="{_data_uri(panel.content)}" '
        f'width="{panel.content.shape[1]}" height="{panel.content.shape[0]}" style="height:auto">'
        f"{caption}</figure>"
    )


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


def _data_uri(picture: np.ndarray) -> str:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ImageError(f"a report's picture is {picture.dtype} {picture.shape}, expected uint8 (H, W, 3)")
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    if not done:
        raise ImageError(f"a report's picture of {picture.shape} could not be written as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")
