"""The report is one self-contained, well-formed page that shows what it was given."""

from __future__ import annotations

import base64
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg_ros.errors import ImageError
from geoseg_ros.report import (
    Card,
    Facts,
    FrameView,
    Legend,
    LineChart,
    Panel,
    PathChart,
    Report,
    Section,
    Series,
    Table,
    render_report,
    write_report,
)
from geoseg_ros.report.charts import line_chart_svg, path_chart_svg, ticks

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Checker(HTMLParser):
    """Collects text and attributes; notes tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "poster")]

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


def sample_report() -> Report:
    picture = np.zeros((24, 32, 3), np.uint8)
    picture[..., 0] = 250
    path = PathChart("path", [Series("a", [0, 3, 4], [0, 0, 1])])
    view = FrameView(
        "Frame 7",
        [("stamp", "1.250 s")],
        [Panel("image", picture), Panel("path", path, "so far")],
        [Panel("true depth", picture)],
    )
    blocks = [
        view,
        Table("Topics", ("topic", "Hz"), [("/a", "9.5"), ("/b", "–")]),
        Facts("Run", [("model", "x.safetensors")]),
        Legend("Classes", [("Road", (128, 64, 128))]),
        LineChart("Age", "s", "ms", [Series("age", [0, 1], [3, 4])]),
    ]
    return Report(
        "Title <&>",
        "Subtitle",
        [Card("Rate", "9.5", "Hz", "of 10")],
        [Section("All", blocks, columns=2)],
        footer="end",
        video="demo.webm",
        poster=picture,
        notices=["look & see"],
    )


def test_page_is_well_formed_and_loads_nothing_from_elsewhere() -> None:
    page = render_report(sample_report())
    checker = checked(page)
    text = " ".join(checker.text)
    for expected in (
        "Title <&>",
        "Frame 7",
        "1.250 s",
        "/a",
        "9.5",
        "x.safetensors",
        "Road",
        "look & see",
        "so far",
    ):
        assert expected in text
    assert all(
        source.startswith("data:image/jpeg;base64,") or source == "demo.webm" for source in checker.sources
    )
    assert "http" not in page and "<script" not in page


def test_pictures_are_embedded_with_their_colours() -> None:
    sources = [s for s in checked(render_report(sample_report())).sources if s.startswith("data:")]
    assert len(sources) == 3
    picture = cv2.imdecode(
        np.frombuffer(base64.b64decode(sources[0].partition(",")[2]), np.uint8), cv2.IMREAD_COLOR
    )
    assert picture.shape == (24, 32, 3)
    np.testing.assert_allclose(picture.reshape(-1, 3).mean(0)[::-1], (250, 0, 0), atol=4)


def test_numeric_columns_are_aligned_right() -> None:
    page = render_report(sample_report())
    assert "<td>/a</td><td class=n>9.5</td>" in page
    assert "<th>topic</th><th class=n>Hz</th>" in page


def test_a_picture_of_another_type_is_an_error() -> None:
    view = FrameView("f", [], [Panel("image", np.zeros((4, 4), np.uint8))])
    with pytest.raises(ImageError, match=r"uint8 \(4, 4\), expected uint8 \(H, W, 3\)"):
        render_report(Report("t", "s", [], [Section("s", [view])]))


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    write_report(sample_report(), tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_line_chart_places_points_to_scale() -> None:
    svg = line_chart_svg(LineChart("c", "x", "y", [Series("a", [0, 5, 10], [0, 50, 100])]))
    points = [tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", svg)]
    assert len(points) == 3
    assert points[1][0] == pytest.approx((points[0][0] + points[2][0]) / 2, abs=0.1)
    assert points[1][1] == pytest.approx((points[0][1] + points[2][1]) / 2, abs=0.1)
    assert points[0][1] > points[2][1]  # larger values are higher up


def test_a_gap_breaks_the_line() -> None:
    svg = line_chart_svg(LineChart("c", "x", "y", [Series("a", [0, 1, 2, 3], [1, math.nan, 2, 3])]))
    assert re.search(r'd="M[\d. ]+M[\d. ]+L[\d. ]+"', svg)


@pytest.mark.parametrize("series", [[], [Series("a", [], [])], [Series("a", [1], [math.nan])]])
def test_charts_of_nothing_say_so(series: list[Series]) -> None:
    assert "no values" in line_chart_svg(LineChart("c", "x", "y", series))
    assert "no path" in path_chart_svg(PathChart("c", series))


def test_path_keeps_its_proportions() -> None:
    svg = path_chart_svg(PathChart("c", [Series("a", [0, 10, 10], [0, 0, 5])]))
    (x0, y0), (x1, y1), (x2, y2) = [
        tuple(map(float, point)) for point in re.findall(r"[ML]([\d.]+) ([\d.]+)", svg)
    ][:3]
    assert (x1 - x0) / (y1 - y2) == pytest.approx(2.0, rel=1e-2)
    assert y0 == y1 and x1 == x2


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_and_inside(low: float, span: float) -> None:
    values = ticks(low, low + span)
    assert 2 <= len(values) <= 12 or span < 1e-9 * abs(low)
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= value <= low + span + slack for value in values)


values = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(allow_nan=True, allow_infinity=True, width=32)), max_size=20
)


@given(values)
def test_charts_of_any_values_are_finite_svg(points: list[tuple[float, float]]) -> None:
    x, y = [point[0] for point in points], [point[1] for point in points]
    for svg in (
        line_chart_svg(LineChart("c", "x", "y", [Series("a", x, y)])),
        path_chart_svg(PathChart("c", [Series("a", x, y)])),
    ):
        checked(svg)
        assert "nan" not in svg and "inf" not in svg.replace("infinite", "")
